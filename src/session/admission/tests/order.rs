//! The line by itself, in thousands of histories.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::super::line::{Line, Ticket};
use super::model::Model;
use crate::config::settings::SessionSettings;
use crate::session::error::LimitReason;

const OWNERS: usize = 4;
const NOW: u64 = 1_000;

#[derive(Debug, Clone)]
enum Step {
    Join(usize),
    Leave(prop::sample::Index),
    Grant,
    End(usize),
    Enter(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..OWNERS).prop_map(Step::Join),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        4 => Just(Step::Grant),
        2 => (0..OWNERS).prop_map(Step::End),
        1 => (0..OWNERS).prop_map(Step::Enter),
    ]
}

fn subject(owner: usize) -> Arc<str> {
    format!("owner-{owner}").into()
}

/// The line beside its model; names of the model are the sessions' ids.
struct Both {
    line: Line,
    model: Model,
    tickets: HashMap<u64, Ticket>,
    last_name: u64,
    max_queue: usize,
    max_own: usize,
}

impl Both {
    fn go(&mut self, step: &Step) {
        match *step {
            Step::Join(owner) => self.join(owner),
            Step::Leave(_) if self.model.waiting.is_empty() => {}
            Step::Leave(ref which) => {
                let (owner, name) = self.model.waiting[which.index(self.model.waiting.len())];
                self.model.leave(name);
                assert!(self.line.leave(&subject(owner), self.tickets[&name]));
                assert!(!self.line.leave(&subject(owner), self.tickets[&name]), "it leaves once");
            }
            Step::Grant => {
                let before = self.model.order();
                let granted = self.line.grant(NOW).map(|(owner, place)| (owner, place.session));
                let expected = self.model.grant();
                assert_eq!(granted, expected.map(|(owner, name)| (subject(owner), Uuid::from_u128(name.into()))));
                if let Some((_, name)) = expected {
                    assert_eq!((name, &self.model.order()[..]), (before[0], &before[1..]), "all others move up by one");
                }
            }
            Step::End(owner) if self.model.live_of(owner) == 0 => {}
            Step::End(owner) => {
                self.model.end(owner);
                self.line.remove_live(&subject(owner));
            }
            Step::Enter(owner) => {
                let entered = self.line.enter(&subject(owner));
                if !self.model.may_have_more(owner) {
                    assert_eq!(entered, Err(LimitReason::OwnSessions { max: self.model.per_owner }));
                } else if self.model.wants_slot() {
                    assert_eq!(entered, Err(LimitReason::Line { waiting: self.model.waiting.len() }));
                } else {
                    assert_eq!(entered, Ok(subject(owner)));
                    self.model.add_live(owner);
                }
            }
        }
    }

    fn join(&mut self, owner: usize) {
        self.last_name += 1;
        let joined = self.line.join(&subject(owner), Uuid::from_u128(self.last_name.into()));
        let own = self.model.waiting.iter().filter(|(other, _)| *other == owner).count();
        if self.model.waiting.len() >= self.max_queue {
            assert!(matches!(joined, Err(LimitReason::QueueFull { .. })));
        } else if own >= self.max_own {
            assert!(matches!(joined, Err(LimitReason::OwnQueue { .. })));
        } else {
            let (_, joined) = joined.unwrap();
            self.model.join(owner, self.last_name);
            self.tickets.insert(self.last_name, joined.ticket);
            assert_eq!(Some(*joined.place.borrow()), self.line.position(joined.ticket), "it is told where it stands");
        }
    }

    fn agree(&self) {
        let order = self.model.order();
        assert_eq!((self.line.len(), self.line.wants_slot(NOW)), (order.len(), self.model.wants_slot()));
        for (at, name) in order.iter().enumerate() {
            assert_eq!(self.line.position(self.tickets[name]), Some(at as u64 + 1), "session {name} of {order:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: super::count(1_000, 50_000), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn in_any_history_slots_go_round_robin_and_positions_are_true(
        per_owner in 0_u32..3,
        max_own in 1_u32..8,
        steps in prop::collection::vec(any_step(), 0..60),
    ) {
        let settings = SessionSettings {
            max_queue: 12,
            max_queued_per_principal: max_own,
            max_sessions_per_principal: per_owner,
            ..SessionSettings::default()
        };
        let mut both = Both {
            line: Line::new(&settings),
            model: Model::new(per_owner),
            tickets: HashMap::new(),
            last_name: 0,
            max_queue: 12,
            max_own: max_own as usize,
        };
        for step in &steps {
            both.go(step);
            both.agree();
        }
    }
}
