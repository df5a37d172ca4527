//! Who may start while Claude's login is about to be renewed: one at a time.
//!
//! A refresh token serves once, and each agent that starts then wants to renew. Claude has a lock for that; but who
//! waits too long for it fails, and versions without it burn the token. So the first agent goes alone until the
//! credentials file tells a later end. That may never come (the renewal fails, or the agent ends before): then the
//! next one goes, and once [`PATIENCE`] is over for this end of the login, everybody does.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::Instant;

use crate::claude::Inspection;
use crate::telemetry::tasks;
use crate::telemetry::time::now_ms;

/// Claude renews a token that ends within five minutes; a little more, since an agent takes a moment to start.
const RENEWED_AHEAD_MS: u64 = 310_000;
/// How long starts wait for one renewal, altogether.
const PATIENCE: Duration = Duration::from_secs(20);

/// The right to start an agent that may renew the login.
#[derive(Debug)]
pub struct Turn {
    /// Its drop ends the turn.
    _held: oneshot::Sender<()>,
}

#[derive(Debug)]
pub(super) struct Renewals {
    seen: watch::Receiver<Arc<Inspection>>,
    turn: Arc<Semaphore>,
    /// The end of the login that is about to be renewed, and when everybody may start all the same.
    awaited: Mutex<Option<(u64, Instant)>>,
    patience: Duration,
}

impl Renewals {
    pub(super) fn new(seen: watch::Receiver<Arc<Inspection>>) -> Self {
        Self { seen, turn: Arc::new(Semaphore::new(1)), awaited: Mutex::new(None), patience: PATIENCE }
    }

    /// With less patience.
    #[cfg(test)]
    pub(super) fn hasty(seen: watch::Receiver<Arc<Inspection>>, patience: Duration) -> Self {
        Self { patience, ..Self::new(seen) }
    }

    /// Waits for leave to start. `None`: the login is not about to be renewed, or that was waited for long enough.
    pub(super) async fn turn<F>(&self, look: impl Fn() -> F) -> Option<Turn>
    where
        F: Future<Output = Arc<Inspection>>,
    {
        // As seen within the last second: what else is looked at keeps nobody from starting.
        about_to_be_renewed(&self.seen.borrow())?;
        loop {
            let end = about_to_be_renewed(look().await.as_ref())?;
            let until = self.until(end)?;
            let permit = tokio::select! {
                permit = Arc::clone(&self.turn).acquire_owned() => permit.ok()?,
                () = tokio::time::sleep_until(until) => return None,
            };
            // Whoever was before may have renewed it.
            if about_to_be_renewed(look().await.as_ref()) == Some(end) {
                return Some(self.begin(end, until, permit));
            }
        }
    }

    /// Until when that end of the login is waited for; `None`: no longer.
    fn until(&self, end: u64) -> Option<Instant> {
        let now = Instant::now();
        let mut awaited = self.awaited.lock();
        let until = match *awaited {
            Some((known, until)) if known == end => until,
            _ => now + self.patience,
        };
        *awaited = Some((end, until));
        (until > now).then_some(until)
    }

    fn begin(&self, end: u64, until: Instant, permit: OwnedSemaphorePermit) -> Turn {
        let (held, over) = oneshot::channel();
        let mut seen = self.seen.clone();
        tasks::spawn("login-renewal", async move {
            let _permit = permit;
            tokio::select! {
                _ = over => {}
                _ = seen.wait_for(|seen| about_to_be_renewed(seen) != Some(end)) => {}
                () = tokio::time::sleep_until(until) => {
                    tracing::warn!("Claude's login was to be renewed and was not; agents start all the same");
                }
            }
        });
        Turn { _held: held }
    }
}

/// The end of the login, if the next agent will renew it.
pub(super) fn about_to_be_renewed(seen: &Inspection) -> Option<u64> {
    let end = seen.expires_at_ms.filter(|_| seen.status.refreshable)?;
    (end < now_ms().saturating_add(RENEWED_AHEAD_MS)).then_some(end)
}
