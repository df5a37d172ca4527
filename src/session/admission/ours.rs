//! What this node has of slots and of places in the line, as far as it knows. No store, no clock, no task.
//!
//! Invariants: an id is written down before the store hears of it, and struck out once the store has said that it is
//! gone: what the store has of this node under another id is nobody's. One that waits is told each new position
//! once, and at the end one thing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use crate::store::{NodeSlots, SlotCounts, StoreError};

/// Where somebody who waits stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Standing {
    /// In the line, from 1.
    At(u64),
    /// The place has become a slot.
    Granted,
    /// The store fails in a way that waiting does not cure.
    Failed(StoreError),
}

/// Everything of this node's.
#[derive(Debug, Default)]
pub(super) struct Ours {
    entries: HashMap<Uuid, Entry>,
    waiting: usize,
    last_number: u64,
    /// Until then (ms since the epoch) nobody of this node goes.
    held_until_ms: u64,
    /// Is there a task that serves those who wait?
    served: bool,
    /// While the store is asked what it has of this node, what is given back meanwhile: its answer may still name it.
    given_back: Option<HashSet<Uuid>>,
    /// Somebody of another node could go, if there were a slot.
    wanted_elsewhere: bool,
}

#[derive(Debug)]
struct Entry {
    owner: Arc<str>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The store has been asked and has not answered.
    Asked,
    Waiting(Place),
    /// It is a slot.
    Held,
    /// It is being given back.
    Going,
}

#[derive(Debug)]
struct Place {
    /// Grows with each that comes.
    number: u64,
    since: Instant,
    standing: watch::Sender<Standing>,
}

/// What a look at the store has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// How long those waited who have got their slots.
    pub(super) granted: Vec<Duration>,
    /// What the store has of this node and nobody knows.
    pub(super) strangers: Vec<Uuid>,
    /// Those who wait and whom the store does not know, with their owners; in the order in which they came.
    pub(super) lost: Vec<(Uuid, Arc<str>)>,
}

impl Ours {
    /// The store is about to be asked for that slot.
    pub(super) fn ask(&mut self, id: Uuid, owner: &str) {
        self.entries.insert(id, Entry { owner: owner.into(), stage: Stage::Asked });
    }

    /// It is a slot.
    pub(super) fn has(&mut self, id: Uuid) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.stage = Stage::Held;
        }
    }

    /// It is another principal's from now on.
    pub(super) fn belongs_to(&mut self, id: Uuid, owner: &str) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.owner = owner.into();
        }
    }

    /// It has a place in the line. Gives also whether somebody must begin to serve the line.
    pub(super) fn wait(&mut self, id: Uuid, position: u64) -> (watch::Receiver<Standing>, bool) {
        let (standing, told) = watch::channel(Standing::At(position));
        self.last_number += 1;
        if let Some(entry) = self.entries.get_mut(&id) {
            let place = Place { number: self.last_number, since: Instant::now(), standing };
            entry.stage = Stage::Waiting(place);
            self.waiting += 1;
        }
        (told, !std::mem::replace(&mut self.served, true))
    }

    /// It is given back, or its place is left.
    pub(super) fn going(&mut self, id: Uuid) {
        drop(self.end_wait(id, Stage::Going));
    }

    /// The store has it no more.
    pub(super) fn forget(&mut self, id: Uuid) {
        self.going(id);
        self.entries.remove(&id);
        if let Some(given_back) = &mut self.given_back {
            given_back.insert(id);
        }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Does that one wait?
    pub(super) fn waits(&self, id: Uuid) -> bool {
        self.entries.get(&id).is_some_and(|entry| matches!(entry.stage, Stage::Waiting(_)))
    }

    /// Is that a slot?
    pub(super) fn holds(&self, id: Uuid) -> bool {
        self.entries.get(&id).is_some_and(|entry| matches!(entry.stage, Stage::Held))
    }

    /// How many slots there are, and how many wait.
    pub(super) fn counts(&self) -> SlotCounts {
        let held = self.entries.values().filter(|entry| matches!(entry.stage, Stage::Held));
        SlotCounts { taken: held.count() as u64, waiting: self.waiting as u64 }
    }

    /// All slots with their owners.
    pub(super) fn slots(&self) -> Vec<(Uuid, String)> {
        let held = self.entries.iter().filter(|(_, entry)| matches!(entry.stage, Stage::Held));
        held.map(|(id, entry)| (*id, entry.owner.to_string())).collect()
    }

    /// How many slots would be of use that are not there.
    pub(super) fn wanted(&self) -> usize {
        self.waiting.max(usize::from(self.wanted_elsewhere))
    }

    /// Holds those who wait until then; 0: no longer.
    pub(super) fn hold(&mut self, until_ms: u64) {
        self.held_until_ms = until_ms;
    }

    /// How much longer they are held, in milliseconds.
    pub(super) fn held_for_ms(&self, now_ms: u64) -> u64 {
        self.held_until_ms.saturating_sub(now_ms)
    }

    /// The store is about to be asked what it has of this node. Gives the number of the last one who came, which
    /// [`Ours::see`] wants.
    pub(super) fn begin_look(&mut self) -> u64 {
        self.given_back = Some(HashSet::new());
        self.last_number
    }

    /// The store did not say.
    pub(super) fn end_look(&mut self) {
        self.given_back = None;
    }

    /// Ends the service if nobody waits; the next one who waits begins it anew.
    pub(super) fn close_if_empty(&mut self) -> bool {
        if self.waiting == 0 {
            self.served = false;
        }
        self.waiting == 0
    }

    /// Takes in what the store has of this node: tells slots and positions. Those who came after `newest` the store
    /// need not have known.
    pub(super) fn see(&mut self, found: &NodeSlots, newest: u64) -> Seen {
        let mut seen = Seen::default();
        let given_back = self.given_back.take().unwrap_or_default();
        for id in &found.slots {
            if self.waits(*id) {
                seen.granted.extend(self.grant(*id));
            } else if !self.entries.contains_key(id) && !given_back.contains(id) {
                seen.strangers.push(*id);
            }
        }
        self.wanted_elsewhere = found.wanted && self.waiting == 0;
        let Some(places) = &found.places else { return seen };
        let positions: HashMap<_, _> = places.iter().copied().collect();
        let mut lost = Vec::new();
        for (id, entry) in &self.entries {
            let Stage::Waiting(place) = &entry.stage else { continue };
            match positions.get(id) {
                Some(position) => place.move_to(*position),
                None if place.number <= newest => lost.push((place.number, (*id, Arc::clone(&entry.owner)))),
                None => {}
            }
        }
        lost.sort_unstable_by_key(|(number, _)| *number);
        seen.lost = lost.into_iter().map(|(_, who)| who).collect();
        seen.strangers.extend(positions.keys().filter(|id| !self.entries.contains_key(id) && !given_back.contains(id)));
        seen
    }

    /// The place has become a slot. Says how long it took; `None` for one that does not wait.
    pub(super) fn grant(&mut self, id: Uuid) -> Option<Duration> {
        let place = self.end_wait(id, Stage::Held)?;
        // One who has just left gives the slot back without a word.
        drop(place.standing.send(Standing::Granted));
        Some(place.since.elapsed())
    }

    /// One who waits stands there.
    pub(super) fn stands_at(&self, id: Uuid, position: u64) {
        if let Some(Entry { stage: Stage::Waiting(place), .. }) = self.entries.get(&id) {
            place.move_to(position);
        }
    }

    /// Tells the one who has waited longest that it is in vain.
    pub(super) fn fail_first(&mut self, error: StoreError) {
        let number = |entry: &Entry| match &entry.stage {
            Stage::Waiting(place) => Some(place.number),
            _ => None,
        };
        let first = self.entries.iter().filter_map(|(id, entry)| Some((number(entry)?, *id))).min();
        if let Some(place) = first.and_then(|(_, id)| self.end_wait(id, Stage::Going)) {
            drop(place.standing.send(Standing::Failed(error)));
        }
    }

    /// Takes the entry to another stage; its place, if it had one.
    fn end_wait(&mut self, id: Uuid, next: Stage) -> Option<Place> {
        let entry = self.entries.get_mut(&id)?;
        let Stage::Waiting(place) = std::mem::replace(&mut entry.stage, next) else { return None };
        self.waiting -= 1;
        Some(place)
    }
}

impl Place {
    fn move_to(&self, position: u64) {
        let now = Standing::At(position);
        self.standing.send_if_modified(|told| {
            let moved = *told != now;
            *told = now;
            moved
        });
    }
}
