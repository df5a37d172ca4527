//! The desk: the line under its lock, the store behind it, and the one task that serves those who wait.
//!
//! The task lives while somebody waits. It asks the store for a slot and only then looks who is first, so that
//! a slot always goes to who is next at that very moment. It asks when a slot of this node comes free, and now
//! and then because one of another node may have. The lock is never held across an await, and no slot is
//! dropped under it: a slot's drop takes it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, sleep_until};
use uuid::Uuid;

use super::line::{Joined, Line};
use super::slot::Slot;
use super::waiting::Waiting;
use crate::config::settings::SessionSettings;
use crate::session::backoff::Backoff;
use crate::session::error::{LimitReason, SessionError};
use crate::store::{SharedStore, SlotOutcome, StoreError};
use crate::telemetry::time::now_ms;
use crate::telemetry::{metrics, tasks};

/// How often the store is asked while somebody waits: slots of other nodes come free without a word.
const POLL: Duration = Duration::from_millis(500);
/// How often positions are told at most: in a long line each free slot changes all of them.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// When a refused caller does well to try again.
const RETRY_MS: u64 = 1_000;
/// The same at most, also while the line is held for longer.
const LONGEST_RETRY_MS: u64 = 60_000;

/// What one node's admission shares.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) max_sessions: u32,
    /// Shared by callers and by the task that serves; locked for moments only.
    pub(super) line: Mutex<Line>,
    pub(super) room_wanted: Arc<Notify>,
    store: SharedStore,
    node: Arc<str>,
    lease_ms: u64,
    max_queue: u32,
    holds: bool,
    /// Wakes the task that serves the line.
    wake: Notify,
}

/// One slot in its owner's count; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    desk: Arc<Desk>,
    owner: Arc<str>,
}

impl Desk {
    pub(super) fn new(store: SharedStore, node: &str, settings: &SessionSettings) -> Self {
        Self {
            max_sessions: settings.max_sessions,
            line: Mutex::new(Line::new(settings)),
            room_wanted: Arc::new(Notify::new()),
            store,
            node: node.into(),
            lease_ms: u64::try_from(settings.slot_lease_seconds.duration().as_millis()).unwrap_or(u64::MAX),
            max_queue: settings.max_queue,
            holds: settings.hold_queue_while_rate_limited,
            wake: Notify::new(),
        }
    }

    /// May anybody wait at all?
    pub(super) fn has_line(&self) -> bool {
        self.max_queue > 0
    }

    /// Counts a slot that is about to be taken without waiting.
    pub(super) fn enter(self: &Arc<Self>, owner: &str) -> Result<Share, SessionError> {
        let entered = self.line.lock().enter(owner);
        match entered {
            Ok(owner) => Ok(self.share(owner)),
            Err(reason) => Err(self.refusal(reason)),
        }
    }

    /// The same, but not while the line is held; `None` for whoever has to wait.
    pub(super) fn enter_past_nobody(self: &Arc<Self>, owner: &str) -> Option<Share> {
        let mut line = self.line.lock();
        if line.held_for_ms(now_ms()) > 0 {
            return None;
        }
        let owner = line.enter(owner).ok()?;
        Some(self.share(owner))
    }

    fn share(self: &Arc<Self>, owner: Arc<str>) -> Share {
        Share { desk: Arc::clone(self), owner }
    }

    /// Asks for a slot once.
    pub(super) async fn take_now(self: &Arc<Self>, session: Uuid, share: Share) -> Result<Slot, SessionError> {
        let mut slot = Slot::to_ask_for(self);
        slot.assign(session, share);
        match slot.ask().await? {
            SlotOutcome::Taken { .. } => Ok(slot),
            SlotOutcome::Full { next_expiry_ms, .. } => {
                slot.forget();
                self.room_wanted.notify_one();
                // Leases are renewed while their sessions live, so the first expiry is only an upper bound.
                let retry_after_ms = next_expiry_ms.clamp(100, RETRY_MS);
                Err(SessionError::Limit { reason: LimitReason::Slots { max: self.max_sessions }, retry_after_ms })
            }
        }
    }

    /// Takes a place in the line.
    pub(super) fn join(self: &Arc<Self>, session: Uuid, owner: &str) -> Result<Waiting, SessionError> {
        let joined = {
            let mut line = self.line.lock();
            let joined = line.join(owner, session);
            metrics::sessions_waiting(line.len());
            joined
        };
        let (owner, Joined { ticket, granted, place, needs_service }) =
            joined.map_err(|reason| self.refusal(reason))?;
        if needs_service {
            tasks::spawn("waiting-line", Arc::clone(self).serve());
        } else {
            self.wake.notify_one();
        }
        Ok(Waiting { desk: Arc::clone(self), owner, ticket, granted: Some(granted), place })
    }

    /// Gives a place up.
    pub(super) fn leave(&self, owner: &Arc<str>, ticket: super::line::Ticket) {
        let mut line = self.line.lock();
        if line.leave(owner, ticket) {
            metrics::sessions_waiting(line.len());
            drop(line);
            self.wake.notify_one();
        }
    }

    /// See [`super::Admission::account_limited`].
    pub(super) fn hold(&self, until_ms: Option<u64>) {
        if self.holds {
            self.line.lock().hold(until_ms.unwrap_or(0));
            self.wake.notify_one();
        }
    }

    /// A slot has been given back to the store.
    pub(super) fn slot_is_free(&self) {
        self.line.lock().slot_is_free();
        self.wake.notify_one();
    }

    pub(super) async fn ask_store(&self, id: Uuid) -> Result<SlotOutcome, StoreError> {
        self.store.take_slot(id, &self.node, self.max_sessions, self.lease_ms).await
    }

    pub(super) async fn release_in_store(&self, id: Uuid) -> Result<(), StoreError> {
        self.store.release_slot(id).await
    }

    pub(super) async fn renew_leases(&self) -> Result<(), StoreError> {
        self.store.renew_slots(&self.node, self.lease_ms).await
    }

    fn refusal(&self, reason: LimitReason) -> SessionError {
        let held_ms = self.line.lock().held_for_ms(now_ms());
        SessionError::Limit { reason, retry_after_ms: held_ms.clamp(RETRY_MS, LONGEST_RETRY_MS) }
    }

    /// Serves the line until nobody waits.
    async fn serve(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        // The slot whose answer was lost, if one was: it is asked for again before any other.
        let mut unsure = None;
        let (mut ask_at, mut tell_at) = (Instant::now(), Instant::now());
        loop {
            let now = Instant::now();
            let mut sleep_to = now + POLL;
            {
                let mut line = self.line.lock();
                if line.close_if_empty() {
                    break;
                }
                if line.take_ask_now() {
                    ask_at = now;
                }
                if line.has_moved() && tell_at <= now {
                    line.tell_positions();
                    tell_at = now + TELL_EVERY;
                }
                if line.has_moved() {
                    sleep_to = sleep_to.min(tell_at);
                }
                if line.wants_slot(now_ms()) {
                    sleep_to = sleep_to.min(ask_at);
                }
            }
            if sleep_to > now {
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = sleep_until(sleep_to) => {}
                }
                continue;
            }
            let slot = unsure.take().unwrap_or_else(|| Slot::to_ask_for(&self));
            match slot.ask().await {
                Ok(SlotOutcome::Taken { .. }) => {
                    backoff.reset();
                    self.grant(slot);
                }
                Ok(SlotOutcome::Full { .. }) => {
                    backoff.reset();
                    slot.forget();
                    self.room_wanted.notify_one();
                    ask_at = Instant::now() + POLL;
                }
                Err(error) if error.retryable() => {
                    tracing::warn!(%error, "the store gave no slot for those who wait; trying again");
                    unsure = Some(slot);
                    ask_at = Instant::now() + backoff.next_wait();
                }
                Err(error) => self.fail_first(error),
            }
        }
    }

    /// Gives a slot that has been taken to whoever is first now; to nobody, and so back, if all have left.
    fn grant(self: &Arc<Self>, mut slot: Slot) {
        let granted = {
            let mut line = self.line.lock();
            let granted = line.grant(now_ms());
            metrics::sessions_waiting(line.len());
            granted
        };
        if let Some((owner, place)) = granted {
            slot.assign(place.session, self.share(owner));
            metrics::slot_waited(place.since.elapsed());
            // One who left in this very moment does not take it: the slot comes back and goes to the next.
            drop(place.granted.send(Ok(slot)));
        }
    }

    /// What waiting does not cure is told to whoever it happens to.
    fn fail_first(&self, error: StoreError) {
        let first = {
            let mut line = self.line.lock();
            let first = line.remove_first();
            metrics::sessions_waiting(line.len());
            first
        };
        if let Some((_, place)) = first {
            drop(place.granted.send(Err(error.into())));
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.desk.line.lock().remove_live(&self.owner);
        self.desk.wake.notify_one();
    }
}
