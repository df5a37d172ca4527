//! What waits in the journal to be put into the database, log by log.
//!
//! A row costs the same for one event as for a hundred, so a log waits until it is worth one, or has waited long enough.
//! Few logs are taken at a time: whoever shares the processor with the writing thread is not to notice its transaction.
//!
//! Invariants: what a log holds here follows each other, and leaves in that order. It must not know files, nor SQL.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::api::selector::TypeSet;
use crate::store::Batch;

/// So many bytes of a log are worth a row. A little less than a row holds at most.
const WORTH_A_ROW: usize = 24 * 1024;
/// What has waited for so long is due, however little it is.
const LONG_ENOUGH: Duration = Duration::from_secs(1);
/// Logs that are taken at a time; more only if that many times [`SHARE`] are due.
const FEW: usize = 8;
/// This part of what is due is taken at least, so that it never becomes more and more.
const SHARE: usize = 4;

/// A batch that is not in the database yet, or a [`beginning`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) session: Uuid,
    pub(super) epoch: u64,
    pub(super) batch: Batch,
    /// Which of the journal's files holds it.
    pub(super) file: usize,
}

/// What stands for a new session, before the first batch of its log: its record, as number 0.
pub(super) fn beginning(about: Vec<u8>) -> Batch {
    Batch { first_seq: 0, last_seq: 0, types: TypeSet(0), payload: about.into() }
}

impl Entry {
    /// The record of the new session that it stands for.
    pub(super) fn begins(&self) -> Option<&[u8]> {
        (self.batch.last_seq == 0).then_some(&self.batch.payload)
    }
}

/// What is to be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Everything; the rest says nothing then.
    pub(super) all: bool,
    /// What is due.
    pub(super) due: bool,
    /// All of these logs.
    pub(super) logs: Vec<Uuid>,
}

impl Wanted {
    pub(super) fn all() -> Self {
        Self { all: true, ..Self::default() }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    logs: HashMap<Uuid, Log>,
    bytes: usize,
}

/// What waits of one log; never nothing.
#[derive(Debug)]
struct Log {
    entries: Vec<Entry>,
    bytes: usize,
    /// When the first of it came.
    since: Instant,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Bytes of all payloads.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Does something of that log wait?
    pub(super) fn holds(&self, session: Uuid) -> bool {
        self.logs.contains_key(&session)
    }

    /// What waits of that log.
    pub(super) fn batches(&self, session: Uuid) -> impl Iterator<Item = &Batch> {
        self.logs.get(&session).into_iter().flat_map(|log| &log.entries).map(|entry| &entry.batch)
    }

    /// Adds what follows in its log.
    pub(super) fn add(&mut self, entry: Entry) {
        let bytes = entry.batch.payload.len();
        let log = self.logs.entry(entry.session).or_insert_with(|| Log {
            entries: Vec::new(),
            bytes: 0,
            since: Instant::now(),
        });
        log.bytes += bytes;
        self.bytes += bytes;
        log.entries.push(entry);
    }

    /// Takes back what was taken, before what has come since.
    pub(super) fn put_back(&mut self, entries: Vec<Entry>) {
        let sessions: HashSet<Uuid> = entries.iter().map(|entry| entry.session).collect();
        let since: Vec<Entry> = sessions.into_iter().flat_map(|session| self.take_log(session)).collect();
        entries.into_iter().chain(since).for_each(|entry| self.add(entry));
    }

    /// Takes what is wanted, each log's in order.
    pub(super) fn take(&mut self, wanted: &Wanted) -> Vec<Entry> {
        if wanted.all {
            self.bytes = 0;
            return std::mem::take(&mut self.logs).into_values().flat_map(|log| log.entries).collect();
        }
        let mut logs = wanted.logs.clone();
        if wanted.due {
            logs.extend(self.due(Instant::now()));
        }
        logs.into_iter().flat_map(|session| self.take_log(session)).collect()
    }

    /// The logs that are due, but for those that can wait a little longer: those that hold most are first.
    fn due(&self, now: Instant) -> Vec<Uuid> {
        let is_due = |log: &Log| log.bytes >= WORTH_A_ROW || now.duration_since(log.since) >= LONG_ENOUGH;
        let mut due: Vec<(usize, Uuid)> =
            self.logs.iter().filter(|(_, log)| is_due(log)).map(|(session, log)| (log.bytes, *session)).collect();
        due.sort_unstable_by(|one, other| other.cmp(one));
        due.truncate(FEW.max(due.len() / SHARE));
        due.into_iter().map(|(_, session)| session).collect()
    }

    fn take_log(&mut self, session: Uuid) -> Vec<Entry> {
        let Some(log) = self.logs.remove(&session) else { return Vec::new() };
        self.bytes -= log.bytes;
        log.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::sample;

    fn entry(session: u64, seq: u64) -> Entry {
        Entry { session: sample::id(session), epoch: 1, batch: sample::batch(seq, seq), file: 0 }
    }

    fn long(session: u64) -> Entry {
        let batch = Batch { payload: vec![0; WORTH_A_ROW].into(), ..sample::batch(1, 1) };
        Entry { batch, ..entry(session, 1) }
    }

    fn filled(entries: impl IntoIterator<Item = Entry>) -> Waiting {
        let mut waiting = Waiting::default();
        entries.into_iter().for_each(|entry| waiting.add(entry));
        waiting
    }

    fn due() -> Wanted {
        Wanted { due: true, ..Wanted::default() }
    }

    fn seqs(entries: &[Entry]) -> Vec<(Uuid, u64)> {
        entries.iter().map(|entry| (entry.session, entry.batch.last_seq)).collect()
    }

    #[test]
    fn a_log_is_due_when_it_is_worth_a_row_or_has_waited_long_enough() {
        let mut waiting = filled([entry(1, 1), long(2)]);
        assert_eq!(seqs(&waiting.take(&due())), [(sample::id(2), 1)]);
        assert!(waiting.take(&due()).is_empty() && waiting.holds(sample::id(1)));
        assert_eq!(waiting.due(Instant::now() + LONG_ENOUGH), [sample::id(1)]);
    }

    #[test]
    fn few_logs_are_taken_at_a_time_but_a_share_of_many() {
        assert_eq!(filled((1..=20).map(long)).take(&due()).len(), FEW);
        assert_eq!(filled((1..=400).map(long)).take(&due()).len(), 400 / SHARE);
    }

    #[test]
    fn only_the_wanted_logs_are_taken_and_all_of_them() {
        let mut waiting = filled([entry(1, 1), entry(2, 1), entry(1, 2)]);
        let wanted = Wanted { logs: vec![sample::id(1), sample::id(7)], ..Wanted::default() };
        assert_eq!(seqs(&waiting.take(&wanted)), [(sample::id(1), 1), (sample::id(1), 2)]);
        assert_eq!(waiting.bytes(), entry(2, 1).batch.payload.len());
        assert_eq!(seqs(&waiting.take(&Wanted::all())), [(sample::id(2), 1)]);
        assert!(waiting.is_empty() && waiting.bytes() == 0);
    }

    #[test]
    fn what_is_put_back_leaves_before_what_came_since() {
        let mut waiting = filled([entry(1, 1), entry(2, 1)]);
        let taken = waiting.take(&Wanted::all());
        waiting.add(entry(1, 2));
        waiting.put_back(taken);
        let wanted = Wanted { logs: vec![sample::id(1)], ..Wanted::default() };
        assert_eq!(seqs(&waiting.take(&wanted)), [(sample::id(1), 1), (sample::id(1), 2)]);
        assert_eq!(waiting.bytes(), entry(2, 1).batch.payload.len());
    }
}
