//! Looking at what seldom happens only when some of it has.
//!
//! A task often waits for many things at once of which one comes all the time: a session for what its agent prints, a
//! connection for events. To look at all the others again for each of those costs about as much as it does. So they are
//! given a waker of their own, which notes that one of them has something to tell before it wakes the task.
//!
//! Invariant: a source that is looked at with this waker keeps it until it has woken it or is looked at again: no future
//! that takes its waker back when it is dropped, unless it lives as long as the wait. It must not know what the sources
//! are.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// See the module. Owned by the task that waits.
#[derive(Debug)]
pub struct Rarely {
    /// Shared with the sources, which hold it as their waker.
    noted: Arc<Noted>,
    waker: Waker,
    /// What the sources are has changed: they have not all been given the waker.
    changed: bool,
}

#[derive(Debug, Default)]
struct Noted {
    is_woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Rarely {
    /// One whose sources have not been looked at yet.
    #[must_use]
    pub fn new() -> Self {
        let noted = Arc::<Noted>::default();
        Self { waker: Waker::from(Arc::clone(&noted)), noted, changed: true }
    }

    /// They have to be looked at, for they may be others now.
    pub fn changed(&mut self) {
        self.changed = true;
    }

    /// Looks at them, if it is time: `look` is polled at most once, and what waits in it must keep the waker (see the
    /// module). After something has happened they are looked at again.
    pub fn poll<T>(&mut self, context: &Context<'_>, look: impl Future<Output = T>) -> Poll<T> {
        let Some(rare) = self.due(context) else { return Poll::Pending };
        let looked = pin!(look).poll(&mut Context::from_waker(&rare));
        self.changed |= looked.is_ready();
        looked
    }

    /// With what they are to be looked at now; `None`: they need not be, and the task is woken when they must.
    pub fn due(&mut self, context: &Context<'_>) -> Option<Waker> {
        // Before the look at what was noted, or a wake between the two would be lost.
        self.noted.task.register(context.waker());
        let is_woken = self.noted.is_woken.load(Ordering::Relaxed) && self.noted.is_woken.swap(false, Ordering::AcqRel);
        (std::mem::take(&mut self.changed) || is_woken).then(|| self.waker.clone())
    }
}

impl Default for Rarely {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;
    use tokio::sync::mpsc;

    use super::*;

    /// A wait that counts how often it looks at the queue.
    async fn next(rarely: &mut Rarely, queue: &mut mpsc::Receiver<u8>, looks: &mut u32) -> Option<u8> {
        poll_fn(|context| {
            let Some(rare) = rarely.due(context) else { return Poll::Pending };
            *looks += 1;
            queue.poll_recv(&mut Context::from_waker(&rare))
        })
        .await
    }

    #[tokio::test]
    async fn a_source_is_looked_at_at_first_when_it_wakes_and_when_it_was_changed() {
        let (sender, mut queue) = mpsc::channel(1);
        let (mut rarely, mut looks) = (Rarely::new(), 0);
        assert!(next(&mut rarely, &mut queue, &mut looks).now_or_never().is_none());
        assert_eq!(looks, 1);
        for _ in 0..3 {
            assert!(next(&mut rarely, &mut queue, &mut looks).now_or_never().is_none());
        }
        assert_eq!(looks, 1, "nothing woke it");
        sender.send(7).await.unwrap();
        assert_eq!(next(&mut rarely, &mut queue, &mut looks).await, Some(7));
        assert_eq!(looks, 2);
        rarely.changed();
        assert!(next(&mut rarely, &mut queue, &mut looks).now_or_never().is_none());
        assert_eq!(looks, 3);
    }

    #[tokio::test]
    async fn a_source_that_was_looked_at_in_an_earlier_wait_wakes_the_task_of_the_newest() {
        let (sender, mut queue) = mpsc::channel(1);
        let (mut rarely, mut looks) = (Rarely::new(), 0);
        assert!(next(&mut rarely, &mut queue, &mut looks).now_or_never().is_none());
        let (got, ()) = tokio::join!(next(&mut rarely, &mut queue, &mut looks), async {
            tokio::task::yield_now().await;
            sender.send(9).await.unwrap();
        });
        assert_eq!((got, looks), (Some(9), 2));
    }
}
