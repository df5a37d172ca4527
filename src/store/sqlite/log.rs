//! Event logs: appending batches, ending a session, reading on.
//!
//! Invariants: `sessions.last_seq` is the last batch's `last_seq` (both are written in one transaction), and
//! `sessions.bytes` the sum of its payloads;
//! batches of a session follow each other without a gap; nothing follows a session's last event.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::batches::{self, Stored, Together};
use super::fault::{Fault, from_stored, to_stored};
use super::rows::{self, damaged};
use super::sessions::{self, Head};
use super::waiting::Entry;
use crate::api::selector::TypeSet;
use crate::store::{Batch, LogBounds, NewSession, READ_BATCHES, SessionPatch, StoreError};

/// See [`crate::store::Store::append`]. `false`: that very batch was in the log already.
pub(super) fn append(connection: &Connection, id: Uuid, epoch: u64, batch: &Batch) -> Result<bool, Fault> {
    let head = owned(connection, id, epoch)?;
    if is_stored(connection, &head, batch)? {
        return Ok(false);
    }
    if head.has_ended {
        return Err(StoreError::NotOwner.into());
    }
    push(connection, &head, batch).map(|()| true)
}

/// See [`crate::store::Store::end_session`].
pub(super) fn end(
    connection: &Connection,
    id: Uuid,
    epoch: u64,
    batch: &Batch,
    patch: &SessionPatch,
) -> Result<(), Fault> {
    let head = owned(connection, id, epoch)?;
    if head.has_ended {
        let again = batch.last_seq == head.last_seq && is_stored(connection, &head, batch)?;
        return if again { Ok(()) } else { Err(StoreError::NotOwner.into()) };
    }
    // Before the first write: what can still be refused must not have written anything.
    let ended = patch.ended.as_ref().map(rows::to_json).transpose()?;
    push(connection, &head, batch)?;
    sessions::mark_ended(connection, head.key, patch, ended.as_deref())
}

/// Puts what the journal has kept into the logs. What is there already is passed over. What does not fit (it was kept
/// before a loss of power, of which the database remembers less) is told and left out.
pub(super) fn settle(connection: &Connection, entries: &[Entry]) -> Result<(), Fault> {
    let mut logs: HashMap<Uuid, Growing<'_>> = HashMap::new();
    for entry @ Entry { session, epoch, batch, .. } in entries {
        if let Some(about) = entry.begins() {
            begin(connection, *session, about)?;
            continue;
        }
        let log = match logs.entry(*session) {
            Occupied(known) => known.into_mut(),
            Vacant(unknown) => match sessions::head(connection, *session) {
                Ok(head) => unknown.insert(Growing { head, bytes: None, together: Together::default() }),
                Err(Fault::Refused(StoreError::Missing)) => continue,
                Err(fault) => return Err(fault),
            },
        };
        let head = &mut log.head;
        if batch.last_seq <= head.last_seq {
            continue;
        }
        if head.epoch != *epoch || head.has_ended || batch.first_seq != head.last_seq + 1 {
            tracing::error!(
                store = "sqlite", %session, first_seq = batch.first_seq, head = head.last_seq,
                "events of the journal don't follow what the database holds; they are left out"
            );
            continue;
        }
        log.together.add(connection, head.key, batch)?;
        head.last_seq = batch.last_seq;
        log.bytes = Some(log.bytes.unwrap_or(0) + batch.payload.len() as u64);
    }
    for Growing { head, bytes, mut together } in logs.into_values() {
        together.write(connection, head.key)?;
        if let Some(bytes) = bytes {
            move_head(connection, head.key, head.last_seq, bytes)?;
        }
    }
    Ok(())
}

/// Makes a session that the journal has kept, if it is not there.
fn begin(connection: &Connection, id: Uuid, about: &[u8]) -> Result<(), Fault> {
    let made = rows::from_json(about).and_then(|row| {
        let session = NewSession { row, idempotency: None, fresh: false };
        sessions::create(connection, &session)
    });
    match made {
        Ok(_) => Ok(()),
        Err(Fault::Refused(error)) => {
            tracing::error!(store = "sqlite", session = %id, %error, "a session of the journal can't be made");
            Ok(())
        }
        Err(fault) => Err(fault),
    }
}

/// A log that something is put into.
struct Growing<'a> {
    /// With the number that it will have reached.
    head: Head,
    /// By how many bytes it has grown; `None`: not at all.
    bytes: Option<u64>,
    /// What is not written yet.
    together: Together<'a>,
}

/// The session, if `epoch` is its current one.
pub(super) fn owned(connection: &Connection, id: Uuid, epoch: u64) -> Result<Head, Fault> {
    let head = sessions::head(connection, id)?;
    if head.epoch == epoch { Ok(head) } else { Err(StoreError::NotOwner.into()) }
}

/// Is this very batch in the log?
fn is_stored(connection: &Connection, head: &Head, batch: &Batch) -> Result<bool, Fault> {
    if batch.last_seq > head.last_seq {
        return Ok(false);
    }
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {}, payload FROM batches WHERE session = ?1 AND last_seq >= ?2 ORDER BY last_seq LIMIT 1",
        batches::COLUMNS
    ))?;
    let mut found = statement.query(params![head.key, to_stored(batch.last_seq)?])?;
    let Some(row) = found.next()? else { return Ok(false) };
    Ok(Stored::from_row(row)?.batches(batches::payload(row)?.as_ref(), TypeSet::ALL)?.contains(batch))
}

fn push(connection: &Connection, head: &Head, batch: &Batch) -> Result<(), Fault> {
    let expected = head.last_seq.saturating_add(1);
    if batch.first_seq != expected || batch.last_seq < batch.first_seq {
        return Err(StoreError::Gap { expected, found: batch.first_seq }.into());
    }
    batches::write(connection, head.key, batch)?;
    move_head(connection, head.key, batch.last_seq, batch.payload.len() as u64)
}

/// The log's head is `last_seq` now, and holds so many bytes more.
fn move_head(connection: &Connection, session: i64, last_seq: u64, bytes: u64) -> Result<(), Fault> {
    connection
        .prepare_cached("UPDATE sessions SET last_seq = ?2, bytes = bytes + ?3 WHERE key = ?1")?
        .execute(params![session, to_stored(last_seq)?, to_stored(bytes)?])?;
    Ok(())
}

/// See [`crate::store::Store::read`].
pub(super) fn read(
    connection: &Connection,
    id: Uuid,
    after: u64,
    wanted: TypeSet,
    max_bytes: usize,
) -> Result<Vec<Batch>, Fault> {
    // One view for the head and the batches, so that what is between them is really missing.
    let view = connection.unchecked_transaction()?;
    let head = sessions::head(&view, id)?;
    let mut log: Vec<Batch> = Vec::new();
    if after >= head.last_seq {
        return Ok(log);
    }
    let mut statement = view.prepare_cached(&format!(
        // Within the CASE, so that the pages of a payload that nobody wants are not read.
        "SELECT {}, CASE WHEN types & ?3 THEN payload END FROM batches \
         WHERE session = ?1 AND last_seq > ?2 ORDER BY last_seq",
        batches::COLUMNS
    ))?;
    let mut found = statement.query(params![head.key, to_stored(after)?, wanted.0])?;
    let mut bytes = 0_usize;
    loop {
        let Some(row) = found.next()? else {
            let reached = log.last().map_or(0, |batch| batch.last_seq);
            if reached == head.last_seq {
                return Ok(log);
            }
            return Err(torn(id, "the end of the log is missing"));
        };
        let stored = Stored::from_row(row)?;
        let payload = batches::payload(row)?;
        if stored.first_seq > stored.last_seq {
            return Err(torn(id, "a batch ends before it begins"));
        }
        if log.last().is_some_and(|before| before.last_seq + 1 != stored.first_seq) {
            return Err(torn(id, "a batch is missing"));
        }
        for batch in stored.batches(payload.as_ref(), wanted)?.into_iter().filter(|batch| batch.last_seq > after) {
            bytes = bytes.saturating_add(batch.payload.len());
            log.push(batch);
            if bytes >= max_bytes || log.len() >= READ_BATCHES {
                return Ok(log);
            }
        }
    }
}

/// So much of batches that follow each other as one read gives, without the payloads that nobody wants. What a read of
/// the database gives stays as it is.
pub(super) fn page(batches: impl Iterator<Item = Batch>, wanted: TypeSet, max_bytes: usize) -> Vec<Batch> {
    let mut bytes = 0_usize;
    let mut page = Vec::new();
    for mut batch in batches {
        if !batch.types.intersects(wanted) {
            batch.payload = Bytes::new();
        }
        bytes = bytes.saturating_add(batch.payload.len());
        page.push(batch);
        if bytes >= max_bytes || page.len() >= READ_BATCHES {
            break;
        }
    }
    page
}

fn torn(id: Uuid, what: &'static str) -> Fault {
    tracing::error!(store = "sqlite", session = %id, what, "a session's log is damaged");
    damaged(what).into()
}

/// See [`crate::store::Store::bounds`].
pub(super) fn bounds(connection: &Connection, id: Uuid) -> Result<LogBounds, Fault> {
    let view = connection.unchecked_transaction()?;
    let head = sessions::head(&view, id)?;
    let first: Option<i64> = view
        .prepare_cached("SELECT first_seq FROM batches WHERE session = ?1 ORDER BY last_seq LIMIT 1")?
        .query_row([head.key], |row| row.get(0))
        .optional()?;
    let first = first.map(from_stored).transpose()?.unwrap_or(head.last_seq.saturating_add(1));
    Ok(LogBounds { first, head: head.last_seq, bytes: head.bytes })
}
