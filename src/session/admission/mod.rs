//! Admission: slots under the cap, kept in the store so that several gateways share one cap, and the gate
//! that lets only so many agents start at once.
//!
//! A [`Slot`] is taken before anything is started and given back after the session's last process has gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::error::SessionError;
use crate::config::settings::SessionSettings;
use crate::store::{SharedStore, SlotOutcome};
use crate::telemetry::tasks;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// Slots and the start gate of one node.
#[derive(Debug, Clone)]
pub struct Admission {
    store: SharedStore,
    node: Arc<str>,
    max_sessions: u32,
    lease: Duration,
    /// One permit an agent that may be starting: a start costs half a CPU-second, and more at once only
    /// make each other late.
    starts: Arc<Semaphore>,
}

/// The right to have a live process. Must be given back with [`Slot::release`]; one that is dropped comes
/// back when its lease runs out.
#[derive(Debug)]
pub struct Slot {
    session: Uuid,
    store: SharedStore,
}

impl Admission {
    /// Admission for `node`.
    #[must_use]
    pub fn new(store: SharedStore, node: &str, settings: &SessionSettings) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let starts = if settings.max_concurrent_starts == 0 { cores } else { settings.max_concurrent_starts };
        Self {
            store,
            node: node.into(),
            max_sessions: settings.max_sessions,
            lease: settings.slot_lease_seconds.duration(),
            starts: Arc::new(Semaphore::new(starts)),
        }
    }

    /// How many slots there are.
    #[must_use]
    pub fn max_sessions(&self) -> u32 {
        self.max_sessions
    }

    /// Takes a slot for `session`.
    ///
    /// # Errors
    /// [`SessionError::Limit`] when all are taken, [`SessionError::Store`] when the store does not answer.
    pub async fn take(&self, session: Uuid) -> Result<Slot, SessionError> {
        match self.store.take_slot(session, &self.node, self.max_sessions, self.lease_ms()).await? {
            SlotOutcome::Taken { .. } => Ok(Slot { session, store: Arc::clone(&self.store) }),
            SlotOutcome::Full { next_expiry_ms, .. } => {
                // Leases are renewed while their sessions live, so the first expiry is only an upper bound.
                let retry_after_ms = next_expiry_ms.clamp(100, 1_000);
                Err(SessionError::Limit { max: self.max_sessions, retry_after_ms })
            }
        }
    }

    /// Waits for leave to start an agent. Hold the permit until it has answered or gone.
    pub async fn start_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.starts).acquire_owned().await.ok()
    }

    /// Renews this node's leases until `stop`.
    pub fn keep_leases(&self, stop: CancellationToken) {
        let admission = self.clone();
        tasks::spawn("slot-leases", async move {
            let mut tick = tokio::time::interval(admission.lease / 3);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = tick.tick() => {}
                }
                if let Err(error) = admission.store.renew_slots(&admission.node, admission.lease_ms()).await {
                    tracing::warn!(%error, "slot leases could not be renewed; trying again");
                }
            }
        });
    }

    fn lease_ms(&self) -> u64 {
        u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Slot {
    /// Gives the slot back, however long the store stays away: the node's leases are renewed as long as it
    /// lives, so a slot that was left to its lease would be lost until the next start.
    pub async fn release(self) {
        let mut wait = FIRST_RETRY;
        while let Err(error) = self.store.release_slot(self.session).await {
            tracing::warn!(session_id = %self.session, %error, "a slot could not be given back");
            if !error.retryable() {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_RETRY);
        }
    }

    /// Gives the slot back without making the caller wait for the store.
    pub fn release_later(self) {
        tasks::spawn("slot-release", self.release());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store as _;
    use crate::store::faulty::Faulty;
    use crate::store::sqlite::test_store;

    #[tokio::test]
    async fn a_slot_comes_back_however_long_the_store_was_away() {
        let store = Faulty::new(test_store(), 1, 1.0);
        store.set_failing(false);
        let admission = Admission::new(store.clone(), "node", &SessionSettings::default());
        let slot = admission.take(Uuid::from_u128(1)).await.unwrap();
        store.set_failing(true);
        slot.release_later();
        // Half of the failed calls land: those that did not must have been tried again.
        while store.failed() < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        store.set_failing(false);
        while store.slots_taken().await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
