//! An amount of US dollars as settings have it.

use serde::{Deserialize, Deserializer};

/// What an amount's schema calls its form, by which the table of settings knows it.
pub(super) const FORMAT: &str = "us-dollars";

/// Reads an amount: finite, zero or more. (What is not a number is no limit, whoever compares with it.)
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let amount = f64::deserialize(deserializer)?;
    if amount.is_finite() && amount >= 0.0 {
        Ok(amount)
    } else {
        Err(serde::de::Error::custom("an amount is a number of US dollars, zero or more"))
    }
}
