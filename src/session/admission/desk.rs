//! The desk: what this node asks of the slots and the line in the store, and the one task that serves those of this
//! node who wait.
//!
//! The line itself is in the store, one for all gateways. Whoever changes it there lets in who is next, on whatever
//! node: the task only looks who of this node has got a slot and where the others stand. It looks when it is woken,
//! and now and then, because other nodes change the line too. What it finds that nobody here knows it gives back; who
//! has lost their place, because the store has forgotten it, takes another one. The lock is never held across an
//! await, and no slot is dropped under it: a slot's drop takes it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, sleep, sleep_until};
use uuid::Uuid;

use super::ours::Ours;
use super::slot::Slot;
use super::waiting::{Admitted, Waiting};
use crate::config::settings::SessionSettings;
use crate::session::backoff::Backoff;
use crate::session::error::{LimitReason, SessionError};
use crate::store::{LineLimits, LineOutcome, SharedStore, SlotAsked, SlotLimits, SlotOutcome, StoreError};
use crate::telemetry::time::now_ms;
use crate::telemetry::{metrics, tasks};

/// How often the store is asked for positions while somebody waits: at least, because other nodes may move the line
/// without a word, and at most, because in a long line each free slot changes all of them.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// When a refused caller does well to try again.
const RETRY_MS: u64 = 1_000;
/// The same at most, also while the line is held for longer.
const LONGEST_RETRY_MS: u64 = 60_000;

/// What one node's admission shares.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) limits: SlotLimits,
    line: LineLimits,
    /// Shared by callers and by the task that serves; locked for moments only.
    pub(super) ours: Mutex<Ours>,
    pub(super) room_wanted: Arc<Notify>,
    store: SharedStore,
    node: Arc<str>,
    holds: bool,
    /// Wakes the task that serves the line.
    wake: Notify,
}

impl Desk {
    pub(super) fn new(store: SharedStore, node: &str, settings: &SessionSettings) -> Self {
        Self {
            limits: SlotLimits {
                max_sessions: settings.max_sessions,
                max_sessions_per_principal: settings.max_sessions_per_principal,
            },
            line: LineLimits {
                max_queue: settings.max_queue,
                max_queued_per_principal: settings.max_queued_per_principal,
            },
            ours: Mutex::default(),
            room_wanted: Arc::new(Notify::new()),
            store,
            node: node.into(),
            holds: settings.hold_queue_while_rate_limited,
            wake: Notify::new(),
        }
    }

    /// May anybody wait at all?
    pub(super) fn has_line(&self) -> bool {
        self.line.max_queue > 0
    }

    /// Takes a slot without waiting, or refuses.
    pub(super) async fn take(self: &Arc<Self>, session: Uuid, owner: &str) -> Result<Slot, SessionError> {
        let id = Uuid::new_v4();
        // If the answer is lost, its drop gives back what may have been taken.
        let slot = Slot::to_ask_for(self, id, session, owner);
        let reason = match self.store.take_slot(self.asked(id, owner), self.limits).await? {
            SlotOutcome::Taken { .. } => {
                self.ours.lock().has(id);
                return Ok(slot);
            }
            SlotOutcome::Full { .. } => {
                self.room_wanted.notify_one();
                LimitReason::Slots { max: self.limits.max_sessions }
            }
            SlotOutcome::Line { waiting } => {
                LimitReason::Line { waiting: usize::try_from(waiting).unwrap_or(usize::MAX) }
            }
            SlotOutcome::OwnSessions => LimitReason::OwnSessions { max: self.limits.max_sessions_per_principal },
        };
        slot.forget();
        Err(self.refusal(reason))
    }

    /// How many slots nobody has and nobody waits for.
    pub(super) async fn free_slots(&self) -> Result<u64, StoreError> {
        let counts = self.store.slots().await?;
        let free = u64::from(self.limits.max_sessions).saturating_sub(counts.taken);
        Ok(if counts.waiting > 0 { 0 } else { free })
    }

    /// See [`super::Admission::take_spare`].
    pub(super) async fn take_spare(self: &Arc<Self>, session: Uuid, owner: &str) -> Result<Option<Slot>, StoreError> {
        let is_held = self.ours.lock().held_for_ms(now_ms()) > 0;
        if is_held || self.free_slots().await? < 2 {
            return Ok(None);
        }
        let id = Uuid::new_v4();
        let slot = Slot::to_ask_for(self, id, session, owner);
        match self.store.take_slot(self.asked(id, owner), self.limits).await? {
            SlotOutcome::Taken { taken } => {
                self.ours.lock().has(id);
                if taken < u64::from(self.limits.max_sessions) {
                    return Ok(Some(slot));
                }
                // Others were quicker, and it is the last one.
                slot.release().await;
            }
            SlotOutcome::Full { .. } | SlotOutcome::Line { .. } | SlotOutcome::OwnSessions => slot.forget(),
        }
        Ok(None)
    }

    /// See [`super::Admission::pass_on`].
    pub(super) async fn pass_on(&self, slot: &Slot, owner: &str, queue: bool) -> Result<bool, StoreError> {
        let Some(id) = slot.id() else { return Ok(false) };
        if queue && self.ours.lock().held_for_ms(now_ms()) > 0 {
            return Ok(false);
        }
        let outcome = self.store.pass_slot_on(self.asked(id, owner), self.limits).await?;
        let passed = matches!(outcome, SlotOutcome::Taken { .. });
        if passed {
            self.ours.lock().belongs_to(id, owner);
        }
        Ok(passed)
    }

    /// Takes a slot, or a place in the line.
    pub(super) async fn take_or_wait(self: &Arc<Self>, session: Uuid, owner: &str) -> Result<Admitted, SessionError> {
        let id = Uuid::new_v4();
        let slot = Slot::to_ask_for(self, id, session, owner);
        let reason = match self.store.join_line(self.asked(id, owner), self.limits, self.line).await? {
            LineOutcome::Taken => {
                self.ours.lock().has(id);
                return Ok(Admitted::Slot(slot));
            }
            LineOutcome::Waiting { position } => return Ok(Admitted::Waiting(self.wait(id, slot, position))),
            LineOutcome::QueueFull => LimitReason::QueueFull { max: self.line.max_queue },
            LineOutcome::OwnQueue => LimitReason::OwnQueue { max: self.line.max_queued_per_principal },
        };
        slot.forget();
        Err(self.refusal(reason))
    }

    fn wait(self: &Arc<Self>, id: Uuid, slot: Slot, position: u64) -> Waiting {
        let (standing, needs_service) = self.change(|ours| ours.wait(id, position));
        if needs_service {
            tasks::spawn("waiting-line", Arc::clone(self).serve());
        } else {
            self.wake.notify_one();
        }
        Waiting::new(slot, standing)
    }

    /// See [`super::Admission::account_limited`].
    pub(super) fn hold(&self, until_ms: Option<u64>) {
        if self.holds {
            self.ours.lock().hold(until_ms.unwrap_or(0));
            self.wake.notify_one();
        }
    }

    /// That slot or place is being given back.
    pub(super) fn going(&self, id: Uuid) {
        self.change(|ours| ours.going(id));
    }

    /// Gives a slot or a place back to the store.
    pub(super) async fn release(&self, id: Uuid) -> Result<(), StoreError> {
        self.store.release_slot(id, self.limits).await?;
        self.ours.lock().forget(id);
        // It may be one of ours who is next.
        self.wake.notify_one();
        Ok(())
    }

    /// See [`super::Admission::hear_slots`].
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Tells the store which slots this node has, and looks what else it has of this node.
    pub(super) async fn restate(&self) -> Result<(), StoreError> {
        self.restate_slots().await?;
        self.look(true).await
    }

    async fn restate_slots(&self) -> Result<(), StoreError> {
        let slots = self.ours.lock().slots();
        let added = self.store.restate_slots(&self.node, slots).await?;
        if !added.is_empty() {
            tracing::warn!(slots = added.len(), "the store had forgotten slots of this node; they are taken again");
        }
        for id in added {
            // One that came back meanwhile must not stay.
            if !self.ours.lock().holds(id) {
                self.release(id).await?;
            }
        }
        Ok(())
    }

    /// Looks what the store has of this node, with positions if they are asked for, and tells whom it concerns.
    pub(super) async fn look(&self, positions: bool) -> Result<(), StoreError> {
        let (held_for_ms, newest) = {
            let mut ours = self.ours.lock();
            (ours.held_for_ms(now_ms()), ours.begin_look())
        };
        let found = match self.store.line_of(&self.node, self.limits, held_for_ms, positions).await {
            Ok(found) => found,
            Err(error) => {
                self.ours.lock().end_look();
                return Err(error);
            }
        };
        let seen = self.change(|ours| ours.see(&found, newest));
        seen.granted.into_iter().for_each(metrics::slot_waited);
        if found.wanted {
            self.room_wanted.notify_one();
        }
        for id in seen.strangers {
            tracing::warn!(slot = %id, "a slot that nobody has is given back");
            self.release(id).await?;
        }
        if !seen.lost.is_empty() {
            // It may have forgotten slots too, which are not for those who wait.
            self.restate_slots().await?;
        }
        for (id, owner) in seen.lost {
            self.join_again(id, &owner).await?;
        }
        Ok(())
    }

    /// Takes a new place for one whose place the store has forgotten: whoever was taken in is not refused now.
    async fn join_again(&self, id: Uuid, owner: &str) -> Result<(), StoreError> {
        let outcome = self.store.join_line(self.asked(id, owner), self.limits, LineLimits::NONE).await?;
        let waits = {
            let ours = self.ours.lock();
            if let LineOutcome::Waiting { position } = outcome {
                ours.stands_at(id, position);
            }
            ours.waits(id)
        };
        if !waits {
            // It has left meanwhile, and what it left may have been the place before.
            return self.release(id).await;
        }
        if outcome == LineOutcome::Taken {
            self.change(|ours| ours.grant(id)).into_iter().for_each(metrics::slot_waited);
        }
        Ok(())
    }

    fn asked(&self, id: Uuid, owner: &str) -> SlotAsked {
        let held_for_ms = self.ours.lock().held_for_ms(now_ms());
        SlotAsked { id, owner: owner.to_owned(), node: self.node.to_string(), held_for_ms }
    }

    fn refusal(&self, reason: LimitReason) -> SessionError {
        let held_ms = self.ours.lock().held_for_ms(now_ms());
        SessionError::Limit { reason, retry_after_ms: held_ms.clamp(RETRY_MS, LONGEST_RETRY_MS) }
    }

    /// Changes what may change how many wait.
    fn change<T>(&self, work: impl FnOnce(&mut Ours) -> T) -> T {
        let mut ours = self.ours.lock();
        let outcome = work(&mut ours);
        metrics::sessions_waiting(ours.waiting());
        outcome
    }

    /// Serves those of this node who wait until nobody does.
    async fn serve(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        let mut tell_at = Instant::now();
        while !self.ours.lock().close_if_empty() {
            let positions = tell_at <= Instant::now();
            match self.look(positions).await {
                Ok(()) => {
                    backoff.reset();
                    if positions {
                        tell_at = Instant::now() + TELL_EVERY;
                    }
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = sleep_until(tell_at) => {}
                    }
                }
                Err(error) if error.retryable() => {
                    tracing::warn!(%error, "the store does not tell who of those who wait is next; trying again");
                    sleep(backoff.next_wait()).await;
                }
                // What waiting does not cure is told to whoever it happens to.
                Err(error) => self.change(|ours| ours.fail_first(error)),
            }
        }
    }
}
