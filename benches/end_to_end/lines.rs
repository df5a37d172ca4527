//! The lines that the scripted agent prints, found again in whatever a server makes of them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use memchr::memmem::Finder;

use crate::socket::Socket;

/// Stands before the number of a made line.
const NUMBER: &[u8] = br#""text":""#;
/// Stands before the microseconds since 1970 at which a stamped line was printed.
const STAMP: &[u8] = br#""sent_at_us":"#;
/// The digits of a number, which a space ends.
const DIGITS: usize = 12;

/// Finds made lines in messages.
pub(crate) struct Lines {
    number: Finder<'static>,
    stamp: Finder<'static>,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self { number: Finder::new(NUMBER), stamp: Finder::new(STAMP) }
    }

    /// The number of the made line in this message; none for a message that is about something else.
    pub(crate) fn number(&self, message: &[u8]) -> Option<u64> {
        let begins = self.number.find(message)? + NUMBER.len();
        let digits = message.get(begins..begins + DIGITS)?;
        (message.get(begins + DIGITS) == Some(&b' ')).then_some(())?;
        decimal(digits)
    }

    /// How long ago the stamped line in this message was printed.
    pub(crate) fn age(&self, message: &[u8]) -> Option<Duration> {
        let begins = self.stamp.find(message)? + STAMP.len();
        let digits = message[begins..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let printed = Duration::from_micros(decimal(&message[begins..begins + digits])?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        Some(now.saturating_sub(printed))
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Made lines must come 1, 2, 3 …: counts them, and ends the measurement at the first that is missing.
pub(crate) struct InOrder {
    lines: Lines,
    last: u64,
    /// The first may have any number.
    anywhere: bool,
}

impl InOrder {
    pub(crate) fn new() -> Self {
        Self { lines: Lines::new(), last: 0, anywhere: false }
    }

    /// The same from the middle of a log on.
    pub(crate) fn from_anywhere() -> Self {
        Self { anywhere: true, ..Self::new() }
    }

    /// Looks at a message; how many made lines have come so far.
    pub(crate) fn see(&mut self, message: &[u8]) -> u64 {
        if let Some(number) = self.lines.number(message) {
            let begins = std::mem::take(&mut self.anywhere);
            assert!(begins || number == self.last + 1, "{number} came after {}: lost, or twice", self.last);
            self.last = number;
        }
        self.last
    }

    /// Takes so many made lines; how long it took from the first's arrival to the last's.
    pub(crate) fn first_to_last(&mut self, socket: &mut Socket, lines: u64) -> Duration {
        let mut first: Option<Instant> = None;
        loop {
            let (message, read_at) = socket.message();
            if self.see(message) > 0 {
                first = first.or(Some(read_at));
            }
            if let Some(first) = first.filter(|_| self.last == lines) {
                return read_at - first;
            }
        }
    }
}
