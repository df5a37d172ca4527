//! What is stored and can't be right is told as damage, and harms nothing else.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};

use bytes::Bytes;
use tempfile::TempDir;

use super::{append_rows, by_hand, open, with_new_sessions};
use crate::api::selector::TypeSet;
use crate::store::contract::sample;
use crate::store::sqlite::{SqliteStore, schema};
use crate::store::{Batch, EndedQuery, ListQuery, PutAwayQuery, Store, StoreError};

/// A store with two sessions of three batches each, after somebody has run `sql` on its file.
async fn tampered(sql: &str) -> (TempDir, SqliteStore) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let store = open(&path).unwrap();
    for n in 1..=2 {
        store.create_session(sample::session(n)).await.unwrap();
        append_rows(&store, n, 3).await;
    }
    by_hand(&path).execute_batch(sql).unwrap();
    (directory, store)
}

fn is_damaged<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Damaged(_)))
}

#[tokio::test]
async fn a_log_with_a_hole_is_damaged_and_its_neighbour_is_not() {
    let holes = [
        "DELETE FROM batches WHERE session = 1 AND last_seq = 2",
        "DELETE FROM batches WHERE session = 1 AND last_seq = 3",
        "DELETE FROM batches WHERE session = 1",
        "UPDATE batches SET first_seq = 9 WHERE session = 1 AND last_seq = 2",
        "UPDATE batches SET types = -1 WHERE session = 1 AND last_seq = 2",
        "UPDATE batches SET parts = zeroblob(16) WHERE session = 1 AND last_seq = 2",
        "UPDATE batches SET parts = x'02' WHERE session = 1 AND last_seq = 2",
        "UPDATE batches SET parts = x'0200000000000000FFFFFFFFFFFFFFFF' WHERE session = 1 AND last_seq = 2",
    ];
    for hole in holes {
        let (_directory, store) = tampered(hole).await;
        assert!(is_damaged(&store.read(sample::id(1), 0, TypeSet::ALL, usize::MAX).await), "{hole}");
        assert_eq!(store.read(sample::id(2), 0, TypeSet::ALL, usize::MAX).await.unwrap().len(), 3, "{hole}");
        store.append(sample::id(2), 1, sample::batch(4, 4)).await.unwrap();
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_damaged_and_its_neighbour_is_not() {
    let changes = [
        "UPDATE sessions SET state = 'dancing' WHERE key = 1",
        "UPDATE sessions SET epoch = -1 WHERE key = 1",
        "UPDATE sessions SET id = x'00' WHERE key = 1",
        "UPDATE sessions SET ended = '{' WHERE key = 1",
        "UPDATE session_details SET about = '{}' WHERE key = 1",
        "DELETE FROM session_details WHERE key = 1",
    ];
    for change in changes {
        let (_directory, store) = tampered(change).await;
        let everything = ListQuery { limit: 10, ..ListQuery::default() };
        assert!(is_damaged(&store.list_sessions(everything).await), "{change}");
        assert_eq!(store.session(sample::id(2)).await.unwrap().unwrap().id, sample::id(2), "{change}");
    }
    let (_directory, store) = tampered("DROP TABLE accounts").await;
    assert!(is_damaged(&store.accounts().await));
    assert!(is_damaged(&store.create_account(sample::account(1)).await));
    store.check().await.unwrap();
}

#[tokio::test]
async fn what_is_to_be_removed_is_told_without_the_records_that_cannot_be_read() {
    let changes = [
        "UPDATE sessions SET id = x'00' WHERE key = 1",
        "UPDATE sessions SET bytes = -1 WHERE key = 1",
        "UPDATE session_details SET about = '{}' WHERE key = 1",
        "DELETE FROM session_details WHERE key = 1",
    ];
    for change in changes {
        let ended = format!("UPDATE sessions SET state = 'ended', ended_at_ms = key; {change}");
        let (_directory, store) = tampered(&ended).await;
        for limit in [1, 10] {
            let rows = store.ended_sessions(EndedQuery { limit, ..EndedQuery::default() }).await.unwrap();
            assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [sample::id(2)], "{change}");
        }
        assert!(store.remove_session(sample::id(2)).await.unwrap(), "{change}");
        assert_eq!(store.ended_sessions(EndedQuery { limit: 1, ..EndedQuery::default() }).await.unwrap(), []);
    }
    let more = ["UPDATE sessions SET messages = '[7]' WHERE key = 1", "UPDATE sessions SET epoch = -1 WHERE key = 1"];
    for change in changes.iter().chain(&more).filter(|change| !change.contains("bytes")) {
        let put_away = format!("UPDATE sessions SET state = 'idle', put_away_at_ms = key; {change}");
        let (_directory, store) = tampered(&put_away).await;
        for limit in [1, 10] {
            let rows = store.put_away_sessions(PutAwayQuery { limit, ..PutAwayQuery::default() }).await.unwrap();
            assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [sample::id(2)], "{change}");
        }
    }
    // What SQLite itself can't read is no single record's fault.
    let (_directory, store) = tampered("DROP INDEX sessions_ended").await;
    assert!(is_damaged(&store.ended_sessions(EndedQuery { limit: 1, ..EndedQuery::default() }).await));
}

#[tokio::test]
async fn a_destroyed_page_is_damage_and_not_a_wrong_answer() {
    let (_directory, path, store) = with_new_sessions(1).await;
    for seq in 1..=200 {
        let batch = Batch { payload: Bytes::from(vec![7; 2_000]), ..sample::batch(seq, seq) };
        store.append(sample::id(1), 1, batch).await.unwrap();
    }
    store.close().await;

    // Only the pages of the batches: the file still opens.
    let page = {
        let connection = by_hand(&path);
        let root: u32 = connection
            .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'batches'", [], |row| row.get(0))
            .unwrap();
        u64::from(root - 1)
    };
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(page * u64::from(schema::PAGE))).unwrap();
    file.write_all(&[0xEE; schema::PAGE as usize]).unwrap();
    drop(file);

    let store = open(&path).unwrap();
    let read = store.read(sample::id(1), 0, TypeSet::ALL, usize::MAX).await;
    assert!(is_damaged(&read), "{read:?}");
    let append = store.append(sample::id(1), 1, sample::batch(201, 201)).await;
    assert!(is_damaged(&append), "{append:?}");
    // The rest of the file serves on.
    store.check().await.unwrap();
    store.create_session(sample::session(2)).await.unwrap();
    assert_eq!(store.session(sample::id(1)).await.unwrap().unwrap().last_seq, 200);
    assert!(fs::metadata(&path).is_ok());
}
