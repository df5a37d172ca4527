//! A store that forgets what a node has, or keeps what the node has given up.

use super::*;
use crate::store::SlotCounts;
use crate::store::contract::sample;

async fn counts(store: &SharedStore) -> SlotCounts {
    store.slots().await.unwrap()
}

#[tokio::test]
async fn slots_that_the_store_has_forgotten_are_taken_again_also_above_the_cap() {
    let (store, admission) = with_slots(2);
    let slots = [take(&admission, "ann").await.unwrap(), take(&admission, "bob").await.unwrap()];
    assert_eq!(store.forget_node_slots("node").await.unwrap(), 2);
    store.take_slot(sample::asked(1, "cem", "other"), sample::slots(2)).await.unwrap();
    admission.desk.restate().await.unwrap();
    assert_eq!(counts(&store).await.taken, 3);
    assert_eq!(reason(take(&admission, "ann").await), LimitReason::Slots { max: 2 });
    for slot in slots {
        slot.release().await;
    }
    admission.desk.restate().await.unwrap();
    assert_eq!(counts(&store).await.taken, 1, "what was given back stays so");
}

#[tokio::test]
async fn what_the_store_has_of_a_node_that_the_node_does_not_know_is_given_back() {
    let (store, admission) = with_slots(2);
    let slot = take(&admission, "ann").await.unwrap();
    // As after a call whose answer was lost, and that was never made good.
    store.take_slot(sample::asked(1, "ann", "node"), sample::slots(2)).await.unwrap();
    store.join_line(sample::asked(2, "ann", "node"), sample::slots(2), sample::LINE).await.unwrap();
    store.join_line(sample::asked(3, "bob", "other"), sample::slots(2), sample::LINE).await.unwrap();
    admission.desk.restate().await.unwrap();
    // The one of the other node has the slot that came free.
    assert_eq!(counts(&store).await, SlotCounts { taken: 2, waiting: 0 });
    slot.release().await;
    assert_eq!(store.forget_node_slots("other").await.unwrap(), 1);
    assert_eq!(counts(&store).await, SlotCounts::default());
}

#[tokio::test]
async fn those_whose_places_the_store_has_forgotten_wait_again_in_their_order() {
    let (store, admission) = with_slots(1);
    let slot = take(&admission, "ann").await.unwrap();
    let mut waits = [wait(&admission, "ann").await, wait(&admission, "ann").await, wait(&admission, "bob").await];
    store.forget_node_slots("node").await.unwrap();
    admission.desk.restate().await.unwrap();
    assert_eq!(counts(&store).await, SlotCounts { taken: 1, waiting: 3 });
    slot.release().await;
    let slot = slot_of(&mut waits[0]).await;
    until_place(&waits[2], 1).await;
    until_place(&waits[1], 2).await;
    slot.release().await;
    slot_of(&mut waits[2]).await.release().await;
    slot_of(&mut waits[1]).await.release().await;
    assert_eq!(counts(&store).await, SlotCounts::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_comes_and_goes_while_slots_are_restated_none_is_lost_and_none_stays() {
    let (store, admission) = with(&SessionSettings {
        max_sessions: 3,
        max_queue: 10_000,
        max_queued_per_principal: 10_000,
        ..SessionSettings::default()
    });
    let stop = tokio_util::sync::CancellationToken::new();
    let restates = {
        let (admission, store, stop) = (admission.clone(), store.clone(), stop.clone());
        crate::telemetry::tasks::spawn("test-restate", async move {
            while !stop.is_cancelled() {
                store.forget_node_slots("node").await.unwrap();
                admission.desk.restate().await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    let sessions = (0..count(60, 3_000)).map(|number| {
        let admission = admission.clone();
        crate::telemetry::tasks::spawn("test-session", async move {
            let owner = format!("owner-{}", number % 3);
            match admission.take_or_wait(Uuid::new_v4(), &owner).await.unwrap() {
                Admitted::Slot(slot) => slot.release_later(),
                Admitted::Waiting(waiting) if number % 5 == 0 => drop(waiting),
                Admitted::Waiting(mut waiting) => slot_of(&mut waiting).await.release().await,
            }
        })
    });
    for session in sessions.collect::<Vec<_>>() {
        session.await.unwrap().expect("a session that got its slot");
    }
    stop.cancel();
    restates.await.unwrap().expect("a node that restated");
    until_taken(&store, 0).await;
    admission.desk.restate().await.unwrap();
    assert_eq!((counts(&store).await, admission.counts()), (SlotCounts::default(), SlotCounts::default()));
}
