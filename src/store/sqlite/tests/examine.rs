//! What is found by who looks over the file.

use std::path::Path;

use super::{by_hand, open};
use crate::store::contract::sample;
use crate::store::{NewSession, Severity, Store};

/// What is told after somebody has run `sql` on the file of a store with two sessions, each with labels and a key.
async fn found_after(sql: &str) -> Vec<(Severity, Option<u64>, String)> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let store = open(&path).unwrap();
    for n in 1..=2 {
        let idempotency = Some((format!("key {n}"), "f".to_owned()));
        store.create_session(NewSession { idempotency, ..sample::session(n) }).await.unwrap();
        store.append(sample::id(n), 1, sample::batch(1, 1)).await.unwrap();
    }
    assert_eq!(store.examine().await.unwrap(), []);
    by_hand(&path).execute_batch(sql).unwrap();
    let told = store.examine().await.unwrap().into_iter();
    told.map(|finding| (finding.severity, finding.session.map(sample::number), finding.what)).collect()
}

#[tokio::test]
async fn each_contradiction_of_the_tables_is_found_with_its_session() {
    let cases = [
        ("DELETE FROM labels WHERE value = 't1'", "not found by it", Some(1)),
        ("UPDATE labels SET name = 'other' WHERE value = 't1'", "does not carry", Some(1)),
        ("UPDATE idempotency_keys SET owner = 'x' WHERE key = 'key 1'", "another owner's", Some(1)),
        ("INSERT INTO removals (key) VALUES (1)", "waits to be deleted", Some(1)),
        ("INSERT INTO audit (id, action, entry) VALUES (x'00', 'a', '{}')", "audit log", None),
    ];
    for (sql, what, session) in cases {
        let found = found_after(sql).await;
        let is_it = |(severity, of, told): &(Severity, Option<u64>, String)| {
            *severity == Severity::Fault && *of == session && told.contains(what)
        };
        assert!(found.iter().any(is_it), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn what_belongs_to_nothing_is_a_leftover() {
    let found = found_after(
        "DELETE FROM sessions WHERE key = 1; DELETE FROM batches WHERE session = 2; \
         UPDATE sessions SET last_seq = 0, bytes = 0",
    )
    .await;
    let all: Vec<_> = found.iter().map(|(_, _, what)| what.split(' ').nth(1).unwrap_or_default()).collect();
    assert_eq!(all, ["label", "idempotency", "belong", "log"], "{found:?}");
    assert!(found.iter().all(|(severity, ..)| *severity == Severity::Leftover), "{found:?}");
}

/// Overwrites a page in the middle of the file.
fn damage(path: &Path) {
    use std::io::{Seek, SeekFrom, Write};
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let middle = file.metadata().unwrap().len() / 2 / 4_096 * 4_096;
    file.seek(SeekFrom::Start(middle)).unwrap();
    file.write_all(&[0xA5; 4_096]).unwrap();
}

#[tokio::test]
async fn a_damaged_page_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let store = open(&path).unwrap();
    for n in 1..=200 {
        store.create_session(sample::session(n)).await.unwrap();
    }
    store.close().await;
    damage(&path);
    let store = open(&path).unwrap();
    let found = store.examine().await.unwrap();
    assert!(found.iter().any(|finding| finding.severity == Severity::Fault), "{found:?}");
}
