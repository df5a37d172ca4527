//! The feed of one live session: its newest acknowledged events in memory, and who wants to be woken.
//!
//! Only events that the store has acknowledged are published here. The tail is bounded by bytes; a reader
//! that has fallen behind it reads the store instead (see `reader`). Nothing here waits: publishing never
//! depends on a reader.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::log::Frame;
use super::watchers::Watchers;
use crate::api::selector::TypeSet;

/// What a reader got from the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailRead {
    /// The wanted frames after the cursor were taken from the tail (none, if there are none yet).
    Here {
        /// The newest number looked at: where the cursor stands now.
        to: u64,
    },
    /// The tail begins later than the cursor: the store has to be read.
    Behind,
}

/// One session's newest events and its watchers.
#[derive(Debug)]
pub struct Feed {
    tail: Mutex<Tail>,
    /// The newest published number. Beside the lock, so that an idle reader's check costs one load.
    head: AtomicU64,
    /// The last event has been published.
    ended: AtomicBool,
    /// See [`Feed::forsake`].
    forsaken: AtomicBool,
    /// See [`Feed::claim_following`].
    followed: AtomicBool,
    watchers: Arc<Watchers>,
}

#[derive(Debug)]
struct Tail {
    frames: VecDeque<Frame>,
    bytes: usize,
    limit: usize,
}

impl Tail {
    fn clear(&mut self) {
        self.frames = VecDeque::new();
        self.bytes = 0;
    }
}

impl Feed {
    /// A feed whose log ends at `head` now and whose tail keeps at most `limit` bytes.
    #[must_use]
    pub fn new(head: u64, limit: usize) -> Self {
        Self {
            tail: Mutex::new(Tail { frames: VecDeque::new(), bytes: 0, limit }),
            head: AtomicU64::new(head),
            ended: AtomicBool::new(false),
            forsaken: AtomicBool::new(false),
            followed: AtomicBool::new(false),
            watchers: Arc::default(),
        }
    }

    /// The newest published number.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// The log has grown to `head` without this feed: by another node's hand.
    pub fn catch_up(&self, head: u64) {
        {
            let mut tail = self.tail.lock();
            if self.head() >= head {
                return;
            }
            tail.clear();
            self.head.store(head, Ordering::Release);
        }
        self.watchers.wake();
    }

    /// Makes acknowledged frames visible and wakes the watchers. What is visible already is passed over: a session that
    /// moves between nodes may for a moment have two that publish. The frames must follow the head, or begin before it.
    pub fn publish(&self, frames: Vec<Frame>) {
        let Some(last) = frames.last().map(|frame| (frame.seq, frame.is_end())) else { return };
        {
            let mut tail = self.tail.lock();
            let head = self.head();
            for frame in frames.into_iter().filter(|frame| frame.seq > head) {
                tail.bytes += frame.text.len();
                tail.frames.push_back(frame);
            }
            while tail.bytes > tail.limit {
                let Some(oldest) = tail.frames.pop_front() else { break };
                tail.bytes -= oldest.text.len();
            }
            self.head.store(last.0.max(head), Ordering::Release);
        }
        self.ended.fetch_or(last.1, Ordering::AcqRel);
        if last.1 {
            self.watchers.wake_now();
        } else {
            self.watchers.wake();
        }
    }

    /// Has the session's last event been published?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Nobody writes this log any more, and it has no end: its record is gone, or can't be read. Readers are told once
    /// they have what was published.
    pub fn forsake(&self) {
        self.forsaken.store(true, Ordering::Release);
        self.watchers.wake_now();
    }

    /// See [`Feed::forsake`].
    #[must_use]
    pub fn is_forsaken(&self) -> bool {
        self.forsaken.load(Ordering::Acquire)
    }

    /// Is somebody following the log for this feed's readers? Says so once: who is told no has to do it.
    pub fn claim_following(&self) -> bool {
        !self.followed.swap(true, Ordering::AcqRel)
    }

    /// Empties the tail: whoever is behind reads the store.
    pub fn forget(&self) {
        self.tail.lock().clear();
    }

    /// Takes up to `max_frames` frames of the `wanted` kinds after `after_seq` into `into`, stopping once they hold
    /// `max_bytes`.
    pub fn read(
        &self,
        after_seq: u64,
        wanted: TypeSet,
        max_frames: usize,
        max_bytes: usize,
        into: &mut VecDeque<Frame>,
    ) -> TailRead {
        let head = self.head();
        if after_seq >= head {
            return TailRead::Here { to: after_seq };
        }
        let tail = self.tail.lock();
        let Some(first) = tail.frames.front().map(|frame| frame.seq) else { return TailRead::Behind };
        let Some(skip) = (after_seq + 1).checked_sub(first) else { return TailRead::Behind };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(tail.frames.len());
        let (mut to, mut frames, mut bytes) = (after_seq, 0, 0);
        for frame in tail.frames.range(skip..) {
            if frames >= max_frames || bytes >= max_bytes {
                break;
            }
            to = frame.seq;
            if wanted.contains(frame.kind) {
                frames += 1;
                bytes += frame.text.len();
                into.push_back(frame.clone());
            }
        }
        TailRead::Here { to }
    }

    /// `wake` is notified after what is published, among many watchers for several events at once, until it is dropped.
    pub fn watch(&self, wake: &Arc<Notify>) {
        self.watchers.add(wake);
    }

    /// Takes `wake` off again (one of its entries).
    pub fn unwatch(&self, wake: &Arc<Notify>) {
        self.watchers.remove(wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::event::EventType;
    use crate::session::log::{Encoder, decode};
    use uuid::Uuid;

    fn frames(first: u64, count: u64) -> Vec<Frame> {
        let mut encoder = Encoder::new(Uuid::nil(), first);
        for _ in 0..count {
            encoder.push(EventType::Claude, 0, b"{}");
        }
        decode(&encoder.take().unwrap()).unwrap()
    }

    fn numbers(feed: &Feed, after: u64) -> (TailRead, Vec<u64>) {
        let mut into = VecDeque::new();
        let read = feed.read(after, TypeSet::ALL, 1_000, usize::MAX, &mut into);
        (read, into.iter().map(|frame| frame.seq).collect())
    }

    #[test]
    fn a_reader_gets_exactly_what_follows_its_cursor() {
        let feed = Feed::new(0, 1 << 20);
        feed.publish(frames(1, 3));
        feed.publish(frames(4, 2));
        assert_eq!(numbers(&feed, 0), (TailRead::Here { to: 5 }, vec![1, 2, 3, 4, 5]));
        assert_eq!(numbers(&feed, 3), (TailRead::Here { to: 5 }, vec![4, 5]));
        assert_eq!(numbers(&feed, 5), (TailRead::Here { to: 5 }, vec![]));
    }

    #[test]
    fn a_cursor_before_the_tail_is_sent_to_the_store() {
        let size = frames(1, 1)[0].text.len();
        let feed = Feed::new(0, size * 3);
        feed.publish(frames(1, 9));
        assert_eq!(numbers(&feed, 2), (TailRead::Behind, vec![]));
        assert_eq!(numbers(&feed, 6), (TailRead::Here { to: 9 }, vec![7, 8, 9]));
        let quiet = Feed::new(8, 100);
        assert_eq!(numbers(&quiet, 3), (TailRead::Behind, vec![]));
        assert_eq!(numbers(&quiet, 8), (TailRead::Here { to: 8 }, vec![]));
    }

    #[tokio::test]
    async fn watchers_are_woken_until_they_leave() {
        let feed = Feed::new(0, 1_000);
        let (stays, leaves) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        feed.watch(&stays);
        feed.watch(&leaves);
        feed.unwatch(&leaves);
        feed.publish(frames(1, 1));
        stays.notified().await;
        assert_eq!(feed.watchers.count(), 1);
        drop(stays);
        feed.publish(frames(2, 1));
        assert_eq!(feed.watchers.count(), 0);
    }
}
