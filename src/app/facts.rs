//! What the HTTP side shows of the running gateway.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::api::http::{AuthStatus, Readiness};
use crate::http::GatewayFacts;
use crate::session::Sessions;
use crate::session::launch::Launcher;
use crate::store::SharedStore;

/// A store that has not answered by then counts as away.
const STORE_WAIT: Duration = Duration::from_secs(2);

const NO_LOGIN: &str = "Claude has no login that serves, so no session is started: see /auth/status";

/// The running gateway, as far as probes and people ask.
pub(super) struct Facts {
    pub sessions: Arc<Sessions>,
    pub store: SharedStore,
    pub launcher: Arc<Launcher>,
    pub agent_program: PathBuf,
    pub started: Instant,
}

#[async_trait]
impl GatewayFacts for Facts {
    async fn readiness(&self) -> Readiness {
        let store_answers = matches!(tokio::time::timeout(STORE_WAIT, self.store.check()).await, Ok(Ok(())));
        let reasons: Vec<String> = [
            (!store_answers, "store"),
            (self.sessions.is_draining(), "draining"),
            (self.launcher.find(&self.agent_program).is_err(), "agent_missing"),
        ]
        .into_iter()
        .filter(|(wrong, _)| *wrong)
        .map(|(_, reason)| reason.to_owned())
        .collect();
        let concerns = self.store.concerns().into_iter().map(str::to_owned);
        // Not a reason: a gateway that is taken out of service can't tell its `/auth/status`.
        let no_login = self.launcher.login().is_missing().then(|| NO_LOGIN.to_owned());
        let warnings = concerns.chain(no_login).collect();
        Readiness { ready: reasons.is_empty(), reasons, warnings }
    }

    async fn claude_login(&self) -> AuthStatus {
        self.launcher.login().status().await
    }

    async fn slots(&self) -> (u64, u32) {
        let (slots, max_sessions) = self.sessions.slots().await;
        (slots.taken, max_sessions)
    }

    fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    fn draining(&self) -> bool {
        self.sessions.is_draining()
    }
}
