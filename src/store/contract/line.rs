//! The line of those who wait for a slot: one order over all nodes, and nobody passes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;

use super::{Outcome, sample, there};
use crate::store::{
    LineLimits, LineOutcome, NodeSlots, SharedStore, SlotAsked, SlotCounts, SlotLimits, SlotOutcome, StoreError,
};
use crate::telemetry::tasks;

/// Long enough never to be over in a test.
const LONG: u64 = 600_000;

/// Somebody with the will to wait; where they stand, or `None` if there was a slot.
async fn join(store: &SharedStore, asked: SlotAsked, limits: SlotLimits) -> Result<Option<u64>, StoreError> {
    match store.join_line(asked, limits, sample::LINE).await? {
        LineOutcome::Taken => Ok(None),
        LineOutcome::Waiting { position } => Ok(Some(position)),
        LineOutcome::QueueFull | LineOutcome::OwnQueue => Err(StoreError::Exists),
    }
}

/// Slots, and places with their positions, by number.
type Standing = (Vec<u64>, Vec<(u64, u64)>);

/// What a node is told without a hold: its slots and its places, by number.
async fn look(store: &SharedStore, node: &str, limits: SlotLimits) -> Result<Standing, StoreError> {
    let found = store.line_of(node, limits, 0, true).await?;
    let mut slots: Vec<_> = found.slots.into_iter().map(sample::number).collect();
    slots.sort_unstable();
    let places = found.places.unwrap_or_default();
    Ok((slots, places.into_iter().map(|(id, position)| (sample::number(id), position)).collect()))
}

/// One order over two nodes.
pub async fn a_slot_that_comes_free_goes_to_who_is_next_on_whatever_node(store: SharedStore) -> Outcome {
    let limits = sample::slots(1);
    let on = |n, node| sample::asked(n, "ann", node);
    assert_eq!(join(&store, on(1, "node-1"), limits).await?, None);
    assert_eq!(join(&store, on(2, "node-2"), limits).await?, Some(1));
    assert_eq!(join(&store, on(3, "node-1"), limits).await?, Some(2));
    assert_eq!(join(&store, on(4, "node-2"), limits).await?, Some(3));
    assert_eq!(look(&store, "node-1", limits).await?, (vec![1], vec![(3, 2)]));
    assert_eq!(look(&store, "node-2", limits).await?, (vec![], vec![(2, 1), (4, 3)]));
    assert_eq!(store.slots().await?, SlotCounts { taken: 1, waiting: 3 });

    // The release lets the next one in by itself: whoever asks now is behind it.
    store.release_slot(sample::id(1), limits).await?;
    assert_eq!(store.slots().await?, SlotCounts { taken: 1, waiting: 2 });
    assert_eq!(store.take_slot(on(5, "node-1"), limits).await?, SlotOutcome::Line { waiting: 2 });
    assert_eq!(look(&store, "node-2", limits).await?, (vec![2], vec![(4, 2)]));
    assert_eq!(look(&store, "node-3", limits).await?, (vec![], vec![]));
    // Not asked for, positions are not told; that a slot is wanted is, on whatever node.
    let found = store.line_of("node-3", limits, 0, false).await?;
    assert_eq!(found, NodeSlots { slots: Vec::new(), places: None, wanted: true });
    Ok(())
}

/// Neither those who wait nor those who do not, while somebody before them could go.
pub async fn nobody_passes_those_who_wait(store: SharedStore) -> Outcome {
    let limits = sample::slots(1);
    join(&store, sample::asked(1, "ann", "node-1"), limits).await?;
    join(&store, sample::asked(2, "ann", "node-1"), limits).await?;
    let more = sample::slots(2);
    // There is a second slot now, and it is for the one who waits, whoever says so.
    assert_eq!(store.take_slot(sample::asked(3, "bob", "node-2"), more).await?, SlotOutcome::Full { taken: 2 });
    assert_eq!(look(&store, "node-1", more).await?, (vec![1, 2], vec![]));
    join(&store, sample::asked(4, "ann", "node-1"), more).await?;
    assert_eq!(join(&store, sample::asked(5, "bob", "node-2"), sample::slots(3)).await?, Some(1));
    assert_eq!(look(&store, "node-1", more).await?, (vec![1, 2, 4], vec![]));
    Ok(())
}

/// Round-robin over principals, over two nodes.
pub async fn j3_one_who_comes_after_a_hundred_of_anothers_goes_within_two_free_slots(store: SharedStore) -> Outcome {
    let limits = sample::slots(1);
    for n in 1..=101 {
        join(&store, sample::asked(n, "many", "node-1"), limits).await?;
    }
    assert_eq!(join(&store, sample::asked(200, "one", "node-2"), limits).await?, Some(2));
    let (_, places) = look(&store, "node-1", limits).await?;
    assert_eq!((places[0], places[1], places[99]), ((2, 1), (3, 3), (101, 101)));
    store.release_slot(sample::id(1), limits).await?;
    store.release_slot(sample::id(2), limits).await?;
    assert_eq!(look(&store, "node-2", limits).await?, (vec![200], vec![]));
    store.release_slot(sample::id(200), limits).await?;
    assert_eq!(look(&store, "node-1", limits).await?.0, [3]);
    Ok(())
}

/// Over all nodes, all together and of one principal.
pub async fn j2_a_full_line_takes_nobody_in(store: SharedStore) -> Outcome {
    let (limits, line) = (sample::slots(1), LineLimits { max_queue: 3, max_queued_per_principal: 2 });
    let asked = |n, owner, node| store.join_line(sample::asked(n, owner, node), limits, line);
    assert_eq!(asked(1, "ann", "node-1").await?, LineOutcome::Taken);
    assert_eq!(asked(2, "ann", "node-1").await?, LineOutcome::Waiting { position: 1 });
    assert_eq!(asked(3, "ann", "node-2").await?, LineOutcome::Waiting { position: 2 });
    assert_eq!(asked(4, "ann", "node-3").await?, LineOutcome::OwnQueue);
    assert_eq!(asked(5, "bob", "node-3").await?, LineOutcome::Waiting { position: 2 });
    assert_eq!(asked(6, "cem", "node-1").await?, LineOutcome::QueueFull);
    // Who is in it already is told where, full or not.
    assert_eq!(asked(3, "ann", "node-2").await?, LineOutcome::Waiting { position: 3 });
    store.release_slot(sample::id(5), limits).await?;
    assert_eq!(asked(6, "cem", "node-1").await?, LineOutcome::Waiting { position: 2 });
    assert_eq!(store.slots().await?, SlotCounts { taken: 1, waiting: 3 });
    Ok(())
}

/// Who waits for a session of their own keeps nobody else, and is not forgotten.
pub async fn a_principal_at_its_limit_is_passed_over_and_keeps_its_turn(store: SharedStore) -> Outcome {
    let limits = sample::slots_each(3, 1);
    let on = |n, owner| sample::asked(n, owner, "node-1");
    assert_eq!(join(&store, on(1, "ann"), limits).await?, None);
    assert_eq!(join(&store, on(2, "ann"), limits).await?, Some(1));
    assert_eq!(store.take_slot(on(3, "bob"), limits).await?, SlotOutcome::Taken { taken: 2 });
    assert_eq!(join(&store, on(4, "cem"), limits).await?, None);
    assert_eq!(join(&store, on(5, "dan"), limits).await?, Some(1));
    assert_eq!(look(&store, "node-1", limits).await?.1, [(5, 1), (2, 2)]);
    store.release_slot(sample::id(1), limits).await?;
    assert_eq!(look(&store, "node-1", limits).await?, (vec![2, 3, 4], vec![(5, 1)]));
    Ok(())
}

/// The account of one node takes no work: others go on.
pub async fn a_held_nodes_places_are_passed_over_until_it_is_held_no_more(store: SharedStore) -> Outcome {
    let limits = sample::slots(2);
    let held = |n, owner| SlotAsked { held_for_ms: LONG, ..sample::asked(n, owner, "node-1") };
    // There are slots, and yet it waits.
    assert_eq!(join(&store, held(1, "ann"), limits).await?, Some(1));
    assert_eq!(store.take_slot(held(9, "bob"), limits).await?, SlotOutcome::Line { waiting: 1 });
    assert_eq!(join(&store, held(2, "ann"), limits).await?, Some(2));
    // On another node the slots are to be had, also for the same principal.
    assert_eq!(join(&store, sample::asked(3, "ann", "node-2"), limits).await?, None);
    let taken = store.take_slot(sample::asked(4, "bob", "node-2"), limits).await?;
    assert_eq!(taken, SlotOutcome::Taken { taken: 2 });
    assert_eq!(join(&store, sample::asked(5, "bob", "node-2"), limits).await?, Some(1));
    let found = store.line_of("node-1", limits, LONG, true).await?;
    assert_eq!(found.places, Some(vec![(sample::id(1), 2), (sample::id(2), 3)]));
    store.release_slot(sample::id(3), limits).await?;
    store.release_slot(sample::id(4), limits).await?;
    assert_eq!(look(&store, "node-2", limits).await?, (vec![5], vec![]));
    assert_eq!(store.slots().await?, SlotCounts { taken: 1, waiting: 2 }, "nobody else may go");
    assert_eq!(look(&store, "node-1", limits).await?, (vec![1], vec![(2, 1)]));

    // A hold ends by itself, and whoever looks next lets in whom it held.
    let brief = SlotAsked { held_for_ms: 1, ..sample::asked(6, "cem", "node-3") };
    let more = sample::slots(9);
    join(&store, brief, more).await?;
    while store.slots().await?.waiting > 0 {
        store.line_of("node-2", more, 0, false).await?;
    }
    assert_eq!(look(&store, "node-3", more).await?, (vec![6], vec![]));
    Ok(())
}

/// Leaving, at whatever moment.
pub async fn j6_one_who_leaves_the_line_gets_nothing_and_the_others_move_up(store: SharedStore) -> Outcome {
    let limits = sample::slots(1);
    for (n, owner) in [(1, "ann"), (2, "ann"), (3, "bob"), (4, "ann")] {
        join(&store, sample::asked(n, owner, "node-1"), limits).await?;
    }
    store.release_slot(sample::id(2), limits).await?;
    assert_eq!(look(&store, "node-1", limits).await?, (vec![1], vec![(4, 1), (3, 2)]));
    store.release_slot(sample::id(1), limits).await?;
    // It has been let in a moment ago and leaves all the same: the slot goes to the next.
    store.release_slot(sample::id(4), limits).await?;
    assert_eq!(look(&store, "node-1", limits).await?, (vec![3], vec![]));
    store.release_slot(sample::id(3), limits).await?;
    assert_eq!(store.slots().await?, SlotCounts::default());
    // Who has left and comes again is new.
    assert_eq!(join(&store, sample::asked(2, "ann", "node-1"), limits).await?, None);
    Ok(())
}

/// Answers get lost, so everything is said twice.
pub async fn what_is_said_again_to_the_line_changes_nothing(store: SharedStore) -> Outcome {
    let limits = sample::slots(1);
    let on = |n, owner| sample::asked(n, owner, "node-1");
    for _ in 0..2 {
        assert_eq!(join(&store, on(1, "ann"), limits).await?, None);
    }
    join(&store, on(2, "ann"), limits).await?;
    join(&store, on(3, "ann"), limits).await?;
    join(&store, on(4, "bob"), limits).await?;
    for _ in 0..2 {
        assert_eq!(join(&store, on(3, "ann"), limits).await?, Some(3));
    }
    assert_eq!(store.slots().await?, SlotCounts { taken: 1, waiting: 3 });
    for _ in 0..2 {
        store.release_slot(sample::id(1), limits).await?;
        assert_eq!(look(&store, "node-1", limits).await?, (vec![2], vec![(4, 1), (3, 2)]));
        // It has its slot by now, and is told so.
        assert_eq!(join(&store, on(2, "ann"), limits).await?, None);
    }
    for _ in 0..2 {
        store.release_slot(sample::id(4), limits).await?;
        assert_eq!(look(&store, "node-1", limits).await?, (vec![2], vec![(3, 1)]));
    }
    Ok(())
}

/// Forty who want to go at once on three nodes, each until it has had a slot.
pub async fn under_concurrency_everybody_in_the_line_gets_a_slot(store: SharedStore) -> Outcome {
    const CAP: u32 = 3;
    let limits = sample::slots(CAP);
    let held = Arc::new(AtomicU64::new(0));
    let sessions = (1..=40_u64).map(|n| {
        let (store, held) = (store.clone(), Arc::clone(&held));
        tasks::spawn("waits", async move {
            let node = format!("node-{}", n % 3);
            let asked = sample::asked(n, &format!("owner-{}", n % 5), &node);
            let mut has = store.join_line(asked.clone(), limits, sample::LINE).await? == LineOutcome::Taken;
            while !has {
                has = store.line_of(&node, limits, 0, n % 2 == 0).await?.slots.contains(&asked.id);
                tokio::task::yield_now().await;
            }
            let most = held.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::task::yield_now().await;
            held.fetch_sub(1, Ordering::SeqCst);
            store.release_slot(asked.id, limits).await?;
            Ok::<u64, StoreError>(most)
        })
    });
    for session in join_all(sessions).await {
        let most = there(session.ok().flatten())??;
        assert!(most <= u64::from(CAP), "{most} held a slot at once");
    }
    assert_eq!(store.slots().await?, SlotCounts::default());
    Ok(())
}
