//! Admission: slots under the cap, the line of those who wait for one, and the gate that lets only so many agents
//! start at once.
//!
//! A [`Slot`] is taken before anything is started and given back after the session's last process has gone. Slots and
//! the line are in the store, so that several gateways share them. Nobody passes the line: while somebody in it could
//! go next, on whatever node, nobody else gets a slot. How it is ordered stands in [`crate::store::slots`], what this
//! node knows of it in `ours`, how it is asked in `desk`.

mod desk;
mod ours;
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
use super::error::SessionError;
use crate::config::settings::SessionSettings;
use crate::store::{SharedBus, SharedStore, SlotCounts, StoreError, Topic};
use crate::telemetry::tasks;

/// How often the store is told which slots this node has.
const RESTATE_EVERY: Duration = Duration::from_secs(5);

/// Slots, the line and the start gate of one node.
#[derive(Debug, Clone)]
pub struct Admission {
    desk: Arc<Desk>,
    /// One permit an agent that may be starting: a start costs half a CPU-second, and more at once only
    /// make each other late.
    starts: Arc<Semaphore>,
}

impl Admission {
    /// Admission for `node`, which must have only this one: what the store has of the node and this does not know is
    /// given back.
    #[must_use]
    pub fn new(store: SharedStore, node: &str, settings: &SessionSettings) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let starts = if settings.max_concurrent_starts == 0 { cores } else { settings.max_concurrent_starts };
        Self { desk: Arc::new(Desk::new(store, node, settings)), starts: Arc::new(Semaphore::new(starts)) }
    }

    /// How many slots there are.
    #[must_use]
    pub fn max_sessions(&self) -> u32 {
        self.desk.limits.max_sessions
    }

    /// How many sessions of this node wait in the line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.desk.ours.lock().waiting()
    }

    /// What this node has of slots and of places in the line.
    #[must_use]
    pub fn counts(&self) -> SlotCounts {
        self.desk.ours.lock().counts()
    }

    /// How many processes at rest would do well to give their slots up: one for each session of this node that waits,
    /// or one if only others wait.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.desk.ours.lock().wanted()
    }

    /// Takes a slot for a session of `owner` (a subject) at once, or refuses.
    ///
    /// # Errors
    /// [`SessionError::Limit`] when all slots are taken, when others wait for the next one, and when the owner
    /// has as many live sessions as one may have; [`SessionError::Store`] when the store does not answer.
    pub async fn take(&self, session: Uuid, owner: &str) -> Result<Slot, SessionError> {
        self.desk.take(session, owner).await
    }

    /// Takes a slot for a process that no session wants yet: only if nobody waits, and another one stays free. Makes no
    /// room for it.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn take_spare(&self, session: Uuid, owner: &str) -> Result<Option<Slot>, StoreError> {
        self.desk.take_spare(session, owner).await
    }

    /// Does somebody wait for a slot, or is none free, over all nodes? While the store is away nobody can say.
    pub(super) async fn is_scarce(&self) -> bool {
        self.desk.free_slots().await.is_ok_and(|free| free == 0)
    }

    /// Passes a slot on to another principal, as if it had been taken for it: `false`, if it could not have a slot now
    /// or, with `queue`, would have had to wait. It stays taken all the while.
    ///
    /// # Errors
    /// The store's: then nobody knows whose the slot is.
    pub(super) async fn pass_on(&self, slot: &Slot, owner: &str, queue: bool) -> Result<bool, StoreError> {
        self.desk.pass_on(slot, owner, queue).await
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
        self.desk.take_or_wait(session, owner).await
    }

    /// Claude's account refuses work until then (milliseconds since the epoch); `None`: it takes work again.
    /// Until then those of this node who wait stand still, and those of other nodes pass them, if the setting
    /// `hold_queue_while_rate_limited` says so.
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

    /// Looks at once, until `stop`, whenever a slot has come free on whatever node or was given to somebody who waits.
    pub fn hear_slots(&self, bus: &SharedBus, stop: CancellationToken) {
        let (desk, watch) = (Arc::clone(&self.desk), bus.watch(Topic::Slots));
        tasks::spawn("slots-moved", async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = watch.moved.notified() => desk.wake(),
                }
            }
        });
    }

    /// Tells the store again and again which slots this node has, until `stop`: one that was wiped, or comes from a
    /// backup, takes them in again, and what it has of this node that nobody knows is given back.
    pub fn keep_slots(&self, stop: CancellationToken) {
        let desk = Arc::clone(&self.desk);
        tasks::spawn("slots", async move {
            let mut tick = tokio::time::interval(RESTATE_EVERY);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = tick.tick() => {}
                }
                if let Err(error) = desk.restate().await {
                    tracing::warn!(%error, "the store could not be told of this node's slots; trying again");
                }
            }
        });
    }
}
