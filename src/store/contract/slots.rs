//! Slots: never more than the cap, whatever happens at once; a lease frees what a dead node held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;

use super::{Outcome, sample, there};
use crate::store::{SharedStore, SlotOutcome, StoreError};
use crate::telemetry::tasks;

/// Long enough never to run out in a test.
const LONG: u64 = 600_000;

/// Counting up, refusing, giving back.
pub async fn slots_are_taken_up_to_the_cap_and_given_back(store: SharedStore) -> Outcome {
    for n in 1..=3 {
        let outcome = store.take_slot(sample::id(n), "node-1", 3, LONG).await?;
        assert_eq!(outcome, SlotOutcome::Taken { taken: n });
    }
    let SlotOutcome::Full { taken, next_expiry_ms } = store.take_slot(sample::id(4), "node-1", 3, LONG).await? else {
        return Err(StoreError::Exists);
    };
    assert_eq!(taken, 3);
    assert!((1..=LONG).contains(&next_expiry_ms), "{next_expiry_ms}");
    assert_eq!(store.slots_taken().await?, 3);

    store.release_slot(sample::id(2)).await?;
    store.release_slot(sample::id(2)).await?;
    assert_eq!(store.slots_taken().await?, 2);
    assert_eq!(store.take_slot(sample::id(4), "node-2", 3, LONG).await?, SlotOutcome::Taken { taken: 3 });
    // A cap that was lowered takes nothing away and gives nothing out.
    assert!(matches!(store.take_slot(sample::id(5), "node-1", 1, LONG).await?, SlotOutcome::Full { taken: 3, .. }));
    assert!(matches!(store.take_slot(sample::id(5), "node-1", 0, LONG).await?, SlotOutcome::Full { taken: 3, .. }));
    Ok(())
}

/// A repeated call after a lost answer, also when all slots are taken.
pub async fn taking_a_slot_again_counts_once(store: SharedStore) -> Outcome {
    for n in [1, 2] {
        store.take_slot(sample::id(n), "node-1", 2, LONG).await?;
    }
    assert_eq!(store.take_slot(sample::id(1), "node-2", 2, LONG).await?, SlotOutcome::Taken { taken: 2 });
    assert_eq!(store.slots_taken().await?, 2);
    assert_eq!(store.release_node_slots("node-2").await?, 1);
    assert_eq!(store.slots_taken().await?, 1);
    Ok(())
}

/// A hundred takers and a cap of seven.
pub async fn under_concurrency_the_cap_is_never_passed(store: SharedStore) -> Outcome {
    const CAP: u32 = 7;
    let held = Arc::new(AtomicU64::new(0));
    let takers = (1..=100_u64).map(|n| {
        let (store, held) = (store.clone(), Arc::clone(&held));
        tasks::spawn("takes", async move {
            let node = format!("node-{}", n % 3);
            let mut most = 0;
            while most == 0 {
                if let SlotOutcome::Taken { taken } = store.take_slot(sample::id(n), &node, CAP, LONG).await? {
                    // Counted by the takers themselves, not by the store.
                    most = held.fetch_add(1, Ordering::SeqCst) + 1;
                    assert!((1..=u64::from(CAP)).contains(&taken), "the store says {taken}");
                    tokio::task::yield_now().await;
                    held.fetch_sub(1, Ordering::SeqCst);
                    store.release_slot(sample::id(n)).await?;
                }
            }
            Ok::<u64, StoreError>(most)
        })
    });
    for taker in join_all(takers).await {
        let most = there(taker.ok().flatten())??;
        assert!(most <= u64::from(CAP), "{most} held a slot at once");
    }
    assert_eq!(store.slots_taken().await?, 0);
    Ok(())
}

/// What a dead node held is free after its lease.
pub async fn a_lease_that_ran_out_frees_its_slot(store: SharedStore) -> Outcome {
    store.take_slot(sample::id(1), "node-dead", 1, 30).await?;
    loop {
        match store.take_slot(sample::id(2), "node-1", 1, LONG).await? {
            SlotOutcome::Taken { taken } => {
                assert_eq!(taken, 1);
                break;
            }
            SlotOutcome::Full { taken, next_expiry_ms } => {
                assert_eq!(taken, 1);
                assert!(next_expiry_ms <= 30, "{next_expiry_ms}");
                tokio::task::yield_now().await;
            }
        }
    }
    // The dead node wakes up: its slot is gone and does not come back.
    store.renew_slots("node-dead", LONG).await?;
    assert_eq!(store.slots_taken().await?, 1);
    assert!(matches!(store.take_slot(sample::id(1), "node-dead", 1, LONG).await?, SlotOutcome::Full { taken: 1, .. }));
    Ok(())
}

/// Renewing counts from now, revives what nobody has asked for, and is for the node that says so.
pub async fn a_renewed_lease_lives_on_and_only_its_nodes(store: SharedStore) -> Outcome {
    store.take_slot(sample::id(1), "node-1", 1, 1).await?;
    store.renew_slots("node-1", LONG).await?;
    let SlotOutcome::Full { taken: 1, next_expiry_ms } = store.take_slot(sample::id(2), "node-2", 1, LONG).await?
    else {
        return Err(StoreError::Missing);
    };
    assert!(next_expiry_ms > LONG / 2, "{next_expiry_ms}");

    store.take_slot(sample::id(2), "node-2", 2, LONG).await?;
    store.renew_slots("node-2", 1).await?;
    store.renew_slots("node-3", LONG).await?;
    while store.slots_taken().await? == 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.slots_taken().await?, 1);
    assert_eq!(store.release_node_slots("node-1").await?, 1);
    Ok(())
}

/// What a node does when it starts.
pub async fn a_nodes_slots_are_given_back_together(store: SharedStore) -> Outcome {
    for n in 1..=5 {
        let node = if n == 3 { "node-2" } else { "node-1" };
        store.take_slot(sample::id(n), node, 10, LONG).await?;
    }
    assert_eq!(store.release_node_slots("node-1").await?, 4);
    assert_eq!(store.release_node_slots("node-1").await?, 0);
    assert_eq!(store.slots_taken().await?, 1);
    Ok(())
}
