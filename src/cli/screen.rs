//! What a person sees: text on stdout, and on stderr one-liners and, on a terminal, a spinner.
//!
//! Invariants: stdout carries the answer (or JSON lines) and nothing else; nothing that a model or an agent
//! writes can steer the terminal.

use std::io::{ErrorKind, IsTerminal, Write};
use std::time::{Duration, Instant};

use tokio::io::{AsyncWriteExt, BufWriter, Stdout};

use super::gateway::{FAILED, Failure};
use super::output::plain;

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// The spinner comes only after so long without anything new.
const PATIENCE: Duration = Duration::from_millis(400);
/// Bytes of output that are collected while more is there already.
const BUFFER: usize = 64 * 1024;
/// Back to the line's beginning, and clears it.
const CLEAR: &str = "\r\x1b[K";

/// The two outputs and what is on them now.
#[derive(Debug)]
pub(super) struct Screen {
    /// Buffered, because a burst of events would else cost a system call each.
    stdout: BufWriter<Stdout>,
    /// Is there something in the buffer?
    unflushed: bool,
    stdout_is_terminal: bool,
    stderr: Stderr,
    /// Does text on stdout wait for its line ending?
    mid_line: bool,
    spinner_shown: bool,
    frame: usize,
    label: String,
    waiting_since: Instant,
}

/// How to write on stderr.
#[derive(Debug, Clone, Copy)]
struct Stderr {
    is_terminal: bool,
    colour: bool,
}

impl Stderr {
    fn look() -> Self {
        let is_terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let colour = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { is_terminal, colour }
    }

    /// A line without its ending; `style` is an SGR number. Nobody can be told when stderr is gone.
    fn line(self, text: &str, style: &str) {
        let text = plain(text);
        let clear = if self.is_terminal { CLEAR } else { "" };
        let mut stderr = std::io::stderr().lock();
        let _ = if self.colour {
            writeln!(stderr, "{clear}\x1b[{style}m{text}\x1b[0m")
        } else {
            writeln!(stderr, "{clear}{text}")
        };
    }
}

/// Tells why a command failed.
pub(super) fn error_line(text: &str) {
    Stderr::look().line(&format!("cc-gateway: {text}"), "31");
}

/// Tells something on stderr, beside whatever else is going on.
pub(super) fn info_line(text: &str) {
    Stderr::look().line(text, "2");
}

/// Writes a line on stdout. `false`: nobody reads further (`… | head`), which is no failure.
///
/// # Errors
/// It can't be written, so that somebody misses it.
pub(super) fn print_line(text: &str) -> Result<bool, Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(FAILED, format!("the output can't be written: {error}"))),
    }
}

impl Screen {
    pub(super) fn new(label: &str) -> Self {
        Self {
            stdout: BufWriter::with_capacity(BUFFER, tokio::io::stdout()),
            unflushed: false,
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr: Stderr::look(),
            mid_line: false,
            spinner_shown: false,
            frame: 0,
            label: label.to_owned(),
            waiting_since: Instant::now(),
        }
    }

    /// Text of the answer. It is seen at the next [`Screen::flush`].
    pub(super) async fn text(&mut self, text: &str) -> std::io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.hide_spinner();
        self.mid_line = !text.ends_with('\n');
        self.unflushed = true;
        // A file or a pipe gets the text as it is.
        if self.stdout_is_terminal {
            self.stdout.write_all(plain(text).as_bytes()).await
        } else {
            self.stdout.write_all(text.as_bytes()).await
        }
    }

    /// Is there text that is not seen yet?
    pub(super) fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// Shows all text.
    pub(super) async fn flush(&mut self) -> std::io::Result<()> {
        self.unflushed = false;
        self.stdout.flush().await
    }

    /// Ends the line that text on stdout has begun, if there is one.
    pub(super) async fn end_line(&mut self) -> std::io::Result<()> {
        if self.mid_line { self.text("\n").await } else { Ok(()) }
    }

    /// A dim one-liner on stderr.
    pub(super) async fn note(&mut self, text: &str) -> std::io::Result<()> {
        self.styled(text, "2").await
    }

    /// A warning on stderr.
    pub(super) async fn warn(&mut self, text: &str) -> std::io::Result<()> {
        self.styled(text, "33").await
    }

    /// Words on stderr before the place where an answer is typed.
    pub(super) async fn prompt(&mut self, text: &str) -> std::io::Result<()> {
        self.end_line().await?;
        self.flush().await?;
        self.hide_spinner();
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "{CLEAR}{}", plain(text)).and_then(|()| stderr.flush());
        Ok(())
    }

    async fn styled(&mut self, text: &str, style: &str) -> std::io::Result<()> {
        // Only where both are the same picture does one have to make way for the other.
        if self.stdout_is_terminal && self.stderr.is_terminal {
            self.end_line().await?;
        }
        self.flush().await?;
        self.hide_spinner();
        self.stderr.line(text, style);
        Ok(())
    }

    /// What is being waited for, in a word or two.
    pub(super) fn waits_for(&mut self, label: &str) {
        if self.label != label {
            label.clone_into(&mut self.label);
        }
    }

    /// Is there a spinner to move?
    pub(super) fn has_spinner(&self) -> bool {
        self.stderr.is_terminal
    }

    /// Moves the spinner, once nothing has come for a while and no text is in its way.
    pub(super) fn tick(&mut self) {
        let waited = self.waiting_since.elapsed();
        if !self.stderr.is_terminal || waited < PATIENCE || (self.mid_line && self.stdout_is_terminal) {
            return;
        }
        self.frame = (self.frame + 1) % FRAMES.len();
        let line = format!("{CLEAR}{} {} {} s", FRAMES[self.frame], plain(&self.label), waited.as_secs());
        let mut stderr = std::io::stderr().lock();
        let _ = stderr.write_all(line.as_bytes()).and_then(|()| stderr.flush());
        self.spinner_shown = true;
    }

    /// Takes the spinner away; the wait begins anew.
    pub(super) fn hide_spinner(&mut self) {
        self.waiting_since = Instant::now();
        if std::mem::take(&mut self.spinner_shown) {
            let mut stderr = std::io::stderr().lock();
            let _ = stderr.write_all(CLEAR.as_bytes()).and_then(|()| stderr.flush());
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.hide_spinner();
    }
}
