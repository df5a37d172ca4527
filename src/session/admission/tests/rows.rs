//! The promises about waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::store::SlotCounts;
use crate::store::faulty::Seeded;
use crate::telemetry::tasks;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j1_ten_times_the_cap_at_once_never_pass_it_and_all_get_their_slot() {
    const CAP: u32 = 5;
    let (store, admission) =
        with(&SessionSettings { max_sessions: CAP, max_queued_per_principal: 1_000, ..SessionSettings::default() });
    let (live, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let sessions = (0..count(10, 100) * CAP).map(|number| {
        let (admission, live, most) = (admission.clone(), Arc::clone(&live), Arc::clone(&most));
        tasks::spawn("test-session", async move {
            let owner = format!("owner-{}", number % 3);
            let slot = match admission.take_or_wait(Uuid::new_v4(), &owner).await.unwrap() {
                Admitted::Slot(slot) => slot,
                Admitted::Waiting(mut waiting) => slot_of(&mut waiting).await,
            };
            most.fetch_max(live.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            live.fetch_sub(1, Ordering::SeqCst);
            slot.release().await;
        })
    });
    for session in sessions.collect::<Vec<_>>() {
        session.await.unwrap().expect("a session that got its slot");
    }
    assert!((1..=CAP).contains(&most.load(Ordering::SeqCst)), "{most:?} at once");
    assert_eq!((store.slots().await.unwrap().taken, admission.waiting()), (0, 0));
}

#[tokio::test]
async fn j2_a_full_line_refuses_at_once_and_says_when_to_try_again() {
    let settings =
        SessionSettings { max_sessions: 1, max_queue: 3, max_queued_per_principal: 2, ..SessionSettings::default() };
    let (store, admission) = with(&settings);
    let slot = take(&admission, "ann").await.unwrap();
    let _anns = (wait(&admission, "ann").await, wait(&admission, "ann").await);
    let own = reason(admission.take_or_wait(Uuid::new_v4(), "ann").await);
    assert_eq!(own, LimitReason::OwnQueue { max: 2 });
    assert!(own.to_string().contains("your own limit"), "{own}");
    let bobs = wait(&admission, "bob").await;
    for owner in ["ann", "bob", "cem"] {
        let full = reason(admission.take_or_wait(Uuid::new_v4(), owner).await);
        assert_eq!(full, LimitReason::QueueFull { max: 3 });
        assert!(full.to_string().contains("queue is full"), "{full}");
    }
    assert_eq!(admission.waiting(), 3);
    bobs.leave().await;
    let next = wait(&admission, "cem").await;
    assert_eq!((next.position(), admission.waiting()), (2, 3), "a place that was left is free at once");
    slot.release().await;
    // The refused have left nothing behind.
    assert_eq!(store.slots().await.unwrap(), SlotCounts { taken: 1, waiting: 2 });
}

#[tokio::test]
async fn j3_one_who_comes_after_a_hundred_of_somebody_elses_goes_within_two_free_places() {
    let (_store, admission) = with_slots(1);
    let mut slot = take(&admission, "many").await.unwrap();
    let mut many = Vec::new();
    for _ in 0..100 {
        many.push(wait(&admission, "many").await);
    }
    let mut one = wait(&admission, "one").await;
    told(&admission).await;
    assert_eq!((one.position(), many[0].position(), many[1].position(), many[99].position()), (2, 1, 3, 101));
    slot.release().await;
    slot = slot_of(&mut many[0]).await;
    told(&admission).await;
    assert!(has_slot(&mut one).is_none() && has_slot(&mut many[1]).is_none());
    assert_eq!((one.position(), many[1].position()), (1, 2));
    slot.release().await;
    slot = slot_of(&mut one).await;
    assert!(has_slot(&mut many[1]).is_none());
    slot.release().await;
}

#[tokio::test]
async fn j6_one_who_leaves_the_line_gets_no_slot_and_the_next_one_moves_up() {
    let (store, admission) = with_slots(1);
    let slot = take(&admission, "ann").await.unwrap();
    let first = wait(&admission, "ann").await;
    let mut second = wait(&admission, "ann").await;
    assert_eq!((first.position(), second.position()), (1, 2));
    drop(first);
    assert_eq!(admission.waiting(), 1);
    assert!(matches!(second.next().await.unwrap(), Progress::Position(1)));
    assert_eq!(second.position(), 1);
    slot.release().await;
    let slot = slot_of(&mut second).await;
    assert_eq!((store.slots().await.unwrap().taken, admission.waiting()), (1, 0));
    slot.release().await;
    assert_eq!(store.slots().await.unwrap().taken, 0, "nobody has taken one for the one who left");
}

#[tokio::test]
async fn j6_a_slot_granted_to_one_who_leaves_in_that_moment_goes_to_the_next() {
    let (store, admission) = with_slots(1);
    let slot = take(&admission, "ann").await.unwrap();
    let leaves = wait(&admission, "ann").await;
    let mut next = wait(&admission, "bob").await;
    slot.release().await;
    // It is granted once the line is shorter, and nobody has taken it out yet.
    while admission.waiting() > 1 {
        tokio::task::yield_now().await;
    }
    assert!(has_slot(&mut next).is_none());
    assert_eq!(leaves.position(), 1);
    drop(leaves);
    slot_of(&mut next).await.release().await;
    until_taken(&store, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j6_however_many_leave_at_any_moment_no_slot_is_lost() {
    let (store, admission) = with_slots(2);
    let dice = Arc::new(Seeded::new(6));
    let sessions = (0..count(200, 10_000)).map(|number| {
        let (admission, dice) = (admission.clone(), Arc::clone(&dice));
        tasks::spawn("test-session", async move {
            for _ in 0..dice.below(20) {
                tokio::task::yield_now().await;
            }
            let patience = Duration::from_micros(dice.below(20_000));
            let owner = format!("owner-{}", number % 7);
            match tokio::time::timeout(patience, admission.take_or_wait(Uuid::new_v4(), &owner)).await {
                Ok(Ok(Admitted::Waiting(mut waiting))) => {
                    drop(tokio::time::timeout(patience, slot_of(&mut waiting)).await);
                }
                Ok(Ok(Admitted::Slot(slot))) => slot.release().await,
                Ok(Err(error)) => assert!(matches!(error, SessionError::Limit { .. }), "{error}"),
                Err(_) => {}
            }
        })
    });
    for session in sessions.collect::<Vec<_>>() {
        session.await.unwrap().expect("a session that did not panic");
    }
    assert_eq!(admission.waiting(), 0);
    until_taken(&store, 0).await;
}

#[tokio::test]
async fn nobody_passes_those_who_wait() {
    let (_store, admission) = with_slots(1);
    let slot = take(&admission, "ann").await.unwrap();
    let mut waits = wait(&admission, "ann").await;
    let refused = reason(take(&admission, "bob").await);
    assert_eq!(refused, LimitReason::Line { waiting: 1 });
    let queued = wait(&admission, "bob").await;
    slot.release().await;
    // Whether the slot is granted by now or not, it is not for those who come now.
    assert!(matches!(reason(take(&admission, "cem").await), LimitReason::Line { .. } | LimitReason::Slots { .. }));
    slot_of(&mut waits).await.release().await;
    drop(queued);
}

#[tokio::test]
async fn positions_are_told_when_they_change_and_nothing_follows_the_slot() {
    let (_store, admission) = with_slots(1);
    let slot = take(&admission, "ann").await.unwrap();
    let mut anns = [wait(&admission, "ann").await, wait(&admission, "ann").await];
    let bobs = wait(&admission, "bob").await;
    assert_eq!(bobs.position(), 2);
    assert!(matches!(anns[1].next().await.unwrap(), Progress::Position(3)), "somebody came in between");
    assert!(has_slot(&mut anns[0]).is_none(), "nothing has changed for the first");
    drop(bobs);
    assert!(matches!(anns[1].next().await.unwrap(), Progress::Position(2)));
    slot.release().await;
    let slot = slot_of(&mut anns[0]).await;
    assert!(matches!(anns[1].next().await.unwrap(), Progress::Position(1)));
    assert!(has_slot(&mut anns[0]).is_none(), "after the slot nothing comes");
    slot.release().await;
}
