//! Batches as a store gets them: a long one is packed.
//!
//! A packed payload is a version byte of its own, then the length of what followed the first byte (u32, little endian),
//! and that as a block of LZ4. It must not know what an event is.

use bytes::Bytes;

use crate::store::{Batch, StoreError};

/// The first byte of a payload that is not packed.
pub(super) const PLAIN: u8 = 1;
/// That of a packed one.
const PACKED: u8 = 2;
/// Shorter payloads are not packed: they cost little, and whoever waits for one event waits for nothing else.
const WORTH_PACKING: usize = 4 * 1024;
/// No block of LZ4 becomes more than so many times as long.
const MOST_UNPACKED: usize = 255;

/// The batch as a store gets it. Claude's lines repeat themselves: a long payload is packed to a half or a fifth, and
/// what is written, kept and sent to a store on another machine is so much less.
#[must_use]
pub(super) fn packed(batch: &Batch) -> Batch {
    let Some((&PLAIN, events)) = batch.payload.split_first().filter(|_| batch.payload.len() >= WORTH_PACKING) else {
        return batch.clone();
    };
    // A batch is bounded by its bytes and the longest line, far below 4 GiB.
    let block = lz4_flex::compress_prepend_size(events);
    if 1 + block.len() >= events.len() {
        return batch.clone();
    }
    // A copy that is as long as its bytes: the block has room for what can't be packed at all.
    Batch { payload: [&[PACKED], block.as_slice()].concat().into(), ..*batch }
}

/// The payload of a packed one; any other as it is.
///
/// # Errors
/// [`StoreError::Damaged`] if it can't be unpacked.
pub(super) fn unpacked(payload: &Bytes) -> Result<Bytes, StoreError> {
    let Some((&PACKED, rest)) = payload.split_first() else { return Ok(payload.clone()) };
    let damaged = || StoreError::Damaged("a packed event batch can't be unpacked".to_owned());
    let (length, block) = lz4_flex::block::uncompressed_size(rest).map_err(|_| damaged())?;
    if length > block.len().saturating_mul(MOST_UNPACKED) {
        return Err(damaged());
    }
    let mut events = vec![0; 1 + length];
    let (version, rest) = events.split_at_mut(1);
    version.fill(PLAIN);
    match lz4_flex::block::decompress_into(block, rest) {
        Ok(written) if written == length => Ok(events.into()),
        _ => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::event::EventType;
    use crate::session::log::{Encoder, decode, decode_stored};
    use uuid::Uuid;

    fn long_batch() -> Batch {
        let mut encoder = Encoder::new(Uuid::from_u128(7), 1);
        for number in 0..200 {
            encoder.push(EventType::Claude, number, format!(r#"{{"type":"x","n":{number}}}"#).as_bytes());
        }
        encoder.take().unwrap()
    }

    #[test]
    fn a_long_batch_is_packed_for_the_store_and_comes_back() {
        let whole = long_batch();
        let stored = packed(&whole);
        assert!(stored.payload.len() * 4 < whole.payload.len(), "{} bytes", stored.payload.len());
        assert_eq!((stored.first_seq, stored.last_seq, stored.types), (1, 200, whole.types));
        assert_eq!(decode_stored(&stored), decode(&whole));
        // The frames in memory are never packed.
        assert!(decode(&stored).is_err());
    }

    #[test]
    fn what_is_short_or_can_not_be_packed_is_stored_as_it_is() {
        let mut encoder = Encoder::new(Uuid::nil(), 1);
        encoder.push(EventType::State, 0, b"{}");
        let short = encoder.take().unwrap();
        assert_eq!(packed(&short), short);
        // No text repeats itself as little.
        let mut noise = vec![PLAIN];
        let mut state = 1_u64;
        noise.extend(
            std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .take(10_000),
        );
        let noise = Batch { payload: noise.into(), ..short };
        assert_eq!(packed(&noise), noise);
    }

    #[test]
    fn a_packed_payload_that_is_damaged_is_told_as_such() {
        let whole = packed(&long_batch());
        for length in 0..whole.payload.len() {
            let cut = Batch { payload: whole.payload.slice(..length), ..whole.clone() };
            assert!(decode_stored(&cut).is_err(), "cut to {length}");
        }
        for length in [0, 1, u32::MAX] {
            let mut payload = whole.payload.to_vec();
            payload[1..5].copy_from_slice(&length.to_le_bytes());
            assert!(decode_stored(&Batch { payload: payload.into(), ..whole.clone() }).is_err(), "{length}");
        }
    }
}
