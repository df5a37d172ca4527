//! Standard output: one large buffer, and a count and hash of what a turn has printed.
//!
//! Written straight to the descriptor, past the standard library's line buffer: the agent must be faster
//! than anything that reads it.

use std::io::Write as _;

use rustix::stdio;
use sha2::{Digest, Sha256};

/// The buffer is written once it is so full, in bytes.
const FULL: usize = 1024 * 1024;

/// Standard output. Shared by the script, the reader of standard input and the signal thread, so that
/// their lines never mix.
#[derive(Default)]
pub(crate) struct Output {
    buffer: Vec<u8>,
    /// Everything printed since the start, in bytes.
    pub(crate) total: u64,
    /// What the turn has printed.
    pub(crate) turn: Printed,
    /// The reader has gone; the CLI does not notice that either.
    broken: bool,
}

/// What a turn has printed, control messages and the result left out.
#[derive(Default)]
pub(crate) struct Printed {
    /// Line endings.
    pub(crate) lines: u64,
    /// Bytes.
    pub(crate) bytes: u64,
    /// Their hash, if the script asked for one.
    pub(crate) hash: Option<Sha256>,
}

impl Output {
    /// A turn begins: counts from nothing.
    pub(crate) fn begin_turn(&mut self, hashed: bool) {
        self.turn = Printed { hash: hashed.then(Sha256::new), ..Printed::default() };
    }

    /// Prints bytes that belong to the turn.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.turn.bytes += bytes.len() as u64;
        self.turn.lines += count_lines(bytes);
        if let Some(hash) = &mut self.turn.hash {
            hash.update(bytes);
        }
        self.put(bytes);
    }

    /// Prints bytes that are counted `lines` lines by whoever made them.
    pub(crate) fn say_lines(&mut self, bytes: &[u8], lines: u64) {
        self.turn.bytes += bytes.len() as u64;
        self.turn.lines += lines;
        if let Some(hash) = &mut self.turn.hash {
            hash.update(bytes);
        }
        self.put(bytes);
    }

    /// Prints a control message or a result, and everything before it.
    pub(crate) fn control(&mut self, line: &str) {
        self.put(line.as_bytes());
        self.put(b"\n");
        self.flush();
    }

    /// Writes what is waiting.
    pub(crate) fn flush(&mut self) {
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() && !self.broken {
            match rustix::io::write(stdio::stdout(), rest) {
                Ok(count) => rest = &rest[count..],
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => std::thread::yield_now(),
                Err(_) => self.broken = true,
            }
        }
        self.buffer.clear();
    }

    /// Puts `/dev/null` in the place of standard output.
    pub(crate) fn close(&mut self) {
        self.flush();
        if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
            let _still_open = stdio::dup2_stdout(null);
        }
    }

    /// The hash of the turn so far, in hexadecimal.
    pub(crate) fn digest(&self) -> Option<String> {
        let digest = self.turn.hash.clone()?.finalize();
        Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn put(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        if self.buffer.len() + bytes.len() > FULL {
            self.flush();
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= FULL {
            self.flush();
        }
    }
}

/// Prints a line on standard error.
pub(crate) fn stderr(line: &str) {
    let _reader_gone = writeln!(std::io::stderr(), "{line}");
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}
