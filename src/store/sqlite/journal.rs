//! The journal: where small batches of events are kept at once, until the writing thread puts many of them into the
//! database in one transaction.
//!
//! A transaction of SQLite costs a wake of the writing thread and back, and several pages, for one event as for a
//! thousand. A record here costs one write call, by whoever appends.
//!
//! Invariants:
//! - A record is written before it is acknowledged, and kept until a transaction that holds it is committed. It survives
//!   `kill -9`; for what must survive the loss of power there is no journal (`synchronous = FULL`).
//! - Only what follows is taken: the journal knows epoch and head of every log that it takes records of, from the
//!   writing thread. Before that thread changes a session otherwise, it is forgotten here ([`Journal::take`]).
//! - One of two files is written while the records of the other are put into the database. Each use of a file has a
//!   higher number, which its records bear, so that what is left of an earlier use is known as such.
//! - What waits is bounded by [`MOST_WAITING`]; whatever is not taken goes by way of the writing thread.
//!
//! It must not know SQL, nor what is in a batch.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;
use uuid::Uuid;

use super::file::{beside, open_private};
use super::record::{self, HEADER};
use super::settler::Settler;
use crate::store::Batch;

/// Longer batches go to the database at once: they are worth a transaction, and would be written twice here.
const LONGEST: usize = 32 * 1024;
/// Bytes that may wait to be put into the database.
const MOST_WAITING: usize = 8 * 1024 * 1024;
/// So much that waits is worth a transaction at once.
const MUCH: usize = 1024 * 1024;
/// Whoever finds the journal taken for so long goes by way of the writing thread: its disk does not answer.
const PATIENCE: Duration = Duration::from_millis(5);

/// A batch that is not in the database yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) session: Uuid,
    pub(super) epoch: u64,
    pub(super) batch: Batch,
}

/// What came of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is not taken: the writing thread has to look at it.
    No,
    /// It is kept.
    Kept,
    /// It is kept, and so much waits that it should be put into the database at once.
    Much,
}

/// See the module. Shared by all who append and the writing thread; locked for the time of one write call at most.
#[derive(Debug)]
pub(super) struct Journal(Mutex<State>);

/// The newest that is kept of a log: here, or in the database.
#[derive(Debug, Clone, Copy)]
struct Log {
    epoch: u64,
    head: u64,
    /// The newest that is in the database.
    applied: u64,
}

#[derive(Debug)]
struct State {
    /// `None`: nothing is ever taken.
    files: Option<[File; 2]>,
    /// Which of them is written, where its next record goes, and the number of this use.
    active: usize,
    offset: u64,
    generation: u64,
    /// The other one holds records that are not in the database.
    other_in_use: bool,
    logs: HashMap<Uuid, Log>,
    /// The sessions of what was taken and has not come back.
    settling: HashSet<Uuid>,
    waiting: Vec<Entry>,
    waiting_bytes: usize,
    /// Told of the first that waits. `None`: nothing is ever taken, or somebody else sees to it.
    settler: Option<Settler>,
}

impl Journal {
    /// A journal that takes nothing.
    pub(super) fn none() -> Self {
        Self(Mutex::new(State {
            files: None,
            active: 0,
            offset: 0,
            generation: 1,
            other_in_use: false,
            logs: HashMap::new(),
            settling: HashSet::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            settler: None,
        }))
    }

    /// From now on `settler` is told when something waits.
    pub(super) fn settled_by(&self, settler: Settler) {
        self.0.lock().settler = Some(settler);
    }

    /// Opens the journal beside the database `file`, and gives what an earlier gateway left in it, in order. That must be
    /// put into the database before anything else, and [`Journal::clear`]ed then.
    pub(super) fn open(file: &Path) -> io::Result<(Self, Vec<Entry>)> {
        let mut files = [open_private(&beside(file, ".journal-a"))?, open_private(&beside(file, ".journal-b"))?];
        let mut left = Vec::new();
        for file in &mut files {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            left.push(record::read_all(&bytes));
        }
        left.sort_by_key(|(generation, _)| *generation);
        let newest = left.last().map_or(0, |(generation, _)| *generation);
        let journal = Self::none();
        {
            let mut state = journal.0.lock();
            (state.files, state.generation) = (Some(files), newest + 1);
        }
        Ok((journal, left.into_iter().flat_map(|(_, entries)| entries).collect()))
    }

    /// Nothing in the files is needed any more.
    pub(super) fn clear(&self) -> io::Result<()> {
        let state = self.0.lock();
        state.files.iter().flatten().try_for_each(|file| file.set_len(0))
    }

    /// Keeps a batch if it can: blocks for one write call.
    pub(super) fn append(&self, session: Uuid, epoch: u64, batch: &Batch) -> Taken {
        if batch.payload.len() > LONGEST {
            return Taken::No;
        }
        self.0.try_lock_for(PATIENCE).map_or(Taken::No, |mut state| state.append(session, epoch, batch))
    }

    /// Is there something of this session (or of any) that is not in the database?
    pub(super) fn is_ahead(&self, session: Option<Uuid>) -> bool {
        let state = self.0.lock();
        let Some(session) = session else { return !state.waiting.is_empty() || state.other_in_use };
        match state.logs.get(&session) {
            Some(log) => log.head > log.applied,
            // It may have been forgotten with something that is being put into the database just now, or waits for it again.
            None => state.settling.contains(&session) || state.waiting.iter().any(|entry| entry.session == session),
        }
    }

    /// All that waits, to be put into the database now. Of the sessions in `changes` nothing more is taken until
    /// [`Journal::learn`]. What was taken must come back, to [`Journal::applied`] or [`Journal::put_back`].
    pub(super) fn take(&self, changes: impl Iterator<Item = Uuid>) -> Vec<Entry> {
        let mut state = self.0.lock();
        for session in changes {
            state.logs.remove(&session);
        }
        if !state.waiting.is_empty() && !state.other_in_use {
            state.active = 1 - state.active;
            state.offset = 0;
            state.generation += 1;
            state.other_in_use = true;
        }
        state.waiting_bytes = 0;
        state.settling = state.waiting.iter().map(|entry| entry.session).collect();
        std::mem::take(&mut state.waiting)
    }

    /// What was taken is in the database.
    pub(super) fn applied(&self, entries: &[Entry]) {
        if entries.is_empty() {
            return;
        }
        let mut state = self.0.lock();
        state.other_in_use = false;
        state.settling.clear();
        for Entry { session, batch, .. } in entries {
            if let Some(log) = state.logs.get_mut(session) {
                log.applied = log.applied.max(batch.last_seq);
            }
        }
    }

    /// What was taken could not be put into the database, and waits again, before what has come since.
    pub(super) fn put_back(&self, mut entries: Vec<Entry>) {
        let mut state = self.0.lock();
        entries.append(&mut state.waiting);
        state.wish();
        state.settling.clear();
        state.waiting_bytes = entries.iter().map(|entry| entry.batch.payload.len()).sum();
        state.waiting = entries;
    }

    /// The database holds the session's log up to `head`, and `epoch` is its owner's: what follows can be taken.
    pub(super) fn learn(&self, session: Uuid, epoch: u64, head: u64) {
        let mut state = self.0.lock();
        if state.files.is_some() {
            state.logs.insert(session, Log { epoch, head, applied: head });
        }
    }

    /// The session has been changed, or is gone: see [`Journal::take`].
    pub(super) fn forget(&self, session: Uuid) {
        self.0.lock().logs.remove(&session);
    }
}

impl State {
    fn wish(&self) {
        if let Some(settler) = &self.settler {
            settler.wish();
        }
    }

    fn append(&mut self, session: Uuid, epoch: u64, batch: &Batch) -> Taken {
        let follows =
            |log: &Log| log.epoch == epoch && batch.first_seq == log.head + 1 && batch.last_seq >= batch.first_seq;
        if !self.logs.get(&session).is_some_and(follows) || self.waiting_bytes + batch.payload.len() > MOST_WAITING {
            return Taken::No;
        }
        let Some(files) = &self.files else { return Taken::No };
        let head = record::header(self.generation, session, epoch, batch);
        let length = HEADER + batch.payload.len();
        let parts = [IoSlice::new(&head), IoSlice::new(&batch.payload)];
        let written = rustix::io::pwritev(&files[self.active], &parts, self.offset);
        if written != Ok(length) {
            // A full disk, most likely. What was written of it is no record, and the next one goes in its place.
            return Taken::No;
        }
        self.offset += length as u64;
        if let Some(log) = self.logs.get_mut(&session) {
            log.head = batch.last_seq;
        }
        if self.waiting.is_empty() {
            self.wish();
        }
        let was_much = self.waiting_bytes >= MUCH;
        self.waiting.push(Entry { session, epoch, batch: batch.clone() });
        self.waiting_bytes += batch.payload.len();
        if !was_much && self.waiting_bytes >= MUCH { Taken::Much } else { Taken::Kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::sample;

    fn opened(file: &Path) -> (Journal, Vec<Entry>) {
        Journal::open(file).unwrap()
    }

    fn entry(session: u64, seq: u64) -> Entry {
        Entry { session: sample::id(session), epoch: 1, batch: sample::batch(seq, seq) }
    }

    fn append(journal: &Journal, session: u64, seq: u64) -> Taken {
        journal.append(sample::id(session), 1, &sample::batch(seq, seq))
    }

    #[test]
    fn only_what_follows_a_known_head_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, left) = opened(&directory.path().join("db"));
        assert!(left.is_empty());
        assert_eq!(append(&journal, 1, 1), Taken::No);
        journal.learn(sample::id(1), 1, 4);
        assert_eq!(append(&journal, 1, 4), Taken::No);
        assert_eq!(append(&journal, 1, 6), Taken::No);
        assert_eq!(journal.append(sample::id(1), 2, &sample::batch(5, 5)), Taken::No);
        assert_eq!(append(&journal, 1, 5), Taken::Kept);
        assert_eq!(append(&journal, 1, 6), Taken::Kept);
        assert!(journal.is_ahead(Some(sample::id(1))) && !journal.is_ahead(Some(sample::id(2))));
        journal.forget(sample::id(1));
        assert_eq!(append(&journal, 1, 7), Taken::No);
        let long = Batch { payload: vec![0; LONGEST + 1].into(), ..sample::batch(5, 5) };
        journal.learn(sample::id(2), 1, 4);
        assert_eq!(journal.append(sample::id(2), 1, &long), Taken::No);
    }

    #[test]
    fn what_was_kept_and_is_not_in_the_database_is_there_after_a_crash() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("db");
        let (journal, _) = opened(&file);
        journal.learn(sample::id(1), 1, 0);
        journal.learn(sample::id(2), 1, 0);
        append(&journal, 1, 1);
        append(&journal, 2, 1);
        // Under way when it crashes; the rest came meanwhile, and after a failure.
        let taken = journal.take(std::iter::empty());
        append(&journal, 1, 2);
        assert_eq!(opened(&file).1, [entry(1, 1), entry(2, 1), entry(1, 2)]);
        journal.put_back(taken);
        append(&journal, 2, 2);
        let all = [entry(1, 1), entry(2, 1), entry(1, 2), entry(2, 2)];
        assert_eq!(opened(&file).1, all);
        let taken = journal.take(std::iter::empty());
        assert_eq!(taken, all);
        journal.applied(&taken);
        assert!(!journal.is_ahead(None));
        // A file is written from its beginning again. What is left of an earlier use is what is in the database, and
        // comes before what is new.
        append(&journal, 1, 3);
        assert_eq!(opened(&file).1.last(), Some(&entry(1, 3)));
        journal.applied(&journal.take(std::iter::empty()));
        append(&journal, 1, 4);
        append(&journal, 2, 3);
        assert!(opened(&file).1.ends_with(&[entry(1, 3), entry(1, 4), entry(2, 3)]));
        journal.clear().unwrap();
        assert_eq!(opened(&file).1, []);
    }

    #[test]
    fn a_session_that_is_being_changed_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = opened(&directory.path().join("db"));
        journal.learn(sample::id(1), 1, 0);
        append(&journal, 1, 1);
        let taken = journal.take([sample::id(1)].into_iter());
        assert_eq!(append(&journal, 1, 2), Taken::No);
        journal.applied(&taken);
        assert_eq!(append(&journal, 1, 2), Taken::No);
    }

    #[test]
    fn what_can_not_be_put_into_the_database_keeps_nobody_from_reading_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = opened(&directory.path().join("db"));
        let is_ahead = |session| journal.is_ahead(Some(sample::id(session)));
        journal.learn(sample::id(1), 1, 0);
        append(&journal, 1, 1);
        // It is being changed, so nothing is known of it meanwhile.
        let taken = journal.take([sample::id(1)].into_iter());
        assert!(is_ahead(1) && !is_ahead(2));
        journal.put_back(taken);
        assert!(is_ahead(1) && !is_ahead(2) && journal.is_ahead(None));
        journal.applied(&journal.take(std::iter::empty()));
        assert!(!is_ahead(1) && !journal.is_ahead(None));
    }

    #[test]
    fn no_more_waits_than_may() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = opened(&directory.path().join("db"));
        journal.learn(sample::id(1), 1, 0);
        let batch = |seq| Batch { payload: vec![1; LONGEST].into(), ..sample::batch(seq, seq) };
        let outcomes: Vec<Taken> = (1..=MOST_WAITING as u64 / LONGEST as u64 + 5)
            .map(|seq| journal.append(sample::id(1), 1, &batch(seq)))
            .collect();
        assert_eq!(outcomes.iter().filter(|taken| **taken == Taken::No).count(), 5);
        assert_eq!(outcomes.iter().filter(|taken| **taken == Taken::Much).count(), 1);
        journal.applied(&journal.take(std::iter::empty()));
        assert!(!journal.is_ahead(None));
    }
}
