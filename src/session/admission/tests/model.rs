//! What the line must do, told another way: a list of those who wait, and the moment since which each
//! principal has been due.

use std::collections::HashMap;

/// Who waits and who has slots.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    /// 0: no limit.
    pub per_owner: u32,
    /// Owner and name, in the order of arrival.
    pub waiting: Vec<(usize, u64)>,
    live: HashMap<usize, u32>,
    due_since: HashMap<usize, u64>,
    clock: u64,
}

impl Model {
    /// Nobody waits, and nobody has a slot.
    pub(super) fn new(per_owner: u32) -> Self {
        Self { per_owner, ..Self::default() }
    }

    pub(super) fn join(&mut self, owner: usize, name: u64) {
        if !self.waiting.iter().any(|(other, _)| *other == owner) {
            self.make_due(owner);
        }
        self.waiting.push((owner, name));
    }

    pub(super) fn leave(&mut self, name: u64) {
        self.waiting.retain(|(_, other)| *other != name);
    }

    pub(super) fn live_of(&self, owner: usize) -> u32 {
        self.live.get(&owner).copied().unwrap_or(0)
    }

    pub(super) fn may_have_more(&self, owner: usize) -> bool {
        self.per_owner == 0 || self.live_of(owner) < self.per_owner
    }

    /// Could somebody who waits use a slot?
    pub(super) fn wants_slot(&self) -> bool {
        self.waiting.iter().any(|(owner, _)| self.may_have_more(*owner))
    }

    pub(super) fn add_live(&mut self, owner: usize) {
        *self.live.entry(owner).or_default() += 1;
    }

    pub(super) fn end(&mut self, owner: usize) {
        *self.live.entry(owner).or_default() -= 1;
    }

    /// The first of the principal that has been due the longest; it gets a slot.
    pub(super) fn grant(&mut self) -> Option<(usize, u64)> {
        let first = self.remove_first(|model, owner| model.may_have_more(owner))?;
        self.add_live(first.0);
        Some(first)
    }

    /// Names in the order in which they go if everybody stays and nobody comes.
    pub(super) fn order(&self) -> Vec<u64> {
        let mut rest = self.clone();
        let mut order = Vec::new();
        while let Some((_, name)) = rest.grant() {
            order.push(name);
        }
        while let Some((_, name)) = rest.remove_first(|_, _| true) {
            order.push(name);
        }
        order
    }

    fn remove_first(&mut self, may_go: impl Fn(&Self, usize) -> bool) -> Option<(usize, u64)> {
        let owners = self.waiting.iter().map(|(owner, _)| *owner).filter(|owner| may_go(self, *owner));
        let next = owners.min_by_key(|owner| self.due_since[owner])?;
        let at = self.waiting.iter().position(|(owner, _)| *owner == next)?;
        self.make_due(next);
        Some(self.waiting.remove(at))
    }

    fn make_due(&mut self, owner: usize) {
        self.clock += 1;
        self.due_since.insert(owner, self.clock);
    }
}
