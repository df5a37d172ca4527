//! What the command line says to people and scripts: results to standard output, complaints to standard
//! error. A result that can't be written is a failure; of a complaint nobody can be told.
//! Commands that stream a session use `screen` instead.

use std::io::{self, Write};

use super::Exit;

/// Writes a result and ends its line, unless it ends with one. The code to end with if that was all. A reader that has
/// gone away (`… | head`) has read what it wanted.
#[must_use]
pub(super) fn say(text: &str) -> Exit {
    match try_to_say(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => lost(&error, ""),
        _ => Exit::SUCCESS,
    }
}

/// The same for what is shown this once: `if_lost` says what to do when nobody has got it.
#[must_use]
pub(super) fn say_once(text: &str, if_lost: &str) -> Exit {
    match try_to_say(text) {
        Ok(()) => Exit::SUCCESS,
        Err(error) => lost(&error, &format!("\n{if_lost}")),
    }
}

fn lost(error: &io::Error, advice: &str) -> Exit {
    complain(&format!("cc-gateway: the output can't be written: {error}{advice}"));
    Exit::FAILURE
}

/// The same, for who has more to do when it can't be written.
pub(super) fn try_to_say(text: &str) -> io::Result<()> {
    write_line(&mut io::stdout().lock(), text)
}

/// Writes a complaint or a hint and ends its line.
pub(super) fn complain(text: &str) {
    // There is no other place to say so.
    drop(write_line(&mut io::stderr().lock(), text));
}

/// In one piece: who reads it sees all of it or a failure, and no lines of others in between.
fn write_line(to: &mut impl Write, text: &str) -> io::Result<()> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    to.write_all(format!("{text}{end}").as_bytes())?;
    to.flush()
}

/// Text without control characters other than line ends and tabs, so that text from elsewhere can't steer a
/// terminal.
#[must_use]
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|character| !character.is_control() || matches!(character, '\n' | '\t')).collect()
}

/// The same in one line: line ends and tabs become blanks.
#[must_use]
pub(super) fn plain_line(text: &str) -> String {
    plain(text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_once() {
        let mut out = Vec::new();
        write_line(&mut out, "one").unwrap();
        write_line(&mut out, "two\n").unwrap();
        assert_eq!(out, b"one\ntwo\n");
    }

    #[test]
    fn nothing_that_is_shown_can_steer_the_terminal() {
        let text = "a\x1b]0;title\x07b\r\u{9b}31mc\n\td é✓";
        assert_eq!(plain(text), "a]0;titleb31mc\n\td é✓");
        assert_eq!(plain_line(text), "a]0;titleb31mc  d é✓");
    }
}
