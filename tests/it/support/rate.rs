//! What a line of the scripted agent's `rate` tells of itself, and what many of them come to.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::event::Event;

/// A line of `rate`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RateLine {
    /// Which one of its command, from 1.
    pub(crate) number: u64,
    /// When it was printed, since 1970.
    pub(crate) printed_at: Duration,
}

#[derive(Deserialize)]
struct Form {
    sent_at_us: u64,
    event: Inner,
}

#[derive(Deserialize)]
struct Inner {
    delta: Delta,
}

#[derive(Deserialize)]
struct Delta {
    text: String,
}

impl RateLine {
    /// The line in an event, if it is one of `rate`.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        if event.kind == "claude" { Self::parse(event.data.get()) } else { None }
    }

    /// The line, if it is one of `rate`.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let Form { sent_at_us, event } = serde_json::from_str(line).ok()?;
        let number = event.delta.text.split(' ').next().and_then(|number| number.parse().ok());
        Some(Self { number: number.expect("the number of a line"), printed_at: Duration::from_micros(sent_at_us) })
    }

    /// How long ago it was printed.
    pub(crate) fn age(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        now.saturating_sub(self.printed_at)
    }
}

/// How long many things took.
pub(crate) struct Spread(Vec<Duration>);

impl Spread {
    /// Of these; there must be one.
    pub(crate) fn of(mut all: Vec<Duration>) -> Self {
        assert!(!all.is_empty(), "nothing was measured");
        all.sort_unstable();
        Self(all)
    }

    /// So many of a hundred took no longer.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.0[((self.0.len() - 1) * percent).div_ceil(100)]
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, longest] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(f, "p50 {p50:?}, p99 {p99:?}, longest {longest:?} of {}", self.0.len())
    }
}
