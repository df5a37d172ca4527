//! Starts with the same idempotency key, one at a time: the second must find what the first has made, also
//! when it comes while the first still waits for its slot.
//!
//! Holds for the starts of one node. The store decides between nodes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Whose key: the owner's subject and the key.
type Key = (String, String);

/// The keys with which a start is under way.
#[derive(Debug, Default)]
pub(super) struct OneAtATime {
    /// The receiver's channel closes when that start is done. The lock is never held across an await.
    under_way: Mutex<HashMap<Key, watch::Receiver<()>>>,
}

/// The turn of one start; the next one's begins when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    of: Arc<OneAtATime>,
    key: Key,
    _done: watch::Sender<()>,
}

impl OneAtATime {
    /// Waits until no other start with that key is under way.
    pub(super) async fn turn(self: &Arc<Self>, owner: &str, key: &str) -> Turn {
        let key = (owner.to_owned(), key.to_owned());
        loop {
            let mut other = {
                let mut under_way = self.under_way.lock();
                match under_way.get(&key) {
                    Some(other) => other.clone(),
                    None => {
                        let (done, seen) = watch::channel(());
                        under_way.insert(key.clone(), seen);
                        return Turn { of: Arc::clone(self), key, _done: done };
                    }
                }
            };
            // Nothing is ever sent: this ends, with an error, when the other turn is dropped.
            drop(other.changed().await);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.of.under_way.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn starts_with_one_key_follow_each_other_and_those_with_others_do_not_wait() {
        let gate = Arc::new(OneAtATime::default());
        let held = gate.turn("ann", "held").await;
        // Another key, and the same key of somebody else.
        drop(gate.turn("ann", "free").await);
        drop(gate.turn("bob", "held").await);
        let (at_once, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let (gate, at_once, most) = (Arc::clone(&gate), Arc::clone(&at_once), Arc::clone(&most));
                crate::telemetry::tasks::spawn("test-start", async move {
                    let _turn = gate.turn("ann", "held").await;
                    most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    at_once.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        assert_eq!(most.load(Ordering::SeqCst), 0, "all wait while the first goes on");
        drop(held);
        for start in waiting {
            start.await.unwrap().unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert!(gate.under_way.lock().is_empty());
    }
}
