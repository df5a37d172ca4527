//! What is kept of a log and what is read of it: filters, counted bytes, cuts.

use bytes::Bytes;

use super::{Outcome, sample, there};
use crate::api::event::EventType;
use crate::api::selector::TypeSet;
use crate::store::{Batch, EndedQuery, LogBounds, READ_BATCHES, SharedStore, StoreError};

/// A batch of one event of that type; its payload has `bytes` bytes.
fn one(seq: u64, types: TypeSet, bytes: usize) -> Batch {
    Batch { types, payload: Bytes::from(vec![b'x'; bytes]), ..sample::batch(seq, seq) }
}

fn only(event_type: EventType) -> TypeSet {
    TypeSet::default().with(event_type)
}

/// Deletes what is removed, in steps of `max_batches`.
pub(super) async fn purge_all(store: &SharedStore, max_batches: u32) -> Outcome {
    for _ in 0..1_000 {
        if !store.purge(max_batches).await? {
            return Ok(());
        }
    }
    Err(StoreError::Away("a purge never comes to its end".to_owned()))
}

/// Payloads are left out, bounds and types never are; also for types that this version does not know.
pub async fn reading_with_a_filter_skips_payloads_but_never_a_number(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    let newer = TypeSet(1 << 31);
    let both = only(EventType::Claude).with(EventType::Output);
    let kinds = [only(EventType::Claude), only(EventType::Output), both, newer, TypeSet::default()];
    store.create_session(sample::session(1)).await?;
    let log: Vec<_> = (1..).zip(kinds.iter().cycle().take(15)).map(|(seq, types)| one(seq, *types, 10)).collect();
    for batch in &log {
        store.append(id, 1, batch.clone()).await?;
    }
    for wanted in [kinds[0], kinds[1], both, newer, TypeSet::default(), TypeSet::ALL] {
        let told = |batch: &Batch| Batch {
            payload: if batch.types.intersects(wanted) { batch.payload.clone() } else { Bytes::new() },
            ..batch.clone()
        };
        let expected: Vec<_> = log.iter().map(told).collect();
        assert_eq!(store.read(id, 0, wanted, usize::MAX).await?, expected, "{wanted:?}");
        assert_eq!(store.read(id, 7, wanted, usize::MAX).await?, expected[7..], "{wanted:?}");
    }
    // Of five batches one is wanted: what is skipped counts no byte.
    for (max_bytes, count) in [(0, 1), (1, 4), (10, 4), (11, 9), (20, 9), (21, 14), (31, 15)] {
        assert_eq!(store.read(id, 0, newer, max_bytes).await?.len(), count, "{max_bytes} bytes");
    }
    Ok(())
}

/// Whether they have bytes or not.
pub async fn a_read_gives_so_many_batches_at_most_and_the_next_goes_on(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    store.create_session(sample::session(1)).await?;
    let whole = READ_BATCHES as u64;
    for seq in 1..=whole + 3 {
        store.append(id, 1, one(seq, only(EventType::Claude), 1)).await?;
    }
    for wanted in [TypeSet::ALL, only(EventType::Output)] {
        let first = store.read(id, 0, wanted, usize::MAX).await?;
        assert_eq!((first.len(), there(first.last())?.last_seq), (READ_BATCHES, whole), "{wanted:?}");
        let rest = store.read(id, whole, wanted, usize::MAX).await?;
        assert_eq!(rest.iter().map(|batch| batch.last_seq).collect::<Vec<_>>(), [whole + 1, whole + 2, whole + 3]);
    }
    Ok(())
}

/// What is counted is what can be read, for one session and for all.
pub async fn bytes_are_counted_through_appends_cuts_and_removals(store: SharedStore) -> Outcome {
    let (first, second) = (sample::id(1), sample::id(2));
    assert_eq!(store.kept_bytes().await?, 0);
    store.create_session(sample::session(1)).await?;
    store.create_session(sample::session(2)).await?;
    for (seq, bytes) in (1..).zip([100, 0, 3_000, 20]) {
        let batch = one(seq, only(EventType::Claude), bytes);
        store.append(first, 1, batch.clone()).await?;
        // The same again adds nothing.
        store.append(first, 1, batch).await?;
    }
    let refused = store.append(first, 1, sample::batch(9, 9)).await;
    assert_eq!(refused, Err(StoreError::Gap { expected: 5, found: 9 }));
    store.append(second, 1, sample::batch(1, 1)).await?;
    assert_eq!((store.bounds(first).await?.bytes, store.kept_bytes().await?), (3_120, 3_184));

    store.cut_head(first, 1, 3_100, 10).await?;
    assert_eq!((store.bounds(first).await?.bytes, store.kept_bytes().await?), (3_020, 3_084));

    let last = sample::last_batch(5);
    store.end_session(first, 1, last.clone(), sample::end_patch()).await?;
    store.end_session(first, 1, last, sample::end_patch()).await?;
    assert_eq!((store.bounds(first).await?.bytes, store.kept_bytes().await?), (3_084, 3_148));
    for id in [first, second] {
        let log = store.read(id, 0, TypeSet::ALL, usize::MAX).await?;
        let sum: usize = log.iter().map(|batch| batch.payload.len()).sum();
        assert_eq!(store.bounds(id).await?.bytes, sum as u64);
    }
    let rows = store.ended_sessions(EndedQuery { limit: 5, ..EndedQuery::default() }).await?;
    assert_eq!(rows.iter().map(|row| row.bytes).collect::<Vec<_>>(), [3_084]);

    assert!(store.remove_session(first).await?);
    assert_eq!((store.bounds(second).await?.bytes, store.kept_bytes().await?), (64, 64));
    purge_all(&store, 1).await?;
    assert_eq!(store.kept_bytes().await?, 64);
    Ok(())
}

/// Whole batches go, the oldest first; numbers are never given anew.
pub async fn a_cut_log_reads_from_its_first_kept_number_and_its_bounds_say_so(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    let batches = [sample::batch(1, 3), sample::batch(4, 4), sample::batch(5, 9)];
    store.create_session(sample::session(1)).await?;
    for batch in &batches {
        store.append(id, 1, batch.clone()).await?;
    }
    let whole = LogBounds { first: 1, head: 9, bytes: 192 };
    for keep in [192, 193, u64::MAX] {
        assert_eq!(store.cut_head(id, 1, keep, 10).await?, whole, "{keep} bytes");
    }
    assert_eq!(store.cut_head(id, 1, 0, 0).await?, whole);

    let cut = LogBounds { first: 4, head: 9, bytes: 128 };
    for _ in 0..2 {
        assert_eq!(store.cut_head(id, 1, 191, 10).await?, cut);
        assert_eq!(store.bounds(id).await?, cut);
        for after in 0..=4 {
            let from = if after < 4 { 1 } else { 2 };
            assert_eq!(store.read(id, after, TypeSet::ALL, usize::MAX).await?, batches[from..], "after {after}");
        }
    }
    assert_eq!(there(store.session(id).await?)?.last_seq, 9);
    // What is gone does not come back, what follows does as ever.
    assert_eq!(store.append(id, 1, batches[0].clone()).await, Err(StoreError::Gap { expected: 10, found: 1 }));
    store.append(id, 1, sample::batch(10, 12)).await?;
    assert_eq!(store.bounds(id).await?, LogBounds { first: 4, head: 12, bytes: 192 });
    Ok(())
}

/// The newest batch stays, however long it is.
pub async fn a_cut_takes_so_many_batches_at_most_and_never_the_newest(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    store.create_session(sample::session(1)).await?;
    assert_eq!(store.cut_head(id, 1, 0, 10).await?, LogBounds { first: 1, head: 0, bytes: 0 });
    for seq in 1..=6 {
        store.append(id, 1, sample::batch(seq, seq)).await?;
    }
    for (first, bytes) in [(3, 256), (5, 128), (6, 64), (6, 64)] {
        assert_eq!(store.cut_head(id, 1, 0, 2).await?, LogBounds { first, head: 6, bytes });
    }
    assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await?, [sample::batch(6, 6)]);
    // The newest again is still the same batch, and the end of an ended log stays too.
    store.append(id, 1, sample::batch(6, 6)).await?;
    store.end_session(id, 1, sample::last_batch(7), sample::end_patch()).await?;
    assert_eq!(store.cut_head(id, 1, 0, 2).await?, LogBounds { first: 7, head: 7, bytes: 64 });
    store.end_session(id, 1, sample::last_batch(7), sample::end_patch()).await
}

/// Only the owner cuts.
pub async fn a_cut_by_another_epoch_is_refused_and_cuts_nothing(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    assert_eq!(store.cut_head(id, 1, 0, 10).await, Err(StoreError::Missing));
    store.create_session(sample::session(1)).await?;
    for seq in 1..=3 {
        store.append(id, 1, sample::batch(seq, seq)).await?;
    }
    store.update_session(id, 1, sample::takeover_patch("node-2", 2)).await?;
    for epoch in [0, 1, 3] {
        assert_eq!(store.cut_head(id, epoch, 0, 10).await, Err(StoreError::NotOwner), "epoch {epoch}");
    }
    assert_eq!(store.bounds(id).await?, LogBounds { first: 1, head: 3, bytes: 192 });
    assert_eq!(store.cut_head(id, 2, 0, 10).await?.first, 3);
    Ok(())
}
