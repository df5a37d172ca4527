//! Long random histories of slots and of the line, over several nodes, against [`LineModel`].
//!
//! The histories come from fixed seeds: a failure repeats. The message names the seed and the step.

use std::collections::BTreeSet;
use std::ops::Range;

use super::line_model::{LineModel, Who};
use super::{Outcome, sample};
use crate::store::faulty::Seeded;
use crate::store::{LineLimits, LineOutcome, SharedStore, SlotAsked, SlotCounts, SlotOutcome};

const OWNERS: u64 = 4;
const NODES: u64 = 3;
const STEPS: u64 = 150;
const LINE: LineLimits = LineLimits { max_queue: 12, max_queued_per_principal: 5 };
/// Long enough never to be over in a test.
const LONG: u64 = 600_000;

struct History {
    store: SharedStore,
    model: LineModel,
    last_name: u64,
    /// Ids of their own for each history.
    first_name: u64,
}

/// Every answer of the store is the model's, step by step, and so is what each node is told.
pub async fn j1_long_random_histories_of_the_line_agree_with_a_simple_model(store: SharedStore) -> Outcome {
    histories(store, 0..6).await
}

/// One history for each of those seeds.
///
/// # Errors
/// The store's.
pub async fn histories(store: SharedStore, seeds: Range<u64>) -> Outcome {
    for seed in seeds {
        let numbers = Seeded::new(seed);
        let own = u32::try_from(seed % 3).unwrap_or_default();
        let limits = sample::slots_each(2 + own, own);
        let first_name = 1 + seed * STEPS * 2;
        let model = LineModel::new(limits);
        let mut history = History { store: store.clone(), model, last_name: first_name, first_name };
        for step in 0..STEPS {
            let at = format!("seed {seed}, step {step}");
            history.one_step(&numbers, &at).await?;
            history.agrees(&at).await?;
        }
        history.end(&format!("seed {seed}, at its end")).await?;
    }
    Ok(())
}

fn owner(number: u64) -> String {
    format!("owner-{number}")
}

fn node(number: u64) -> String {
    format!("node-{number}")
}

impl History {
    fn held_for(&self, node: u64) -> u64 {
        if self.model.held.contains(&node) { LONG } else { 0 }
    }

    fn asked(&self, who: Who) -> SlotAsked {
        let asked = sample::asked(who.name, &owner(who.owner), &node(who.node));
        SlotAsked { held_for_ms: self.held_for(who.node), ..asked }
    }

    /// One of those, or one who is not there.
    fn any_of(&self, numbers: &Seeded, names: &[u64]) -> u64 {
        let at = usize::try_from(numbers.below(names.len() as u64 + 1)).unwrap_or_default();
        names.get(at).copied().unwrap_or(self.first_name + STEPS * 2 - 1)
    }

    async fn one_step(&mut self, numbers: &Seeded, at: &str) -> Outcome {
        let limits = self.model.limits;
        let who = Who { name: self.last_name, owner: numbers.below(OWNERS), node: numbers.below(NODES) };
        let names = |list: &[Who]| list.iter().map(|who| who.name).collect::<Vec<_>>();
        let (taken, waiting) = (names(&self.model.taken), names(&self.model.waiting));
        match numbers.below(20) {
            0..=6 => {
                self.last_name += 1;
                let outcome = self.store.join_line(self.asked(who), limits, LINE).await?;
                assert_eq!(outcome, self.join(who), "{at}: {who:?} of {:?}", self.model);
            }
            7..=9 => {
                self.last_name += 1;
                let outcome = self.store.take_slot(self.asked(who), limits).await?;
                assert_eq!(outcome, self.take(who), "{at}: {who:?} of {:?}", self.model);
            }
            10..=12 => self.release(self.any_of(numbers, &taken)).await?,
            13 => self.release(self.any_of(numbers, &waiting)).await?,
            14 => {
                // The answer was lost: the same once more.
                let all = [&self.model.taken[..], &self.model.waiting[..]].concat();
                let at = usize::try_from(numbers.below(all.len().max(1) as u64)).unwrap_or_default();
                if let Some(who) = all.get(at) {
                    let outcome = self.store.join_line(self.asked(*who), limits, LINE).await?;
                    assert_eq!(outcome, self.standing(who.name), "{who:?}");
                }
            }
            15 | 16 => {
                if !self.model.held.remove(&who.node) {
                    self.model.held.insert(who.node);
                }
                self.store.line_of(&node(who.node), limits, self.held_for(who.node), false).await?;
                self.model.let_in();
            }
            17 | 18 => {
                let name = self.any_of(numbers, &taken);
                let outcome = self.store.pass_slot_on(self.asked(Who { name, ..who }), limits).await?;
                assert_eq!(outcome, self.pass_on(Who { name, ..who }), "{at}: {who:?} of {:?}", self.model);
            }
            _ => {
                let gone = self.model.taken.iter().filter(|other| other.node == who.node).count() as u64;
                assert_eq!(self.store.forget_node_slots(&node(who.node)).await?, gone, "{at}");
                self.model.taken.retain(|other| other.node != who.node);
                self.model.waiting.retain(|other| other.node != who.node);
                self.model.held.remove(&who.node);
            }
        }
        Ok(())
    }

    /// What the model makes of one who comes with the will to wait.
    fn join(&mut self, who: Who) -> LineOutcome {
        self.model.let_in();
        let theirs = self.model.waiting.iter().filter(|other| other.owner == who.owner).count();
        if self.model.is_free_for(who) && !self.model.held.contains(&who.node) {
            self.model.taken.push(who);
            return LineOutcome::Taken;
        }
        if self.model.waiting.len() >= LINE.max_queue as usize {
            return LineOutcome::QueueFull;
        }
        if theirs >= LINE.max_queued_per_principal as usize {
            return LineOutcome::OwnQueue;
        }
        self.model.join(who);
        self.standing(who.name)
    }

    /// What the model makes of one who comes without it.
    fn take(&mut self, who: Who) -> SlotOutcome {
        self.model.let_in();
        let taken = self.model.taken.len() as u64;
        if !self.model.has_room(who.owner) {
            SlotOutcome::OwnSessions
        } else if self.model.would_pass(who.node) {
            SlotOutcome::Line { waiting: self.model.waiting.len() as u64 }
        } else if !self.model.is_free_for(who) {
            SlotOutcome::Full { taken }
        } else {
            self.model.taken.push(who);
            SlotOutcome::Taken { taken: taken + 1 }
        }
    }

    /// What the model makes of a slot that is to become that one's.
    fn pass_on(&mut self, who: Who) -> SlotOutcome {
        self.model.let_in();
        let taken = self.model.taken.len() as u64;
        let Some(holder) = self.model.taken.iter().position(|other| other.name == who.name) else {
            return SlotOutcome::Full { taken };
        };
        if self.model.taken[holder].owner == who.owner {
            SlotOutcome::Taken { taken }
        } else if !self.model.has_room(who.owner) {
            SlotOutcome::OwnSessions
        } else if self.model.would_pass(who.node) {
            SlotOutcome::Line { waiting: self.model.waiting.len() as u64 }
        } else {
            self.model.taken[holder] = who;
            SlotOutcome::Taken { taken }
        }
    }

    /// What one is told who has a slot or waits.
    fn standing(&self, name: u64) -> LineOutcome {
        match self.model.order().iter().position(|other| *other == name) {
            Some(at) => LineOutcome::Waiting { position: at as u64 + 1 },
            None => LineOutcome::Taken,
        }
    }

    async fn release(&mut self, name: u64) -> Outcome {
        self.store.release_slot(sample::id(name), self.model.limits).await?;
        self.model.leave(name);
        self.model.let_in();
        Ok(())
    }

    /// Each node is told what the model has of it.
    async fn agrees(&mut self, at: &str) -> Outcome {
        for number in 0..NODES {
            let found = self.store.line_of(&node(number), self.model.limits, self.held_for(number), true).await?;
            self.model.let_in();
            let of_node = |list: &[Who]| -> BTreeSet<u64> {
                list.iter().filter(|who| who.node == number).map(|who| who.name).collect()
            };
            let slots: BTreeSet<_> = found.slots.into_iter().map(sample::number).collect();
            assert_eq!(slots, of_node(&self.model.taken), "{at}, slots of node {number}: {:?}", self.model);
            let waiting = of_node(&self.model.waiting);
            let order = self.model.order();
            let standing = order.iter().zip(1..).filter(|(name, _)| waiting.contains(name));
            let expected: Vec<_> = standing.map(|(name, position)| (sample::id(*name), position)).collect();
            assert_eq!(found.places, Some(expected), "{at}, places of node {number}: {:?}", self.model);
        }
        let counts = SlotCounts { taken: self.model.taken.len() as u64, waiting: self.model.waiting.len() as u64 };
        assert_eq!(self.store.slots().await?, counts, "{at}");
        Ok(())
    }

    /// No line is held any more, and everybody goes in the order that was told.
    async fn end(mut self, at: &str) -> Outcome {
        for number in 0..NODES {
            self.model.held.remove(&number);
            self.store.line_of(&node(number), self.model.limits, 0, false).await?;
            self.model.let_in();
        }
        while let Some(who) = self.model.taken.first().copied() {
            self.release(who.name).await?;
            self.agrees(at).await?;
        }
        assert_eq!(self.store.slots().await?, SlotCounts::default(), "{at}");
        Ok(())
    }
}
