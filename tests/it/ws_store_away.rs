//! A store that stops answering in the middle of a replay, by the gateway's own parts over a store that
//! fails on purpose: no real one fails on demand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cc_gateway::auth::{Accounts, ApiKeys, Authenticator, Tokens, load_or_create};
use cc_gateway::config::settings::Settings;
use cc_gateway::http::{AcceptLimits, Connections as Places};
use cc_gateway::process::Spawner;
use cc_gateway::rpc::dispatch::Dispatcher;
use cc_gateway::session::Sessions;
use cc_gateway::session::admission::Admission;
use cc_gateway::session::launch::Launcher;
use cc_gateway::session::login::ClaudeLogin;
use cc_gateway::session::nodes::Nodes;
use cc_gateway::session::policy::Policy;
use cc_gateway::session::workspace::Workspaces;
use cc_gateway::store::SharedStore;
use cc_gateway::store::faulty::Faulty;
use cc_gateway::store::sqlite::SqliteStore;
use cc_gateway::telemetry::{metrics, tasks};
use cc_gateway::ws::{Close, Connections, WsState, router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::Gateway;
use crate::support::raw_socket::{Frame, RawSocket};

/// Serves `/ws` over `store`, with the keys of the gateway whose directory it is.
async fn serve(gateway: &Gateway, store: SharedStore) -> SocketAddr {
    let mut settings = Settings::default();
    settings.workspaces.workspace_roots = vec![gateway.path("workspaces")];
    let secret = load_or_create(&settings.auth, &gateway.path("data").join("jwt-secret")).unwrap();
    let tokens = Arc::new(Tokens::new(&settings.auth, secret));
    let sessions_settings = Arc::new(settings.sessions.clone());
    let spawner = Spawner::start().unwrap();
    let login = ClaudeLogin::unguarded();
    let launcher =
        Arc::new(Launcher::new(spawner, Default::default(), None, "node", Arc::clone(&sessions_settings), login));
    let workspaces = Workspaces::prepare(&settings.workspaces.workspace_roots, &[], None).unwrap();
    let policy = Policy::new(settings.agent.clone(), settings.sessions.clone(), workspaces, None);
    let admission = Admission::new(Arc::clone(&store), "node", &settings.sessions);
    let nodes = Nodes::new("node", None, Duration::from_secs(15), false, String::new());
    let sessions = Sessions::new(nodes, Arc::clone(&store), policy, admission, launcher, sessions_settings);
    let connections = Connections::default();
    let ws = &settings.websocket;
    let authenticator = Arc::new(Authenticator::new(tokens, Arc::clone(&store), false));
    let methods = cc_gateway::rpc::methods(cc_gateway::rpc::Context {
        sessions: Arc::clone(&sessions),
        authenticator: Arc::clone(&authenticator),
        accounts: Arc::new(Accounts::new(Arc::clone(&store), &settings.auth)),
        keys: ApiKeys::new(Arc::clone(&store)),
        records: Arc::clone(&store),
        node: "node".to_owned(),
        store: store.kind(),
        limits: cc_gateway::rpc::limits(&settings),
        started: Instant::now(),
        connections: connections.count(),
    })
    .unwrap();
    let state = WsState {
        authenticator,
        dispatcher: Arc::new(Dispatcher::new(methods, ws.max_response_bytes)),
        sessions,
        settings: Arc::new(settings.websocket.clone()),
        connections,
        tracker: TaskTracker::new(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = AcceptLimits::new(&settings.http);
    let served = cc_gateway::http::serve(
        listener,
        router(state),
        Places::new("ws", 100),
        limits,
        CancellationToken::new(),
        TaskTracker::new(),
    );
    tasks::spawn("test-gateway", served);
    address
}

#[tokio::test]
async fn a9_a_store_that_does_not_answer_closes_with_try_again_later() {
    let counted = metrics::install().unwrap();
    let mut gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "lines 8000 1000"})).await;
    client.until_ended(session).await;
    client.close().await;
    gateway.stop().await;

    let file = gateway.path("data").join("gateway.db");
    let store = SqliteStore::open(&file, Default::default()).unwrap();
    let faulty = Faulty::new(Arc::new(store), 1, 1.0);
    faulty.set_failing(false);
    let server = serve(&gateway, faulty.clone()).await;
    // It can't take in the whole log at once, so the rest is still to be read when the store begins to fail.
    let mut socket = RawSocket::connect_with_buffer(server, 16 * 1024).await.upgrade("/ws", &token).await;
    let attach = json!({"jsonrpc": "2.0", "id": 1, "method": "session.attach", "params": {"session_id": session}});
    socket.frame(&Frame::text(attach.to_string())).await;
    let (_, greeting) = socket.read_frame().await.unwrap();
    assert!(String::from_utf8_lossy(&greeting).contains("connected"));
    let (_, answer) = socket.read_frame().await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("next_seq"), "{}", String::from_utf8_lossy(&answer));
    faulty.set_failing(true);
    let (code, reason) = socket.closed().await.expect("a close frame");
    assert_eq!((code, reason.as_str()), (1013, Close::TryLater.text().as_ref()));
    assert!(faulty.failed() > 1, "it was tried again before it was given up");
    drop(socket);
    let series = "cc_gateway_connections_closed_total{reason=\"try_later\"} 1";
    crate::support::eventually("the close to be counted", || {
        counted.render().lines().any(|line| line == series).then_some(())
    })
    .await;
}
