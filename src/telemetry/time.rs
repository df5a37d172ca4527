//! Wall-clock time as the protocol writes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, in milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Now, in whole seconds since the Unix epoch.
#[must_use]
pub fn now_seconds() -> u64 {
    now_ms() / 1_000
}

/// That moment as RFC 3339 with milliseconds, UTC: `2026-11-21T03:37:09.123Z`. Times after the year 9999
/// are shown as its end.
#[must_use]
pub fn rfc3339_ms(milliseconds: u64) -> String {
    const LAST: u64 = 253_402_300_799_999;
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(milliseconds.min(LAST))).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_with_milliseconds_in_utc() {
        assert_eq!(rfc3339_ms(1_795_232_229_123), "2026-11-21T03:37:09.123Z");
        assert_eq!(rfc3339_ms(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339_ms(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
