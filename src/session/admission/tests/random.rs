//! Random arrivals, departures and releases over a real store, beside the model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::model::Model;
use super::*;

const OWNERS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Queue(usize),
    Take(usize),
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
    cap: usize,
    store: SharedStore,
    admission: Admission,
    model: Model,
    held: bool,
    waiting: BTreeMap<u64, Waiting>,
    slots: Vec<(usize, Slot)>,
    last_name: u64,
}

impl World {
    async fn go(&mut self, step: Step) {
        match step {
            Step::Queue(owner) => self.queue(owner).await,
            Step::Take(owner) => {
                let taken = take(&self.admission, &format!("owner-{owner}")).await;
                let own = self.model.may_have_more(owner);
                if own && !self.model.wants_slot() && self.slots.len() < self.cap {
                    self.slots.push((owner, taken.unwrap()));
                    self.model.add_live(owner);
                } else {
                    assert_eq!(matches!(reason(taken), LimitReason::OwnSessions { .. }), !own);
                }
            }
            Step::Leave(_) if self.waiting.is_empty() => {}
            Step::Leave(which) => {
                let name = *which.get(&self.waiting.keys().collect::<Vec<_>>());
                self.model.leave(*name);
                let name = *name;
                drop(self.waiting.remove(&name));
            }
            Step::Release(_) if self.slots.is_empty() => {}
            Step::Release(which) => {
                let (owner, slot) = self.slots.swap_remove(which.index(self.slots.len()));
                slot.release().await;
                self.model.end(owner);
            }
            Step::Hold(held) => {
                self.held = held;
                self.admission.account_limited(held.then_some(u64::MAX));
            }
        }
        self.settle().await;
    }

    async fn queue(&mut self, owner: usize) {
        self.last_name += 1;
        let free = self.slots.len() < self.cap && self.model.may_have_more(owner);
        let at_once = free && !self.held && !self.model.wants_slot();
        match self.admission.take_or_wait(Uuid::new_v4(), &format!("owner-{owner}")).await.unwrap() {
            Admitted::Slot(slot) => {
                assert!(at_once, "somebody else was to go first");
                self.slots.push((owner, slot));
                self.model.add_live(owner);
            }
            Admitted::Waiting(waiting) => {
                assert!(!at_once, "there was a slot: {waiting:?}");
                self.waiting.insert(self.last_name, waiting);
                self.model.join(owner, self.last_name);
            }
        }
    }

    /// Whoever must have a slot now gets it, and nobody else.
    async fn settle(&mut self) {
        while !self.held && self.slots.len() < self.cap {
            let Some((owner, name)) = self.model.grant() else { break };
            let mut waiting = self.waiting.remove(&name).unwrap();
            self.slots.push((owner, slot_of(&mut waiting).await));
        }
        for (name, waiting) in &mut self.waiting {
            assert!(has_slot(waiting).is_none(), "{name} was not next");
        }
        let positions: Vec<_> = self.model.order().iter().map(|name| self.waiting[name].position()).collect();
        assert_eq!(positions, (1..=self.waiting.len() as u64).collect::<Vec<_>>());
        assert_eq!(self.admission.waiting(), self.waiting.len());
        assert!(self.slots.len() <= self.cap);
    }

    /// Everybody who has stayed gets a slot, and all come back.
    async fn end(mut self) {
        self.go(Step::Hold(false)).await;
        while let Some((owner, slot)) = self.slots.pop() {
            slot.release().await;
            self.model.end(owner);
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
        cap in 1_u32..4,
        per_owner in 0_u32..3,
        steps in prop::collection::vec(any_step(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (store, admission) = with(&SessionSettings {
                max_sessions: cap,
                max_sessions_per_principal: per_owner,
                ..SessionSettings::default()
            });
            let mut world = World {
                cap: cap as usize,
                store,
                admission,
                model: Model::new(per_owner),
                held: false,
                waiting: BTreeMap::new(),
                slots: Vec::new(),
                last_name: 0,
            };
            for step in steps {
                world.go(step).await;
            }
            world.end().await;
        });
    }
}
