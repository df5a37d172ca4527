//! What types can't say: bounds, forms, and settings that must fit each other.

mod callers;
pub(crate) mod forms;
pub mod secret;

use std::net::SocketAddr;

use secrecy::ExposeSecret;

use super::loader::Loaded;
use super::problem::Problem;
use super::settings::Seconds;
use super::store_url;
use super::table::ENV_PREFIX;

/// Adds everything that is wrong with the settings to `problems`.
pub(super) fn check(loaded: &Loaded, problems: &mut Vec<Problem>) {
    let mut check = Check { loaded, problems };
    check.data();
    check.listeners();
    check.bounds();
    check.agent();
    check.workspaces();
    check.auth();
    check.callers();
    check.log();
}

struct Check<'a> {
    loaded: &'a Loaded,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    /// Notes a problem with a leaf, named with where its value comes from.
    fn wrong(&mut self, leaf: &'static str, message: impl Into<String>) {
        self.problems.push(Problem::new(self.loaded.origin(leaf), Some(leaf), message));
    }

    fn require(&mut self, holds: bool, leaf: &'static str, message: &str) {
        if !holds {
            self.wrong(leaf, message);
        }
    }

    fn data(&mut self) {
        let data = &self.loaded.settings.data;
        if let Some(complaint) = store_url::complaint(&data.store_url) {
            self.wrong("store_url", complaint);
        }
        let prefix = &data.redis_key_prefix;
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.:/".contains(letter);
        let fits = (1..=64).contains(&prefix.len()) && prefix.chars().all(is_plain);
        self.require(fits, "redis_key_prefix", "expected 1 to 64 letters, digits and `-_.:/`");
    }

    fn listeners(&mut self) {
        let (http, ws) = (self.loaded.settings.http.http_listen, self.loaded.settings.websocket.ws_listen);
        let overlap =
            |a: SocketAddr, b: SocketAddr| a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
        // Port 0 is any free one, so two of them differ.
        if http.port() != 0 && http.port() == ws.port() && overlap(http, ws) {
            let http_origin = self.loaded.origin("http_listen");
            self.wrong(
                "ws_listen",
                format!("{ws} is also the HTTP listener ({http_origin}): they need different ports"),
            );
        }
        for origin in self.loaded.settings.websocket.allowed_origins.clone() {
            if let Err(expected) = forms::origin(&origin) {
                self.wrong("allowed_origins", format!("{origin:?}: {expected}"));
            }
        }
    }

    fn bounds(&mut self) {
        let settings = &self.loaded.settings;
        let (http, ws, sessions, auth) = (&settings.http, &settings.websocket, &settings.sessions, &settings.auth);
        let at_least: [(&'static str, u64, u64); 17] = [
            ("body_limit_bytes", bytes(http.body_limit_bytes), 1_024),
            ("max_http_connections", bytes(http.max_http_connections), 1),
            ("max_ws_connections", bytes(ws.max_ws_connections), 1),
            ("max_message_bytes", bytes(ws.max_message_bytes), 1_024),
            ("max_response_bytes", bytes(ws.max_response_bytes), 1_024),
            ("max_batch_calls", bytes(ws.max_batch_calls), 1),
            ("max_calls_in_flight", bytes(ws.max_calls_in_flight), 1),
            ("max_attachments", bytes(ws.max_attachments), 1),
            ("outbox_messages", bytes(ws.outbox_messages), 1),
            ("outbox_bytes", bytes(ws.outbox_bytes), 1_024),
            ("max_sessions", sessions.max_sessions.into(), 1),
            ("max_queued_per_principal", sessions.max_queued_per_principal.into(), 1),
            ("max_line_bytes", bytes(sessions.max_line_bytes), 1_024),
            ("pending_events_bytes", bytes(sessions.pending_events_bytes), 1_024),
            ("hot_tail_bytes", bytes(sessions.hot_tail_bytes), 1_024),
            ("access_token_seconds", auth.access_token_seconds, 1),
            ("max_failed_logins_per_minute", auth.max_failed_logins_per_minute.into(), 1),
        ];
        for (leaf, value, least) in at_least {
            if value < least {
                self.wrong(leaf, format!("expected {least} or more; found {value}"));
            }
        }
        let more_than_nothing = [
            ("first_byte_timeout_seconds", http.first_byte_timeout_seconds),
            ("header_timeout_seconds", http.header_timeout_seconds),
            ("ping_interval_seconds", ws.ping_interval_seconds),
            ("slow_reader_timeout_seconds", ws.slow_reader_timeout_seconds),
            ("start_timeout_seconds", sessions.start_timeout_seconds),
            ("warm_idle_seconds", sessions.warm_idle_seconds),
        ];
        for (leaf, value) in more_than_nothing {
            self.require(value > Seconds::new(0.0), leaf, "expected more than 0 seconds; found 0");
        }
        // The last free slot is a session's.
        self.require(
            sessions.warm_processes < sessions.max_sessions.max(1),
            "warm_processes",
            "expected fewer than max_sessions: each has a slot, and sessions need one too",
        );
        // The lease is renewed several times in its length.
        self.require(
            sessions.slot_lease_seconds >= Seconds::new(1.0),
            "slot_lease_seconds",
            "expected a number of seconds, 1 or more",
        );
        self.require(
            auth.access_token_seconds <= 30 * 86_400,
            "access_token_seconds",
            "expected 2592000 (30 days) or less",
        );
        if auth.token_leeway_seconds > 30 {
            self.wrong("token_leeway_seconds", format!("expected 0 to 30; found {}", auth.token_leeway_seconds));
        }
    }

    fn agent(&mut self) {
        let agent = &self.loaded.settings.agent;
        let program = &agent.agent_program;
        let bare = program.components().count() == 1;
        self.require(
            !program.as_os_str().is_empty() && (bare || program.is_absolute()),
            "agent_program",
            "expected a name to look up in PATH, such as claude, or an absolute path",
        );
        self.require(
            agent.claude_config_dir.as_os_str().is_empty() || agent.claude_config_dir.is_absolute(),
            "claude_config_dir",
            "expected an absolute path",
        );
        let uploads = &agent.credentials_uploads_dir;
        self.require(
            uploads.as_os_str().is_empty() || uploads.is_absolute(),
            "credentials_uploads_dir",
            "expected an absolute path",
        );
        // Its files are removed once they have served.
        self.require(
            uploads.as_os_str().is_empty() || *uploads != agent.claude_config_dir,
            "credentials_uploads_dir",
            "is claude_config_dir: name a directory of its own",
        );
        self.require(
            agent.allowed_commands.iter().all(|name| !name.trim().is_empty()),
            "allowed_commands",
            "expected names of programs; one is empty",
        );
        self.require(
            agent.agent_user.as_ref().is_none_or(|name| !name.trim().is_empty()),
            "agent_user",
            "expected the name of a user; it is empty: leave it out to run agents as the gateway's own user",
        );
        for (leaf, names) in [
            ("agent_env_pass", agent.agent_env_pass.iter().collect::<Vec<_>>()),
            ("agent_env", agent.agent_env.keys().collect()),
        ] {
            for name in names {
                if !forms::is_variable_name(name) {
                    self.wrong(leaf, format!("{name:?} can't be the name of a variable"));
                } else if name.starts_with(ENV_PREFIX) {
                    self.wrong(leaf, format!("{name}: agents get nothing of the gateway's own"));
                }
            }
        }
        self.require(
            agent.agent_env.values().all(|value| !value.contains('\0')),
            "agent_env",
            "a value holds a NUL, which no variable can",
        );
    }

    fn workspaces(&mut self) {
        let workspaces = &self.loaded.settings.workspaces;
        for root in &workspaces.workspace_roots {
            if let Err(expected) = forms::root(root) {
                self.wrong("workspace_roots", format!("{}: {expected}", root.display()));
            }
        }
        for root in &workspaces.trusted_workspace_roots {
            if let Err(expected) = forms::root(root) {
                self.wrong("trusted_workspace_roots", format!("{}: {expected}", root.display()));
            } else if !workspaces.workspace_roots.iter().any(|outer| root.starts_with(outer)) {
                let message = format!("{}: lies in none of the workspace_roots", root.display());
                self.wrong("trusted_workspace_roots", message);
            }
        }
    }

    fn auth(&mut self) {
        let auth = &self.loaded.settings.auth;
        let file_was_given = !auth.jwt_secret_file.as_os_str().is_empty();
        if let Some(given) = &auth.jwt_secret {
            if let Err(reason) = secret::judge(given.expose_secret().trim()) {
                self.wrong("jwt_secret", reason);
            }
            let other = self.loaded.origin("jwt_secret_file");
            self.require(!file_was_given, "jwt_secret", &format!("a file is named too ({other}): set one of the two"));
        } else if file_was_given {
            let file = &auth.jwt_secret_file;
            let reason = match std::fs::read_to_string(file) {
                Ok(text) => secret::judge(text.trim()).err().map(str::to_owned),
                Err(error) => Some(format!("can't be read: {error}")),
            };
            if let Some(reason) = reason {
                self.wrong("jwt_secret_file", format!("{}: {reason}", file.display()));
            }
        }
        for (leaf, text) in [("token_issuer", &auth.token_issuer), ("token_audience", &auth.token_audience)] {
            self.require(!text.trim().is_empty(), leaf, "expected a name; it is empty");
        }
    }

    fn log(&mut self) {
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.loaded.settings.log.log_filter) {
            let message = format!("expected a filter such as `info` or `cc_gateway=debug,info`: {error}");
            self.wrong("log_filter", message);
        }
    }
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
