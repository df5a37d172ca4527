//! The rows of `batches`: each holds one batch of a log, or several short ones that follow each other.
//!
//! A row costs some pages and entries of indexes, whatever is in it. Batches that come to the database together and belong
//! to one log are one row, and still come out as the batches that they were: `parts` says where each of them ends.
//!
//! Invariants: what `parts` tells adds up to the row: its last number, its types, its bytes. It is NULL for one batch.
//! It must not know how a log's rows follow each other (`log` does), nor what is in a batch.

use bytes::Bytes;
use rusqlite::{Connection, Row, params};

use super::fault::{Fault, from_stored, to_stored};
use super::rows::damaged;
use crate::api::selector::TypeSet;
use crate::store::{Batch, StoreError};

/// Bytes of the batches that become one row: a reader who wants one of them loads all.
const LONGEST_TOGETHER: usize = 32 * 1024;

/// The columns that [`Stored::from_row`] reads.
pub(super) const COLUMNS: &str = "first_seq, last_seq, types, parts";

/// The payload of a row of [`COLUMNS`] and that; `None`: it was not asked for.
pub(super) fn payload(row: &Row<'_>) -> Result<Option<Bytes>, Fault> {
    let payload = row.get_ref(4)?.as_blob_or_null().map_err(|_| damaged("a batch is not of bytes"))?;
    Ok(payload.map(Bytes::copy_from_slice))
}

/// A row but for its payload.
pub(super) struct Stored {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    types: TypeSet,
    /// Empty: the row is one batch.
    parts: Vec<Part>,
}

/// One of a row's batches. It begins where the one before it ends.
#[derive(Clone, Copy)]
struct Part {
    last_seq: u64,
    types: TypeSet,
    bytes: u32,
}

/// The length of a part as it is stored: its last number (8 bytes), types and bytes (4 each), little endian.
const PART: usize = 16;

impl Stored {
    /// From [`COLUMNS`], the first of a row.
    pub(super) fn from_row(row: &Row<'_>) -> Result<Self, Fault> {
        let types: i64 = row.get(2)?;
        let parts = row.get_ref(3)?.as_blob_or_null().map_err(|_| damaged("a batch's parts are not of bytes"))?;
        let parts = parts.unwrap_or_default().chunks(PART).map(Part::parse).collect::<Result<_, _>>()?;
        Ok(Self {
            first_seq: from_stored(row.get(0)?)?,
            last_seq: from_stored(row.get(1)?)?,
            types: TypeSet(u32::try_from(types).map_err(|_| damaged("a batch's types are out of range"))?),
            parts,
        })
    }

    /// The row's batches, with what `payload` holds for those that have a type in common with `wanted`. `None`: it is
    /// not there, because nothing in it is wanted.
    pub(super) fn batches(&self, payload: Option<&Bytes>, wanted: TypeSet) -> Result<Vec<Batch>, StoreError> {
        let (first_seq, last_seq, types) = (self.first_seq, self.last_seq, self.types);
        if self.parts.is_empty() {
            let payload = payload.cloned().unwrap_or_default();
            return Ok(vec![Batch { first_seq, last_seq, types, payload }]);
        }
        let (mut next, mut at) = (first_seq, 0);
        let mut batches = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let end = at + part.bytes as usize;
            let payload = match payload.filter(|_| part.types.intersects(wanted)) {
                Some(payload) if end <= payload.len() => payload.slice(at..end),
                Some(_) => return Err(damaged("a batch is shorter than its parts")),
                None => Bytes::new(),
            };
            batches.push(Batch { first_seq: next, last_seq: part.last_seq, types: part.types, payload });
            (next, at) = (part.last_seq.saturating_add(1), end);
        }
        if next != last_seq.saturating_add(1) || payload.is_some_and(|payload| payload.len() != at) {
            return Err(damaged("a batch's parts don't add up to it"));
        }
        Ok(batches)
    }

    /// How long each of the row's batches is, and the number that it ends with; `length` is the row's.
    pub(super) fn lengths(&self, length: u64) -> Vec<(u64, u64)> {
        if self.parts.is_empty() {
            return vec![(self.last_seq, length)];
        }
        self.parts.iter().map(|part| (part.last_seq, u64::from(part.bytes))).collect()
    }
}

impl Part {
    fn of(batch: &Batch) -> Self {
        // No row is made of batches that are longer.
        let bytes = u32::try_from(batch.payload.len()).unwrap_or(u32::MAX);
        Self { last_seq: batch.last_seq, types: batch.types, bytes }
    }

    fn parse(stored: &[u8]) -> Result<Self, StoreError> {
        let whole = || damaged("a batch's parts are cut off");
        let (last_seq, rest) = stored.split_first_chunk().ok_or_else(whole)?;
        let (types, rest) = rest.split_first_chunk().ok_or_else(whole)?;
        let bytes = rest.first_chunk().ok_or_else(whole)?;
        Ok(Self {
            last_seq: u64::from_le_bytes(*last_seq),
            types: TypeSet(u32::from_le_bytes(*types)),
            bytes: u32::from_le_bytes(*bytes),
        })
    }

    fn stored(self) -> [u8; PART] {
        let mut stored = [0; PART];
        stored[..8].copy_from_slice(&self.last_seq.to_le_bytes());
        stored[8..12].copy_from_slice(&self.types.0.to_le_bytes());
        stored[12..].copy_from_slice(&self.bytes.to_le_bytes());
        stored
    }
}

/// Batches of one log that follow each other, and wait to be one row.
#[derive(Default)]
pub(super) struct Together<'a> {
    batches: Vec<&'a Batch>,
    bytes: usize,
}

impl<'a> Together<'a> {
    /// Adds the batch that follows. Those before it are written first if the row would become too long.
    pub(super) fn add(&mut self, connection: &Connection, session: i64, batch: &'a Batch) -> Result<(), Fault> {
        if self.bytes + batch.payload.len() > LONGEST_TOGETHER {
            self.write(connection, session)?;
        }
        self.batches.push(batch);
        self.bytes += batch.payload.len();
        Ok(())
    }

    /// Writes what waits.
    pub(super) fn write(&mut self, connection: &Connection, session: i64) -> Result<(), Fault> {
        let batches = std::mem::take(&mut self.batches);
        self.bytes = 0;
        match batches.as_slice() {
            [] => Ok(()),
            [one] => write(connection, session, one),
            [first, .., last] => {
                let parts: Vec<u8> = batches.iter().flat_map(|batch| Part::of(batch).stored()).collect();
                let payloads: Vec<&[u8]> = batches.iter().map(|batch| batch.payload.as_ref()).collect();
                let types = TypeSet(batches.iter().fold(0, |types, batch| types | batch.types.0));
                let whole = Batch {
                    first_seq: first.first_seq,
                    last_seq: last.last_seq,
                    types,
                    payload: payloads.concat().into(),
                };
                insert(connection, session, &whole, Some(&parts))
            }
        }
    }
}

/// Writes a row with that batch alone.
pub(super) fn write(connection: &Connection, session: i64, batch: &Batch) -> Result<(), Fault> {
    insert(connection, session, batch, None)
}

fn insert(connection: &Connection, session: i64, whole: &Batch, parts: Option<&[u8]>) -> Result<(), Fault> {
    let (first, last) = (to_stored(whole.first_seq)?, to_stored(whole.last_seq)?);
    connection
        .prepare_cached(
            "INSERT INTO batches (session, last_seq, first_seq, types, payload, parts) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![session, last, first, whole.types.0, whole.payload.as_ref(), parts])?;
    Ok(())
}

/// Takes the first of a row's batches away, up to the one that ends with `last_seq` and with it.
pub(super) fn behead(connection: &Connection, row_id: i64, stored: &Stored, last_seq: u64) -> Result<(), Fault> {
    let (gone, left): (Vec<Part>, Vec<Part>) = stored.parts.iter().partition(|part| part.last_seq <= last_seq);
    let bytes: u64 = gone.iter().map(|part| u64::from(part.bytes)).sum();
    let types = left.iter().fold(0, |types, part| types | part.types.0);
    let parts: Option<Vec<u8>> = (left.len() > 1).then(|| left.iter().flat_map(|part| part.stored()).collect());
    connection
        .prepare_cached(
            "UPDATE batches SET first_seq = ?2, types = ?3, parts = ?4, payload = substr(payload, ?5 + 1) \
             WHERE rowid = ?1",
        )?
        .execute(params![row_id, to_stored(last_seq.saturating_add(1))?, types, parts, to_stored(bytes)?])?;
    Ok(())
}
