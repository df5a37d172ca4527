//! The one thread that writes the database: it takes whatever waits and commits it as one transaction.
//!
//! Invariants:
//! - What waits in the journal of that which a job concerns goes first: it sees all that was acknowledged before it came.
//! - A job is acknowledged only after the transaction that holds it is committed.
//! - A job that is refused has written nothing and its neighbours are committed. If SQLite fails within a
//!   group, the group is rolled back and each job runs again, alone: one bad job fails by itself.
//! - The thread outlives errors. After one of the disk it opens the file anew.
//!
//! It must not know what the jobs do.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::checkpoint::Checkpoints;
use super::fault::Fault;
use super::file::InstanceLock;
use super::journal::Journal;
use super::settler::Settler;
use super::waiting::{Entry, Wanted};
use super::{log, schema};
use crate::config::settings::SqliteSynchronous;
use crate::store::StoreError;

/// Jobs that may wait; whoever comes when all places are taken waits for one.
const QUEUE: usize = 1_024;

/// Jobs committed together at most, so that the first of them does not wait for ever.
const GROUP: usize = 512;

/// What a piece of work came to.
pub(super) struct Done<T> {
    /// For whoever waits.
    pub(super) answer: T,
    pub(super) after: After,
}

/// What a job has to do with what waits in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern {
    Nothing,
    /// It looks at that session's log, so what waits of it goes first.
    Log(Uuid),
    /// And it changes more of the session than its log's newest batch: the journal takes nothing of it meanwhile.
    Change(Uuid),
    /// It looks at everything.
    All,
    /// It is there for what is due.
    Due,
}

/// What is to be done once a piece of work is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    /// The journal can take what follows: the session's log has this head, and its owner's epoch is this.
    Follow {
        session: Uuid,
        epoch: u64,
        head: u64,
    },
}

impl<T> From<T> for Done<T> {
    fn from(answer: T) -> Self {
        Self { answer, after: After::Nothing }
    }
}

/// One write. Run once or, if its group failed, a second time on a rolled back connection.
trait Job: Send {
    /// Does the work and keeps its answer.
    fn run(&mut self, connection: &Connection) -> Result<(), Fault>;
    /// What is to be done now that it is committed.
    fn after(&self) -> After;
    /// Gives the kept answer to whoever waits.
    fn acknowledge(self: Box<Self>);
    /// Gives an error instead.
    fn fail(self: Box<Self>, error: StoreError);
    /// A word for the log.
    fn name(&self) -> &'static str;
    /// What of the journal it concerns.
    fn concern(&self) -> Concern;
}

struct Task<T, W> {
    name: &'static str,
    concern: Concern,
    work: W,
    answer: Option<Result<Done<T>, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Job for Task<T, W>
where
    T: Send,
    W: FnMut(&Connection) -> Result<Done<T>, Fault> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), Fault> {
        self.answer = match (self.work)(connection) {
            Ok(done) => Some(Ok(done)),
            Err(Fault::Refused(error)) => Some(Err(error)),
            Err(fault) => return Err(fault),
        };
        Ok(())
    }

    fn after(&self) -> After {
        self.answer.as_ref().and_then(|answer| answer.as_ref().ok()).map_or(After::Nothing, |done| done.after)
    }

    fn acknowledge(self: Box<Self>) {
        if let Some(answer) = self.answer {
            // A caller that has gone away does not undo the write.
            drop(self.reply.send(answer.map(|done| done.answer)));
        }
    }

    fn fail(self: Box<Self>, error: StoreError) {
        drop(self.reply.send(Err(error)));
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn concern(&self) -> Concern {
        self.concern
    }
}

/// The name of what has no work of its own: something of the journal is put into the database.
const SETTLE: &str = "settle";

/// The way to the writing thread.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the thread. It ends when the last [`Writer`] is gone and every job is done; then it gives the
    /// lock back.
    pub(super) fn start(
        file: PathBuf,
        synchronous: SqliteSynchronous,
        mut connection: Connection,
        lock: InstanceLock,
        journal: Arc<Journal>,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let no_thread = |error: std::io::Error| {
            tracing::warn!(store = "sqlite", %error, "the writing thread could not be started");
            StoreError::Away("its writing thread could not be started".to_owned())
        };
        let checkpoints = Checkpoints::start(&file).map_err(no_thread)?;
        checkpoints.listen(&mut connection).map_err(|fault| fault.into_store_error("open"))?;
        let settler = Settler::start({
            let jobs = jobs.downgrade();
            move || jobs.upgrade().map(|jobs| Self { jobs }.settle()).is_some()
        });
        journal.settled_by(settler.map_err(no_thread)?);
        let thread = Thread { file, synchronous, connection: Some(connection), waiting, journal, checkpoints };
        let handle = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || {
                thread.run();
                drop(lock);
            })
            .map_err(no_thread)?;
        Ok((Self { jobs }, handle))
    }

    /// Has `work` done and committed. Work that has begun is done even if the caller goes away.
    ///
    /// `work` checks first and writes then: what it refuses must have written nothing.
    pub(super) async fn write<T, W>(&self, name: &'static str, concern: Concern, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<Done<T>, Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Task { name, concern, work, answer: None, reply };
        self.jobs.send(Box::new(task)).await.map_err(|_| super::closed())?;
        answer.await.map_err(|_| super::closed())?
    }

    /// Has what is due in the journal put into the database soon.
    pub(super) fn settle(&self) {
        let (reply, _) = oneshot::channel();
        let work = |_: &Connection| Ok(Done::from(()));
        // If so much waits that there is no room, the journal wishes it again after the next commit.
        drop(self.jobs.try_send(Box::new(Task { name: SETTLE, concern: Concern::Due, work, answer: None, reply })));
    }
}

struct Thread {
    file: PathBuf,
    synchronous: SqliteSynchronous,
    connection: Option<Connection>,
    waiting: mpsc::Receiver<Box<dyn Job>>,
    journal: Arc<Journal>,
    checkpoints: Checkpoints,
}

impl Thread {
    fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        while self.waiting.blocking_recv_many(&mut group, GROUP) > 0 {
            let wanted = wanted(&group);
            self.commit(&mut group, &wanted);
            if let Some(connection) = &self.connection {
                self.checkpoints.after_commit(connection);
            }
        }
        self.commit(&mut group, &Wanted::all());
        // The last connection to be closed makes the last checkpoint, and that is to be this one.
        drop(self.checkpoints);
        if !self.journal.is_ahead(None)
            && let Err(error) = self.journal.clear()
        {
            tracing::warn!(store = "sqlite", %error, "the journal was not cleared; what is in it is kept twice");
        }
        if let Some(connection) = self.connection.take()
            && let Err((_, error)) = connection.close()
        {
            tracing::warn!(store = "sqlite", %error, "the store's file was not closed cleanly; nothing is lost");
        }
    }

    /// Puts what is wanted of the journal into the database, and does the jobs.
    fn commit(&mut self, group: &mut Vec<Box<dyn Job>>, wanted: &Wanted) {
        let entries = self.journal.take(group.iter().filter_map(|job| changed(job.concern())), wanted);
        match self.transaction(&entries, group) {
            Ok(()) => {
                self.journal.applied(&entries);
                group.drain(..).for_each(|job| self.acknowledge(job));
            }
            Err(Failed::Before(error)) => {
                self.journal.put_back(entries);
                group.drain(..).for_each(|job| job.fail(error.clone()));
            }
            Err(Failed::Within(error)) if entries.is_empty() && group.len() == 1 => {
                group.drain(..).for_each(|job| job.fail(error.clone()));
            }
            Err(Failed::Within(_)) => match self.settle(&entries) {
                Ok(()) => {
                    for job in group.drain(..) {
                        self.commit_alone(job);
                    }
                }
                // What was acknowledged before comes first, or not at all.
                Err(error) => group.drain(..).for_each(|job| job.fail(error.clone())),
            },
        }
    }

    /// Puts what waited in the journal into the database: together, or session by session where that fails.
    fn settle(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        if self.transaction(entries, &mut []).is_ok() {
            self.journal.applied(entries);
            return Ok(());
        }
        let mut sessions: Vec<Uuid> = entries.iter().map(|entry| entry.session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        let (mut done, mut failed, mut outcome) = (Vec::new(), Vec::new(), Ok(()));
        for session in sessions {
            let its: Vec<Entry> = entries.iter().filter(|entry| entry.session == session).cloned().collect();
            match self.transaction(&its, &mut []) {
                Ok(()) => done.extend(its),
                Err(Failed::Before(error) | Failed::Within(error)) if error.retryable() => {
                    failed.extend(its);
                    outcome = Err(error);
                }
                Err(Failed::Before(error) | Failed::Within(error)) => {
                    // Its next append meets the gap and tells its owner.
                    tracing::error!(store = "sqlite", %session, %error, "events can't be put into the database");
                    self.journal.forget(session);
                    done.extend(its);
                }
            }
        }
        self.journal.put_back(failed);
        self.journal.applied(&done);
        outcome
    }

    fn commit_alone(&mut self, job: Box<dyn Job>) {
        let mut alone = [job];
        let outcome = self.transaction(&[], &mut alone);
        let [job] = alone;
        match outcome {
            Ok(()) => self.acknowledge(job),
            Err(Failed::Before(error) | Failed::Within(error)) => job.fail(error),
        }
    }

    /// The job is committed: the journal is told what it has changed, and then whoever waits.
    fn acknowledge(&self, job: Box<dyn Job>) {
        if let Some(session) = changed(job.concern()) {
            self.journal.forget(session);
        }
        match job.after() {
            After::Nothing => {}
            After::Follow { session, epoch, head } => self.journal.learn(session, epoch, head),
        }
        job.acknowledge();
    }

    /// Puts the entries into the database and runs the jobs, in one transaction that is committed or rolled back.
    fn transaction(&mut self, entries: &[Entry], group: &mut [Box<dyn Job>]) -> Result<(), Failed> {
        if entries.is_empty() && group.iter().all(|job| job.concern() == Concern::Due) {
            return Ok(());
        }
        let outcome = self.committed(entries, group);
        self.journal.heed(outcome.is_ok());
        outcome
    }

    fn committed(&mut self, entries: &[Entry], group: &mut [Box<dyn Job>]) -> Result<(), Failed> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.reconnect().map_err(|fault| Failed::Before(fault.into_store_error("reopen")))?,
        };
        if let Err(error) = execute(&connection, "BEGIN IMMEDIATE") {
            return Err(Failed::Before(self.give_back(connection, error.into(), "begin")));
        }
        let mut outcome = log::settle(&connection, entries).map_err(|fault| (fault, SETTLE));
        for job in group {
            if outcome.is_ok()
                && let Err(fault) = job.run(&connection)
            {
                outcome = Err((fault, job.name()));
            }
        }
        let outcome = outcome.and_then(|()| execute(&connection, "COMMIT").map_err(|error| (error.into(), "commit")));
        match outcome {
            Ok(()) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err((fault, doing)) => {
                let undone = connection.is_autocommit() || execute(&connection, "ROLLBACK").is_ok();
                let error = if undone {
                    self.give_back(connection, fault, doing)
                } else {
                    // Closing the connection rolls back what could not be.
                    fault.into_store_error(doing)
                };
                Err(Failed::Within(error))
            }
        }
    }

    fn reconnect(&self) -> Result<Connection, Fault> {
        let mut connection = schema::connect_writer(&self.file, self.synchronous)?;
        self.checkpoints.listen(&mut connection)?;
        Ok(connection)
    }

    /// Keeps the connection for the next group unless the fault spoils it.
    fn give_back(&mut self, connection: Connection, fault: Fault, doing: &'static str) -> StoreError {
        if !fault.spoils_connection() {
            self.connection = Some(connection);
        }
        fault.into_store_error(doing)
    }
}

/// What of the journal goes before these jobs.
fn wanted(group: &[Box<dyn Job>]) -> Wanted {
    let mut wanted = Wanted::default();
    for job in group {
        match job.concern() {
            Concern::Nothing => {}
            Concern::Log(session) | Concern::Change(session) => wanted.logs.push(session),
            Concern::All => wanted.all = true,
            Concern::Due => wanted.due = true,
        }
    }
    wanted
}

/// The session of which the journal takes nothing meanwhile.
fn changed(concern: Concern) -> Option<Uuid> {
    match concern {
        Concern::Change(session) => Some(session),
        Concern::Nothing | Concern::Log(_) | Concern::All | Concern::Due => None,
    }
}

/// Where a transaction failed.
enum Failed {
    /// Before any job ran: the same would happen to each of them.
    Before(StoreError),
    /// In a job or in the commit; nothing of it is written.
    Within(StoreError),
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}
