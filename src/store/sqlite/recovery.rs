//! What an earlier gateway left in the journal, which goes into the database before anything else.
//!
//! Invariant: the journal is emptied only once the database holds what was in it. It must not know what a record is.

use std::path::Path;

use rusqlite::Connection;

use super::fault::Fault;
use super::journal::Journal;
use super::{file, log};
use crate::config::settings::SqliteSynchronous;
use crate::store::StoreError;

/// The journal, after what an earlier gateway left in it was put into the database.
pub(super) fn journal(
    path: &Path,
    synchronous: SqliteSynchronous,
    connection: &mut Connection,
) -> Result<Journal, StoreError> {
    let failed = |error: std::io::Error| file::cannot("open the journal", &error);
    let (journal, left) = Journal::open(path).map_err(failed)?;
    if !left.is_empty() {
        let settled = connection
            .transaction()
            .map_err(Fault::from)
            .and_then(|transaction| log::settle(&transaction, &left).and_then(|()| Ok(transaction.commit()?)));
        settled.map_err(|fault| fault.into_store_error("recover"))?;
        tracing::info!(store = "sqlite", batches = left.len(), "the journal of an earlier gateway was taken over");
    }
    journal.clear().map_err(failed)?;
    Ok(match synchronous {
        SqliteSynchronous::Normal => journal,
        SqliteSynchronous::Full => Journal::none(),
    })
}
