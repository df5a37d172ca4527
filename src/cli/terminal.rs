//! The terminal that a person sits at: what is typed there, line by line.
//!
//! Nothing here blocks: a command can end while a line is awaited, which a reading thread would keep it from.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::termios::{self, QueueSelector};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes that are read at once: the longest line that a terminal gives.
const CHUNK: usize = 4096;

/// The controlling terminal, also when stdin and stdout are not it.
#[derive(Debug)]
pub(super) struct Terminal {
    input: AsyncFd<File>,
    /// What has been read and is not yet a whole line.
    begun: Vec<u8>,
}

impl Terminal {
    /// `None` where nobody can be asked: questions go to stderr, and it or the input is no terminal, or somebody else
    /// has the keyboard (`cc-gateway exec … &`).
    pub(super) fn open() -> Option<Self> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).ok()?;
        // Opened anew: that it does not block concerns nobody who has the terminal already.
        let file = File::options().read(true).custom_flags(flags).open("/dev/tty").ok()?;
        // Reading in the background would stop the whole job.
        if termios::tcgetpgrp(&file).ok()? != rustix::process::getpgrp() {
            return None;
        }
        Some(Self { input: watch(file).ok()?, begun: Vec::new() })
    }

    /// Forgets what was typed before a question was seen: it can't be its answer.
    pub(super) fn forget_typed(&mut self) {
        self.begun.clear();
        let _ = termios::tcflush(self.input.get_ref(), QueueSelector::IFlush);
    }

    /// The next line without its ending; `None`: Ctrl-D, or the terminal is gone. Bytes that are not UTF-8 become
    /// U+FFFD.
    ///
    /// May be dropped and called again (as in `select!`) without losing what was typed.
    pub(super) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.begun.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned());
            }
            let mut chunk = [0; CHUNK];
            let reading = self.input.async_io(Interest::READABLE, |mut file| file.read(&mut chunk));
            match reading.await {
                Ok(0) | Err(_) => {
                    self.begun.clear();
                    return None;
                }
                Ok(read) => self.begun.extend(chunk.iter().take(read)),
            }
        }
    }
}

#[expect(deprecated, reason = "its replacement is unsafe, for types that lie about their descriptor; a File does not")]
fn watch(file: File) -> std::io::Result<AsyncFd<File>> {
    AsyncFd::with_interest(file, Interest::READABLE)
}
