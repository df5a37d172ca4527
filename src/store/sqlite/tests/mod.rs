//! What only the embedded store promises: one file, one gateway, and what survives a crash.

mod crash;
mod damage;
mod file;
mod group;
mod retention;
mod speed;

use std::path::Path;

use super::SqliteStore;
use crate::config::settings::SqliteSynchronous;
use crate::store::StoreError;

mod contract {
    crate::store_contract!(|| async { crate::store::sqlite::test_store() });
}

fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, SqliteSynchronous::Normal)
}

/// A person's own connection to the file.
fn by_hand(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}
