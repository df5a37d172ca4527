//! Claude's own login, as far as sessions need it: may one be started, and may it be started now?
//!
//! One task, the keeper, owns what is known of the login: everybody else asks it. Each answer is a fresh look, so a
//! login that was brought a moment ago counts at once; beside that it looks every second, for the log and the metrics.
//! All looking and writing happens as the user that agents run as.
//!
//! It must not know sessions.

mod deliveries;
mod keeper;
mod renewal;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::error::SessionError;
use crate::api::http::{AuthStatus, Delivery, LoginMethod};
use crate::claude::{Inspection, Inspector};
use crate::config::settings::AgentSettings;
use crate::process::{RunAs, UserThread};
use crate::telemetry::tasks;
use deliveries::Deliveries;
use keeper::Keeper;
use renewal::Renewals;

pub use renewal::Turn;

/// Questions that may wait for the keeper. It answers all that wait with one look.
const WAITING: usize = 64;

/// What the keeper needs to know.
#[derive(Debug)]
pub struct LoginSetup {
    /// How the login is judged.
    pub inspector: Inspector,
    /// Refuse sessions that Claude has no login for.
    pub required: bool,
    /// Where an operator puts credentials files; empty: nowhere.
    pub uploads: PathBuf,
    /// A credentials file in base64, from the gateway's environment.
    pub delivered: Option<SecretString>,
}

impl LoginSetup {
    /// What the settings say, for agents with that environment and user.
    #[must_use]
    pub fn new(agent: &AgentSettings, inspector: Inspector, delivered: Option<SecretString>) -> Self {
        Self {
            inspector,
            required: agent.require_claude_login,
            uploads: agent.credentials_uploads_dir.clone(),
            delivered,
        }
    }
}

/// How a gateway judges the login of agents with the environment `env`.
#[must_use]
pub fn inspector(
    agent: &AgentSettings,
    env: std::collections::BTreeMap<std::ffi::OsString, std::ffi::OsString>,
    user: Option<&RunAs>,
) -> Inspector {
    Inspector {
        env,
        agent_uid: user.map_or_else(|| rustix::process::geteuid().as_raw(), |user| user.uid),
        warn_ahead_ms: u64::try_from(agent.login_warning_seconds.duration().as_millis()).unwrap_or(u64::MAX),
    }
}

/// A handle to what is known of Claude's login. All clones lead to the same keeper.
#[derive(Clone, Debug)]
pub struct ClaudeLogin {
    required: bool,
    /// Nobody keeps it: every session may start. For tests of other things.
    kept: Option<Kept>,
}

/// What tells one login from another, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    method: LoginMethod,
    path: Option<String>,
    subscription: Option<String>,
    expires_at_ms: Option<u64>,
}

#[derive(Clone, Debug)]
struct Kept {
    asks: mpsc::Sender<oneshot::Sender<Arc<Inspection>>>,
    /// What the keeper has seen last.
    seen: watch::Receiver<Arc<Inspection>>,
    delivery: watch::Receiver<Option<Delivery>>,
    renewals: Arc<Renewals>,
}

impl ClaudeLogin {
    /// A login that nobody looks at: no session is refused for it.
    #[must_use]
    pub fn unguarded() -> Self {
        Self { required: false, kept: None }
    }

    /// Installs what the environment brings, looks for the first time, and keeps looking until `stop`.
    pub async fn keep(setup: LoginSetup, user: Option<&RunAs>, stop: CancellationToken) -> Self {
        let required = setup.required;
        let thread = match UserThread::start("login-files", user) {
            Ok(thread) => Some(Arc::new(thread)),
            Err(error) => {
                tracing::error!(%error, "Claude's login can't be looked at as the user that agents run as");
                None
            }
        };
        let (told, delivery) = watch::channel(None);
        let mut deliveries = Deliveries::new(&setup, thread.clone(), told);
        if let Some(text) = &setup.delivered {
            deliveries.install_from_environment(text).await;
        }
        if !setup.uploads.as_os_str().is_empty() {
            let (looked, first) = oneshot::channel();
            tasks::spawn("login-uploads", deliveries.serve(looked, stop.clone()));
            // What lies there already counts from the start, unless its file system hangs.
            let _late = tokio::time::timeout(FILES_WITHIN, first).await;
        }
        let (asks, questions) = mpsc::channel(WAITING);
        let (keeper, seen) = Keeper::begin(setup.inspector, thread, required).await;
        tasks::spawn("claude-login", keeper.serve(questions, stop));
        let renewals = Arc::new(Renewals::new(seen.clone()));
        Self { required, kept: Some(Kept { asks, seen, delivery, renewals }) }
    }

    /// Looks at the login, now.
    pub async fn look(&self) -> Arc<Inspection> {
        let Some(kept) = &self.kept else { return Arc::new(Inspection::unanswered()) };
        let (reply, answer) = oneshot::channel();
        if kept.asks.send(reply).await.is_err() {
            return Arc::clone(&kept.seen.borrow());
        }
        // The keeper ends with the gateway only.
        answer.await.unwrap_or_else(|_| Arc::clone(&kept.seen.borrow()))
    }

    /// The state of the login, now, for people.
    pub async fn status(&self) -> AuthStatus {
        let mut status = self.look().await.status.clone();
        status.delivery = self.kept.as_ref().and_then(|kept| kept.delivery.borrow().clone());
        status
    }

    /// Is there no login that serves, where one is required? As it was seen last.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.required && self.kept.as_ref().is_some_and(|kept| !kept.seen.borrow().status.usable)
    }

    /// May a session of Claude's be started, as far as its login goes?
    ///
    /// # Errors
    /// [`SessionError::ClaudeLogin`], with what `/auth/status` says.
    pub async fn check(&self) -> Result<(), SessionError> {
        if !self.required {
            return Ok(());
        }
        let seen = self.look().await;
        if seen.status.usable {
            return Ok(());
        }
        Err(SessionError::ClaudeLogin {
            status: seen.status.status,
            message: seen.status.message.clone(),
            instructions: seen.status.instructions.clone().unwrap_or_default(),
            momentary: seen.momentary,
        })
    }

    /// Which login it is, as far as it was seen last; `None`: none that serves, or one that is not kept.
    pub(super) fn identity(&self) -> Option<Identity> {
        let seen = self.kept.as_ref()?.seen.borrow();
        let status = &seen.status;
        // One that renews itself stays the same one.
        let expires_at_ms = seen.expires_at_ms.filter(|_| !status.refreshable);
        let identity = Identity {
            method: status.method,
            path: status.path.clone(),
            subscription: status.subscription_type.clone(),
            expires_at_ms,
        };
        (status.usable || !self.required).then_some(identity)
    }

    /// Told whenever it was looked at; `None`: nobody keeps it.
    pub(super) fn changes(&self) -> Option<watch::Receiver<Arc<Inspection>>> {
        self.kept.as_ref().map(|kept| kept.seen.clone())
    }

    /// Will the next agent that starts renew it, as far as it was seen last? Then agents start one at a time.
    pub(super) fn is_about_to_be_renewed(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| renewal::about_to_be_renewed(&kept.seen.borrow()).is_some())
    }

    /// Waits until an agent may start: while the login is about to be renewed, one starts at a time. The turn is over
    /// when it is dropped, or when the login has been renewed.
    pub async fn turn(&self) -> Option<Turn> {
        let kept = self.kept.as_ref()?;
        kept.renewals.turn(|| self.look()).await
    }
}

/// Looks once, for a program that keeps nothing.
pub async fn look_once(inspector: &Inspector, user: Option<&RunAs>) -> Inspection {
    keeper::inspect(inspector, UserThread::start("login-files", user).ok().as_ref()).await
}

/// How long a file system may take to answer before it counts as away.
const FILES_WITHIN: Duration = Duration::from_secs(5);

/// Does `work` as the user that agents run as; `None` if that can't be, or not in time.
async fn as_agent<T: Send + 'static>(
    thread: Option<&UserThread>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::time::timeout(FILES_WITHIN, thread?.run(work)).await.ok().flatten()
}

#[cfg(test)]
mod tests;
