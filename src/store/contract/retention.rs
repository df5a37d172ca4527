//! What is kept and what is not: filtered reads, counted bytes, cut logs, removed sessions.

use bytes::Bytes;
use uuid::Uuid;

use super::{Outcome, sample, there};
use crate::api::event::{EventType};
use crate::api::selector::TypeSet;
use crate::store::{
    Batch, Created, EndedQuery, EndedRow, ListQuery, LogBounds, NewSession, READ_BATCHES, SessionPatch, SharedStore,
    StoreError,
};

/// When the sessions here end, more or less.
const MOMENT: u64 = 1_700_000_100_000;

/// A batch of one event of that type; its payload has `bytes` bytes.
fn one(seq: u64, types: TypeSet, bytes: usize) -> Batch {
    Batch { types, payload: Bytes::from(vec![b'x'; bytes]), ..sample::batch(seq, seq) }
}

fn only(event_type: EventType) -> TypeSet {
    TypeSet::default().with(event_type)
}

/// Session number `n` with `batches` batches of 64 bytes, the last of which ended it at that moment.
async fn ended(store: &SharedStore, session: NewSession, batches: u64, ended_at_ms: u64) -> Result<Uuid, StoreError> {
    let id = session.row.id;
    store.create_session(session).await?;
    for seq in 1..batches {
        store.append(id, 1, sample::batch(seq, seq)).await?;
    }
    let patch = SessionPatch { ended_at_ms: Some(ended_at_ms), ..sample::end_patch() };
    store.end_session(id, 1, sample::last_batch(batches), patch).await?;
    Ok(id)
}

/// Deletes what is removed, in steps of `max_batches`.
async fn purge_all(store: &SharedStore, max_batches: u32) -> Outcome {
    for _ in 0..1_000 {
        if !store.purge(max_batches).await? {
            return Ok(());
        }
    }
    Err(StoreError::Away("a purge never comes to its end".to_owned()))
}

fn ids(rows: &[EndedRow]) -> Vec<Uuid> {
    rows.iter().map(|row| row.id).collect()
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

/// By the moment of the end, then by id; what is alive or labelled is left out.
pub async fn ended_sessions_come_the_longest_ended_first(store: SharedStore) -> Outcome {
    let labels = [None, Some("true"), Some("false"), Some(""), None, Some("false")];
    let mut expected = Vec::new();
    for (n, label) in (1..).zip(labels) {
        let mut session = sample::session(n);
        session.row.labels.extend(label.map(|value| ("keep".to_owned(), value.to_owned())));
        // Later ones ended earlier, two at a time.
        let ended_at_ms = MOMENT - n / 2;
        let id = ended(&store, session, n, ended_at_ms).await?;
        let row = EndedRow { id, ended_at_ms, bytes: 64 * n, workspace: format!("/work/{n}") };
        expected.push((row, label.is_none_or(|value| value == "false")));
    }
    store.create_session(sample::session(7)).await?;
    expected.sort_by_key(|(row, _)| (row.ended_at_ms, row.id));
    for without_label in [None, Some("keep".to_owned()), Some("other".to_owned())] {
        let filtered = without_label.as_deref() == Some("keep");
        let wanted: Vec<_> =
            expected.iter().filter(|(_, free)| *free || !filtered).map(|(row, _)| row.clone()).collect();
        for limit in [1, 2, 3, 100] {
            let mut query = EndedQuery { after: None, without_label: without_label.clone(), limit };
            let mut found = Vec::new();
            loop {
                let page = store.ended_sessions(query.clone()).await?;
                assert!(page.len() <= limit as usize);
                let Some(last) = page.last() else { break };
                query.after = Some((last.ended_at_ms, last.id));
                found.extend(page);
            }
            assert_eq!(found, wanted, "limit {limit}, without {without_label:?}");
        }
    }
    Ok(())
}

/// Neither what was removed nor what is new moves the next page.
pub async fn pages_of_ended_sessions_stay_stable_while_sessions_come_and_go(store: SharedStore) -> Outcome {
    for n in 1..=9 {
        ended(&store, sample::session(n), 1, MOMENT + n).await?;
    }
    let query = EndedQuery { limit: 4, ..EndedQuery::default() };
    let first = store.ended_sessions(query.clone()).await?;
    assert_eq!(ids(&first), [1, 2, 3, 4].map(sample::id));
    for n in [1, 4, 6] {
        assert!(store.remove_session(sample::id(n)).await?);
    }
    ended(&store, sample::session(10), 1, MOMENT + 10).await?;
    ended(&store, sample::session(11), 1, MOMENT).await?;
    store.create_session(sample::session(12)).await?;
    let after = first.last().map(|row| (row.ended_at_ms, row.id));
    let second = store.ended_sessions(EndedQuery { after, ..query }).await?;
    assert_eq!(ids(&second), [5, 7, 8, 9].map(sample::id));
    let newest_first = store.list_sessions(ListQuery { limit: 4, ..ListQuery::default() }).await?;
    assert_eq!(newest_first.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [12, 11, 10, 9].map(sample::id));
    Ok(())
}

/// The record, its labels, its log: nothing tells of it, before and after the purge.
pub async fn a_removed_session_is_gone_everywhere_at_once(store: SharedStore) -> Outcome {
    let key = Some(("key".to_owned(), "print".to_owned()));
    let id = ended(&store, NewSession { idempotency: key, ..sample::session(1) }, 3, MOMENT).await?;
    let neighbour = ended(&store, sample::session(3), 3, MOMENT).await?;
    assert!(store.remove_session(id).await?);
    for purged in [false, true] {
        assert_eq!(store.session(id).await?, None, "purged: {purged}");
        assert_eq!(store.bounds(id).await, Err(StoreError::Missing));
        assert_eq!(store.read(id, 0, TypeSet::ALL, 1_000).await, Err(StoreError::Missing));
        assert_eq!(store.append(id, 1, sample::batch(1, 1)).await, Err(StoreError::Missing));
        assert_eq!(store.cut_head(id, 1, 0, 10).await, Err(StoreError::Missing));
        let again = store.end_session(id, 1, sample::last_batch(3), sample::end_patch()).await;
        assert_eq!(again, Err(StoreError::Missing));
        assert_eq!(store.session_by_key("owner-1", "key").await?, None);
        assert_eq!(ids(&store.ended_sessions(EndedQuery { limit: 9, ..EndedQuery::default() }).await?), [neighbour]);
        for label in [None, Some(("team".to_owned(), None)), Some(("team".to_owned(), Some("t1".to_owned())))] {
            let page = store.list_sessions(ListQuery { label, limit: 9, ..ListQuery::default() }).await?;
            assert_eq!(page.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [neighbour]);
        }
        assert!(!store.remove_session(id).await?);
        assert_eq!(store.read(neighbour, 0, TypeSet::ALL, usize::MAX).await?.len(), 3);
        purge_all(&store, 2).await?;
    }
    Ok(())
}

/// What has not ended stays as it is.
pub async fn only_an_ended_session_can_be_removed(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    assert!(!store.remove_session(id).await?);
    store.create_session(sample::session(1)).await?;
    store.append(id, 1, sample::batch(1, 3)).await?;
    assert_eq!(store.remove_session(id).await, Err(StoreError::NotOwner));
    assert!(!store.purge(10).await?);
    assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await?, [sample::batch(1, 3)]);
    assert_eq!(store.list_sessions(ListQuery { limit: 9, ..ListQuery::default() }).await?.rows.len(), 1);
    store.append(id, 1, sample::batch(4, 4)).await
}

/// The key with other parameters, and even the id, before anything is purged.
pub async fn a_key_of_a_removed_session_starts_anew(store: SharedStore) -> Outcome {
    let with_key =
        |n, print: &str| NewSession { idempotency: Some(("key".to_owned(), print.to_owned())), ..sample::session(n) };
    let id = ended(&store, with_key(1, "print"), 3, MOMENT).await?;
    assert!(matches!(store.create_session(with_key(2, "print")).await?, Created::Existing(_)));
    assert_eq!(store.create_session(with_key(2, "other")).await?, Created::KeyReused);
    assert!(store.remove_session(id).await?);
    assert_eq!(store.create_session(with_key(2, "other")).await?, Created::New);
    assert_eq!(there(store.session_by_key("owner-1", "key").await?)?.0.id, sample::id(2));

    store.create_session(sample::session(1)).await?;
    assert_eq!(store.bounds(id).await?, LogBounds { first: 1, head: 0, bytes: 0 });
    store.append(id, 1, sample::batch(1, 1)).await?;
    purge_all(&store, 1).await?;
    assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await?, [sample::batch(1, 1)]);
    Ok(())
}

/// Small steps, and an end.
pub async fn a_purge_takes_so_many_batches_at_most_and_tells_whether_more_remain(store: SharedStore) -> Outcome {
    assert!(!store.purge(10).await?);
    for n in 1..=3 {
        let id = ended(&store, sample::session(n), 5, MOMENT + n).await?;
        if n < 3 {
            assert!(store.remove_session(id).await?);
        }
    }
    assert!(store.purge(0).await?);
    // Ten batches wait: nine are fewer.
    for step in 1..=3 {
        assert!(store.purge(3).await?, "step {step}");
    }
    purge_all(&store, 3).await?;
    assert!(!store.purge(3).await?);
    assert_eq!(store.read(sample::id(3), 0, TypeSet::ALL, usize::MAX).await?.len(), 5);
    Ok(())
}
