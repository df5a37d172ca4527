//! What the HTTP side shows of the running gateway.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::api::http::{AuthStatus, Readiness};
use crate::claude::inspect;
use crate::http::GatewayFacts;
use crate::session::Sessions;
use crate::session::launch::Launcher;
use crate::store::SharedStore;
use crate::telemetry::time::now_ms;

/// A store that has not answered by then counts as away.
const STORE_WAIT: Duration = Duration::from_secs(2);
/// A login that ends within a week and can't renew itself is `expiring`.
const WARN_AHEAD_MS: u64 = 7 * 24 * 3_600 * 1_000;

/// The running gateway, as far as probes and people ask.
pub(super) struct Facts {
    pub sessions: Arc<Sessions>,
    pub store: SharedStore,
    pub launcher: Arc<Launcher>,
    pub agent_program: PathBuf,
    pub agent_env: BTreeMap<OsString, OsString>,
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
        let warnings = self.store.concerns().into_iter().map(str::to_owned).collect();
        Readiness { ready: reasons.is_empty(), reasons, warnings }
    }

    async fn claude_login(&self) -> AuthStatus {
        inspect(&self.agent_env, now_ms(), WARN_AHEAD_MS)
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
