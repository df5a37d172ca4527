//! Slots: never more than there are, whatever happens at once; they count until they are given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;

use super::{Outcome, sample, there};
use crate::store::{NodeSlots, SharedStore, SlotCounts, SlotOutcome, StoreError};
use crate::telemetry::tasks;

/// Counting up, refusing, giving back.
pub async fn slots_are_taken_up_to_the_cap_and_given_back(store: SharedStore) -> Outcome {
    let limits = sample::slots(3);
    let asked = |n| sample::asked(n, "ann", "node-1");
    for n in 1..=3 {
        assert_eq!(store.take_slot(asked(n), limits).await?, SlotOutcome::Taken { taken: n });
    }
    assert_eq!(store.take_slot(asked(4), limits).await?, SlotOutcome::Full { taken: 3 });
    assert_eq!(store.slots().await?, SlotCounts { taken: 3, waiting: 0 });

    store.release_slot(sample::id(2), limits).await?;
    store.release_slot(sample::id(2), limits).await?;
    assert_eq!(store.slots().await?.taken, 2);
    let other = sample::asked(4, "bob", "node-2");
    assert_eq!(store.take_slot(other, limits).await?, SlotOutcome::Taken { taken: 3 });
    // Fewer slots than are taken: nothing is taken away, and nothing given out.
    for max in [1, 0] {
        assert_eq!(store.take_slot(asked(5), sample::slots(max)).await?, SlotOutcome::Full { taken: 3 });
    }
    Ok(())
}

/// A repeated call after a lost answer, also when all slots are taken.
pub async fn taking_a_slot_again_counts_once(store: SharedStore) -> Outcome {
    let limits = sample::slots(2);
    for n in [1, 2, 1] {
        store.take_slot(sample::asked(n, "ann", "node-1"), limits).await?;
    }
    let again = sample::asked(1, "ann", "node-1");
    assert_eq!(store.take_slot(again, limits).await?, SlotOutcome::Taken { taken: 2 });
    assert_eq!(store.slots().await?.taken, 2);
    // It has gone: the same id is a new slot.
    store.release_slot(sample::id(1), limits).await?;
    let again = sample::asked(1, "ann", "node-1");
    assert_eq!(store.take_slot(again, limits).await?, SlotOutcome::Taken { taken: 2 });
    Ok(())
}

/// A hundred takers and a cap of seven.
pub async fn under_concurrency_the_cap_is_never_passed(store: SharedStore) -> Outcome {
    const CAP: u32 = 7;
    let limits = sample::slots(CAP);
    let held = Arc::new(AtomicU64::new(0));
    let takers = (1..=100_u64).map(|n| {
        let (store, held) = (store.clone(), Arc::clone(&held));
        tasks::spawn("takes", async move {
            let asked = sample::asked(n, "ann", &format!("node-{}", n % 3));
            let mut most = 0;
            while most == 0 {
                if let SlotOutcome::Taken { taken } = store.take_slot(asked.clone(), limits).await? {
                    // Counted by the takers themselves, not by the store.
                    most = held.fetch_add(1, Ordering::SeqCst) + 1;
                    assert!((1..=u64::from(CAP)).contains(&taken), "the store says {taken}");
                    tokio::task::yield_now().await;
                    held.fetch_sub(1, Ordering::SeqCst);
                    store.release_slot(asked.id, limits).await?;
                }
            }
            Ok::<u64, StoreError>(most)
        })
    });
    for taker in join_all(takers).await {
        let most = there(taker.ok().flatten())??;
        assert!(most <= u64::from(CAP), "{most} held a slot at once");
    }
    assert_eq!(store.slots().await?, SlotCounts::default());
    Ok(())
}

/// One principal has had enough, another has not.
pub async fn a_principals_own_limit_is_counted_over_all_nodes(store: SharedStore) -> Outcome {
    let limits = sample::slots_each(5, 2);
    for (n, node) in [(1, "node-1"), (2, "node-2")] {
        store.take_slot(sample::asked(n, "ann", node), limits).await?;
    }
    for node in ["node-1", "node-2", "node-3"] {
        assert_eq!(store.take_slot(sample::asked(3, "ann", node), limits).await?, SlotOutcome::OwnSessions);
    }
    // A name that is the other one's beginning is another one.
    for (n, owner) in [(4, "bob"), (5, "an"), (6, "ann:")] {
        let outcome = store.take_slot(sample::asked(n, owner, "node-1"), limits).await?;
        assert_eq!(outcome, SlotOutcome::Taken { taken: n - 1 });
    }
    store.release_slot(sample::id(2), limits).await?;
    let outcome = store.take_slot(sample::asked(3, "ann", "node-3"), limits).await?;
    assert_eq!(outcome, SlotOutcome::Taken { taken: 5 });
    Ok(())
}

/// A slot changes its owner and is taken all the while.
pub async fn a_slot_that_is_passed_on_counts_for_its_new_principal(store: SharedStore) -> Outcome {
    let limits = sample::slots_each(3, 1);
    let passed = |n, owner| store.pass_slot_on(sample::asked(n, owner, "node-1"), limits);
    for (n, owner) in [(1, "ann"), (2, "bob")] {
        store.take_slot(sample::asked(n, owner, "node-1"), limits).await?;
    }
    assert_eq!(passed(1, "bob").await?, SlotOutcome::OwnSessions);
    for _ in 0..2 {
        assert_eq!(passed(1, "cem").await?, SlotOutcome::Taken { taken: 2 });
    }
    let asked = |n, owner| store.take_slot(sample::asked(n, owner, "node-1"), limits);
    assert_eq!(asked(3, "cem").await?, SlotOutcome::OwnSessions);
    assert_eq!(asked(3, "ann").await?, SlotOutcome::Taken { taken: 3 });
    // What is not taken can't be passed on, and is not taken by that.
    assert_eq!(passed(9, "dan").await?, SlotOutcome::Full { taken: 3 });
    assert_eq!(store.slots().await?, SlotCounts { taken: 3, waiting: 0 });
    // Whoever gives it back gives back the new one's.
    store.release_slot(sample::id(1), limits).await?;
    assert_eq!(asked(4, "cem").await?, SlotOutcome::Taken { taken: 3 });
    Ok(())
}

/// Who waits goes before whoever a slot would be passed on to.
pub async fn a_slot_is_not_passed_on_past_those_who_wait(store: SharedStore) -> Outcome {
    let limits = sample::slots(1);
    store.take_slot(sample::asked(1, "ann", "node-1"), limits).await?;
    store.join_line(sample::asked(2, "bob", "node-2"), limits, sample::LINE).await?;
    let passed = store.pass_slot_on(sample::asked(1, "cem", "node-1"), limits).await?;
    assert_eq!(passed, SlotOutcome::Line { waiting: 1 });
    store.release_slot(sample::id(1), limits).await?;
    assert_eq!(store.line_of("node-2", limits, 0, false).await?.slots, [sample::id(2)]);
    Ok(())
}

/// What is done for a node that has died.
pub async fn a_nodes_slots_and_places_are_forgotten_together(store: SharedStore) -> Outcome {
    let limits = sample::slots(5);
    for n in 1..=5 {
        let node = if n == 3 { "node-2" } else { "node-1" };
        store.take_slot(sample::asked(n, "ann", node), limits).await?;
    }
    for (n, node) in [(6, "node-1"), (7, "node-2"), (8, "node-1")] {
        store.join_line(sample::asked(n, "ann", node), limits, sample::LINE).await?;
    }
    assert_eq!(store.forget_node_slots("node-1").await?, 4);
    assert_eq!(store.forget_node_slots("node-1").await?, 0);
    assert_eq!(store.slots().await?, SlotCounts { taken: 1, waiting: 1 });
    // Who waits on another node has its slot with that node's next look.
    let mut found = store.line_of("node-2", limits, 0, true).await?;
    found.slots.sort_unstable();
    let mut slots = vec![sample::id(3), sample::id(7)];
    slots.sort_unstable();
    assert_eq!(found, NodeSlots { slots, places: Some(Vec::new()), wanted: false });
    Ok(())
}

/// A node tells its slots to a store that has lost them.
pub async fn restated_slots_are_taken_also_above_the_cap(store: SharedStore) -> Outcome {
    let limits = sample::slots_each(2, 2);
    let ours = |numbers: &[u64]| numbers.iter().map(|n| (sample::id(*n), "ann".to_owned())).collect::<Vec<_>>();
    store.take_slot(sample::asked(1, "ann", "node-1"), limits).await?;
    store.take_slot(sample::asked(9, "bob", "node-2"), limits).await?;
    store.join_line(sample::asked(3, "ann", "node-1"), limits, sample::LINE).await?;
    assert!(store.restate_slots("node-1", Vec::new()).await?.is_empty());
    let added = store.restate_slots("node-1", ours(&[1, 2, 3])).await?;
    assert_eq!(added, [sample::id(2), sample::id(3)], "one waited, and now has its slot");
    assert!(store.restate_slots("node-1", ours(&[1, 2, 3])).await?.is_empty());
    assert_eq!(store.slots().await?, SlotCounts { taken: 4, waiting: 0 });
    // They count as all others do, of whatever principal and node.
    let outcome = store.take_slot(sample::asked(4, "cem", "node-2"), limits).await?;
    assert_eq!(outcome, SlotOutcome::Full { taken: 4 });
    let outcome = store.take_slot(sample::asked(4, "ann", "node-2"), sample::slots_each(9, 3)).await?;
    assert_eq!(outcome, SlotOutcome::OwnSessions);
    assert_eq!(store.forget_node_slots("node-1").await?, 3);
    Ok(())
}
