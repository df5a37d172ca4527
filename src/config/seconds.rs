//! A length of time as settings have it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A length of time in seconds, zero or more; fractions are allowed.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Seconds(f64);

impl Seconds {
    /// That many seconds.
    #[must_use]
    pub const fn new(seconds: f64) -> Self {
        Self(seconds)
    }

    /// The same as a [`Duration`].
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if seconds.is_finite() && (0.0..=1e9).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(serde::de::Error::custom("a length of time is a number of seconds from 0 to 1000000000"))
        }
    }
}
