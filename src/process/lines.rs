//! Bytes into lines: pure, bounded, and the same result however the bytes were cut into chunks.
//!
//! A line that lies inside one chunk is a slice of it, not a copy (so it keeps that chunk, a few KiB, alive). A line is exactly the bytes before its
//! `\n`: no decoding, no trimming. It must not know what a line means.

use bytes::{Buf, Bytes};

/// Which of a program's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it was written.
    pub stream: Stream,
    /// The line without its `\n`, otherwise byte for byte: a `\r` before the `\n` is still here, see [`Line::text_bytes`].
    pub bytes: Bytes,
    /// `Some(n)`: the line had `n` bytes, more than the limit; `bytes` holds the first ones up to the limit.
    pub cut_from: Option<u64>,
    /// Did a `\n` end it? Only the last line of a stream can be without.
    pub terminated: bool,
}

impl Line {
    /// The line as text programs mean it: without the `\r` of a CRLF ending.
    #[must_use]
    pub fn text_bytes(&self) -> &[u8] {
        match self.bytes.strip_suffix(b"\r") {
            Some(text) if self.terminated && self.cut_from.is_none() => text,
            _ => &self.bytes,
        }
    }
}

/// Cuts one stream into lines.
#[derive(Debug)]
pub struct LineSplitter {
    stream: Stream,
    max_line_bytes: usize,
    /// The beginning of a line whose end has not come; never more than `max_line_bytes`.
    begun: Vec<u8>,
    /// How long that line is so far, with what was cut off.
    begun_length: u64,
}

impl LineSplitter {
    /// A splitter that keeps at most `max_line_bytes` (at least 1) of a line.
    #[must_use]
    pub fn new(stream: Stream, max_line_bytes: usize) -> Self {
        Self { stream, max_line_bytes: max_line_bytes.max(1), begun: Vec::new(), begun_length: 0 }
    }

    /// Takes the next bytes and appends the lines that they complete to `lines`.
    pub fn push(&mut self, mut chunk: Bytes, lines: &mut Vec<Line>) {
        while let Some(end) = memchr::memchr(b'\n', &chunk) {
            let piece = chunk.split_to(end);
            chunk.advance(1);
            lines.push(self.complete(piece));
        }
        self.keep(&chunk);
    }

    /// The stream has ended: what came after the last `\n`, if anything.
    #[must_use]
    pub fn finish(&mut self) -> Option<Line> {
        (self.begun_length > 0).then(|| self.take_begun(false))
    }

    fn complete(&mut self, piece: Bytes) -> Line {
        if self.begun_length > 0 {
            self.keep(&piece);
            return self.take_begun(true);
        }
        let length = piece.len();
        let cut = length > self.max_line_bytes;
        let bytes = if cut { piece.slice(..self.max_line_bytes) } else { piece };
        Line { stream: self.stream, bytes, cut_from: cut.then_some(length as u64), terminated: true }
    }

    fn keep(&mut self, piece: &[u8]) {
        self.begun_length += piece.len() as u64;
        let kept = &piece[..piece.len().min(self.max_line_bytes - self.begun.len())];
        let needed = self.begun.len() + kept.len();
        if needed > self.begun.capacity() {
            // Doubling, but never past the limit: a line of the greatest length costs that and no more.
            let capacity = needed.max(self.begun.capacity() * 2).min(self.max_line_bytes);
            self.begun.reserve_exact(capacity - self.begun.len());
        }
        self.begun.extend_from_slice(kept);
    }

    fn take_begun(&mut self, terminated: bool) -> Line {
        let length = std::mem::take(&mut self.begun_length);
        let bytes = Bytes::from(std::mem::take(&mut self.begun));
        let cut_from = (length > bytes.len() as u64).then_some(length);
        Line { stream: self.stream, bytes, cut_from, terminated }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]], max: usize) -> Vec<Line> {
        let mut splitter = LineSplitter::new(Stream::Stdout, max);
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(Bytes::copy_from_slice(chunk), &mut lines);
        }
        lines.extend(splitter.finish());
        lines
    }

    fn line(bytes: &'static [u8]) -> Line {
        Line { stream: Stream::Stdout, bytes: Bytes::from_static(bytes), cut_from: None, terminated: true }
    }

    #[test]
    fn f9_crlf_nul_colour_codes_and_utf8_split_over_reads_stay_byte_for_byte() {
        let lines = split(&[b"a\r\nb\0c\n\x1b[31mred\x1b[0m\n\xc3", b"\xa9\n\xff\xfe\n\n"], 100);
        let expected: [&'static [u8]; 6] = [b"a\r", b"b\0c", b"\x1b[31mred\x1b[0m", b"\xc3\xa9", b"\xff\xfe", b""];
        assert_eq!(lines, expected.map(line));
        assert_eq!(lines[0].text_bytes(), b"a");
        assert_eq!(lines[1].text_bytes(), b"b\0c");
    }

    #[test]
    fn f9_a_last_line_without_newline_is_given_and_marked() {
        let lines = split(&[b"one\ntw", b"o"], 100);
        assert_eq!(lines, [line(b"one"), Line { terminated: false, ..line(b"two") }]);
    }

    #[test]
    fn a_stream_that_ends_with_a_newline_or_is_empty_has_no_last_line() {
        assert_eq!(split(&[b"one\n"], 100), [line(b"one")]);
        assert_eq!(split(&[b""], 100), []);
    }

    #[test]
    fn f8_a_long_line_is_cut_with_its_whole_length_and_the_next_one_is_whole() {
        let inside_one_chunk = split(&[b"0123456789\nnext\n"], 4);
        let over_many = split(&[b"01", b"2345678", b"9", b"\nne", b"xt\n"], 4);
        let expected = [Line { cut_from: Some(10), ..line(b"0123") }, line(b"next")];
        assert_eq!(inside_one_chunk, expected);
        assert_eq!(over_many, expected);
    }

    #[test]
    fn f8_a_line_of_exactly_the_limit_is_not_cut() {
        assert_eq!(split(&[b"0123\n"], 4), [line(b"0123")]);
        assert_eq!(split(&[b"01", b"23", b"\n"], 4), [line(b"0123")]);
    }

    #[test]
    fn f8_a_line_that_never_ends_costs_no_more_than_the_limit() {
        let mut splitter = LineSplitter::new(Stream::Stdout, 1000);
        let mut lines = Vec::new();
        for _ in 0..10_000 {
            splitter.push(Bytes::from_static(&[b'x'; 777]), &mut lines);
        }
        assert!(lines.is_empty());
        assert!(splitter.begun.capacity() <= 1000, "{}", splitter.begun.capacity());
        assert_eq!(splitter.finish().and_then(|line| line.cut_from), Some(7_770_000));
    }

    #[test]
    fn a_carriage_return_at_a_cut_or_without_newline_is_no_line_ending() {
        let cut = &split(&[b"abc\rdef\n"], 4)[0];
        assert_eq!(cut.text_bytes(), b"abc\r");
        assert_eq!(split(&[b"abc\r"], 9)[0].text_bytes(), b"abc\r");
    }

    #[test]
    fn a_line_inside_a_chunk_is_a_slice_of_it() {
        let chunk = Bytes::from(b"first\nsecond\n".to_vec());
        let mut lines = Vec::new();
        LineSplitter::new(Stream::Stderr, 100).push(chunk.clone(), &mut lines);
        assert_eq!(lines[1].bytes.as_ptr(), chunk[6..].as_ptr());
        assert_eq!(lines[1].stream, Stream::Stderr);
    }

    proptest! {
        #[test]
        fn any_chunking_of_any_bytes_gives_the_same_lines(
            bytes in proptest::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(b'\n'), 1 => Just(b'\r')], 0..400),
            cuts in proptest::collection::vec(0usize..400, 0..20),
            max in 1usize..60,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();

            // What the lines must be, told independently of the splitter.
            let mut expected: Vec<(&[u8], bool)> = bytes.split(|byte| *byte == b'\n').map(|line| (line, true)).collect();
            let (last, _) = expected.pop().unwrap();
            if !last.is_empty() { expected.push((last, false)); }
            let expected: Vec<Line> = expected.into_iter().map(|(text, terminated)| Line {
                stream: Stream::Stdout,
                bytes: Bytes::copy_from_slice(&text[..text.len().min(max)]),
                cut_from: (text.len() > max).then_some(text.len() as u64),
                terminated,
            }).collect();

            prop_assert_eq!(split(&chunks, max), expected);
        }
    }
}
