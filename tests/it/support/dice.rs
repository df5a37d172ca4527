//! Random moments that can be had again: the seed is printed, and `SEED=…` in the environment gives the same.

use std::ops::Range;
use std::time::Duration;

use uuid::Uuid;

/// A generator (`SplitMix64`).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeds it from `SEED`, or from the system, and prints the seed: a test that fails shows what it printed.
    pub(crate) fn roll() -> Self {
        let named = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = named.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
        eprintln!("SEED={seed}");
        Self(seed)
    }

    /// A generator of its own for one of several that run at once, so that their order does not matter.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// A number of that range.
    pub(crate) fn number(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// A length of time below `limit`.
    pub(crate) fn moment(&mut self, limit: Duration) -> Duration {
        let micros = u64::try_from(limit.as_micros()).expect("a length of time for a test");
        Duration::from_micros(self.number(0..micros))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
