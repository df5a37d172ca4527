//! How long to wait before the next try, and when to stop trying.

use std::time::Duration;

use super::options::ClientOptions;

/// Counts the tries in a row. Waits double from the first to the limit, each shortened by up to a half at
/// random, so that the clients of a restarted gateway do not come back in step.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    limit: Duration,
    most: u32,
    tries: u32,
}

impl Backoff {
    pub(super) fn new(options: &ClientOptions) -> Self {
        Self {
            first: options.reconnect_wait,
            limit: options.reconnect_wait_limit,
            most: options.reconnect_tries,
            tries: 0,
        }
    }

    /// There was progress: the next failure is a first one again.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }

    /// The tries made in a row.
    pub(super) fn tries(&self) -> u32 {
        self.tries
    }

    /// The wait before one more try, or `None` when there were enough. `asked` is what the gateway asks for;
    /// it is kept to, but for no longer than a minute.
    pub(super) fn next_wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.tries >= self.most {
            return None;
        }
        let full = self.first.saturating_mul(1_u32 << self.tries.min(16)).min(self.limit);
        self.tries += 1;
        let jittered = full.mul_f64(0.5 + 0.5 * random_share());
        Some(jittered.max(asked.unwrap_or_default().min(Duration::from_secs(60))))
    }
}

/// A number from 0 to 1. A source that fails gives 1: the full wait.
fn random_share() -> f64 {
    let mut byte = [255_u8];
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(tries: u32) -> Backoff {
        Backoff::new(&ClientOptions { reconnect_tries: tries, ..ClientOptions::default() })
    }

    #[test]
    fn the_waits_grow_to_the_limit_and_the_tries_end() {
        let mut backoff = backoff(12);
        let waits: Vec<_> = std::iter::from_fn(|| backoff.next_wait(None)).collect();
        assert_eq!(waits.len(), 12);
        assert!(waits[0] >= Duration::from_millis(50) && waits[0] <= Duration::from_millis(100));
        assert!(waits[11] >= Duration::from_secs(5) && waits[11] <= Duration::from_secs(10));
    }

    #[test]
    fn progress_begins_the_count_anew() {
        let mut backoff = backoff(1);
        assert!(backoff.next_wait(None).is_some());
        assert!(backoff.next_wait(None).is_none());
        backoff.reset();
        assert!(backoff.next_wait(None).is_some());
    }

    #[test]
    fn what_the_gateway_asks_for_is_kept_to_within_a_minute() {
        let mut backoff = backoff(2);
        assert_eq!(backoff.next_wait(Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(backoff.next_wait(Some(Duration::from_secs(7_000))), Some(Duration::from_secs(60)));
    }
}
