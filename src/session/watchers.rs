//! Who wants to be woken when a log has grown.
//!
//! To wake somebody and to have them write to their socket costs the same for one event as for fifty. So a feed with
//! many watchers wakes them less often than it grows: each event is seen a few milliseconds later, and a thousand events
//! a second to a hundred watchers do not take a processor. A feed with few watchers never waits.
//!
//! Invariant: whoever watches is woken after whatever was published, at once or within [`LONGEST`]. It must not know what
//! is published.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::telemetry::tasks;

/// So many are woken for every event.
const FEW: usize = 8;
/// Between two times that many are woken, for each of them …
const EACH: Duration = Duration::from_micros(250);
/// … and at most.
const LONGEST: Duration = Duration::from_millis(25);

/// See the module. Shared by a feed and the task that wakes later; locked for moments only.
#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<Watched>);

#[derive(Debug, Default)]
struct Watched {
    /// One entry an attachment; a connection with several is woken once.
    wakes: Vec<Weak<Notify>>,
    woken_at: Option<Instant>,
    /// They will be woken, by a task.
    is_due: bool,
}

impl Watchers {
    /// `wake` is notified from now on, until it is dropped.
    pub(super) fn add(&self, wake: &Arc<Notify>) {
        self.0.lock().wakes.push(Arc::downgrade(wake));
    }

    /// Takes `wake` off again (one of its entries).
    pub(super) fn remove(&self, wake: &Arc<Notify>) {
        let mut watched = self.0.lock();
        let same = |watcher: &Weak<Notify>| std::ptr::eq(watcher.as_ptr(), Arc::as_ptr(wake));
        if let Some(at) = watched.wakes.iter().position(same) {
            watched.wakes.swap_remove(at);
        }
    }

    /// Wakes all of them, many after a pause since the last time. Many need a runtime.
    pub(super) fn wake(self: &Arc<Self>) {
        let mut watched = self.0.lock();
        let Some(at) = watched.next() else {
            watched.wake();
            return;
        };
        if std::mem::replace(&mut watched.is_due, true) {
            return;
        }
        let watchers = Arc::clone(self);
        tasks::spawn("feed-wakes", async move {
            tokio::time::sleep_until(at).await;
            watchers.0.lock().wake();
        });
    }

    /// Wakes all of them at once: the log has come to its end.
    pub(super) fn wake_now(&self) {
        self.0.lock().wake();
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.lock().wakes.len()
    }
}

impl Watched {
    /// When they may be woken; `None`: now.
    fn next(&self) -> Option<Instant> {
        if self.wakes.len() <= FEW {
            return None;
        }
        let pause = LONGEST.min(EACH * u32::try_from(self.wakes.len()).unwrap_or(u32::MAX));
        let at = self.woken_at? + pause;
        (at > Instant::now()).then_some(at)
    }

    fn wake(&mut self) {
        self.is_due = false;
        if self.wakes.len() > FEW {
            self.woken_at = Some(Instant::now());
        }
        self.wakes.retain(|watcher| match watcher.upgrade() {
            Some(watcher) => {
                watcher.notify_one();
                true
            }
            None => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn watched(count: usize) -> (Arc<Watchers>, Vec<Arc<Notify>>) {
        let watchers = Arc::new(Watchers::default());
        let wakes: Vec<_> = (0..count).map(|_| Arc::new(Notify::new())).collect();
        wakes.iter().for_each(|wake| watchers.add(wake));
        (watchers, wakes)
    }

    fn is_woken(wake: &Notify) -> bool {
        pin!(wake.notified()).enable()
    }

    #[test]
    fn few_are_woken_every_time() {
        let (watchers, wakes) = watched(FEW);
        for _ in 0..3 {
            watchers.wake();
            assert!(wakes.iter().all(|wake| is_woken(wake)));
        }
    }

    #[tokio::test]
    async fn many_are_woken_at_once_after_a_rest_and_then_together_for_what_comes_meanwhile() {
        let (watchers, wakes) = watched(100);
        watchers.wake();
        assert!(wakes.iter().all(|wake| is_woken(wake)));
        let woken_at = watchers.0.lock().woken_at.unwrap();
        let next = watchers.0.lock().next();
        // None: the machine was busy elsewhere for so long.
        assert!(next.is_none_or(|at| at == woken_at + LONGEST.min(EACH * 100)), "{next:?}");
        for _ in 0..5 {
            watchers.wake();
        }
        for wake in &wakes {
            wake.notified().await;
        }
        assert!(!watchers.0.lock().is_due);
    }

    #[test]
    fn a_thousand_wait_no_longer_than_the_longest_pause() {
        let watched =
            Watched { woken_at: Some(Instant::now()), wakes: (0..1_000).map(|_| Weak::new()).collect(), is_due: false };
        assert!(watched.next().is_none_or(|at| at == watched.woken_at.unwrap() + LONGEST));
    }

    #[test]
    fn the_end_is_told_to_many_at_once() {
        let (watchers, wakes) = watched(100);
        for _ in 0..3 {
            watchers.wake_now();
            assert!(wakes.iter().all(|wake| is_woken(wake)));
        }
    }
}
