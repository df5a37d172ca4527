//! The only place that knows every part: settings → store → sessions → listeners → drain.
//!
//! The order of the start is the order of what needs what, with two exceptions: the listeners' addresses are taken
//! before anything is changed, and the first password is made when nothing else can fail. The order of the end is the
//! reverse, with the sessions first: nothing is taken away from under a session that still runs.

mod error;
mod facts;
mod first_admin;
mod key_files;
mod memory;
pub mod node;
mod place;
mod signals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::server::Draining;
use crate::auth::{
    Accounts, ApiKeys, AuditLog, Authenticator, Keys, Logins, OidcLogins, OutsideIssuers, Revocations, Tokens,
};
use crate::claude::child_environment;
use crate::claude::credentials::CREDENTIALS_VARIABLE;
use crate::config::settings::Settings;
use crate::config::{Environment, data_dir, paths};
use crate::http::state::RequestLimits;
use crate::http::{AcceptLimits, Browsers, Connections as Places, HttpState, TrustedProxies, routes};
use crate::process::{RunAs, Spawner};
use crate::rpc::dispatch::Dispatcher;
use crate::rpc::envelope::notification;
use crate::session::admission::Admission;
use crate::session::launch::Launcher;
use crate::session::login::{self, ClaudeLogin, LoginSetup};
use crate::session::nodes::Nodes;
use crate::session::policy::Policy;
use crate::session::retention::Retention;
use crate::session::workspace::Workspaces;
use crate::session::{Sessions, recovery};
use crate::store::metered::Metered;
use crate::store::{self, ListQuery, SharedStore};
use crate::telemetry::time::{now_ms, rfc3339_ms};
use crate::telemetry::{metrics, tasks};
use crate::ws::{Close, Connections, WsState};
use crate::{http, rpc, ws};

pub use error::AppError;
use facts::Facts;
use place::Place;

/// How long closed connections may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// What a gateway that has just begun to listen tells.
#[derive(Debug)]
pub struct Ready {
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where `WebSocket`s are served.
    pub ws: SocketAddr,
    /// The password made for `admin`, at the very first start. To be shown once and nowhere else.
    pub first_password: Option<SecretString>,
}

/// A gateway that is built and listens.
pub struct App {
    settings: Settings,
    sessions: Arc<Sessions>,
    store: SharedStore,
    connections: Connections,
    /// Ends the accept loops and the upkeep.
    stop: CancellationToken,
    /// Listened to since before the start was told: a signal right after it must not kill.
    signals: signals::Signals,
    /// Connections that were not upgraded.
    http_tracker: TaskTracker,
    /// Upgraded ones.
    ws_tracker: TaskTracker,
    /// Ends the audit log once nothing is done any more, and waits for what it still writes.
    audit: (CancellationToken, TaskTracker),
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("App")
    }
}

impl App {
    /// Builds every part and begins to listen; `announce` then tells so to whoever has started it. What can be wrong
    /// with this machine or the settings is found before anything is changed.
    ///
    /// # Errors
    /// What is missing or wrong, for the operator. The first password is no secret that is lost: if it can't be told,
    /// the next start makes another.
    pub async fn start(
        settings: Settings,
        env: &Environment,
        announce: impl FnOnce(&Ready) -> std::io::Result<()>,
    ) -> Result<Self, AppError> {
        let signals = signals::Signals::listen();
        let user = settings.agent.agent_user.as_deref().map(RunAs::lookup).transpose()?;
        let places = [Place::take(settings.http.http_listen)?, Place::take(settings.websocket.ws_listen)?];
        let prometheus = metrics::install().map_err(AppError::Metrics)?;
        metrics::slots_max(settings.sessions.max_sessions);
        data_dir::prepare(&settings.data.data_dir)?;
        let node = node::id(&settings.data.data_dir)?;
        let store = tokio::select! {
            store = store::open_when_there(&settings) => Metered::new(store?),
            () = signals.first() => return Err(AppError::Stopped),
        };
        let store: SharedStore = store;
        let keys = Keys::load(&settings.auth, &paths::default_secret_file(&settings))?;
        let tokens = Arc::new(Tokens::with_keys(&settings.auth, keys));
        let revocations = Revocations::new(Arc::clone(&store), &settings.auth);
        let logins = Logins::new(Arc::clone(&tokens), Arc::clone(&store), revocations.clone(), &settings.auth);
        let (audit_stop, audit_tracker) = (CancellationToken::new(), TaskTracker::new());
        let keep_audit = settings.retention.keep_audit_seconds.duration();
        let audit = AuditLog::start(Arc::clone(&store), keep_audit, audit_stop.clone(), &audit_tracker);
        let accounts = Accounts::new(Arc::clone(&store), &settings.auth);
        let accounts = Arc::new(accounts.with_audit(audit.clone()).revoking_by(revocations.clone()));
        let agent = &settings.agent;
        let inherited = env.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let named = user.as_ref().map(|user| (user.name.as_str(), user.home.as_path()));
        let agent_env = child_environment(inherited, agent, named);
        let spawner = Spawner::start().map_err(AppError::Spawner)?;
        let roots = &settings.workspaces;
        let workspaces = Workspaces::prepare(&roots.workspace_roots, &roots.trusted_workspace_roots, user.clone())
            .map_err(AppError::Workspaces)?;
        let recovered = recovery::recover(&store, &node, user.as_ref()).await?;
        if recovered.lost > 0 {
            tracing::warn!(lost = recovered.lost, "sessions of the gateway's last run were ended as lost");
        }
        warn_of_shared_uid(&settings);
        let session_settings = Arc::new(settings.sessions.clone());
        let stop = CancellationToken::new();
        let delivered = env.get(CREDENTIALS_VARIABLE).map(|value| SecretString::from(value.to_string_lossy().as_ref()));
        let inspector = login::inspector(agent, agent_env.clone(), user.as_ref());
        let setup = LoginSetup::new(agent, inspector, delivered);
        let login = ClaudeLogin::keep(setup, user.as_ref(), stop.clone()).await;
        let launcher = Arc::new(Launcher::new(spawner, agent_env, user, &node, Arc::clone(&session_settings), login));
        let newest = store.list_sessions(ListQuery { limit: 1, ..ListQuery::default() }).await?;
        let first_principal = newest.rows.into_iter().next().map(|row| row.owner);
        let policy = Policy::new(agent.clone(), settings.sessions.clone(), workspaces, first_principal);
        let admission = Admission::new(Arc::clone(&store), &node, &settings.sessions);
        admission.keep_slots(stop.clone());
        if let Some(bus) = store.bus() {
            admission.hear_slots(&bus, stop.clone());
        }
        let nodes = Nodes::new(
            &node,
            store.bus(),
            settings.sessions.slot_lease_seconds.duration(),
            roots.workspaces_shared,
            rfc3339_ms(now_ms()),
        );
        let sessions =
            Sessions::new(nodes, Arc::clone(&store), policy, admission, Arc::clone(&launcher), session_settings);
        sessions.answer_nodes(stop.clone());
        sessions.keep_node(stop.clone());
        sessions.resume_lost(recovered.to_resume).await;
        sessions.keep_warm(&settings.data.data_dir.join("warm"));
        sessions.make_room(stop.clone());
        let retention = &settings.retention;
        let keep = Some(retention.keep_ended_seconds.duration()).filter(|keep| !keep.is_zero());
        sessions.end_forgotten(keep, retention.retention_interval_seconds.duration(), stop.clone());

        let started = Instant::now();
        let query_token = settings.websocket.query_token;
        let authenticator = Authenticator::new(Arc::clone(&tokens), Arc::clone(&store), query_token)
            .trusting(OutsideIssuers::new(&settings.auth));
        let authenticator = Arc::new(authenticator);
        key_files::watch(Arc::clone(&tokens), &settings, stop.clone());
        let connections = Connections::default();
        ws::revoked::keep_watch(connections.clone(), revocations, Arc::clone(&authenticator), stop.clone());
        let oidc = OidcLogins::new(&settings.oidc, &settings.auth, Arc::clone(&store), Arc::clone(&accounts));
        let http_state = HttpState {
            accounts: Arc::clone(&accounts),
            logins: Arc::new(logins),
            oidc: oidc.map(Arc::new),
            tokens,
            authenticator: Arc::clone(&authenticator),
            gateway: Arc::new(Facts {
                sessions: Arc::clone(&sessions),
                store: Arc::clone(&store),
                launcher,
                agent_program: agent.agent_program.clone(),
                started,
            }),
            metrics: prometheus.clone(),
            limits: RequestLimits::new(&settings.http),
            browsers: Arc::new(Browsers::new(&settings)),
        };
        let methods = rpc::methods(rpc::Context {
            sessions: Arc::clone(&sessions),
            authenticator: Arc::clone(&authenticator),
            accounts: Arc::clone(&accounts),
            keys: ApiKeys::new(Arc::clone(&store)),
            records: Arc::clone(&store),
            node: node.clone(),
            store: store.kind(),
            limits: rpc::limits(&settings),
            started,
            connections: connections.count(),
        })?;
        let ws_tracker = TaskTracker::new();
        let ws_state = WsState {
            authenticator,
            dispatcher: Arc::new(Dispatcher::new(methods, settings.websocket.max_response_bytes).with_audit(audit)),
            sessions: Arc::clone(&sessions),
            settings: Arc::new(settings.websocket.clone()),
            connections: connections.clone(),
            tracker: ws_tracker.clone(),
        };
        let http_tracker = TaskTracker::new();
        let [http_place, ws_place] = places;
        let (http_listener, ws_listener) = (http_place.listen()?, ws_place.listen()?);
        let ready = Ready {
            http: http_listener.local_addr().map_err(AppError::Listen)?,
            ws: ws_listener.local_addr().map_err(AppError::Listen)?,
            first_password: first_admin::ensure(&accounts, &settings).await?,
        };
        // Before anybody is served: whoever can't be told the password must not have a gateway that knows it.
        if let Err(source) = announce(&ready)
            && ready.first_password.is_some()
        {
            accounts.take_back_admin().await?;
            return Err(AppError::Password(source));
        }
        let accept = AcceptLimits::new(&settings.http);
        let http_places = Places::new("http", settings.http.max_http_connections);
        // Room for sockets that are refused with a reason, health probes among them.
        let ws_places = Places::new("ws", settings.websocket.max_ws_connections.saturating_add(256));
        memory::keep_small(vec![http_places.clone(), ws_places.clone()], stop.clone());
        let proxies = TrustedProxies::new(&settings.http.trusted_proxies);
        let http_routes = proxies.before(routes::router(http_state.clone()));
        let ws_routes = proxies.before(routes::ws_extras(http_state, ws::router(ws_state)));
        for (name, listener, router, places) in [
            ("http-listener", http_listener, http_routes, http_places),
            ("ws-listener", ws_listener, ws_routes, ws_places),
        ] {
            tasks::spawn(name, http::serve(listener, router, places, accept, stop.clone(), http_tracker.clone()));
        }
        Retention::new(Arc::clone(&store), settings.retention.clone()).keep_up(stop.clone());
        keep_metrics(prometheus, stop.clone());
        tracing::info!(http = %ready.http, ws = %ready.ws, node, store = store.kind(), "listening");
        let audit = (audit_stop, audit_tracker);
        Ok(Self { settings, sessions, store, connections, stop, signals, http_tracker, ws_tracker, audit })
    }

    /// Serves until a signal, then drains. A second signal shortens the grace to nothing.
    pub async fn run(self) {
        let signals = self.signals.clone();
        signals.first().await;
        self.shut_down(signals.second()).await;
    }

    /// Takes no new work, lets running sessions finish within the grace, ends the rest, says goodbye and closes the
    /// store. With `hurry` everything that still runs is killed, whatever is under way.
    pub async fn shut_down(self, hurry: impl Future<Output = ()>) {
        let grace = self.settings.sessions.drain_grace_seconds.duration();
        let deadline = rfc3339_ms(now_ms() + u64::try_from(grace.as_millis()).unwrap_or(u64::MAX / 2));
        tracing::info!(deadline, "draining: nothing new is started");
        // Before it is told: who reads it and asks must find it so.
        self.sessions.close_the_door();
        self.connections.tell_all(&notification("server.draining", &Draining { deadline }));
        let sessions = Arc::clone(&self.sessions);
        let ended = async {
            let finished = async {
                sessions.begin_drain().await;
                sessions.all_ended().await;
            };
            if tokio::time::timeout(grace, finished).await.is_err() {
                tracing::warn!("the grace is over: running sessions are ended");
                sessions.end_all().await;
            }
        };
        let goodbye = tokio::select! {
            () = ended => Close::Restart,
            () = hurry => {
                tracing::warn!("second signal: running sessions are killed");
                self.sessions.kill_all().await;
                Close::GoingAway
            }
        };
        self.connections.close_all(goodbye);
        self.stop.cancel();
        self.sessions.leave_nodes().await;
        self.ws_tracker.close();
        self.http_tracker.close();
        let closed = async {
            self.ws_tracker.wait().await;
            self.http_tracker.wait().await;
        };
        if tokio::time::timeout(GOODBYE, closed).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        let (audit_stop, audit_tracker) = self.audit;
        audit_stop.cancel();
        audit_tracker.close();
        audit_tracker.wait().await;
        self.store.close().await;
        tracing::info!("ended");
    }
}

/// With one uid an agent can read the gateway's own secret: the operator must know.
fn warn_of_shared_uid(settings: &Settings) {
    if settings.agent.agent_user.is_none() {
        let several = settings.agent.shared_uid_accepted;
        tracing::warn!(
            several_principals = several,
            "agents run as the gateway's own user and can read its files; set `agent_user` to separate them"
        );
    }
}

/// Histograms keep what was recorded until somebody looks; nobody may, so they are drained here.
fn keep_metrics(prometheus: metrics_exporter_prometheus::PrometheusHandle, stop: CancellationToken) {
    tasks::spawn("metrics-upkeep", async move {
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => prometheus.run_upkeep(),
            }
        }
    });
}
