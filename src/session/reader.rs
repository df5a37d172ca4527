//! A reader of one session's log: a cursor that pulls frames, first from the store, then from the live
//! feed, through one seam without gap or repeat.
//!
//! The seam holds because the store acknowledges before the feed publishes: whatever the feed's tail no
//! longer (or never) held can be read from the store, and the cursor passes each number once.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use super::feed::{Feed, TailRead};
use super::log::{Frame, decode_stored};
use crate::api::event::EventType;
use crate::api::selector::TypeSet;
use crate::store::{Batch, SharedStore, StoreError};

/// How much of the log one look into the store brings at most, in bytes (one event may be longer).
const STORE_READ_BYTES: usize = 256 * 1024;
/// How many frames a first look takes from the live feed at most.
const LOOK_FRAMES: usize = 64;
/// After so many events left out a read comes back, even with nothing: its caller has others to serve, and a client to
/// tell how far it has come.
const MOST_LEFT_OUT: u64 = 10_000;

/// Why a reader can't go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ReadError {
    /// What comes next is no longer kept.
    #[error("the events before {oldest} are no longer kept")]
    Expired {
        /// The oldest number still kept.
        oldest: u64,
    },
    /// The whole session is no longer kept, or what is kept of it can't be read.
    #[error("the session is no longer kept")]
    Removed,
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing => Self::Removed,
            error => Self::Store(error),
        }
    }
}

/// A cursor in one session's log.
#[derive(Debug)]
pub struct EventReader {
    session: Uuid,
    store: SharedStore,
    /// The live feed; `None` for a session that no longer runs, whose log is read from the store to its end.
    feed: Option<Arc<Feed>>,
    /// What the reader wants. The terminal event always passes.
    types: TypeSet,
    /// The newest number passed, wanted or not.
    cursor: u64,
    /// The number that the reader's client stands at: the newest handed out, or told by [`EventReader::tell`].
    seen: u64,
    /// What the last look into the store brought and is not decoded: packed it is little, and one batch at a time is
    /// unpacked.
    stored: VecDeque<Batch>,
    /// Wanted frames that are not yet handed out.
    buffered: VecDeque<Frame>,
    /// Where the cursor stands once they are.
    buffered_to: u64,
    /// Has the terminal event been handed out?
    ended: bool,
    /// Without a feed: has the store's end been reached? Nothing is written to such a log any more.
    exhausted: bool,
    /// Who to wake at a publish, while attached.
    wake: Option<Arc<Notify>>,
}

impl EventReader {
    /// A reader of what follows `after_seq`.
    #[must_use]
    pub fn new(session: Uuid, store: SharedStore, feed: Option<Arc<Feed>>, after_seq: u64, types: TypeSet) -> Self {
        Self {
            session,
            store,
            feed,
            types: types.with(EventType::Ended),
            cursor: after_seq,
            seen: after_seq,
            stored: VecDeque::new(),
            buffered: VecDeque::new(),
            buffered_to: after_seq,
            ended: false,
            exhausted: false,
            wake: None,
        }
    }

    /// Which session.
    #[must_use]
    pub fn session(&self) -> Uuid {
        self.session
    }

    /// The newest number handed out, or told.
    #[must_use]
    pub fn last_seen(&self) -> u64 {
        self.seen
    }

    /// Events left out since then.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.cursor - self.seen
    }

    /// Are there events that this reader does not get?
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        self.types != TypeSet::ALL
    }

    /// The client is told how far the reader has come: the number to tell. What follows is counted from there.
    pub fn tell(&mut self) -> u64 {
        self.seen = self.cursor;
        self.seen
    }

    /// Has the terminal event been handed out? Nothing follows it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Wakes `wake` whenever there may be more.
    pub fn wake_by(&mut self, wake: &Arc<Notify>) {
        if let Some(feed) = &self.feed {
            feed.watch(wake);
            self.wake = Some(Arc::clone(wake));
        }
    }

    /// May there be frames that have not been handed out? `false` only when the reader is level with the
    /// feed, or has ended.
    #[must_use]
    pub fn may_have_more(&self) -> bool {
        if self.ended || self.exhausted {
            return false;
        }
        !self.buffered.is_empty()
            || self.feed.as_ref().is_none_or(|feed| feed.head() > self.cursor || feed.is_forsaken())
    }

    /// Takes up to `max_frames` wanted frames (and about `max_bytes`) that are there now into `into`. None means that
    /// there are none yet, unless [`EventReader::may_have_more`]: then many have been left out.
    ///
    /// # Errors
    /// See [`ReadError`]; after one the cursor stands where it stood.
    pub async fn read(&mut self, max_frames: usize, max_bytes: usize, into: &mut Vec<Frame>) -> Result<(), ReadError> {
        let mut bytes = 0;
        while !self.ended && into.len() < max_frames && bytes < max_bytes && self.left_out() < MOST_LEFT_OUT {
            if self.buffered.is_empty() && !self.refill(max_frames).await? {
                return Ok(());
            }
            while into.len() < max_frames && bytes < max_bytes {
                let Some(frame) = self.buffered.pop_front() else { break };
                self.cursor = frame.seq;
                bytes += frame.text.len();
                self.ended = frame.is_end();
                into.push(Frame { text: frame.after(self.seen), ..frame });
                self.seen = frame.seq;
            }
            if self.buffered.is_empty() {
                self.cursor = self.buffered_to;
            }
        }
        Ok(())
    }

    /// Looks at what follows, and keeps what is wanted of it for the first [`EventReader::read`]: whoever begins to read
    /// learns now whether it can.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn look(&mut self) -> Result<(), ReadError> {
        if self.buffered.is_empty() && self.refill(LOOK_FRAMES).await? && self.buffered.is_empty() {
            self.cursor = self.buffered_to;
        }
        Ok(())
    }

    /// Looks at what follows the cursor and brings what is wanted of it into the empty buffer; `false` if nothing
    /// follows now.
    async fn refill(&mut self, max_frames: usize) -> Result<bool, ReadError> {
        if let Some(feed) = &self.feed {
            if feed.head() <= self.cursor {
                return if feed.is_forsaken() { Err(ReadError::Removed) } else { Ok(false) };
            }
            let tail = feed.read(self.cursor, self.types, max_frames, STORE_READ_BYTES, &mut self.buffered);
            if let TailRead::Here { to } = tail {
                self.stored.clear();
                self.buffered_to = to;
                return Ok(to > self.cursor);
            }
        }
        // The store may hold more than it has acknowledged: an append whose answer was lost, or is on its way.
        // That is not shown yet, above all no end of a session that is still said to run.
        let shown = self.feed.as_ref().map_or(u64::MAX, |feed| feed.head());
        if self.stored.is_empty() {
            self.stored = self.store.read(self.session, self.cursor, self.types, STORE_READ_BYTES).await?.into();
            self.exhausted = self.stored.is_empty() && self.feed.is_none();
        }
        let unpacked = self.unpack(shown);
        if unpacked.is_err() {
            self.stored.clear();
        }
        (self.buffered, self.buffered_to) = unpacked?;
        Ok(self.buffered_to > self.cursor)
    }

    /// Takes the batches that are there, up to the first that something is wanted of: that, and the number they reach.
    fn unpack(&mut self, shown: u64) -> Result<(VecDeque<Frame>, u64), ReadError> {
        let (mut frames, mut to) = (VecDeque::new(), self.cursor);
        while frames.is_empty()
            && let Some(batch) = self.stored.pop_front_if(|batch| batch.first_seq <= shown)
        {
            if batch.first_seq > to + 1 {
                return Err(ReadError::Expired { oldest: batch.first_seq });
            }
            if batch.types.intersects(self.types) {
                let wanted = |frame: &Frame| frame.seq > to && frame.seq <= shown && self.types.contains(frame.kind);
                frames.extend(decode_stored(&batch)?.into_iter().filter(wanted));
            }
            to = batch.last_seq.min(shown);
        }
        if frames.is_empty() || to == shown {
            // What is not shown yet is looked at again.
            self.stored.clear();
        }
        Ok((frames, to))
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        if let (Some(feed), Some(wake)) = (&self.feed, &self.wake) {
            feed.unwatch(wake);
        }
    }
}
