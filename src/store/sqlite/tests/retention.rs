//! What was removed goes from the file, also after a crash.

use std::path::Path;

use super::{append_rows, by_hand, open};
use crate::api::selector::TypeSet;
use crate::store::contract::sample;
use crate::store::{LogBounds, Store};

fn batches(path: &Path) -> i64 {
    by_hand(path).query_row("SELECT count(*) FROM batches", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn what_was_removed_stays_gone_after_a_restart_and_the_purge_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let store = open(&path).unwrap();
    for n in 1..=3 {
        store.create_session(sample::session(n)).await.unwrap();
        append_rows(&store, n, 4).await;
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
