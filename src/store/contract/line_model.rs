//! What slots and the line must do, told another way: a list of those who wait, and the moment since which each
//! principal has been due.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::SlotLimits;

/// One who has a slot or waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// Which one it is.
    pub name: u64,
    /// The principal.
    pub owner: u64,
    /// The node.
    pub node: u64,
}

/// Who waits and who has slots.
#[derive(Debug, Clone)]
pub struct LineModel {
    /// How many slots there are.
    pub limits: SlotLimits,
    /// In the order of arrival.
    pub waiting: Vec<Who>,
    /// In no order.
    pub taken: Vec<Who>,
    /// Nodes whose lines are held.
    pub held: BTreeSet<u64>,
    due_since: BTreeMap<u64, u64>,
    clock: u64,
}

impl LineModel {
    /// Nobody waits, and nobody has a slot.
    #[must_use]
    pub fn new(limits: SlotLimits) -> Self {
        Self {
            limits,
            waiting: Vec::new(),
            taken: Vec::new(),
            held: BTreeSet::new(),
            due_since: BTreeMap::new(),
            clock: 0,
        }
    }

    /// Is there a slot for one who comes now, and may it go? Whoever may go before has been let in.
    #[must_use]
    pub fn is_free_for(&self, who: Who) -> bool {
        self.taken.len() < self.limits.max_sessions as usize && self.has_room(who.owner)
    }

    /// May the principal have another slot?
    #[must_use]
    pub fn has_room(&self, owner: u64) -> bool {
        let theirs = self.taken.iter().filter(|who| who.owner == owner).count();
        let max = self.limits.max_sessions_per_principal as usize;
        max == 0 || theirs < max
    }

    /// Would one of that node who comes now pass somebody?
    #[must_use]
    pub fn would_pass(&self, node: u64) -> bool {
        self.waiting.iter().any(|who| self.has_room(who.owner) && (who.node == node || !self.held.contains(&who.node)))
    }

    /// Somebody comes into the line, behind all others.
    pub fn join(&mut self, who: Who) {
        if !self.waiting.iter().any(|other| other.owner == who.owner) {
            self.make_due(who.owner);
        }
        self.waiting.push(who);
    }

    /// Whoever has that name has and wants nothing any more.
    pub fn leave(&mut self, name: u64) {
        self.waiting.retain(|who| who.name != name);
        self.taken.retain(|who| who.name != name);
    }

    /// Gives free slots to those who have been due the longest.
    pub fn let_in(&mut self) {
        while self.taken.len() < self.limits.max_sessions as usize {
            let may_go = |model: &Self, who: &Who| model.has_room(who.owner) && !model.held.contains(&who.node);
            let Some(next) = self.remove_first(may_go) else { return };
            self.taken.push(next);
        }
    }

    /// Names in the order in which they go if everybody stays and nobody comes.
    #[must_use]
    pub fn order(&self) -> Vec<u64> {
        let mut rest = self.clone();
        let mut order = Vec::new();
        let mut pass = |rest: &mut Self, may_go: &dyn Fn(&Self, &Who) -> bool| {
            while let Some(who) = rest.remove_first(may_go) {
                rest.taken.push(who);
                order.push(who.name);
            }
        };
        pass(&mut rest, &|model, who| model.has_room(who.owner) && !model.held.contains(&who.node));
        pass(&mut rest, &|model, who| model.has_room(who.owner));
        pass(&mut rest, &|_, _| true);
        order
    }

    /// Takes the next one out who may go.
    fn remove_first(&mut self, may_go: impl Fn(&Self, &Who) -> bool) -> Option<Who> {
        let able = self.waiting.iter().enumerate().filter(|(_, who)| may_go(self, who));
        let (at, _) = able.min_by_key(|(at, who)| (self.due_since.get(&who.owner), *at))?;
        let who = self.waiting.remove(at);
        self.make_due(who.owner);
        Some(who)
    }

    fn make_due(&mut self, owner: u64) {
        self.clock += 1;
        self.due_since.insert(owner, self.clock);
    }
}
