//! Batches that share a row are the batches that they were.

use bytes::Bytes;

use super::{by_hand, with_new_sessions};
use crate::api::event::EventType;
use crate::api::selector::TypeSet;
use crate::store::contract::sample;
use crate::store::sqlite::SqliteStore;
use crate::store::{Batch, LogBounds, Store, StoreError};

/// Each of another length, and of other types.
fn batch(seq: u64) -> Batch {
    let event_type = if seq.is_multiple_of(3) { EventType::Output } else { EventType::Claude };
    let payload = vec![u8::try_from(seq).unwrap(); usize::try_from(seq * 100).unwrap()];
    Batch { types: TypeSet::default().with(event_type), payload: payload.into(), ..sample::batch(seq, seq) }
}

/// A store with a session of which fifty batches were appended at once, and its rows.
async fn with_fifty() -> (tempfile::TempDir, SqliteStore, Vec<(u64, u64)>) {
    let (directory, path, store) = with_new_sessions(1).await;
    // They come together: what is brought meanwhile waits for the one transaction.
    let other = super::lock_out(&path);
    for seq in 1..=50 {
        store.append(sample::id(1), 1, batch(seq)).await.unwrap();
    }
    drop(other);
    assert_eq!(store.bounds(sample::id(1)).await.unwrap().head, 50);
    let file = by_hand(&path);
    let mut rows = file.prepare("SELECT first_seq, last_seq FROM batches ORDER BY last_seq").unwrap();
    let bounds = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u32>(0)?.into(), row.get::<_, u32>(1)?.into()));
    let rows = rows.query_map([], bounds).unwrap().map(Result::unwrap).collect();
    (directory, store, rows)
}

#[tokio::test]
async fn they_are_read_as_they_were_appended_from_any_number_and_with_any_filter() {
    let (_directory, store, rows) = with_fifty().await;
    assert!(rows.len() > 1 && rows.len() < 8, "{rows:?}");
    let only = |event_type| TypeSet::default().with(event_type);
    for wanted in [TypeSet::ALL, only(EventType::Output), only(EventType::Claude), only(EventType::State)] {
        for after in [0, 1, 7, 24, 49] {
            let told = |seq| {
                let batch = batch(seq);
                Batch { payload: if batch.types.intersects(wanted) { batch.payload } else { Bytes::new() }, ..batch }
            };
            let log = store.read(sample::id(1), after, wanted, usize::MAX).await.unwrap();
            assert_eq!(log, (after + 1..=50).map(told).collect::<Vec<_>>(), "after {after}");
        }
    }
    let some = store.read(sample::id(1), 10, TypeSet::ALL, 2_400).await.unwrap();
    assert_eq!(some, [batch(11), batch(12), batch(13)]);
    store.close().await;
}

#[tokio::test]
async fn each_is_known_when_it_comes_again_and_what_is_like_it_is_not() {
    let (_directory, store, _) = with_fifty().await;
    let id = sample::id(1);
    for seq in 1..=50 {
        store.append(id, 1, batch(seq)).await.unwrap();
        let other = Batch { payload: Bytes::from_static(b"other"), ..batch(seq) };
        assert_eq!(store.append(id, 1, other).await, Err(StoreError::Gap { expected: 51, found: seq }));
    }
    let both = Batch { first_seq: 7, ..batch(8) };
    assert_eq!(store.append(id, 1, both).await, Err(StoreError::Gap { expected: 51, found: 7 }));
    assert_eq!(store.bounds(id).await.unwrap().head, 50);
    store.close().await;
}

#[tokio::test]
async fn a_cut_goes_through_a_row() {
    let (_directory, store, rows) = with_fifty().await;
    let id = sample::id(1);
    let bytes_from = |first: u64| (first..=50).map(|seq| seq * 100).sum::<u64>();
    let within = rows[0].1 - 3;
    // Within the first row, to its end, into the next one, to the last batch.
    for first in [within, within + 1, rows[0].1 + 1, rows[1].0 + 2, 50] {
        let expected = LogBounds { first, head: 50, bytes: bytes_from(first) };
        assert_eq!(store.cut_head(id, 1, bytes_from(first), 100).await.unwrap(), expected);
        assert_eq!(store.bounds(id).await.unwrap(), expected);
        let log = store.read(id, 0, TypeSet::ALL, usize::MAX).await.unwrap();
        assert_eq!(log, (first..=50).map(batch).collect::<Vec<_>>());
        assert_eq!(store.kept_bytes().await.unwrap(), expected.bytes);
    }
    store.append(id, 1, batch(51)).await.unwrap();
    assert_eq!(store.cut_head(id, 1, 0, 100).await.unwrap(), LogBounds { first: 51, head: 51, bytes: 5_100 });
    store.close().await;
}
