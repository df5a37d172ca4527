//! Slots and the line of those who wait for one, as [`crate::store::slots`] says. No lock, no clock, no file.
//!
//! Invariants: a principal is in `turn` exactly while somebody of it waits, and in `owners` while it has anything;
//! an id is in `taken` or in `places`, never in both.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use crate::store::{LineLimits, LineOutcome, NodeSlots, SlotAsked, SlotCounts, SlotLimits, SlotOutcome};

/// Who has a slot, and who waits for one.
#[derive(Debug, Default)]
pub(super) struct Line {
    taken: HashMap<Uuid, Holder>,
    /// Whose the places are.
    places: HashMap<Uuid, Arc<str>>,
    owners: HashMap<Arc<str>, Owner>,
    /// Principals that wait, the next one first.
    turn: VecDeque<Arc<str>>,
    /// Until when a node's places are passed over, in milliseconds since the epoch.
    held: HashMap<String, u64>,
}

#[derive(Debug)]
struct Holder {
    owner: Arc<str>,
    node: Arc<str>,
}

#[derive(Debug, Default)]
struct Owner {
    slots: u32,
    /// In the order of arrival.
    waiting: VecDeque<Place>,
}

#[derive(Debug)]
struct Place {
    id: Uuid,
    node: Arc<str>,
}

/// What is left of a principal's places while they are put into order.
struct Rest<'a> {
    places: VecDeque<&'a Place>,
    room: u32,
}

/// Who goes in one pass over those who wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Who may go now.
    Free,
    /// Who may go once their node is held no more.
    Held,
    /// Who waits for a slot of their own principal.
    Rest,
}

impl Line {
    /// See [`crate::store::Store::take_slot`].
    pub(super) fn take(&mut self, asked: &SlotAsked, limits: SlotLimits, now_ms: u64) -> SlotOutcome {
        self.hold(&asked.node, asked.held_for_ms, now_ms);
        self.let_in(limits, now_ms);
        let taken = self.taken.len() as u64;
        if self.taken.contains_key(&asked.id) {
            return SlotOutcome::Taken { taken };
        }
        if let Some(refused) = self.refusal(asked, limits, now_ms) {
            return refused;
        }
        if taken >= u64::from(limits.max_sessions) {
            return SlotOutcome::Full { taken };
        }
        self.give(asked.id, &asked.owner, asked.node.as_str().into());
        SlotOutcome::Taken { taken: taken + 1 }
    }

    /// See [`crate::store::Store::pass_slot_on`].
    pub(super) fn pass_on(&mut self, asked: &SlotAsked, limits: SlotLimits, now_ms: u64) -> SlotOutcome {
        self.hold(&asked.node, asked.held_for_ms, now_ms);
        self.let_in(limits, now_ms);
        let taken = self.taken.len() as u64;
        let Some(holder) = self.taken.get(&asked.id) else { return SlotOutcome::Full { taken } };
        if *holder.owner == *asked.owner {
            return SlotOutcome::Taken { taken };
        }
        if let Some(refused) = self.refusal(asked, limits, now_ms) {
            return refused;
        }
        self.take_back(asked.id);
        self.give(asked.id, &asked.owner, asked.node.as_str().into());
        SlotOutcome::Taken { taken }
    }

    /// Why that owner must not have another slot now.
    fn refusal(&self, asked: &SlotAsked, limits: SlotLimits, now_ms: u64) -> Option<SlotOutcome> {
        if self.room(&asked.owner, limits) == 0 {
            return Some(SlotOutcome::OwnSessions);
        }
        // On its own node nobody passes those either who are only held.
        let next = self.first(limits, now_ms, Some(&asked.node));
        next.map(|_| SlotOutcome::Line { waiting: self.places.len() as u64 })
    }

    /// See [`crate::store::Store::join_line`].
    pub(super) fn join(&mut self, asked: &SlotAsked, limits: SlotLimits, line: LineLimits, now_ms: u64) -> LineOutcome {
        self.hold(&asked.node, asked.held_for_ms, now_ms);
        self.let_in(limits, now_ms);
        if self.taken.contains_key(&asked.id) {
            return LineOutcome::Taken;
        }
        if !self.places.contains_key(&asked.id) {
            let theirs = self.owners.get(asked.owner.as_str()).map_or(0, |owner| owner.waiting.len());
            // Whoever could have gone before has been let in.
            let is_free = self.taken.len() < limits.max_sessions as usize;
            if is_free && asked.held_for_ms == 0 && self.room(&asked.owner, limits) > 0 {
                self.give(asked.id, &asked.owner, asked.node.as_str().into());
                return LineOutcome::Taken;
            }
            if self.places.len() >= line.max_queue as usize {
                return LineOutcome::QueueFull;
            }
            if theirs >= line.max_queued_per_principal as usize {
                return LineOutcome::OwnQueue;
            }
            let owner = self.known(&asked.owner);
            if theirs == 0 {
                self.turn.push_back(Arc::clone(&owner));
            }
            self.places.insert(asked.id, Arc::clone(&owner));
            let place = Place { id: asked.id, node: asked.node.as_str().into() };
            self.owners.entry(owner).or_default().waiting.push_back(place);
        }
        let at = self.order(limits, now_ms).iter().position(|place| place.id == asked.id);
        LineOutcome::Waiting { position: number(at.unwrap_or_default()) }
    }

    /// See [`crate::store::Store::line_of`].
    pub(super) fn look(
        &mut self,
        node: &str,
        limits: SlotLimits,
        held_for_ms: u64,
        positions: bool,
        now_ms: u64,
    ) -> NodeSlots {
        self.hold(node, held_for_ms, now_ms);
        self.let_in(limits, now_ms);
        let slots = self.taken.iter().filter(|(_, holder)| &*holder.node == node).map(|(id, _)| *id).collect();
        let places = positions.then(|| {
            let order = self.order(limits, now_ms);
            let ours = order.iter().enumerate().filter(|(_, place)| &*place.node == node);
            ours.map(|(at, place)| (place.id, number(at))).collect()
        });
        // Whoever is first now has no slot because there is none.
        NodeSlots { slots, places, wanted: self.first(limits, now_ms, None).is_some() }
    }

    /// See [`crate::store::Store::release_slot`].
    pub(super) fn release(&mut self, id: Uuid, limits: SlotLimits, now_ms: u64) {
        if !self.take_back(id) {
            self.leave(id);
        }
        self.let_in(limits, now_ms);
    }

    /// See [`crate::store::Store::restate_slots`].
    pub(super) fn restate(&mut self, node: &str, slots: &[(Uuid, String)]) -> Vec<Uuid> {
        let mut added = Vec::new();
        for (id, owner) in slots {
            if !self.taken.contains_key(id) {
                self.leave(*id);
                self.give(*id, owner, node.into());
                added.push(*id);
            }
        }
        added
    }

    /// See [`crate::store::Store::forget_node_slots`].
    pub(super) fn forget_node(&mut self, node: &str) -> u64 {
        self.held.remove(node);
        let waiting = self.owners.values().flat_map(|owner| &owner.waiting);
        let places: Vec<_> = waiting.filter(|place| &*place.node == node).map(|place| place.id).collect();
        for id in places {
            self.leave(id);
        }
        let slots: Vec<_> = self.taken.iter().filter(|(_, holder)| &*holder.node == node).map(|(id, _)| *id).collect();
        for id in &slots {
            self.take_back(*id);
        }
        slots.len() as u64
    }

    /// See [`crate::store::Store::slots`].
    pub(super) fn counts(&self) -> SlotCounts {
        SlotCounts { taken: self.taken.len() as u64, waiting: self.places.len() as u64 }
    }

    fn hold(&mut self, node: &str, for_ms: u64, now_ms: u64) {
        if for_ms == 0 {
            self.held.remove(node);
        } else {
            self.held.insert(node.to_owned(), now_ms.saturating_add(for_ms));
        }
    }

    fn is_held(&self, node: &str, now_ms: u64) -> bool {
        self.held.get(node).is_some_and(|until| *until > now_ms)
    }

    /// Gives free slots to those who are first.
    fn let_in(&mut self, limits: SlotLimits, now_ms: u64) {
        while self.taken.len() < limits.max_sessions as usize {
            let Some((turn, at)) = self.first(limits, now_ms, None) else { return };
            let Some(owner) = self.turn.remove(turn) else { return };
            let Some(entry) = self.owners.get_mut(&owner) else { return };
            let Some(place) = entry.waiting.remove(at) else { return };
            if !entry.waiting.is_empty() {
                self.turn.push_back(Arc::clone(&owner));
            }
            self.places.remove(&place.id);
            self.give(place.id, &owner, place.node);
        }
    }

    /// Whom a free slot goes to: where in `turn` the principal stands, and which of its places it is. That node
    /// counts as not held.
    fn first(&self, limits: SlotLimits, now_ms: u64, not_held: Option<&str>) -> Option<(usize, usize)> {
        self.turn.iter().enumerate().filter(|(_, owner)| self.room(owner, limits) > 0).find_map(|(turn, owner)| {
            let may_go = |place: &Place| not_held == Some(&*place.node) || !self.is_held(&place.node, now_ms);
            Some((turn, self.owners.get(owner)?.waiting.iter().position(may_go)?))
        })
    }

    /// All who wait, the next one first.
    fn order(&self, limits: SlotLimits, now_ms: u64) -> Vec<&Place> {
        let mut order = Vec::with_capacity(self.places.len());
        let rest = |owner: &Arc<str>| {
            let places = self.owners.get(owner)?.waiting.iter().collect();
            Some(Rest { places, room: self.room(owner, limits) })
        };
        let mut turn: VecDeque<_> = self.turn.iter().filter_map(rest).collect();
        for pass in [Pass::Free, Pass::Held, Pass::Rest] {
            let mut passed_over = VecDeque::new();
            while let Some(mut rest) = turn.pop_front() {
                let next = match pass {
                    Pass::Free | Pass::Held if rest.room == 0 => None,
                    Pass::Free => rest.places.iter().position(|place| !self.is_held(&place.node, now_ms)),
                    Pass::Held | Pass::Rest => Some(0),
                };
                let Some(place) = next.and_then(|at| rest.places.remove(at)) else {
                    passed_over.push_back(rest);
                    continue;
                };
                order.push(place);
                rest.room = rest.room.saturating_sub(1);
                if !rest.places.is_empty() {
                    turn.push_back(rest);
                }
            }
            turn = passed_over;
        }
        order
    }

    /// How many slots more the principal may have.
    fn room(&self, owner: &str, limits: SlotLimits) -> u32 {
        match limits.max_sessions_per_principal {
            0 => u32::MAX,
            max => max.saturating_sub(self.owners.get(owner).map_or(0, |entry| entry.slots)),
        }
    }

    fn give(&mut self, id: Uuid, owner: &str, node: Arc<str>) {
        let owner = self.known(owner);
        self.owners.entry(Arc::clone(&owner)).or_default().slots += 1;
        self.taken.insert(id, Holder { owner, node });
    }

    /// Takes a slot from whoever has it; `false` if nobody has.
    fn take_back(&mut self, id: Uuid) -> bool {
        let Some(holder) = self.taken.remove(&id) else { return false };
        if let Some(entry) = self.owners.get_mut(&holder.owner) {
            entry.slots = entry.slots.saturating_sub(1);
        }
        self.tidy(&holder.owner);
        true
    }

    /// Takes a place out of the line, if there is one.
    fn leave(&mut self, id: Uuid) {
        let Some(owner) = self.places.remove(&id) else { return };
        if let Some(entry) = self.owners.get_mut(&owner) {
            entry.waiting.retain(|place| place.id != id);
            if entry.waiting.is_empty() {
                self.turn.retain(|name| *name != owner);
            }
        }
        self.tidy(&owner);
    }

    /// The principal's name as it is kept already, so that it is kept once.
    fn known(&self, owner: &str) -> Arc<str> {
        self.owners.get_key_value(owner).map_or_else(|| Arc::from(owner), |(known, _)| Arc::clone(known))
    }

    fn tidy(&mut self, owner: &Arc<str>) {
        if self.owners.get(owner).is_some_and(|entry| entry.slots == 0 && entry.waiting.is_empty()) {
            self.owners.remove(owner);
        }
    }
}

/// Positions count from 1.
fn number(at: usize) -> u64 {
    at as u64 + 1
}
