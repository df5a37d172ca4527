//! The waiting line: who is next, and how many slots each principal has. No store, no clock, no task.
//!
//! Invariants:
//! - A free slot goes round-robin over the principals that wait, first come first served within one. Who
//!   comes into the line goes behind all others, who has been served too.
//! - A principal with as many live sessions as one may have is passed over, and keeps its turn.
//! - A position is the place in the order that follows from that.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::waiting::Granted;
use crate::config::settings::SessionSettings;
use crate::session::error::LimitReason;

/// Names one place in the line, as long as it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// The line of one node.
#[derive(Debug)]
pub(super) struct Line {
    max_queue: u32,
    max_queued_per_principal: u32,
    /// 0: no limit.
    max_sessions_per_principal: u32,
    /// Principals that wait or have slots.
    owners: HashMap<Arc<str>, Owner>,
    /// Principals that wait, the next one first.
    turn: VecDeque<Arc<str>>,
    waiting: usize,
    last_ticket: u64,
    /// Until then (ms since the epoch) nobody goes.
    held_until_ms: u64,
    /// A slot may be there for somebody who waits: it is worth asking the store now.
    ask_now: bool,
    /// Positions have changed since they were last told.
    moved: bool,
    /// Is there a task that serves the line?
    served: bool,
}

#[derive(Debug, Default)]
struct Owner {
    /// Slots of this node that are theirs or are asked for on their behalf.
    live: u32,
    waiting: VecDeque<Place>,
}

/// One who waits.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) session: Uuid,
    pub(super) since: Instant,
    pub(super) granted: oneshot::Sender<Granted>,
    ticket: Ticket,
    told: watch::Sender<u64>,
}

/// What somebody who joins gets.
pub(super) struct Joined {
    pub(super) ticket: Ticket,
    pub(super) granted: oneshot::Receiver<Granted>,
    pub(super) place: watch::Receiver<u64>,
    /// Nobody serves the line yet: whoever joined starts the task.
    pub(super) needs_service: bool,
}

impl Line {
    pub(super) fn new(settings: &SessionSettings) -> Self {
        Self {
            max_queue: settings.max_queue,
            max_queued_per_principal: settings.max_queued_per_principal,
            max_sessions_per_principal: settings.max_sessions_per_principal,
            owners: HashMap::new(),
            turn: VecDeque::new(),
            waiting: 0,
            last_ticket: 0,
            held_until_ms: 0,
            ask_now: false,
            moved: false,
            served: false,
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// How much longer the line is held, in milliseconds.
    pub(super) fn held_for_ms(&self, now_ms: u64) -> u64 {
        self.held_until_ms.saturating_sub(now_ms)
    }

    /// Holds the line until then; 0: no longer.
    pub(super) fn hold(&mut self, until_ms: u64) {
        self.held_until_ms = until_ms;
        self.ask_now = true;
    }

    /// Could somebody who waits use a slot?
    pub(super) fn wants_slot(&self, now_ms: u64) -> bool {
        self.held_for_ms(now_ms) == 0 && self.first().is_some()
    }

    /// Counts a slot for somebody who is not in the line, unless that passes the line or the owner's limit.
    pub(super) fn enter(&mut self, owner: &str) -> Result<Arc<str>, LimitReason> {
        if self.room(owner) == 0 {
            return Err(LimitReason::OwnSessions { max: self.max_sessions_per_principal });
        }
        if self.first().is_some() {
            return Err(LimitReason::Line { waiting: self.waiting });
        }
        let owner = self.known(owner);
        self.add_live(&owner);
        Ok(owner)
    }

    /// One slot of theirs is gone.
    pub(super) fn remove_live(&mut self, owner: &Arc<str>) {
        if let Some(entry) = self.owners.get_mut(owner) {
            entry.live = entry.live.saturating_sub(1);
            // Their own limit may have kept those who wait from going.
            let waits = !entry.waiting.is_empty();
            self.ask_now |= waits;
            self.moved |= waits;
        }
        self.tidy(owner);
    }

    /// Takes the last place.
    pub(super) fn join(&mut self, owner: &str, session: Uuid) -> Result<(Arc<str>, Joined), LimitReason> {
        if self.waiting >= self.max_queue as usize {
            return Err(LimitReason::QueueFull { max: self.max_queue });
        }
        let theirs = self.owners.get(owner).map_or(0, |entry| entry.waiting.len());
        if theirs >= self.max_queued_per_principal as usize {
            return Err(LimitReason::OwnQueue { max: self.max_queued_per_principal });
        }
        // Those who wait already have been told that there is no slot; only a first one must ask.
        self.ask_now |= self.first().is_none();
        let owner = self.known(owner);
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let (granted, end) = oneshot::channel();
        let (told, mut place) = watch::channel(0);
        if theirs == 0 {
            self.turn.push_back(Arc::clone(&owner));
        }
        self.owners.entry(Arc::clone(&owner)).or_default().waiting.push_back(Place {
            session,
            since: Instant::now(),
            granted,
            ticket,
            told,
        });
        self.waiting += 1;
        // Who waits already moves back only if this one comes in between.
        let order = self.order();
        if let Some(at) = order.iter().position(|place| place.ticket == ticket) {
            order[at].told.send_replace(number(at));
            self.moved |= at + 1 < self.waiting;
        }
        // It has been told by joining.
        place.mark_unchanged();
        let needs_service = !std::mem::replace(&mut self.served, true);
        Ok((owner, Joined { ticket, granted: end, place, needs_service }))
    }

    /// Gives a place up; `false` if it is no longer there.
    pub(super) fn leave(&mut self, owner: &Arc<str>, ticket: Ticket) -> bool {
        let Some(entry) = self.owners.get_mut(owner) else { return false };
        let Some(at) = entry.waiting.iter().position(|place| place.ticket == ticket) else { return false };
        entry.waiting.remove(at);
        if entry.waiting.is_empty() {
            self.turn.retain(|name| name != owner);
        }
        self.waiting -= 1;
        self.moved = true;
        self.tidy(owner);
        true
    }

    /// Takes the first out of the line and counts a slot for its owner. `None` if nobody may go now.
    pub(super) fn grant(&mut self, now_ms: u64) -> Option<(Arc<str>, Place)> {
        if self.held_for_ms(now_ms) > 0 {
            return None;
        }
        let (owner, place) = self.remove_first()?;
        self.add_live(&owner);
        Some((owner, place))
    }

    /// Takes the first out of the line, which goes without a slot.
    pub(super) fn remove_first(&mut self) -> Option<(Arc<str>, Place)> {
        let owner = self.turn.remove(self.first()?)?;
        let entry = self.owners.get_mut(&owner)?;
        let place = entry.waiting.pop_front()?;
        if !entry.waiting.is_empty() {
            self.turn.push_back(Arc::clone(&owner));
        }
        self.waiting -= 1;
        self.moved = true;
        self.tidy(&owner);
        Some((owner, place))
    }

    /// The place in the line, from 1.
    pub(super) fn position(&self, ticket: Ticket) -> Option<u64> {
        self.order().iter().position(|place| place.ticket == ticket).map(number)
    }

    /// Have positions changed since they were last told?
    pub(super) fn has_moved(&self) -> bool {
        self.moved
    }

    /// Tells everybody whose position has changed.
    pub(super) fn tell_positions(&mut self) {
        for (at, place) in self.order().into_iter().enumerate() {
            place.told.send_if_modified(|told| std::mem::replace(told, number(at)) != number(at));
        }
        self.moved = false;
    }

    /// A slot may have come free.
    pub(super) fn slot_is_free(&mut self) {
        self.ask_now = true;
    }

    /// Is it worth asking the store now? Says so once.
    pub(super) fn take_ask_now(&mut self) -> bool {
        std::mem::take(&mut self.ask_now)
    }

    /// Ends the service if nobody waits; the next who joins begins it anew.
    pub(super) fn close_if_empty(&mut self) -> bool {
        if self.waiting == 0 {
            self.served = false;
        }
        self.waiting == 0
    }

    /// All who wait, the next one first: first those that the limits of their owners let go.
    fn order(&self) -> Vec<&Place> {
        let mut order = Vec::with_capacity(self.waiting);
        let mut turn: VecDeque<_> = self
            .turn
            .iter()
            .filter_map(|owner| Some((self.owners.get(owner)?.waiting.iter(), self.room(owner))))
            .collect();
        let mut passed_over = VecDeque::new();
        while let Some((mut places, room)) = turn.pop_front() {
            if room == 0 {
                passed_over.push_back(places);
                continue;
            }
            order.extend(places.next());
            if places.len() > 0 {
                turn.push_back((places, room - 1));
            }
        }
        while let Some(mut places) = passed_over.pop_front() {
            order.extend(places.next());
            if places.len() > 0 {
                passed_over.push_back(places);
            }
        }
        order
    }

    /// Where in `turn` the principal stands that a free slot goes to.
    fn first(&self) -> Option<usize> {
        self.turn.iter().position(|owner| self.room(owner) > 0)
    }

    /// How many slots more the owner may have.
    fn room(&self, owner: &str) -> u32 {
        match self.max_sessions_per_principal {
            0 => u32::MAX,
            max => max.saturating_sub(self.owners.get(owner).map_or(0, |entry| entry.live)),
        }
    }

    fn add_live(&mut self, owner: &Arc<str>) {
        self.owners.entry(Arc::clone(owner)).or_default().live += 1;
    }

    /// The owner's name as it is kept already, so that it is kept once.
    fn known(&self, owner: &str) -> Arc<str> {
        self.owners.get_key_value(owner).map_or_else(|| Arc::from(owner), |(known, _)| Arc::clone(known))
    }

    fn tidy(&mut self, owner: &Arc<str>) {
        if self.owners.get(owner).is_some_and(|entry| entry.live == 0 && entry.waiting.is_empty()) {
            self.owners.remove(owner);
        }
    }
}

/// Positions count from 1.
fn number(at: usize) -> u64 {
    at as u64 + 1
}
