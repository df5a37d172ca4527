//! The event log's encoding: how events become one stored payload, and the frames that readers share.
//!
//! An event's notification is written once, into the payload of the batch it is stored in. Everything after
//! that — the store, the hot tail, every reader — shares slices of those bytes. Claude's line is spliced in
//! as it came, so whoever calls [`Encoder::push`] with `claude` data must know that it is one valid JSON text.
//!
//! A payload is a version byte, then for each event its frame's length (u32, little endian), its kind's code
//! (u8) and the frame: the whole text of a `session.event` notification. The store gets a long one packed.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::packing::{PLAIN, unpacked};
use crate::api::event::EventType;
use crate::api::selector::{EventKind, TypeSet};
use crate::store::{Batch, StoreError};
use crate::telemetry::time::Stamp;

/// A batch holds at most so much, or one event: little enough that a kept frame keeps little else alive, and enough
/// that the store's cost is spread over hundreds of events.
const BATCH_BYTES: usize = 256 * 1024;
/// Short batches share a piece of memory of so many bytes: what comes line by line, for hours, is otherwise as many
/// pieces to be had and given back, and those of a whole tail at once when a session ends.
const SHARED_BYTES: usize = 16 * 1024;
const HEADER: usize = 5;
const PREFIX: &str = r#"{"jsonrpc":"2.0","method":"session.event","params":{"prev_seq":"#;

/// One event as every reader gets it: the notification's text, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The event's number.
    pub seq: u64,
    /// What it is; one from a newer version is passed through.
    pub kind: EventKind,
    /// The whole notification, UTF-8.
    pub text: Bytes,
}

impl Frame {
    /// Is this the session's terminal event?
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.kind == EventType::Ended.into()
    }

    /// The notification for a reader that last saw `prev_seq`: the shared bytes if nothing was left out
    /// before this event, else a copy with that number.
    #[must_use]
    pub fn after(&self, prev_seq: u64) -> Bytes {
        if prev_seq + 1 == self.seq {
            return self.text.clone();
        }
        let rest = self.text.get(PREFIX.len() + digits(self.seq - 1)..).unwrap_or_default();
        let mut text = BytesMut::with_capacity(PREFIX.len() + 20 + rest.len());
        text.put_slice(PREFIX.as_bytes());
        put_number(&mut text, prev_seq);
        text.put_slice(rest);
        text.freeze()
    }

    /// The event alone: the notification's `params`, a JSON object.
    #[must_use]
    pub fn event(&self) -> Bytes {
        let start = PREFIX.len() - r#"{"prev_seq":"#.len();
        self.text.slice(start.min(self.text.len())..self.text.len().saturating_sub(1))
    }

    /// The event's `data` alone.
    #[must_use]
    pub fn data(&self) -> Bytes {
        const MARK: &[u8] = b",\"data\":";
        // The fields before `data` are ours and of bounded length: the first mark is the right one.
        let start = self.text.windows(MARK.len()).position(|window| window == MARK).map_or(0, |at| at + MARK.len());
        self.text.slice(start..self.text.len().saturating_sub(2).max(start))
    }
}

/// Builds batches of one session's events.
#[derive(Debug)]
pub struct Encoder {
    /// `,"session_id":"…","seq":`, the same in every event.
    middle: String,
    at: Stamp,
    next_seq: u64,
    /// Closed batches that wait to be taken, and their bytes.
    closed: VecDeque<Batch>,
    closed_bytes: usize,
    /// The batch that events are added to.
    first_seq: u64,
    types: TypeSet,
    /// Its bytes, and behind them room for those of the next one.
    payload: BytesMut,
    /// What the batch before it held: the next one's room, so that a burst is not moved time and again as it grows.
    last_bytes: usize,
}

impl Encoder {
    /// An encoder whose first event gets number `next_seq`.
    #[must_use]
    pub fn new(session: Uuid, next_seq: u64) -> Self {
        Self {
            middle: format!(r#","session_id":"{session}","seq":"#),
            at: Stamp::default(),
            next_seq,
            closed: VecDeque::new(),
            closed_bytes: 0,
            first_seq: next_seq,
            types: TypeSet::default(),
            payload: BytesMut::new(),
            last_bytes: 0,
        }
    }

    /// The number of the newest event pushed.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// Bytes that wait to be taken.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.closed_bytes + self.payload.len()
    }

    /// Adds an event. `data` must be one valid JSON text.
    pub fn push(&mut self, kind: impl Into<EventKind>, at_ms: u64, data: &[u8]) {
        let kind = kind.into();
        let most = 1 + HEADER + PREFIX.len() + self.middle.len() + data.len() + 120;
        if self.payload.len() + most > BATCH_BYTES
            && let Some(batch) = self.close()
        {
            self.closed_bytes += batch.payload.len();
            self.closed.push_back(batch);
        }
        self.make_room(most);
        if self.payload.is_empty() {
            self.payload.put_u8(PLAIN);
            self.first_seq = self.next_seq;
        }
        let header = self.payload.len();
        self.payload.put_bytes(0, HEADER);
        self.payload.put_slice(PREFIX.as_bytes());
        put_number(&mut self.payload, self.next_seq - 1);
        self.payload.put_slice(self.middle.as_bytes());
        put_number(&mut self.payload, self.next_seq);
        self.payload.put_slice(br#","at":""#);
        self.payload.put_slice(self.at.of(at_ms).as_bytes());
        self.payload.put_slice(br#"","type":""#);
        self.payload.put_slice(kind.event_type().map_or("", EventType::as_str).as_bytes());
        self.payload.put_slice(br#"","data":"#);
        self.payload.put_slice(data);
        self.payload.put_slice(b"}}");
        // A frame is bounded by the longest line, far below 4 GiB.
        let length = u32::try_from(self.payload.len() - header - HEADER).unwrap_or(u32::MAX);
        if let Some(slot) = self.payload.get_mut(header..header + HEADER) {
            let (size, code) = slot.split_at_mut(4);
            size.copy_from_slice(&length.to_le_bytes());
            code.fill(kind.code());
        }
        self.types = self.types.with(kind);
        self.next_seq += 1;
    }

    /// Room for `more` bytes. It grows by doubling, but not past what a batch takes: room that stays empty is not
    /// counted as waiting, and is kept for as long as one of the batch's frames.
    fn make_room(&mut self, more: usize) {
        let needed = self.payload.len() + more;
        if needed > self.payload.capacity() {
            let likely = (self.payload.len() * 2).max(self.last_bytes + self.last_bytes / 8);
            self.payload = copied(&self.payload, needed.max(likely.clamp(SHARED_BYTES, BATCH_BYTES)));
        }
    }

    /// Takes the oldest batch that waits; `None` if there is nothing.
    pub fn take(&mut self) -> Option<Batch> {
        match self.closed.pop_front() {
            Some(batch) => {
                self.closed_bytes -= batch.payload.len();
                Some(batch)
            }
            None => self.close(),
        }
    }

    fn close(&mut self) -> Option<Batch> {
        if self.payload.is_empty() {
            return None;
        }
        let held = self.payload.len();
        if self.payload.capacity() > SHARED_BYTES.max(held * 2) {
            // Less came than was made room for.
            self.payload = copied(&self.payload, SHARED_BYTES.max(held));
        }
        self.last_bytes = held;
        let is_long = held > SHARED_BYTES;
        let payload = if is_long { std::mem::take(&mut self.payload) } else { self.payload.split() };
        let batch = Batch {
            first_seq: self.first_seq,
            last_seq: self.next_seq - 1,
            types: self.types,
            payload: payload.freeze(),
        };
        self.types = TypeSet::default();
        Some(batch)
    }
}

/// The frames of a batch that comes from a store, which may have been damaged: each is seen to be text.
///
/// # Errors
/// As [`decode`], if it can't be unpacked, and if an event is not UTF-8.
pub fn decode_stored(batch: &Batch) -> Result<Vec<Frame>, StoreError> {
    let frames = decode(&Batch { payload: unpacked(&batch.payload)?, ..*batch })?;
    if frames.iter().all(|frame| std::str::from_utf8(&frame.text).is_ok()) {
        Ok(frames)
    } else {
        Err(StoreError::Damaged("an event is not text".to_owned()))
    }
}

/// The frames of a batch that was encoded here, as slices of its payload.
///
/// # Errors
/// [`StoreError::Damaged`] if the payload is not one that [`Encoder`] wrote or does not hold the numbers the
/// batch says.
pub fn decode(batch: &Batch) -> Result<Vec<Frame>, StoreError> {
    let damaged = || StoreError::Damaged("an event batch has an unknown form".to_owned());
    let payload = &batch.payload;
    if payload.first() != Some(&PLAIN) {
        return Err(damaged());
    }
    let mut frames =
        Vec::with_capacity(usize::try_from(batch.last_seq.saturating_sub(batch.first_seq)).unwrap_or(0) + 1);
    let (mut at, mut seq) = (1, batch.first_seq);
    while at < payload.len() {
        let header: [u8; HEADER] =
            payload.get(at..at + HEADER).and_then(|header| header.try_into().ok()).ok_or_else(damaged)?;
        let [a, b, c, d, code] = header;
        let start = at + HEADER;
        let end = start + u32::from_le_bytes([a, b, c, d]) as usize;
        if end > payload.len() {
            return Err(damaged());
        }
        frames.push(Frame { seq, kind: EventKind::from_code(code), text: payload.slice(start..end) });
        (at, seq) = (end, seq + 1);
    }
    if seq == batch.last_seq + 1 { Ok(frames) } else { Err(damaged()) }
}

/// The same bytes in a piece of memory of their own, with room for `capacity`.
fn copied(bytes: &[u8], capacity: usize) -> BytesMut {
    let mut copy = BytesMut::with_capacity(capacity);
    copy.put_slice(bytes);
    copy
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

fn put_number(into: &mut impl BufMut, mut number: u64) {
    let mut text = [b'0'; 20];
    let mut start = text.len();
    loop {
        start -= 1;
        if let Some(digit) = text.get_mut(start) {
            *digit = b'0' + (number % 10) as u8;
        }
        number /= 10;
        if number == 0 {
            break;
        }
    }
    into.put_slice(text.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::event::Event;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn notification(text: &[u8]) -> serde_json::Value {
        serde_json::from_slice(text).unwrap()
    }

    #[test]
    fn an_event_becomes_the_notification_of_the_protocol() {
        let id = Uuid::from_u128(7);
        let mut encoder = Encoder::new(id, 1);
        encoder.push(EventType::Claude, 1_795_232_229_123, br#"{"type":"x"}"#);
        let frames = decode(&encoder.take().unwrap()).unwrap();
        assert_eq!(
            notification(&frames[0].text),
            serde_json::json!({"jsonrpc": "2.0", "method": "session.event", "params": {
                "prev_seq": 0, "session_id": id, "seq": 1, "at": "2026-11-21T03:37:09.123Z",
                "type": "claude", "data": {"type": "x"}}})
        );
        let event: Event = serde_json::from_slice(&frames[0].event()).unwrap();
        assert_eq!((event.seq, event.data.get()), (1, r#"{"type":"x"}"#));
        assert_eq!(&frames[0].data()[..], br#"{"type":"x"}"#);
    }

    #[test]
    fn a_filtered_reader_is_told_the_number_it_last_saw() {
        let mut encoder = Encoder::new(Uuid::nil(), 1_000);
        encoder.push(EventType::State, 0, b"{}");
        let frame = decode(&encoder.take().unwrap()).unwrap().remove(0);
        assert_eq!(notification(&frame.after(12))["params"]["prev_seq"], 12);
        assert_eq!(frame.after(999), frame.text);
    }

    #[test]
    fn a_burst_is_cut_into_batches_that_follow_each_other() {
        let mut encoder = Encoder::new(Uuid::nil(), 1);
        let line = format!("\"{}\"", "x".repeat(10_000));
        for _ in 0..100 {
            encoder.push(EventType::Claude, 0, line.as_bytes());
        }
        assert!(encoder.pending_bytes() > 1_000_000);
        let batches: Vec<_> = std::iter::from_fn(|| encoder.take()).collect();
        assert!(batches.iter().all(|batch| batch.payload.len() <= BATCH_BYTES));
        let numbers: Vec<_> = batches.iter().flat_map(|batch| decode(batch).unwrap()).map(|frame| frame.seq).collect();
        assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
        assert_eq!(encoder.pending_bytes(), 0);
    }

    #[test]
    fn what_waits_takes_hardly_more_memory_than_is_counted() {
        for length in [100, 2_000, 10_000, 200_000] {
            let mut encoder = Encoder::new(Uuid::nil(), 1);
            let line = format!("\"{}\"", "x".repeat(length));
            while encoder.closed.len() < 10 {
                encoder.push(EventType::Claude, 0, line.as_bytes());
                assert!(encoder.payload.capacity() <= BATCH_BYTES + length + 1_000, "{length}");
            }
            let counted = encoder.closed_bytes;
            // A batch's bytes are the whole of its memory, or it could not be had back alone.
            let held: usize = std::iter::from_fn(|| encoder.closed.pop_front())
                .map(|batch| batch.payload.try_into_mut().expect("nobody else holds it").capacity())
                .sum();
            let left_empty = held - counted;
            assert!(left_empty <= 10 * (length + 500), "{length}: {held} bytes are held, {counted} are counted");
        }
    }

    #[test]
    fn short_batches_share_a_piece_of_memory_and_long_ones_have_their_own() {
        let mut encoder = Encoder::new(Uuid::nil(), 1);
        let mut batch_of = |length: usize| {
            encoder.push(EventType::Claude, 0, format!("\"{}\"", "x".repeat(length)).as_bytes());
            encoder.take().unwrap().payload
        };
        let [one, two] = [batch_of(300), batch_of(300)];
        assert_eq!(one.as_ptr_range().end, two.as_ptr());
        let long = batch_of(SHARED_BYTES + 1);
        let short = batch_of(300);
        // With its piece kept, nothing of the long one is.
        assert!(long.try_into_mut().is_ok());
        drop((one, two, encoder));
        assert!(short.try_into_mut().expect("nobody else holds it").capacity() <= SHARED_BYTES);
    }

    #[test]
    fn a_batch_as_long_as_the_one_before_it_is_never_moved_while_it_grows() {
        let mut encoder = Encoder::new(Uuid::nil(), 1);
        let line = format!("\"{}\"", "x".repeat(300));
        let mut moved = |events: usize| {
            let mut places = BTreeSet::new();
            for _ in 0..events {
                encoder.push(EventType::Claude, 0, line.as_bytes());
                places.insert(encoder.payload.as_ptr());
            }
            places.len() - std::iter::from_fn(|| encoder.take()).count()
        };
        for events in [100, 400] {
            assert!(moved(events) > 0, "{events} events");
            assert_eq!(moved(events), 0, "{events} events");
        }
        // Of a burst the first batch at most.
        assert!(moved(10_000) <= 1);
    }

    #[test]
    fn a_payload_that_is_cut_short_is_damaged_and_not_a_panic() {
        let mut encoder = Encoder::new(Uuid::nil(), 1);
        encoder.push(EventType::State, 0, b"{}");
        let whole = encoder.take().unwrap();
        for length in 0..whole.payload.len() {
            let cut = Batch { payload: whole.payload.slice(..length), ..whole.clone() };
            assert!(decode(&cut).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn a_stored_event_that_is_not_text_is_damaged() {
        let mut encoder = Encoder::new(Uuid::nil(), 1);
        encoder.push(EventType::State, 0, b"{}");
        let batch = encoder.take().unwrap();
        assert_eq!(decode_stored(&batch), decode(&batch));
        let mut payload = batch.payload.to_vec();
        *payload.last_mut().unwrap() = 0xff;
        assert!(decode_stored(&Batch { payload: payload.into(), ..batch }).is_err());
    }

    proptest! {
        #[test]
        fn any_events_come_back_in_order_with_their_data(data in proptest::collection::vec((0_u8..10, ".{0,40}"), 1..40), first in 1_u64..u64::MAX / 2) {
            let mut encoder = Encoder::new(Uuid::nil(), first);
            for (code, text) in &data {
                encoder.push(EventType::from_code(*code).unwrap(), 5, serde_json::to_string(text).unwrap().as_bytes());
            }
            let batch = encoder.take().unwrap();
            prop_assert!(encoder.take().is_none());
            let frames = decode(&batch).unwrap();
            prop_assert_eq!(frames.len(), data.len());
            for (at, (frame, (code, text))) in frames.iter().zip(&data).enumerate() {
                prop_assert_eq!(frame.seq, first + at as u64);
                prop_assert_eq!(frame.kind.code(), *code);
                let value = notification(&frame.text);
                prop_assert_eq!(value["params"]["data"].as_str().unwrap(), text.as_str());
                prop_assert_eq!(value["params"]["prev_seq"].as_u64().unwrap(), first + at as u64 - 1);
                prop_assert!(batch.types.contains(EventType::from_code(*code).unwrap()));
            }
        }
    }
}
