//! The batches of one log that the store has acknowledged last, kept for a moment: a shared store that was killed may
//! have acknowledged what it had not written yet, and takes it again when it is back.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::store::Batch;

/// For how long a batch is kept. Redis puts a write off for two seconds at most.
const KEPT: Duration = Duration::from_secs(5);
/// How much is kept, in bytes: mostly what the feed's tail keeps anyway, for the two share their memory.
const KEPT_BYTES: usize = 1024 * 1024;

/// See the module. Shared by a log's writer and the append that it has under way; locked for moments only.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<(Instant, Batch)>>);

impl Recent {
    /// The store has acknowledged a batch.
    pub(super) fn keep(&self, batch: &Batch) {
        self.keep_at(batch, Instant::now());
    }

    fn keep_at(&self, batch: &Batch, now: Instant) {
        let mut kept = self.0.lock();
        kept.push_back((now, batch.clone()));
        let mut bytes: usize = kept.iter().map(|(_, batch)| batch.payload.len()).sum();
        while let Some((at, oldest)) = kept.front()
            && (bytes > KEPT_BYTES || now.duration_since(*at) > KEPT)
        {
            bytes -= oldest.payload.len();
            kept.pop_front();
        }
    }

    /// The batches from the number `from` up to the one before `until`; `None` if not all of them are kept.
    pub(super) fn between(&self, from: u64, until: u64) -> Option<Vec<Batch>> {
        let kept = self.0.lock();
        let wanted = |batch: &&Batch| batch.first_seq >= from && batch.last_seq < until;
        let batches: Vec<Batch> = kept.iter().map(|(_, batch)| batch).filter(wanted).cloned().collect();
        let whole = from < until
            && batches.first().is_some_and(|first| first.first_seq == from)
            && batches.last().is_some_and(|last| last.last_seq + 1 == until)
            && batches.windows(2).all(|pair| pair[0].last_seq + 1 == pair[1].first_seq);
        whole.then_some(batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::sample::batch;

    fn bounds(batches: Option<Vec<Batch>>) -> Option<Vec<(u64, u64)>> {
        batches.map(|batches| batches.iter().map(|batch| (batch.first_seq, batch.last_seq)).collect())
    }

    #[test]
    fn what_was_acknowledged_last_is_there_from_any_batch_on() {
        let recent = Recent::default();
        for (first, last) in [(1, 3), (4, 4), (5, 9)] {
            recent.keep(&batch(first, last));
        }
        assert_eq!(bounds(recent.between(1, 10)), Some(vec![(1, 3), (4, 4), (5, 9)]));
        assert_eq!(bounds(recent.between(4, 10)), Some(vec![(4, 4), (5, 9)]));
        for (from, until) in [(2, 10), (5, 9), (5, 11), (10, 10), (10, 5)] {
            assert_eq!(bounds(recent.between(from, until)), None, "{from} to {until}");
        }
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let recent = Recent::default();
        let large = |number| Batch { payload: vec![0; KEPT_BYTES / 2].into(), ..batch(number, number) };
        for number in 1..=5 {
            recent.keep(&large(number));
        }
        assert_eq!(bounds(recent.between(4, 6)), Some(vec![(4, 4), (5, 5)]));
        assert_eq!(bounds(recent.between(3, 6)), None);
    }

    #[test]
    fn what_is_old_goes_when_something_new_comes() {
        let recent = Recent::default();
        let now = Instant::now();
        recent.keep_at(&batch(1, 1), now);
        recent.keep_at(&batch(2, 2), now + KEPT * 2);
        assert_eq!(bounds(recent.between(1, 3)), None);
        assert_eq!(bounds(recent.between(2, 3)), Some(vec![(2, 2)]));
    }
}
