//! The settings themselves: one struct a concern, with safe defaults.
//!
//! A setting's *leaf* name is unique in the whole tree: it is the TOML key inside its section, the
//! environment variable `CC_GATEWAY_<LEAF>` and the flag `--set leaf=value`. Lengths of time are seconds
//! and may have a fraction.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

pub use super::issuer::TrustedIssuer;
pub use super::log::{LogFormat, LogSettings};
pub use super::oidc::OidcSettings;
pub use super::seconds::Seconds;

/// Everything that can be set.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the gateway keeps its own things.
    pub data: DataSettings,
    /// The HTTP listener.
    pub http: HttpSettings,
    /// The WebSocket listener.
    pub websocket: WebSocketSettings,
    /// Sessions: caps, clocks, the stop ladder.
    pub sessions: SessionSettings,
    /// How long what has ended is kept.
    pub retention: RetentionSettings,
    /// The program that a session runs.
    pub agent: AgentSettings,
    /// Where sessions may work.
    pub workspaces: WorkspaceSettings,
    /// Who may call.
    pub auth: AuthSettings,
    /// Logins at a provider outside (OpenID Connect).
    pub oidc: OidcSettings,
    /// What is logged.
    pub log: LogSettings,
}

/// Where the gateway keeps its own things.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataSettings {
    /// The gateway's own directory, mode 0700: secret, embedded store. Empty: `$XDG_DATA_HOME/cc-gateway`,
    /// else `~/.local/share/cc-gateway`.
    pub data_dir: PathBuf,
    /// `sqlite:<file>`, or a Redis or Valkey: `redis://<user>:<password>@<host>:<port>`, `rediss` (TLS), `redis+unix`,
    /// `redis-cluster`, `redis-sentinel`. Empty: `gateway.db` in the data directory.
    pub store_url: String,
    /// What the names of all keys in Redis begin with.
    pub redis_key_prefix: String,
    /// `normal` survives `kill -9`; `full` survives power loss too.
    pub sqlite_synchronous: SqliteSynchronous,
}

/// How much the embedded store waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SqliteSynchronous {
    /// Survives `kill -9`.
    #[default]
    Normal,
    /// Survives power loss too; an fsync a commit.
    Full,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            store_url: String::new(),
            redis_key_prefix: "ccgw".to_owned(),
            sqlite_synchronous: SqliteSynchronous::Normal,
        }
    }
}

/// Without the password that the store's URL may hold.
impl std::fmt::Debug for DataSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataSettings")
            .field("data_dir", &self.data_dir)
            .field("store_url", &super::store_url::shown(&self.store_url))
            .field("redis_key_prefix", &self.redis_key_prefix)
            .field("sqlite_synchronous", &self.sqlite_synchronous)
            .finish()
    }
}

/// The HTTP listener.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// Where login, health, metrics and documents are served.
    #[schemars(extend("format" = "address-and-port"))]
    pub http_listen: SocketAddr,
    /// A connection that has not sent a first byte by then is closed.
    pub first_byte_timeout_seconds: Seconds,
    /// A request whose header is not complete by then is refused.
    pub header_timeout_seconds: Seconds,
    /// Largest request body, in bytes.
    pub body_limit_bytes: usize,
    /// Open connections per listener; further ones wait in the kernel's queue.
    pub max_http_connections: usize,
    /// Names in `Host` that both listeners answer to beside those that no stranger can make point here: IP addresses,
    /// `localhost`, names without a dot, and names below `.internal`, `.local`, `.localhost`, `.svc`, `.home.arpa` and
    /// `.test`. Without a port; `*` for any.
    pub allowed_hosts: Vec<String>,
    /// Proxies in front of both listeners, as addresses or networks (`10.0.0.0/8`): what they say in `X-Forwarded-For`
    /// is where a caller comes from, for limits per address and the log. Nobody else's word counts.
    pub trusted_proxies: Vec<String>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            http_listen: (Ipv4Addr::LOCALHOST, 8001).into(),
            first_byte_timeout_seconds: Seconds::new(5.0),
            header_timeout_seconds: Seconds::new(5.0),
            body_limit_bytes: 64 * 1024,
            max_http_connections: 4_096,
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
        }
    }
}

/// The WebSocket listener.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebSocketSettings {
    /// Where `/ws`, `/ws/mcp` and the listener's own `/health` are served.
    #[schemars(extend("format" = "address-and-port"))]
    pub ws_listen: SocketAddr,
    /// Open sockets; one more is refused with 503 before the upgrade.
    pub max_ws_connections: usize,
    /// Open sockets of one principal; one more is refused with 429. 0: no limit.
    pub max_ws_connections_per_principal: usize,
    /// Open sockets from one address; one more is refused with 429. 0: no limit. Behind a proxy all come from one,
    /// unless it is one of `trusted_proxies`.
    pub max_ws_connections_per_address: usize,
    /// Largest message a client may send, in bytes; a larger one closes 1009.
    pub max_message_bytes: usize,
    /// Largest answer to one call or batch, in bytes; a larger one becomes the error `too_large`. A page of
    /// one event is never too large.
    pub max_response_bytes: usize,
    /// Calls in one batch.
    pub max_batch_calls: usize,
    /// Calls of one connection that run at once; further frames wait in the socket.
    pub max_calls_in_flight: usize,
    /// Sessions one connection can be attached to at once.
    pub max_attachments: usize,
    /// The server pings this often; a peer silent for two of them is gone.
    pub ping_interval_seconds: Seconds,
    /// Messages of one connection that may wait to be written.
    pub outbox_messages: usize,
    /// Bytes of one connection that may wait to be written.
    pub outbox_bytes: usize,
    /// A peer that takes no byte for so long is closed with 4008.
    pub slow_reader_timeout_seconds: Seconds,
    /// Messages a second that one connection may send on average, with a burst of twice as many; beyond
    /// it calls fail −32010, and a client that goes on is closed with 1008. 0: no limit.
    pub max_messages_per_second: u32,
    /// Origins that browsers may connect, log in and renew tokens from, exact; none by default. A request without
    /// Origin passes.
    pub allowed_origins: Vec<String>,
    /// Also accept the access token as `?access_token=`. Off: query strings end up in logs.
    pub query_token: bool,
}

impl Default for WebSocketSettings {
    fn default() -> Self {
        Self {
            ws_listen: (Ipv4Addr::LOCALHOST, 8003).into(),
            max_ws_connections: 10_000,
            max_ws_connections_per_principal: 0,
            max_ws_connections_per_address: 0,
            max_message_bytes: 10 * 1024 * 1024,
            max_response_bytes: 10 * 1024 * 1024,
            max_batch_calls: 100,
            max_calls_in_flight: 64,
            max_attachments: 1_000,
            ping_interval_seconds: Seconds::new(20.0),
            outbox_messages: 256,
            outbox_bytes: 1024 * 1024,
            slow_reader_timeout_seconds: Seconds::new(10.0),
            max_messages_per_second: 1_000,
            allowed_origins: Vec::new(),
            query_token: false,
        }
    }
}

/// Sessions: caps, clocks, the stop ladder.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionSettings {
    /// Slots: sessions with a live process at once, on all gateways of a store together (give them all the same limits).
    pub max_sessions: u32,
    /// Slots that one principal may have at once; 0: no limit.
    pub max_sessions_per_principal: u32,
    /// Sessions that may wait for a slot (`queue: true`), on all gateways together; one more is refused. 0: none may.
    pub max_queue: u32,
    /// Sessions of one principal that may wait for a slot.
    pub max_queued_per_principal: u32,
    /// A session that names no time waits so long for a slot; 0: for ever.
    pub queue_timeout_seconds: Seconds,
    /// While a gateway's Claude account is at its usage limit, nobody who waits there gets a slot.
    pub hold_queue_while_rate_limited: bool,
    /// Agents being started at once; 0: as many as there are cores.
    pub max_concurrent_starts: usize,
    /// Agents that are kept started ahead on this gateway, for the starts that are asked for most. Each has a slot, which
    /// it gives up when a session wants it. 0: none.
    pub warm_processes: u32,
    /// What was not asked for in so long has no agent started ahead any more.
    pub warm_idle_seconds: Seconds,
    /// Wall-clock limit of a session that names none; 0: none.
    pub timeout_seconds: Seconds,
    /// Limit for silence of a session that names none; 0: none.
    pub idle_timeout_seconds: Seconds,
    /// An agent that has not answered `initialize` by then is ended.
    pub start_timeout_seconds: Seconds,
    /// A permission question that nobody has answered by then is denied.
    pub permission_timeout_seconds: Seconds,
    /// An interactive session that has been at rest for so long gives its process up until the next message; 0: never.
    pub idle_process_seconds: Seconds,
    /// After its result an agent has so long for what it still works on in the background.
    pub background_grace_seconds: Seconds,
    /// What the sessions of one principal may cost together, in US dollars as Claude counts them; 0: no limit.
    #[serde(deserialize_with = "super::dollars::read")]
    #[schemars(extend("format" = super::dollars::FORMAT))]
    pub max_spend_usd_per_principal: f64,
    /// In how long they may cost that.
    pub spend_window_seconds: Seconds,
    /// After its result an agent has so long to exit by itself.
    pub result_grace_seconds: Seconds,
    /// After a process has gone, so long for what still holds its output.
    pub output_grace_seconds: Seconds,
    /// A session with `on_disconnect: stop` is stopped so long after its last connection has gone, unless its owner
    /// attaches again.
    pub disconnect_grace_seconds: Seconds,
    /// Stop ladder: how long an interrupt may take.
    pub interrupt_grace_seconds: Seconds,
    /// Stop ladder: how long `end_session` may take.
    pub end_session_grace_seconds: Seconds,
    /// Stop ladder: how long SIGINT may take.
    pub sigint_grace_seconds: Seconds,
    /// Stop ladder: how long SIGTERM may take before SIGKILL.
    pub sigterm_grace_seconds: Seconds,
    /// Longest line kept whole, in bytes; a longer one is cut and flagged.
    pub max_line_bytes: usize,
    /// Events of one session that may wait for the store, in bytes; beyond it the agent is held back.
    pub pending_events_bytes: usize,
    /// Bytes of events kept of one session, as they are stored (longer pieces are packed); beyond it its oldest events
    /// go, also while it runs. 0: no limit.
    pub max_session_bytes: u64,
    /// Newest events of one live session kept in memory for its readers, in bytes.
    pub hot_tail_bytes: usize,
    /// On SIGTERM: how long running sessions may take to finish.
    pub drain_grace_seconds: Seconds,
    /// A gateway that does not renew its lease for so long counts as dead: others take its slots and end or resume its
    /// sessions. While it can't renew it and others live, its own processes are stopped.
    pub slot_lease_seconds: Seconds,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            max_sessions: 100,
            max_sessions_per_principal: 0,
            max_queue: 1_000,
            max_queued_per_principal: 100,
            queue_timeout_seconds: Seconds::new(600.0),
            hold_queue_while_rate_limited: true,
            max_concurrent_starts: 0,
            warm_processes: 0,
            warm_idle_seconds: Seconds::new(600.0),
            timeout_seconds: Seconds::new(3_600.0),
            idle_timeout_seconds: Seconds::new(900.0),
            start_timeout_seconds: Seconds::new(60.0),
            permission_timeout_seconds: Seconds::new(300.0),
            idle_process_seconds: Seconds::new(300.0),
            background_grace_seconds: Seconds::new(600.0),
            max_spend_usd_per_principal: 0.0,
            spend_window_seconds: Seconds::new(86_400.0),
            result_grace_seconds: Seconds::new(5.0),
            output_grace_seconds: Seconds::new(1.0),
            disconnect_grace_seconds: Seconds::new(10.0),
            interrupt_grace_seconds: Seconds::new(2.0),
            end_session_grace_seconds: Seconds::new(2.0),
            sigint_grace_seconds: Seconds::new(2.0),
            sigterm_grace_seconds: Seconds::new(10.0),
            max_line_bytes: 16 * 1024 * 1024,
            pending_events_bytes: 1024 * 1024,
            max_session_bytes: 4 * 1024 * 1024 * 1024,
            hot_tail_bytes: 1024 * 1024,
            drain_grace_seconds: Seconds::new(30.0),
            slot_lease_seconds: Seconds::new(15.0),
        }
    }
}

/// How long what has ended is kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSettings {
    /// An ended session and its events are kept so long; 0: for ever.
    pub keep_ended_seconds: Seconds,
    /// Bytes of events kept, as they are stored; beyond it the sessions that ended longest ago go first. 0: no limit.
    pub keep_bytes: u64,
    /// Sessions with this label, whatever its value but `false`, are kept in any case. Empty: none are.
    pub keep_label: String,
    /// How often is looked for what is to go.
    pub retention_interval_seconds: Seconds,
    /// An entry of the audit log is kept so long; 0: for ever.
    pub keep_audit_seconds: Seconds,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self {
            keep_ended_seconds: Seconds::new(7.0 * 24.0 * 3_600.0),
            keep_bytes: 20 * 1024 * 1024 * 1024,
            keep_label: "keep".to_owned(),
            retention_interval_seconds: Seconds::new(60.0),
            keep_audit_seconds: Seconds::new(90.0 * 24.0 * 3_600.0),
        }
    }
}

/// The program that a session runs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentSettings {
    /// Claude Code: a name looked up in `PATH`, or an absolute path.
    pub agent_program: PathBuf,
    /// Programs that the dialect's `execute` may name.
    pub allowed_commands: Vec<String>,
    /// Run agents as this user, a name or `uid:gid`. Needs the rights to change users.
    pub agent_user: Option<String>,
    /// Let several principals start sessions although agents run as the gateway's own user.
    pub shared_uid_accepted: bool,
    /// Claude's configuration directory, which holds its one login. Empty: `~/.claude` of the agent's user.
    pub claude_config_dir: PathBuf,
    /// Refuse sessions while Claude has no login that serves (`GET /auth/status`), instead of starting agents that fail.
    /// Off: for logins that only the projects' own settings name.
    pub require_claude_login: bool,
    /// A login that can't renew itself is `expiring` so long before its end.
    pub login_warning_seconds: Seconds,
    /// A directory of the operator's: a credentials file (`*.json`) that is put there becomes Claude's login, if it is
    /// one and no older than the one that there is, and is removed. Empty: none.
    pub credentials_uploads_dir: PathBuf,
    /// Variables of the gateway's environment that agents get, if they are set.
    pub agent_env_pass: Vec<String>,
    /// Variables that agents get with these values.
    pub agent_env: BTreeMap<String, String>,
    /// How often Claude tries an API request again (`CLAUDE_CODE_MAX_RETRIES`).
    pub api_max_retries: u32,
    /// Let Claude send telemetry and look for updates.
    pub nonessential_traffic: bool,
    /// Whom the settings allow `bypassPermissions`: `nobody`, `admin` or `everybody`.
    pub bypass_permissions: Audience,
}

/// A group of principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// Nobody.
    #[default]
    Nobody,
    /// Admins.
    Admin,
    /// Every principal.
    Everybody,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            agent_program: PathBuf::from("claude"),
            allowed_commands: vec!["claude".to_owned()],
            agent_user: None,
            shared_uid_accepted: false,
            claude_config_dir: PathBuf::new(),
            require_claude_login: true,
            login_warning_seconds: Seconds::new(7.0 * 24.0 * 3_600.0),
            credentials_uploads_dir: PathBuf::new(),
            agent_env_pass: [
                "PATH",
                "HOME",
                "USER",
                "LOGNAME",
                "LANG",
                "LC_ALL",
                "LC_CTYPE",
                "TZ",
                "TMPDIR",
                "CLAUDE_CODE_OAUTH_TOKEN",
                "HTTP_PROXY",
                "HTTPS_PROXY",
                "NO_PROXY",
                "SSL_CERT_FILE",
                "NODE_EXTRA_CA_CERTS",
            ]
            .map(str::to_owned)
            .to_vec(),
            agent_env: BTreeMap::new(),
            api_max_retries: 4,
            nonessential_traffic: false,
            bypass_permissions: Audience::Nobody,
        }
    }
}

/// Where sessions may work.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorkspaceSettings {
    /// Directories that workspaces must lie in; the first also holds the fresh ones of sessions that name
    /// none. Empty: `~/cc-gateway-workspaces`, made at start.
    pub workspace_roots: Vec<PathBuf>,
    /// Roots whose projects' own settings and hooks are loaded.
    pub trusted_workspace_roots: Vec<PathBuf>,
    /// All gateways on this store see the same workspaces and Claude configuration: sessions with `on_lost: resume` of
    /// one that died go on at another one.
    pub workspaces_shared: bool,
}

/// Who may call.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSettings {
    /// The secret that signs access tokens, 32 bytes or more.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<String>")]
    pub jwt_secret: Option<SecretString>,
    /// A file that holds it. Empty: `jwt-secret` in the data directory, made at first start with mode 0600.
    pub jwt_secret_file: PathBuf,
    /// A private key in PEM, mode 0600, that signs access tokens in place of the secret: Ed25519 (`EdDSA`) or RSA of
    /// 2048 bits or more (RS256). Read again when it changes and on SIGHUP.
    pub signing_key_file: PathBuf,
    /// Files with further keys whose tokens are accepted, such as the last one's after a change: a public or private
    /// key in PEM or a signing secret, or directories of such files. Read again when they change and on SIGHUP.
    pub accepted_key_files: Vec<PathBuf>,
    /// Outside issuers whose tokens are accepted, as tables with `issuer`, `jwks_url` and `audience`, and perhaps
    /// `algorithms`, `name_claim`, `role_claim`, `admin_values` and `user_values`.
    pub trusted_issuers: Vec<TrustedIssuer>,
    /// `iss` of the tokens made and accepted.
    pub token_issuer: String,
    /// `aud` of the tokens made and accepted.
    pub token_audience: String,
    /// How long an access token serves.
    pub access_token_seconds: u64,
    /// How long a refresh token serves, once.
    pub refresh_token_seconds: u64,
    /// How far clocks may differ, 0 to 30.
    pub token_leeway_seconds: u64,
    /// At first start: a file with the password of `admin`. Else one is made and shown once.
    pub admin_password_file: PathBuf,
    /// Failed logins of one name from one address in a minute, at all gateways of a store together; five times as many
    /// of one name from everywhere, ten times as many from one address. Further ones are answered 429.
    pub max_failed_logins_per_minute: u32,
    /// Takes the password hash of an imported account for its password, as some batch servers did. Whoever reads
    /// a shadow file, or a copy of one, is then in without breaking a hash. Leave it off.
    pub login_with_password_hash: bool,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            jwt_secret: None,
            jwt_secret_file: PathBuf::new(),
            signing_key_file: PathBuf::new(),
            accepted_key_files: Vec::new(),
            trusted_issuers: Vec::new(),
            token_issuer: "cc-gateway".to_owned(),
            token_audience: "cc-gateway".to_owned(),
            access_token_seconds: 1_800,
            refresh_token_seconds: 30 * 86_400,
            token_leeway_seconds: 5,
            admin_password_file: PathBuf::new(),
            max_failed_logins_per_minute: 10,
            login_with_password_hash: false,
        }
    }
}
