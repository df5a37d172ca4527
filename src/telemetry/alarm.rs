//! A clock that is waited for again and again, mostly in vain: beside other things that come first.
//!
//! Invariants: the runtime is told a time once, and not for every wait; a wait that is given up has lost nothing. It
//! must not know what the time is for.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// See the module. To be made inside a runtime.
#[derive(Debug)]
pub struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// One that nobody waits for yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now())))
    }

    /// Waits until `time`, which may be another one than the last time.
    pub async fn at(&mut self, time: Instant) {
        if self.0.deadline() != time {
            self.0.as_mut().reset(time);
        }
        self.0.as_mut().await;
    }
}

impl Default for Alarm {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn it_rings_at_the_time_it_was_last_asked_for() {
        let mut alarm = Alarm::new();
        let begin = Instant::now();
        let (soon, late) = (begin + Duration::from_millis(20), begin + Duration::from_secs(3_600));
        assert!(alarm.at(late).now_or_never().is_none());
        assert!(alarm.at(late).now_or_never().is_none(), "a wait that was given up is waited for again");
        alarm.at(soon).await;
        assert!(Instant::now() >= soon);
        alarm.at(soon).await;
        assert!(alarm.at(late).now_or_never().is_none(), "that it has rung is forgotten with another time");
        alarm.at(begin).await;
    }
}
