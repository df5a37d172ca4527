//! The store away, answers that get lost, callers that go away, and other nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt;

use super::*;
use crate::store::faulty::Faulty;
use crate::store::{SlotCounts, Store as _};
use crate::telemetry::tasks;

fn failing(share: f64, max_sessions: u32) -> (Arc<Faulty>, Admission) {
    let store = Faulty::new(test_store(), 1, share);
    store.set_failing(false);
    let settings = SessionSettings { max_sessions, ..SessionSettings::default() };
    let admission = Admission::new(store.clone(), "node", &settings);
    (store, admission)
}

/// Waits until so many calls have failed.
async fn until_failed(store: &Faulty, wanted: u64) {
    while store.failed() < wanted {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_slot_comes_back_however_long_the_store_was_away() {
    let (store, admission) = failing(1.0, 1);
    let slot = take(&admission, "ann").await.unwrap();
    store.set_failing(true);
    slot.release_later();
    // Half of the failed calls land: those that did not must have been tried again.
    until_failed(&store, 4).await;
    store.set_failing(false);
    until_taken(&(store as SharedStore), 0).await;
}

#[tokio::test]
async fn a_release_that_is_given_up_goes_on_in_the_background() {
    let (store, admission) = failing(1.0, 1);
    let slot = take(&admission, "ann").await.unwrap();
    store.set_failing(true);
    assert!(slot.release().now_or_never().is_none());
    until_failed(&store, 2).await;
    store.set_failing(false);
    until_taken(&(store as SharedStore), 0).await;
}

#[tokio::test]
async fn a_slot_whose_answer_was_lost_is_given_back() {
    let (store, admission) = failing(0.5, 1_000);
    store.set_failing(true);
    let mut slots = Vec::new();
    for _ in 0..100 {
        match take(&admission, "ann").await {
            Ok(slot) => slots.push(slot),
            Err(error) => assert!(matches!(error, SessionError::Store(_)), "{error}"),
        }
    }
    assert!(store.landed() > 0, "no answer was lost");
    store.set_failing(false);
    let store = store as SharedStore;
    until_taken(&store, slots.len() as u64).await;
    drop(slots);
    until_taken(&store, 0).await;
}

#[tokio::test]
async fn a_caller_who_goes_away_while_it_takes_a_slot_leaves_none_behind() {
    let (store, admission) = failing(0.0, 2);
    let store = store as SharedStore;
    for polls in (0..20).map(|n| n % 4) {
        // Gone before the store has been asked, before it has answered, or with what it has answered.
        let mut taking = Box::pin(take(&admission, "ann"));
        let mut joining = Box::pin(admission.take_or_wait(Uuid::new_v4(), "ann"));
        for _ in 0..polls {
            drop((&mut taking).now_or_never());
            drop((&mut joining).now_or_never());
        }
    }
    // Whoever was asked for after them is told of no slot that nobody has.
    let began = Instant::now();
    let slots = loop {
        match (take(&admission, "bob").await, take(&admission, "bob").await) {
            (Ok(first), Ok(second)) => break [first, second],
            other => assert!(began.elapsed() < Duration::from_secs(30), "{other:?}"),
        }
    };
    for slot in slots {
        slot.release().await;
    }
    until_taken(&store, 0).await;
}

#[tokio::test]
async fn a_store_that_is_away_fails_nobody_who_waits() {
    let (store, admission) = failing(1.0, 1);
    let slot = take(&admission, "ann").await.unwrap();
    let mut waits = wait(&admission, "ann").await;
    store.set_failing(true);
    slot.release_later();
    until_failed(&store, 6).await;
    assert!(has_slot(&mut waits).is_none());
    assert_eq!(admission.waiting(), 1);
    store.set_failing(false);
    slot_of(&mut waits).await.release().await;
    assert_eq!(store.slots().await.unwrap().taken, 0);
}

#[tokio::test]
async fn one_who_leaves_while_the_store_is_away_leaves_no_slot_behind() {
    let (store, admission) = failing(1.0, 1);
    for _ in 0..8 {
        let slot = take(&admission, "ann").await.unwrap();
        let waits = wait(&admission, "ann").await;
        let (failed, landed) = (store.failed(), store.landed());
        store.set_failing(true);
        slot.release_later();
        until_failed(&store, failed + 3).await;
        drop(waits);
        while store.landed() == landed {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        store.set_failing(false);
        let store: SharedStore = store.clone();
        until_taken(&store, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j8_over_a_store_that_fails_at_random_two_nodes_keep_the_cap_serve_everybody_and_lose_no_slot() {
    const CAP: u32 = 3;
    let inner = test_store();
    let settings = SessionSettings {
        max_sessions: CAP,
        max_queue: 10_000,
        max_queued_per_principal: 10_000,
        ..SessionSettings::default()
    };
    let nodes = [1, 2].map(|seed| {
        let store = Faulty::new(inner.clone(), seed, 0.2);
        let admission = Admission::new(store.clone(), &format!("node-{seed}"), &settings);
        (store, admission)
    });
    let (live, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let sessions = nodes.iter().cycle().zip(0..count(60, 3_000)).map(|((_, admission), number)| {
        let (admission, live, most) = (admission.clone(), Arc::clone(&live), Arc::clone(&most));
        tasks::spawn("test-session", async move {
            let owner = format!("owner-{}", number % 3);
            let slot = loop {
                match admission.take_or_wait(Uuid::new_v4(), &owner).await {
                    Ok(Admitted::Slot(slot)) => break slot,
                    Ok(Admitted::Waiting(waiting)) if number % 5 == 0 => return drop(waiting),
                    Ok(Admitted::Waiting(mut waiting)) => break slot_of(&mut waiting).await,
                    Err(error) => assert!(matches!(error, SessionError::Store(_)), "{error}"),
                }
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
    for (store, _) in &nodes {
        assert!(store.landed() > 0, "no answer was lost");
        store.set_failing(false);
    }
    until_taken(&inner, 0).await;
    for (_, admission) in &nodes {
        admission.desk.restate().await.unwrap();
    }
    assert_eq!(inner.slots().await.unwrap(), SlotCounts::default());
}

#[tokio::test]
async fn a_slot_of_another_node_that_comes_free_is_seen() {
    let (store, here) = with_slots(1);
    let settings = SessionSettings { max_sessions: 1, ..SessionSettings::default() };
    let there = Admission::new(store.clone(), "another-node", &settings);
    let slot = take(&there, "ann").await.unwrap();
    let mut waits = wait(&here, "ann").await;
    // Once for the one who asked before it joined, once for the line: now both know that there is none.
    here.room_wanted().notified().await;
    here.room_wanted().notified().await;
    slot.release().await;
    let slot = slot_of(&mut waits).await;
    assert_eq!(reason(take(&there, "ann").await), LimitReason::Slots { max: 1 });
    slot.release().await;
}
