//! What a node knows of its slots and places, by itself.

use uuid::Uuid;

use super::super::ours::{Ours, Seen, Standing};
use crate::store::{NodeSlots, StoreError};

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// One that waits for each number, which is where it stands.
fn with_waiting(numbers: std::ops::RangeInclusive<u128>) -> Ours {
    let mut ours = Ours::default();
    for n in numbers {
        ours.ask(id(n), "ann");
        ours.wait(id(n), u64::try_from(n).unwrap());
    }
    ours
}

fn found(slots: &[u128], places: &[(u128, u64)]) -> NodeSlots {
    let slots = slots.iter().map(|n| id(*n)).collect();
    NodeSlots { slots, places: Some(places.iter().map(|(n, at)| (id(*n), *at)).collect()), wanted: false }
}

#[test]
fn one_who_waits_is_told_each_new_place_once_and_the_slot_last() {
    let mut ours = Ours::default();
    ours.ask(id(1), "ann");
    let (mut told, needs_service) = ours.wait(id(1), 3);
    assert!(needs_service && !told.has_changed().unwrap() && *told.borrow() == Standing::At(3));
    for (position, has_moved) in [(3, false), (2, true), (2, false)] {
        assert_eq!(ours.see(&found(&[], &[(1, position)]), 1), Seen::default());
        assert_eq!(told.has_changed().unwrap(), has_moved, "{position}");
        assert_eq!(*told.borrow_and_update(), Standing::At(position));
    }
    assert_eq!(ours.see(&found(&[1], &[]), 1).granted.len(), 1);
    assert_eq!(*told.borrow_and_update(), Standing::Granted);
    assert_eq!((ours.waiting(), ours.holds(id(1))), (0, true));
    // What is seen late changes nothing.
    assert_eq!(ours.see(&found(&[1], &[]), 1), Seen::default());
    assert_eq!(ours.see(&found(&[], &[(1, 1)]), 1), Seen::default());
    assert!(told.has_changed().is_err(), "nothing follows the slot");
}

#[test]
fn what_nobody_here_knows_is_a_stranger_and_what_is_under_way_is_none() {
    let mut ours = Ours::default();
    ours.ask(id(1), "ann");
    ours.ask(id(2), "ann");
    ours.going(id(2));
    ours.ask(id(3), "ann");
    ours.has(id(3));
    assert_eq!(ours.see(&found(&[1, 2, 3], &[]), 0), Seen::default());
    assert_eq!(ours.see(&found(&[], &[(1, 1), (2, 2)]), 0), Seen::default());
    ours.forget(id(1));
    let mut seen = ours.see(&found(&[1, 2], &[(4, 1)]), 0);
    seen.strangers.sort_unstable();
    assert_eq!((seen.strangers, seen.lost), (vec![id(1), id(4)], Vec::new()));
    assert_eq!(ours.slots(), [(id(3), "ann".to_owned())]);
}

#[test]
fn those_who_lost_their_places_are_told_in_the_order_in_which_they_came_but_not_those_who_came_later() {
    let mut ours = with_waiting(1..=4);
    let newest = ours.begin_look();
    ours.ask(id(5), "bob");
    ours.wait(id(5), 5);
    let lost = ours.see(&found(&[], &[(3, 1)]), newest).lost;
    assert_eq!(lost.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [id(1), id(2), id(4)]);
    // Without positions nobody can be missed.
    let newest = ours.begin_look();
    assert_eq!(ours.see(&NodeSlots::default(), newest), Seen::default());
}

#[test]
fn those_who_leave_or_fail_wait_no_more() {
    let mut ours = with_waiting(1..=3);
    ours.going(id(2));
    ours.going(id(2));
    assert_eq!((ours.waiting(), ours.waits(id(2))), (2, false));
    ours.fail_first(StoreError::Missing);
    assert_eq!((ours.waiting(), ours.waits(id(1)), ours.waits(id(3))), (1, false, true));
    assert!(!ours.close_if_empty());
    ours.forget(id(3));
    assert!(ours.close_if_empty());
    ours.fail_first(StoreError::Missing);
}

#[test]
fn a_slot_is_wanted_for_those_who_wait_here_or_for_one_elsewhere() {
    let mut ours = Ours::default();
    let wanted = |is_wanted| NodeSlots { wanted: is_wanted, ..NodeSlots::default() };
    for (is_wanted, count) in [(false, 0), (true, 1), (false, 0)] {
        ours.see(&wanted(is_wanted), 0);
        assert_eq!(ours.wanted(), count);
    }
    let mut ours = with_waiting(1..=2);
    ours.see(&wanted(true), 0);
    assert_eq!(ours.wanted(), 2);
}

#[test]
fn what_is_given_back_while_the_store_is_asked_is_no_stranger_in_its_answer() {
    let mut ours = Ours::default();
    ours.ask(id(1), "ann");
    ours.has(id(1));
    let newest = ours.begin_look();
    ours.forget(id(1));
    assert_eq!(ours.see(&found(&[1], &[]), newest), Seen::default());
    // In the next answer it would be.
    let newest = ours.begin_look();
    assert_eq!(ours.see(&found(&[1], &[]), newest).strangers, [id(1)]);
    // An answer that never came excuses nobody later.
    ours.begin_look();
    ours.end_look();
    ours.forget(id(2));
    assert_eq!(ours.see(&found(&[2], &[]), newest).strangers, [id(2)]);
}
