//! What only the embedded store promises: one file, one gateway, and what survives a crash.

mod crash;
mod damage;
mod file;
mod group;
mod retention;
mod speed;
mod upgrade;

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tempfile::TempDir;

use super::{SqliteStore, schema};
use crate::config::settings::SqliteSynchronous;
use crate::store::StoreError;

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
