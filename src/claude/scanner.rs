//! JSON's grammar, checked in one pass that builds nothing and takes no memory.
//!
//! Runs over every line of every agent, which is why it is not `serde_json`: that takes about half as long again for
//! skipping what nobody asked for. It accepts exactly what `serde_json` accepts, down to escaped surrogate halves, except what
//! is nested deeper than [`MAX_DEPTH`]; tests hold one against the other. It must not know what a line means.

use std::ops::Range;

/// How deeply a line may be nested. Ours, so that every reader can parse the frame that carries the line: several
/// JSON parsers stop at 128.
pub const MAX_DEPTH: usize = 120;

/// A place in a text. Each method takes what it is named after and stands behind it; `None` where that isn't there.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// A key, as it is written between its quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) written: &'a [u8],
    /// Is it to be unescaped before it is read?
    pub(super) has_escapes: bool,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is no white space, which is not taken.
    pub(super) fn next_byte(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// `byte`, and white space before it.
    pub(super) fn punctuation(&mut self, byte: u8) -> Option<()> {
        (self.next_byte()? == byte).then(|| self.at += 1)
    }

    /// A key and its colon.
    #[inline]
    pub(super) fn key(&mut self) -> Option<Key<'a>> {
        self.punctuation(b'"')?;
        let start = self.at;
        let has_escapes = self.rest_of_string()?;
        let written = self.text.as_bytes().get(start..self.at - 1)?;
        self.punctuation(b':')?;
        Some(Key { written, has_escapes })
    }

    /// A value inside of one object: where it stands in the text.
    pub(super) fn value(&mut self) -> Option<Range<usize>> {
        self.next_byte()?;
        let start = self.at;
        // One bit for each container that is open, the innermost lowest: is it an object?
        let (mut objects, mut depth) = (0_u128, 1);
        loop {
            match self.next_byte()? {
                b'"' => {
                    self.at += 1;
                    self.rest_of_string()?;
                }
                opening @ (b'{' | b'[') => {
                    self.at += 1;
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return None;
                    }
                    let is_object = opening == b'{';
                    objects = objects << 1 | u128::from(is_object);
                    match (self.next_byte()?, is_object) {
                        // Empty: closed below.
                        (b'}', true) | (b']', false) => {}
                        (_, true) => {
                            self.key()?;
                            continue;
                        }
                        (_, false) => continue,
                    }
                }
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => self.number()?,
            }
            // What comes behind a value: the ends of containers, until one goes on.
            loop {
                if depth == 1 {
                    return Some(start..self.at);
                }
                let is_object = objects & 1 == 1;
                match (self.next_byte()?, is_object) {
                    (b'}', true) | (b']', false) => {
                        depth -= 1;
                        objects >>= 1;
                        self.at += 1;
                    }
                    (b',', _) => {
                        self.at += 1;
                        if is_object {
                            self.key()?;
                        }
                        break;
                    }
                    _ => return None,
                }
            }
        }
    }

    /// Is nothing left but white space?
    pub(super) fn is_at_the_end(&mut self) -> bool {
        self.next_byte().is_none()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// A string without its first quote. Does it have escapes?
    #[inline]
    fn rest_of_string(&mut self) -> Option<bool> {
        let mut has_escapes = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            let stop = first_that_is_not_plain(rest)?;
            self.at += stop + 1;
            match rest.get(stop)? {
                b'"' => return Some(has_escapes),
                b'\\' => {
                    has_escapes = true;
                    self.rest_of_escape()?;
                }
                _control_character => return None,
            }
        }
    }

    /// What comes behind a backslash.
    fn rest_of_escape(&mut self) -> Option<()> {
        let length = match self.byte()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 1,
            b'u' => 5,
            _ => return None,
        };
        let digits = self.text.as_bytes().get(self.at + 1..self.at + length)?;
        self.at += length;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        if self.byte()? == b'-' {
            self.at += 1;
        }
        if self.byte()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        rest.starts_with(word.as_bytes()).then(|| self.at += word.len())
    }
}

/// Where the first quote, backslash or control character stands. Eight bytes at a time: in each byte of a difference
/// the highest bit says whether something was borrowed for it, so whether it was too small, and the lowest such byte
/// is right also where borrowing went on to others.
#[inline]
fn first_that_is_not_plain(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHEST: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let is_quote = is_zero(word ^ (ONES * u64::from(b'"')));
        let is_backslash = is_zero(word ^ (ONES * u64::from(b'\\')));
        let is_control = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
        let found = (is_quote | is_backslash | is_control) & HIGHEST;
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let is_not_plain = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    rest.iter().position(is_not_plain).map(|index| words.len() * 8 + index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The whole of `text` as one value.
    fn scanned(text: &str) -> Option<&str> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value()?;
        scanner.is_at_the_end().then(|| &text[value])
    }

    fn is_json(text: &str) -> bool {
        serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
    }

    #[test]
    fn every_form_of_a_value_is_taken_as_it_is_written() {
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "12",
            "-1.50",
            "1e5",
            "2E+07",
            "3.1e-2",
            r#""""#,
            r#""a\"\\\/\b\f\n\r\t\u00e9""#,
            r#""\ud83d""#,
            "[]",
            "[ ]",
            "{}",
            "{ }",
            "[1 , [2,{ \"a\" : [] }]]",
            r#"{"a":{"b":{}},"c":"x"}"#,
        ] {
            assert!(is_json(text), "{text}");
            assert_eq!(scanned(text), Some(text));
            assert_eq!(scanned(&format!(" \t\r\n{text} \n")), Some(text));
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "nul",
            "nulll",
            "tru",
            "01",
            "-",
            "+1",
            ".5",
            "1.",
            "1e",
            "1e+",
            "0x1",
            "NaN",
            "\"",
            "\"a",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12\"",
            "\"\u{1f}\"",
            "\"a long one with a tab\t\"",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,]",
            "[1 2]",
            "[1}",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "{1:1}",
            "{\"a\":1]",
            "]",
            "}",
            ",",
            "1,",
            "[]]",
            "'a'",
        ] {
            assert!(!is_json(text), "{text}");
            assert_eq!(scanned(text), None, "{text}");
        }
    }

    #[test]
    fn a_string_ends_at_its_first_bare_quote_wherever_that_stands() {
        for length in 0..40 {
            for last in ["", "\u{7f}", "\u{80}", "é", "\u{10ffff}", "\\\\", "\\\""] {
                let text = format!("\"{}{last}\"", "x".repeat(length));
                assert_eq!(scanned(&text), Some(text.as_str()));
                assert_eq!(scanned(&format!("{text}\"")), None);
            }
        }
    }

    #[test]
    fn the_depth_counts_the_object_that_a_value_is_in() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(scanned(&nested(MAX_DEPTH - 1)).is_some());
        assert!(scanned(&nested(MAX_DEPTH)).is_none());
        let side_by_side = ["{}", "[[1]]"].repeat(1_000).join(",");
        assert!(scanned(&format!("[{side_by_side}]")).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn any_text_of_jsons_own_characters_is_taken_exactly_if_it_is_json(text in "[\\[\\]{}\",:\\\\u0-3eE+.\\-tnul \n]{0,24}") {
            prop_assert_eq!(scanned(&text).is_some(), is_json(&text));
        }

        #[test]
        fn what_is_not_plain_is_found_where_one_byte_after_the_other_finds_it(bytes: Vec<u8>) {
            let slowly = bytes.iter().position(|byte| *byte < b' ' || *byte == b'"' || *byte == b'\\');
            prop_assert_eq!(first_that_is_not_plain(&bytes), slowly);
        }
    }
}
