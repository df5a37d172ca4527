//! The file: old ones count their bytes, and what was removed goes from it, also after a crash.

use std::path::Path;

use uuid::Uuid;

use super::{by_hand, open};
use crate::api::selector::TypeSet;
use crate::store::contract::sample;
use crate::store::sqlite::schema;
use crate::store::{LogBounds, Store};

fn batches(path: &Path) -> i64 {
    by_hand(path).query_row("SELECT count(*) FROM batches", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_file_of_the_first_form_is_brought_up_to_date_with_true_sums() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    {
        let old = by_hand(&path);
        old.execute_batch(schema::STEPS[0]).unwrap();
        old.execute_batch("PRAGMA application_id = 0x63636777; PRAGMA user_version = 1").unwrap();
        for (key, state, head) in [(1_u32, "running", 3_u32), (2, "ended", 1), (3, "queued", 0)] {
            old.execute(
                "INSERT INTO sessions (key, id, owner, state, node, epoch, last_seq, created_at_ms) \
                 VALUES (?1, ?2, 'owner-1', ?3, 'node-1', 1, ?4, ?1)",
                rusqlite::params![key, sample::id(key.into()).as_bytes(), state, head],
            )
            .unwrap();
            for seq in 1..=head {
                // Also a payload that has pages of its own.
                let payload = vec![7_u8; if seq == 2 { 100_000 } else { 10 }];
                old.execute("INSERT INTO batches VALUES (?1, ?2, ?2, 2, ?3)", rusqlite::params![key, seq, payload])
                    .unwrap();
            }
        }
    }
    let store = open(&path).unwrap();
    let bounds = async |id: Uuid| store.bounds(id).await.unwrap();
    assert_eq!(bounds(sample::id(1)).await, LogBounds { first: 1, head: 3, bytes: 100_020 });
    assert_eq!(bounds(sample::id(2)).await, LogBounds { first: 1, head: 1, bytes: 10 });
    assert_eq!(bounds(sample::id(3)).await, LogBounds { first: 1, head: 0, bytes: 0 });
    assert_eq!(store.kept_bytes().await.unwrap(), 100_030);
    store.append(sample::id(1), 1, sample::batch(4, 4)).await.unwrap();
    assert_eq!(store.cut_head(sample::id(1), 1, 100, 10).await.unwrap(), LogBounds { first: 3, head: 4, bytes: 74 });
    assert_eq!(store.read(sample::id(1), 0, TypeSet::ALL, usize::MAX).await.unwrap().len(), 2);
    let version: i64 = by_hand(&path).query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(usize::try_from(version), Ok(schema::STEPS.len()));
}

#[tokio::test]
async fn what_was_removed_stays_gone_after_a_restart_and_the_purge_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let store = open(&path).unwrap();
    for n in 1..=3 {
        store.create_session(sample::session(n)).await.unwrap();
        for seq in 1..=4 {
            store.append(sample::id(n), 1, sample::batch(seq, seq)).await.unwrap();
        }
        store.end_session(sample::id(n), 1, sample::last_batch(5), sample::end_patch()).await.unwrap();
    }
    assert!(store.remove_session(sample::id(3)).await.unwrap());
    assert!(store.remove_session(sample::id(1)).await.unwrap());
    assert!(store.purge(3).await.unwrap());
    assert_eq!(batches(&path), 12, "no more than three at once");
    drop(store);

    let store = open(&path).unwrap();
    assert_eq!(store.session(sample::id(1)).await.unwrap(), None);
    assert_eq!(store.kept_bytes().await.unwrap(), 5 * 64);
    // A session that comes now has nothing of those whose batches are still there.
    store.create_session(sample::session(4)).await.unwrap();
    assert_eq!(store.bounds(sample::id(4)).await.unwrap(), LogBounds { first: 1, head: 0, bytes: 0 });
    assert!(store.purge(6).await.unwrap());
    assert!(!store.purge(1).await.unwrap());
    assert_eq!(batches(&path), 5);
    assert_eq!(store.read(sample::id(2), 0, TypeSet::ALL, usize::MAX).await.unwrap().len(), 5);
    for table in ["removals", "idempotency_keys"] {
        let rows: i64 =
            by_hand(&path).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    let details: i64 = by_hand(&path)
        .query_row("SELECT count(*) FROM session_details WHERE key IN (1, 3)", [], |row| row.get(0))
        .unwrap();
    assert_eq!(details, 0);
}
