//! The journal's records as bytes.
//!
//! A record is a head of [`HEADER`] bytes and a payload; numbers are little endian:
//! mark (4), CRC-32 of all that follows (4), number of the file's use (8), session (16), epoch (8), first and last
//! number (8 each), types (4), length of the payload (4), payload.
//!
//! A file's records are those from its beginning that are whole and bear the first one's number of use.

use bytes::Bytes;
use uuid::Uuid;

use super::waiting::Entry;
use crate::api::selector::TypeSet;
use crate::store::Batch;

/// The length of a record's head.
pub(super) const HEADER: usize = 64;
const MARK: &[u8; 4] = b"ccj1";
/// What the checksum is not of.
const UNCHECKED: usize = 8;

/// The head of a record with that batch.
pub(super) fn header(generation: u64, session: Uuid, epoch: u64, batch: &Batch) -> [u8; HEADER] {
    let mut head = [0; HEADER];
    let length = u32::try_from(batch.payload.len()).unwrap_or(u32::MAX);
    let fields: [&[u8]; 9] = [
        MARK,
        &[0; 4],
        &generation.to_le_bytes(),
        session.as_bytes(),
        &epoch.to_le_bytes(),
        &batch.first_seq.to_le_bytes(),
        &batch.last_seq.to_le_bytes(),
        &batch.types.0.to_le_bytes(),
        &length.to_le_bytes(),
    ];
    let mut rest = head.as_mut_slice();
    for field in fields {
        let (here, after) = rest.split_at_mut(field.len().min(rest.len()));
        here.copy_from_slice(field);
        rest = after;
    }
    let sum = checksum(&head, &batch.payload).to_le_bytes();
    head[MARK.len()..UNCHECKED].copy_from_slice(&sum);
    head
}

/// The records of that one of the files, and the number of its use (0 without a record).
pub(super) fn read_all(file: usize, mut bytes: &[u8]) -> (u64, Vec<Entry>) {
    let (mut generation, mut entries) = (0, Vec::new());
    while let Some((its, entry, rest)) = read(file, bytes) {
        if entries.is_empty() {
            generation = its;
        }
        if its != generation {
            break;
        }
        entries.push(entry);
        bytes = rest;
    }
    (generation, entries)
}

/// The record that `bytes` begin with: the number of its file's use, itself, and what follows it.
fn read(file: usize, bytes: &[u8]) -> Option<(u64, Entry, &[u8])> {
    let (head, after) = bytes.split_first_chunk::<HEADER>()?;
    let field = |at: usize| head.get(at..at + 8).and_then(|field| field.try_into().ok()).map(u64::from_le_bytes);
    let short = |at: usize| head.get(at..at + 4).and_then(|field| field.try_into().ok()).map(u32::from_le_bytes);
    let payload = after.get(..usize::try_from(short(60)?).ok()?)?;
    if !head.starts_with(MARK) || short(4)? != checksum(head, payload) {
        return None;
    }
    let batch = Batch {
        first_seq: field(40)?,
        last_seq: field(48)?,
        types: TypeSet(short(56)?),
        payload: Bytes::copy_from_slice(payload),
    };
    let session = Uuid::from_slice(head.get(16..32)?).ok()?;
    Some((field(8)?, Entry { session, epoch: field(32)?, batch, file }, after.get(payload.len()..)?))
}

fn checksum(head: &[u8; HEADER], payload: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&head[UNCHECKED..]);
    sum.update(payload);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::sample;

    fn record(generation: u64, seq: u64) -> (Vec<u8>, Entry) {
        let entry = Entry { session: sample::id(seq), epoch: 7, batch: sample::batch(seq, seq + 2), file: 1 };
        let mut bytes = header(generation, entry.session, entry.epoch, &entry.batch).to_vec();
        bytes.extend_from_slice(&entry.batch.payload);
        (bytes, entry)
    }

    #[test]
    fn records_are_read_back_as_they_were() {
        let ((one, first), (two, second)) = (record(5, 1), record(5, 10));
        assert_eq!(read_all(1, &[one, two].concat()), (5, vec![first, second]));
        assert_eq!(read_all(1, &[]), (0, vec![]));
    }

    #[test]
    fn what_is_cut_short_or_damaged_ends_the_file() {
        let ((one, first), (two, _)) = (record(5, 1), record(5, 10));
        for length in 0..two.len() {
            let bytes = [&one, &two[..length]].concat();
            assert_eq!(read_all(1, &bytes), (5, vec![first.clone()]), "cut to {length}");
        }
        for at in 0..two.len() {
            let mut wrong = two.clone();
            wrong[at] ^= 0x10;
            assert_eq!(read_all(1, &[&one[..], &wrong].concat()), (5, vec![first.clone()]), "changed at {at}");
        }
    }

    #[test]
    fn what_is_left_of_an_earlier_use_is_not_read() {
        let ((one, first), (old, _)) = (record(6, 1), record(5, 10));
        assert_eq!(read_all(1, &[one, old].concat()), (6, vec![first]));
    }
}
