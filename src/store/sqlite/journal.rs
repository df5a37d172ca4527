//! The journal: where small batches of events, and new sessions, are kept at once, until the writing thread puts many of
//! them into the database in one transaction.
//!
//! A transaction of SQLite costs a wake of the writing thread and back, and several pages, for one event as for a
//! thousand. A record here costs one write call, by whoever appends.
//!
//! Invariants:
//! - A record is written before it is acknowledged, and kept until a transaction that holds it is committed. It survives
//!   `kill -9`; for what must survive the loss of power there is no journal (`synchronous = FULL`).
//! - Only what follows is taken: the journal knows epoch and head of every log that it takes records of, from the
//!   writing thread. Before that thread changes a session otherwise, it is forgotten here ([`Journal::take`]).
//! - One of two files is written while the records of the other are put into the database; a file is written from its
//!   beginning again when all its records are there. Each use of a file has a higher number, which its records bear, so
//!   that what is left of an earlier use is known as such.
//! - A new session is taken only while the database is known to take transactions: a store in trouble refuses new
//!   sessions, and goes on with those that there are.
//! - What waits is bounded by [`MOST_WAITING`], a file by [`LONGEST_FILE`]; whatever is not taken goes by way of the
//!   writing thread.
//!
//! It must not know SQL, nor what is in a batch.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use uuid::Uuid;

use super::file::{beside, open_private};
use super::record::{self, HEADER};
use super::settler::Settler;
use super::waiting::{self, Entry, Waiting, Wanted};
use crate::store::Batch;

/// Longer batches go to the database at once: they are worth a transaction, and would be written twice here.
const LONGEST: usize = 32 * 1024;
/// Bytes that may wait to be put into the database.
const MOST_WAITING: usize = 8 * 1024 * 1024;
/// So much that waits is worth a transaction at once.
const MUCH: usize = 1024 * 1024;
/// A file of which so much is written is done with, as soon as the other one is free.
const LONG_FILE: u64 = 1024 * 1024;
/// Nothing more goes into a file that has become so long, because the other one was not free.
const LONGEST_FILE: u64 = 64 * 1024 * 1024;
/// A transaction that was committed so long ago says that the next one will be.
const KNOWN_WELL_FOR: Duration = Duration::from_secs(1);
/// Whoever finds the journal taken for so long goes by way of the writing thread: its disk does not answer.
const PATIENCE: Duration = Duration::from_millis(5);

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
}

#[derive(Debug)]
struct State {
    /// `None`: nothing is ever taken.
    files: Option<[File; 2]>,
    /// Which of them is written, where its next record goes, and the number of this use.
    active: usize,
    offset: u64,
    generation: u64,
    /// How many records of each are not in the database.
    records: [usize; 2],
    logs: HashMap<Uuid, Log>,
    /// What was taken and has not come back, in each session's order: it is read from here meanwhile.
    settling: HashMap<Uuid, Vec<Batch>>,
    waiting: Waiting,
    /// When the last transaction was committed; `None`: it was not.
    committed: Option<Instant>,
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
            records: [0, 0],
            logs: HashMap::new(),
            settling: HashMap::new(),
            waiting: Waiting::default(),
            committed: None,
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
        for (which, file) in files.iter_mut().enumerate() {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            left.push(record::read_all(which, &bytes));
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

    /// Keeps a new session if it can, whose id nothing else can have: blocks for one write call. `about` is its record,
    /// with an empty log.
    pub(super) fn begin(&self, session: Uuid, epoch: u64, about: Vec<u8>) -> Taken {
        if about.len() > LONGEST {
            return Taken::No;
        }
        self.0.try_lock_for(PATIENCE).map_or(Taken::No, |mut state| state.begin(session, epoch, about))
    }

    /// Is there something of this session (or of any) that is not in the database?
    pub(super) fn is_ahead(&self, session: Option<Uuid>) -> bool {
        let state = self.0.lock();
        match session {
            Some(session) => state.is_ahead_in(session),
            None => !state.waiting.is_empty() || !state.settling.is_empty(),
        }
    }

    /// What the journal keeps of a log after that number, in order. What the database holds by now may be in it still.
    pub(super) fn tail(&self, session: Uuid, after: u64) -> Vec<Batch> {
        let state = self.0.lock();
        let settling = state.settling.get(&session).into_iter().flatten();
        settling.chain(state.waiting.batches(session)).filter(|batch| batch.last_seq > after).cloned().collect()
    }

    /// What is wanted of what waits, to be put into the database now. Of the sessions in `changes` nothing more is taken
    /// until [`Journal::learn`]. What was taken must come back, to [`Journal::applied`] or [`Journal::put_back`].
    pub(super) fn take(&self, changes: impl Iterator<Item = Uuid>, wanted: &Wanted) -> Vec<Entry> {
        let mut state = self.0.lock();
        for session in changes {
            state.logs.remove(&session);
        }
        let taken = state.waiting.take(wanted);
        for entry in &taken {
            state.settling.entry(entry.session).or_default().push(entry.batch.clone());
        }
        taken
    }

    /// What was taken is in the database, if anything was.
    pub(super) fn applied(&self, entries: &[Entry]) {
        let mut state = self.0.lock();
        state.settling.clear();
        for entry in entries {
            state.records[entry.file] -= 1;
        }
        state.wish();
    }

    /// What was taken could not be put into the database, and waits again, before what has come since.
    pub(super) fn put_back(&self, entries: Vec<Entry>) {
        let mut state = self.0.lock();
        state.settling.clear();
        state.waiting.put_back(entries);
        state.wish();
    }

    /// A transaction of the database was committed, or could not be.
    pub(super) fn heed(&self, committed: bool) {
        self.0.lock().committed = committed.then(Instant::now);
    }

    /// The database holds the session's log up to `head`, and `epoch` is its owner's: what follows can be taken.
    pub(super) fn learn(&self, session: Uuid, epoch: u64, head: u64) {
        let mut state = self.0.lock();
        if state.files.is_some() {
            state.logs.insert(session, Log { epoch, head });
        }
    }

    /// The session has been changed, or is gone: see [`Journal::take`].
    pub(super) fn forget(&self, session: Uuid) {
        self.0.lock().logs.remove(&session);
    }
}

impl State {
    /// Is there something of that session that is not in the database?
    fn is_ahead_in(&self, session: Uuid) -> bool {
        self.waiting.holds(session) || self.settling.contains_key(&session)
    }

    /// Whatever waits is to be looked at in a while.
    fn wish(&self) {
        if let Some(settler) = self.settler.as_ref().filter(|_| !self.waiting.is_empty()) {
            settler.wish();
        }
    }

    fn append(&mut self, session: Uuid, epoch: u64, batch: &Batch) -> Taken {
        let follows =
            |log: &Log| log.epoch == epoch && batch.first_seq == log.head + 1 && batch.last_seq >= batch.first_seq;
        if !self.logs.get(&session).is_some_and(follows) {
            return Taken::No;
        }
        let taken = self.keep(session, epoch, batch);
        if taken != Taken::No
            && let Some(log) = self.logs.get_mut(&session)
        {
            log.head = batch.last_seq;
        }
        taken
    }

    fn begin(&mut self, session: Uuid, epoch: u64, about: Vec<u8>) -> Taken {
        let is_well = self.committed.is_some_and(|at| at.elapsed() < KNOWN_WELL_FOR);
        if !is_well || self.logs.contains_key(&session) || self.is_ahead_in(session) {
            return Taken::No;
        }
        let taken = self.keep(session, epoch, &waiting::beginning(about));
        if taken != Taken::No {
            self.logs.insert(session, Log { epoch, head: 0 });
        }
        taken
    }

    fn keep(&mut self, session: Uuid, epoch: u64, batch: &Batch) -> Taken {
        let bytes = self.waiting.bytes();
        if bytes + batch.payload.len() > MOST_WAITING {
            return Taken::No;
        }
        self.turn_over();
        let Some(files) = self.files.as_ref().filter(|_| self.offset < LONGEST_FILE) else { return Taken::No };
        let head = record::header(self.generation, session, epoch, batch);
        let length = HEADER + batch.payload.len();
        let parts = [IoSlice::new(&head), IoSlice::new(&batch.payload)];
        let written = rustix::io::pwritev(&files[self.active], &parts, self.offset);
        if written != Ok(length) {
            // A full disk, most likely. What was written of it is no record, and the next one goes in its place.
            return Taken::No;
        }
        self.offset += length as u64;
        self.records[self.active] += 1;
        let is_first = self.waiting.is_empty();
        self.waiting.add(Entry { session, epoch, batch: batch.clone(), file: self.active });
        if is_first {
            self.wish();
        }
        if bytes < MUCH && self.waiting.bytes() >= MUCH { Taken::Much } else { Taken::Kept }
    }

    /// Begins another use of a file if it is time: of this one if nothing in it is needed any more, of the other if
    /// this one is long.
    fn turn_over(&mut self) {
        let other = 1 - self.active;
        if self.records[self.active] > 0 {
            if self.offset < LONG_FILE || self.records[other] > 0 {
                return;
            }
            self.active = other;
        }
        if self.offset > 0 {
            self.offset = 0;
            self.generation += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::sample;

    fn opened(file: &Path) -> (Journal, Vec<Entry>) {
        Journal::open(file).unwrap()
    }

    /// What is in the files, whichever it is in.
    fn kept(file: &Path) -> Vec<(Uuid, u64)> {
        what(&opened(file).1)
    }

    fn what(entries: &[Entry]) -> Vec<(Uuid, u64)> {
        entries.iter().map(|entry| (entry.session, entry.batch.last_seq)).collect()
    }

    fn entry(session: u64, seq: u64) -> (Uuid, u64) {
        (sample::id(session), seq)
    }

    fn take_all(journal: &Journal) -> Vec<Entry> {
        journal.take(std::iter::empty(), &Wanted::all())
    }

    fn take_log(journal: &Journal, session: u64) -> Vec<Entry> {
        journal.take(std::iter::empty(), &Wanted { logs: vec![sample::id(session)], ..Wanted::default() })
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
        let taken = take_all(&journal);
        append(&journal, 1, 2);
        assert_eq!(kept(&file), [entry(1, 1), entry(2, 1), entry(1, 2)]);
        journal.put_back(taken);
        append(&journal, 2, 2);
        let all = [entry(1, 1), entry(2, 1), entry(1, 2), entry(2, 2)];
        assert_eq!(kept(&file), all);
        let mut taken = take_all(&journal);
        taken.sort_by_key(|entry| entry.batch.last_seq);
        assert_eq!(taken.len(), all.len());
        journal.applied(&taken);
        assert!(!journal.is_ahead(None));
        // The file is written from its beginning again, over what is in the database.
        append(&journal, 1, 3);
        assert_eq!(kept(&file), [entry(1, 3)]);
        journal.clear().unwrap();
        assert_eq!(kept(&file), []);
    }

    #[test]
    fn one_log_that_is_in_the_database_leaves_the_others_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("db");
        let (journal, _) = opened(&file);
        for session in 1..=2 {
            journal.learn(sample::id(session), 1, 0);
            append(&journal, session, 1);
        }
        let taken = take_log(&journal, 1);
        assert_eq!(what(&taken), [entry(1, 1)]);
        journal.applied(&taken);
        append(&journal, 1, 2);
        assert!(journal.is_ahead(Some(sample::id(1))) && journal.is_ahead(Some(sample::id(2))));
        assert!(kept(&file).ends_with(&[entry(2, 1), entry(1, 2)]));
    }

    #[test]
    fn a_long_file_is_left_for_the_other_one_as_soon_as_that_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("db");
        let (journal, _) = opened(&file);
        journal.learn(sample::id(1), 1, 0);
        journal.learn(sample::id(2), 1, 0);
        append(&journal, 2, 1);
        let fill = |from: u64| {
            let batch = |seq| Batch { payload: vec![1; LONGEST].into(), ..sample::batch(seq, seq) };
            let until = from + LONG_FILE / LONGEST as u64;
            for seq in from..until {
                assert_ne!(journal.append(sample::id(1), 1, &batch(seq)), Taken::No);
            }
            until
        };
        let lengths = || {
            ["a", "b"].map(|which| std::fs::metadata(file.with_extension(format!("journal-{which}"))).unwrap().len())
        };
        // The first use ends, and that of the other file begins; its own end has to wait for session 2.
        let next = fill(1);
        let next = fill(next);
        let next = fill(next);
        let [first, second] = lengths();
        assert!((LONG_FILE..2 * LONG_FILE).contains(&first) && second > LONG_FILE, "{first} {second}");
        assert_eq!(kept(&file).len() as u64, next, "one of session 2, the others of session 1");
        journal.applied(&take_all(&journal));
        append(&journal, 2, 2);
        // Both hold what is in the database, but for the newest.
        assert_eq!(kept(&file).last(), Some(&entry(2, 2)));
        assert_eq!(lengths(), [first, second]);
    }

    #[test]
    fn a_session_that_is_being_changed_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = opened(&directory.path().join("db"));
        journal.learn(sample::id(1), 1, 0);
        append(&journal, 1, 1);
        let taken = journal.take([sample::id(1)].into_iter(), &Wanted::all());
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
        let taken = journal.take([sample::id(1)].into_iter(), &Wanted::all());
        assert!(is_ahead(1) && !is_ahead(2));
        journal.put_back(taken);
        assert!(is_ahead(1) && !is_ahead(2) && journal.is_ahead(None));
        journal.applied(&take_all(&journal));
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
        journal.applied(&take_all(&journal));
        assert!(!journal.is_ahead(None));
    }
}
