//! What only the embedded store promises: one file, one gateway, and what survives a crash.

mod crash;
mod damage;
mod examine;
mod file;
mod group;
mod journal;
mod line;
mod retention;
mod speed;
mod together;
mod upgrade;

use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tempfile::TempDir;

use super::{SqliteStore, schema};
use crate::config::settings::SqliteSynchronous;
use crate::store::contract::sample;
use crate::store::{Store, StoreError};

mod contract {
    crate::store_contract!(|| async { crate::store::sqlite::test_store() });
}

fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, SqliteSynchronous::Normal)
}

/// A person's own connection to the file.
fn by_hand(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

/// A store with session number 1, in a directory that goes with the guard. The store has been opened since, so that it
/// has heard nothing of the session yet: the first append is the writing thread's.
async fn with_one_session() -> (TempDir, PathBuf, SqliteStore) {
    with_sessions(1).await
}

/// The same with so many.
async fn with_sessions(count: u64) -> (TempDir, PathBuf, SqliteStore) {
    let (directory, path, store) = with_new_sessions(count).await;
    store.close().await;
    let store = open(&path).unwrap();
    (directory, path, store)
}

/// The same with sessions that it has just made: the journal can take what is appended.
async fn with_new_sessions(count: u64) -> (TempDir, PathBuf, SqliteStore) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let store = open(&path).unwrap();
    for n in 1..=count {
        store.create_session(sample::session(n)).await.unwrap();
    }
    (directory, path, store)
}

/// Appends so many batches of one event each, every one as a row of its own.
async fn append_rows(store: &SqliteStore, n: u64, count: u64) {
    for seq in 1..=count {
        store.append(sample::id(n), 1, sample::batch(seq, seq)).await.unwrap();
        // Whoever asks has what waits put into the database.
        assert_eq!(store.bounds(sample::id(n)).await.unwrap().head, seq);
    }
}

/// Holds the writer up, as another program does that writes, until it is dropped.
fn lock_out(path: &Path) -> Connection {
    let other = by_hand(path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

/// A writer's connection to an empty file, without a store.
pub(super) fn connection() -> (TempDir, Connection) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    super::file::prepare(&path, &super::file::lock(&path).unwrap()).unwrap();
    let connection = schema::connect_writer(&path, SqliteSynchronous::Normal).unwrap();
    (directory, connection)
}

/// How SQLite goes about that query, step by step.
pub(super) fn plan(connection: &Connection, sql: &str, values: Vec<Value>) -> Vec<String> {
    let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    explain.query_map(params_from_iter(values), |row| row.get(3)).unwrap().map(Result::unwrap).collect()
}
