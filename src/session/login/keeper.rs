//! The task that looks at Claude's login: on every question, and every second.
//!
//! A look each second, and not the kernel's notices: it sees a file that is replaced, a link that is swapped, a
//! directory that comes later, a mount and a network file system all alike, and costs a few system calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::as_agent;
use crate::api::http::{AuthStatus, LoginState};
use crate::claude::{Inspection, Inspector};
use crate::process::UserThread;
use crate::telemetry::metrics;
use crate::telemetry::time::now_ms;

const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Keeper {
    inspector: Inspector,
    thread: Option<Arc<UserThread>>,
    required: bool,
    seen: watch::Sender<Arc<Inspection>>,
}

impl Keeper {
    /// Looks for the first time.
    pub(super) async fn begin(
        inspector: Inspector,
        thread: Option<Arc<UserThread>>,
        required: bool,
    ) -> (Self, watch::Receiver<Arc<Inspection>>) {
        let (seen, receiver) = watch::channel(Arc::new(Inspection::unanswered()));
        let keeper = Self { inspector, thread, required, seen };
        let first = keeper.inspect().await;
        keeper.tell(&first.status);
        keeper.seen.send_replace(Arc::new(first));
        (keeper, receiver)
    }

    /// Answers questions until `stop`.
    pub(super) async fn serve(
        self,
        mut questions: mpsc::Receiver<oneshot::Sender<Arc<Inspection>>>,
        stop: CancellationToken,
    ) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = Vec::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                count = questions.recv_many(&mut asked, super::WAITING) => {
                    if count == 0 {
                        // Nobody is left who could ask.
                        return;
                    }
                }
                _ = tick.tick() => {}
            }
            let seen = self.look().await;
            for question in asked.drain(..) {
                // Who asked may have gone.
                let _nobody = question.send(Arc::clone(&seen));
            }
        }
    }

    async fn look(&self) -> Arc<Inspection> {
        let found = Arc::new(self.inspect().await);
        let before = self.seen.send_replace(Arc::clone(&found));
        if told_anew(&before) != told_anew(&found) {
            self.tell(&found.status);
        } else {
            gauges(&found.status);
        }
        found
    }

    async fn inspect(&self) -> Inspection {
        inspect(&self.inspector, self.thread.as_deref()).await
    }

    /// One line for each change.
    fn tell(&self, status: &AuthStatus) {
        gauges(status);
        let (state, method) = (status.status.as_str(), status.method.as_str());
        let (expires_at, subscription) = (status.expires_at.as_deref(), status.subscription_type.as_deref());
        let advice = status.instructions.as_deref().unwrap_or_default().join("; ");
        let (message, warnings) = (&status.message, status.warnings.join("; "));
        if status.status == LoginState::Authenticated && warnings.is_empty() {
            tracing::info!(state, method, expires_at, subscription, "Claude's login: {message}");
        } else {
            let sessions_are_refused = self.required && !status.usable;
            tracing::warn!(
                state,
                method,
                expires_at,
                subscription,
                warnings,
                advice,
                sessions_are_refused,
                "Claude's login: {message}"
            );
        }
    }
}

/// Looks, as the user that agents run as.
pub(super) async fn inspect(inspector: &Inspector, thread: Option<&UserThread>) -> Inspection {
    let inspector = inspector.clone();
    let found = as_agent(thread, move || inspector.inspect(now_ms())).await;
    found.unwrap_or_else(|| if thread.is_some() { Inspection::unanswered() } else { not_allowed() })
}

/// What is worth a line when it changes: everything but what changes with time alone.
fn told_anew(inspection: &Inspection) -> AuthStatus {
    AuthStatus { expires_in_seconds: None, ..inspection.status.clone() }
}

fn gauges(status: &AuthStatus) {
    metrics::claude_login(status.status, status.usable, status.expires_in_seconds);
}

/// The gateway may not act as the agents' user: then neither can it start one.
fn not_allowed() -> Inspection {
    let mut inspection = Inspection::unanswered();
    inspection.momentary = false;
    inspection.status.message =
        "Claude's login can't be looked at: the gateway may not act as the user that agents run as".to_owned();
    inspection.status.instructions =
        Some(vec!["Give the gateway the rights to change users, or leave `agent_user` out".to_owned()]);
    inspection
}
