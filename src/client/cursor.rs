//! Where a reader stands in a session's log, and whether the event that came is the next one. Pure.
//!
//! Invariant: the position only grows, and an accepted event joins on to it without a gap.

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the next one.
    Next,
    /// It was given before: drop it.
    Repeat,
    /// Events before it are missing, or its numbers contradict themselves.
    Gap,
}

/// A reader's position in one session's log.
#[derive(Debug)]
pub(super) struct Cursor {
    position: u64,
    /// Only some types were asked for, so that numbers may be passed over.
    filtered: bool,
}

impl Cursor {
    pub(super) fn new(after_seq: u64, filtered: bool) -> Self {
        Self { position: after_seq, filtered }
    }

    /// The last number accounted for: attach again with it.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Judges an event and, when it is the next one, moves on to it.
    pub(super) fn take(&mut self, prev_seq: u64, seq: u64) -> Verdict {
        if seq <= self.position {
            return Verdict::Repeat;
        }
        let joins = prev_seq <= self.position && prev_seq < seq;
        if !joins || (!self.filtered && seq != self.position + 1) {
            return Verdict::Gap;
        }
        self.position = seq;
        Verdict::Next
    }

    /// The gateway says (`session.cursor`) that everything up to `seq` was looked at. Means something only
    /// to a filtered reader: any other must see the events themselves.
    pub(super) fn passed_over(&mut self, seq: u64) {
        if self.filtered {
            self.position = self.position.max(seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_in_order_are_taken_and_repeats_dropped() {
        let mut cursor = Cursor::new(3, false);
        assert_eq!(cursor.take(3, 4), Verdict::Next);
        assert_eq!(cursor.take(3, 4), Verdict::Repeat);
        assert_eq!(cursor.take(0, 1), Verdict::Repeat);
        assert_eq!(cursor.take(4, 5), Verdict::Next);
        assert_eq!(cursor.position(), 5);
    }

    #[test]
    fn a_missing_event_is_a_gap_and_the_position_stays() {
        let mut cursor = Cursor::new(3, false);
        assert_eq!(cursor.take(4, 5), Verdict::Gap);
        assert_eq!(cursor.take(3, 5), Verdict::Gap);
        assert_eq!(cursor.position(), 3);
    }

    #[test]
    fn a_filtered_reader_passes_over_numbers_but_never_over_a_break() {
        let mut cursor = Cursor::new(0, true);
        assert_eq!(cursor.take(0, 7), Verdict::Next);
        assert_eq!(cursor.take(7, 9), Verdict::Next);
        assert_eq!(cursor.take(11, 12), Verdict::Gap);
        cursor.passed_over(11);
        assert_eq!(cursor.take(11, 12), Verdict::Next);
    }

    #[test]
    fn an_unfiltered_reader_is_not_moved_by_the_gateways_cursor() {
        let mut cursor = Cursor::new(0, false);
        cursor.passed_over(5);
        assert_eq!(cursor.position(), 0);
    }

    #[test]
    fn numbers_that_contradict_themselves_are_a_gap() {
        assert_eq!(Cursor::new(0, true).take(4, 4), Verdict::Gap);
    }
}
