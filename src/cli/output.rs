//! What the command line says to people and scripts: results to standard output, complaints to standard
//! error. A reader that has gone away is no error. Commands that stream a session use `screen` instead.

use std::io::{self, Write};

/// Writes a result and ends its line, unless it ends with one.
pub(super) fn say(text: &str) {
    write_line(&mut io::stdout().lock(), text);
}

/// Writes a complaint or a hint and ends its line.
pub(super) fn complain(text: &str) {
    write_line(&mut io::stderr().lock(), text);
}

fn write_line(to: &mut impl Write, text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    drop(write!(to, "{text}{end}").and_then(|()| to.flush()));
}

/// Text with its control characters replaced, so that a name from elsewhere can't steer a terminal.
#[must_use]
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_once() {
        let mut out = Vec::new();
        write_line(&mut out, "one");
        write_line(&mut out, "two\n");
        assert_eq!(out, b"one\ntwo\n");
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
    }
}
