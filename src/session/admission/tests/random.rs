//! Random arrivals, departures and releases over a real store, beside the model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::contract::line_model::{LineModel, Who};
use crate::store::{SlotCounts, SlotLimits};

const OWNERS: u64 = 3;
const NODE: u64 = 0;

#[derive(Debug, Clone)]
enum Step {
    Queue(u64),
    Take(u64),
    Leave(prop::sample::Index),
    Release(prop::sample::Index),
    Hold(bool),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..OWNERS).prop_map(Step::Queue),
        2 => (0..OWNERS).prop_map(Step::Take),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        4 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => any::<bool>().prop_map(Step::Hold),
    ]
}

struct World {
    store: SharedStore,
    admission: Admission,
    model: LineModel,
    waiting: BTreeMap<u64, Waiting>,
    slots: BTreeMap<u64, Slot>,
    last_name: u64,
}

impl World {
    async fn go(&mut self, step: Step) {
        match step {
            Step::Queue(owner) => self.queue(owner).await,
            Step::Take(owner) => self.take(owner).await,
            Step::Leave(_) if self.waiting.is_empty() => {}
            Step::Leave(which) => {
                let name = **which.get(&self.waiting.keys().collect::<Vec<_>>());
                self.model.leave(name);
                drop(self.waiting.remove(&name));
            }
            Step::Release(_) if self.slots.is_empty() => {}
            Step::Release(which) => {
                let name = **which.get(&self.slots.keys().collect::<Vec<_>>());
                self.slots.remove(&name).unwrap().release().await;
                self.model.leave(name);
            }
            Step::Hold(held) => {
                self.model.held = held.then_some(NODE).into_iter().collect();
                self.admission.account_limited(held.then_some(u64::MAX));
            }
        }
        self.settle().await;
    }

    fn next(&mut self, owner: u64) -> (Who, String) {
        self.last_name += 1;
        (Who { name: self.last_name, owner, node: NODE }, format!("owner-{owner}"))
    }

    async fn take(&mut self, owner: u64) {
        let (who, name) = self.next(owner);
        let taken = take(&self.admission, &name).await;
        let has_room = self.model.has_room(owner);
        if self.model.is_free_for(who) && !self.model.would_pass(NODE) {
            self.slots.insert(who.name, taken.unwrap());
            self.model.taken.push(who);
        } else {
            assert_eq!(matches!(reason(taken), LimitReason::OwnSessions { .. }), !has_room);
        }
    }

    async fn queue(&mut self, owner: u64) {
        let (who, name) = self.next(owner);
        let at_once = self.model.is_free_for(who) && self.model.held.is_empty() && !self.model.would_pass(NODE);
        match self.admission.take_or_wait(Uuid::new_v4(), &name).await.unwrap() {
            Admitted::Slot(slot) => {
                assert!(at_once, "somebody else was to go first");
                self.slots.insert(who.name, slot);
                self.model.taken.push(who);
            }
            Admitted::Waiting(waiting) => {
                assert!(!at_once, "there was a slot: {waiting:?}");
                self.waiting.insert(who.name, waiting);
                self.model.join(who);
            }
        }
    }

    /// Whoever must have a slot now gets it, and nobody else.
    async fn settle(&mut self) {
        self.model.let_in();
        for who in &self.model.taken {
            if let Some(mut waiting) = self.waiting.remove(&who.name) {
                self.slots.insert(who.name, slot_of(&mut waiting).await);
            }
        }
        // One who has left is out of the line a moment later.
        let wanted = SlotCounts { taken: self.slots.len() as u64, waiting: self.waiting.len() as u64 };
        let began = Instant::now();
        while self.store.slots().await.unwrap() != wanted {
            assert!(began.elapsed() < Duration::from_secs(30), "{:?}, not {wanted:?}", self.store.slots().await);
            tokio::task::yield_now().await;
        }
        told(&self.admission).await;
        for (name, waiting) in &mut self.waiting {
            assert!(has_slot(waiting).is_none(), "{name} was not next");
        }
        let positions: Vec<_> = self.model.order().iter().map(|name| self.waiting[name].position()).collect();
        assert_eq!(positions, (1..=self.waiting.len() as u64).collect::<Vec<_>>());
        assert_eq!(self.admission.counts(), wanted);
        assert!(self.slots.len() <= self.model.limits.max_sessions as usize);
    }

    /// Everybody who has stayed gets a slot, and all come back.
    async fn end(mut self) {
        self.go(Step::Hold(false)).await;
        while let Some((name, slot)) = self.slots.pop_first() {
            slot.release().await;
            self.model.leave(name);
            self.settle().await;
        }
        assert!(self.waiting.is_empty(), "{:?}", self.waiting);
        until_taken(&self.store, 0).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: super::count(40, 2_000), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn j1_whoever_comes_and_goes_the_cap_holds_and_everybody_who_stays_gets_a_slot_in_turn(
        max_sessions in 1_u32..4,
        max_sessions_per_principal in 0_u32..3,
        steps in prop::collection::vec(any_step(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (store, admission) =
                with(&SessionSettings { max_sessions, max_sessions_per_principal, ..SessionSettings::default() });
            let mut world = World {
                store,
                admission,
                model: LineModel::new(SlotLimits { max_sessions, max_sessions_per_principal }),
                waiting: BTreeMap::new(),
                slots: BTreeMap::new(),
                last_name: 0,
            };
            for step in steps {
                world.go(step).await;
            }
            world.end().await;
        });
    }
}
