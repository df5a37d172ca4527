//! Admission: slots under the cap, kept in the store so that several gateways share one cap; the line of
//! those who wait for one; and the gate that lets only so many agents start at once.
//!
//! A [`Slot`] is taken before anything is started and given back after the session's last process has gone.
//! The line is this node's own. Nobody passes it: while somebody in it could go next, nobody else gets a slot
//! here. How it is ordered stands in `line`, how it moves in `desk`.

mod desk;
mod line;
mod slot;
#[cfg(test)]
mod tests;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::desk::Desk;
pub use self::slot::Slot;
pub use self::waiting::{Admitted, Progress, Waiting};
use super::error::{LimitReason, SessionError};
use crate::config::settings::SessionSettings;
use crate::store::SharedStore;
use crate::telemetry::tasks;

/// Slots, the line and the start gate of one node.
#[derive(Debug, Clone)]
pub struct Admission {
    desk: Arc<Desk>,
    /// One permit an agent that may be starting: a start costs half a CPU-second, and more at once only
    /// make each other late.
    starts: Arc<Semaphore>,
    lease: Duration,
}

impl Admission {
    /// Admission for `node`.
    #[must_use]
    pub fn new(store: SharedStore, node: &str, settings: &SessionSettings) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let starts = if settings.max_concurrent_starts == 0 { cores } else { settings.max_concurrent_starts };
        Self {
            desk: Arc::new(Desk::new(store, node, settings)),
            starts: Arc::new(Semaphore::new(starts)),
            lease: settings.slot_lease_seconds.duration(),
        }
    }

    /// How many slots there are.
    #[must_use]
    pub fn max_sessions(&self) -> u32 {
        self.desk.max_sessions
    }

    /// How many sessions of this node wait in the line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.desk.line.lock().len()
    }

    /// Takes a slot for a session of `owner` (a subject) at once, or refuses.
    ///
    /// # Errors
    /// [`SessionError::Limit`] when all slots are taken, when others wait for the next one, and when the owner
    /// has as many live sessions as one may have; [`SessionError::Store`] when the store does not answer.
    pub async fn take(&self, session: Uuid, owner: &str) -> Result<Slot, SessionError> {
        let share = self.desk.enter(owner)?;
        self.desk.take_now(session, share).await
    }

    /// Takes a slot at once if there is one and nobody waits for it, else a place in the line. While the line
    /// is held ([`Admission::account_limited`]) it is always a place; with `max_queue` 0 this is
    /// [`Admission::take`].
    ///
    /// # Errors
    /// [`SessionError::Limit`] when the line is full, or this owner's share of it; [`SessionError::Store`] when
    /// the store does not answer.
    pub async fn take_or_wait(&self, session: Uuid, owner: &str) -> Result<Admitted, SessionError> {
        if !self.desk.has_line() {
            return self.take(session, owner).await.map(Admitted::Slot);
        }
        if let Some(share) = self.desk.enter_past_nobody(owner) {
            match self.desk.take_now(session, share).await {
                Err(SessionError::Limit { reason: LimitReason::Slots { .. }, .. }) => {}
                outcome => return outcome.map(Admitted::Slot),
            }
        }
        self.desk.join(session, owner).map(Admitted::Waiting)
    }

    /// Claude's account refuses work until then (milliseconds since the epoch); `None`: it takes work again.
    /// Until then the line stands still, if the setting `hold_queue_while_rate_limited` says so.
    pub fn account_limited(&self, until_ms: Option<u64>) {
        self.desk.hold(until_ms);
    }

    /// Told whenever a slot was wanted and all were taken: whoever can free one by putting an idle process
    /// away should. One listener; what is told while it is busy is kept, once.
    #[must_use]
    pub fn room_wanted(&self) -> Arc<Notify> {
        Arc::clone(&self.desk.room_wanted)
    }

    /// Waits for leave to start an agent. Hold the permit until it has answered or gone.
    pub async fn start_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.starts).acquire_owned().await.ok()
    }

    /// Renews this node's leases until `stop`.
    pub fn keep_leases(&self, stop: CancellationToken) {
        let (desk, lease) = (Arc::clone(&self.desk), self.lease);
        tasks::spawn("slot-leases", async move {
            let mut tick = tokio::time::interval(lease / 3);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = tick.tick() => {}
                }
                if let Err(error) = desk.renew_leases().await {
                    tracing::warn!(%error, "slot leases could not be renewed; trying again");
                }
            }
        });
    }
}
