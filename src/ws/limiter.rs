//! How many messages one connection may send: a bucket that fills with time.

use std::time::{Duration, Instant};

/// What to do with the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Take it.
    Pass,
    /// Answer it with an error; the client may go on after so long.
    Refuse {
        /// When the next message passes.
        retry_after: Duration,
    },
    /// The client goes on in spite of a whole burst of errors: close.
    Close,
}

/// A bucket of messages. `0` a second means no limit.
#[derive(Debug)]
pub(super) struct Limiter {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Limiter {
    /// `rate` messages a second on average, twice as many at once.
    #[must_use]
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        let rate = f64::from(rate);
        Self { rate, burst: rate * 2.0, tokens: rate * 2.0, at: now }
    }

    /// Counts a message.
    pub(super) fn take(&mut self, now: Instant) -> Verdict {
        if self.rate == 0.0 {
            return Verdict::Pass;
        }
        self.tokens = (self.tokens + now.saturating_duration_since(self.at).as_secs_f64() * self.rate).min(self.burst);
        self.at = now;
        self.tokens -= 1.0;
        if self.tokens >= 0.0 {
            Verdict::Pass
        } else if self.tokens > -self.burst {
            Verdict::Refuse { retry_after: Duration::from_secs_f64((1.0 - self.tokens) / self.rate) }
        } else {
            Verdict::Close
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_errors_then_the_end() {
        let now = Instant::now();
        let mut limiter = Limiter::new(10, now);
        let verdicts: Vec<_> = (0..40).map(|_| limiter.take(now)).collect();
        assert!(verdicts[..20].iter().all(|verdict| *verdict == Verdict::Pass));
        assert!(verdicts[20..39].iter().all(|verdict| matches!(verdict, Verdict::Refuse { .. })));
        assert_eq!(verdicts[39], Verdict::Close);
    }

    #[test]
    fn who_waits_as_told_passes_again() {
        let now = Instant::now();
        let mut limiter = Limiter::new(10, now);
        let refused = (0..25).map(|_| limiter.take(now)).last();
        let Some(Verdict::Refuse { retry_after }) = refused else { panic!("{refused:?}") };
        assert_eq!(limiter.take(now + retry_after), Verdict::Pass);
    }

    #[test]
    fn without_a_limit_everything_passes() {
        let now = Instant::now();
        let mut limiter = Limiter::new(0, now);
        assert!((0..100_000).all(|_| limiter.take(now) == Verdict::Pass));
    }
}
