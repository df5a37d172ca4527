//! The feeds of sessions that have not ended: one each, whoever writes into it.
//!
//! A session that is put away has no writer, and may have readers that wait for it to go on. They hold its feed, and
//! the next writer of the session finds it here.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use uuid::Uuid;

use super::feed::Feed;

/// The feeds of one node, by session. The lock is never held across an await.
#[derive(Debug)]
pub(super) struct Feeds {
    feeds: Mutex<HashMap<Uuid, Weak<Feed>>>,
    tail_bytes: usize,
}

impl Feeds {
    /// None yet; each will keep a tail of at most `tail_bytes`.
    pub(super) fn new(tail_bytes: usize) -> Self {
        Self { feeds: Mutex::default(), tail_bytes }
    }

    /// The session's feed, if somebody holds it.
    pub(super) fn held(&self, session: Uuid) -> Option<Arc<Feed>> {
        self.feeds.lock().get(&session).and_then(Weak::upgrade)
    }

    /// The session's feed: the one that somebody holds, else a new one whose log ends at `head` now.
    pub(super) fn of(&self, session: Uuid, head: u64) -> Arc<Feed> {
        let mut feeds = self.feeds.lock();
        if let Some(feed) = feeds.get(&session).and_then(Weak::upgrade) {
            return feed;
        }
        // What nobody holds any more goes whenever as many have come as there are.
        if feeds.len() == feeds.capacity() {
            feeds.retain(|_, feed| feed.strong_count() > 0);
        }
        let feed = Arc::new(Feed::new(head, self.tail_bytes));
        feeds.insert(session, Arc::downgrade(&feed));
        feed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_one_feed_as_long_as_somebody_holds_it() {
        let feeds = Feeds::new(1_000);
        let first = feeds.of(Uuid::from_u128(1), 7);
        assert!(Arc::ptr_eq(&first, &feeds.of(Uuid::from_u128(1), 3)));
        assert!(!Arc::ptr_eq(&first, &feeds.of(Uuid::from_u128(2), 0)));
        drop(first);
        assert_eq!(feeds.of(Uuid::from_u128(1), 9).head(), 9);
    }

    #[test]
    fn feeds_that_nobody_holds_do_not_pile_up() {
        let feeds = Feeds::new(1_000);
        for number in 0..10_000 {
            feeds.of(Uuid::from_u128(number), 0);
        }
        assert!(feeds.feeds.lock().len() < 100);
    }
}
