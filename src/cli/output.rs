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
        write_line(&mut out, "one");
        write_line(&mut out, "two\n");
        assert_eq!(out, b"one\ntwo\n");
    }

    #[test]
    fn nothing_that_is_shown_can_steer_the_terminal() {
        let text = "a\x1b]0;title\x07b\r\u{9b}31mc\n\td é✓";
        assert_eq!(plain(text), "a]0;titleb31mc\n\td é✓");
        assert_eq!(plain_line(text), "a]0;titleb31mc  d é✓");
    }
}
