//! Wall-clock time as the protocol writes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last millisecond of the year 9999.
const LAST: u64 = 253_402_300_799_999;

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
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(milliseconds.min(LAST))).to_string()
}

/// The moment of such a text, in milliseconds since the Unix epoch; `None` if it is none.
#[must_use]
pub fn milliseconds(text: &str) -> Option<u64> {
    let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// The text of one moment after the other, like [`rfc3339_ms`]: those of one second share all but its last digits, and
/// are so much cheaper.
#[derive(Debug, Clone)]
pub struct Stamp {
    milliseconds: u64,
    text: String,
}

impl Stamp {
    /// Where the milliseconds begin.
    const FRACTION: usize = "2026-11-21T03:37:09.".len();

    /// That moment's text.
    pub fn of(&mut self, milliseconds: u64) -> &str {
        let milliseconds = milliseconds.min(LAST);
        if milliseconds != self.milliseconds {
            if milliseconds / 1_000 == self.milliseconds / 1_000 {
                self.text.truncate(Self::FRACTION);
                let digit = |unit: u64| char::from(b'0' + (milliseconds / unit % 10) as u8);
                self.text.extend([digit(100), digit(10), digit(1), 'Z']);
            } else {
                self.text = rfc3339_ms(milliseconds);
            }
            self.milliseconds = milliseconds;
        }
        &self.text
    }
}

impl Default for Stamp {
    fn default() -> Self {
        Self { milliseconds: 0, text: rfc3339_ms(0) }
    }
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

    #[test]
    fn a_stamp_says_of_each_moment_what_it_would_say_of_it_alone() {
        let mut stamp = Stamp::default();
        for moment in [0, 7, 80, 999, 1_000, 1_999, 1_001, 1_795_232_229_123, 1_795_232_229_004, LAST, u64::MAX, 5] {
            assert_eq!(stamp.of(moment), rfc3339_ms(moment));
        }
    }
}
