//! The one thread that writes: it takes whatever waits and commits it as one transaction.
//!
//! Invariants:
//! - A job is acknowledged only after the transaction that holds it is committed.
//! - A job that is refused has written nothing and its neighbours are committed. If SQLite fails within a
//!   group, the group is rolled back and each job runs again, alone: one bad job fails by itself.
//! - The thread outlives errors. After one of the disk it opens the file anew.
//!
//! It must not know what the jobs do.

use std::path::PathBuf;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::fault::Fault;
use super::file::InstanceLock;
use super::schema;
use crate::config::settings::SqliteSynchronous;
use crate::store::StoreError;

/// Jobs that may wait; whoever comes when all places are taken waits for one.
const QUEUE: usize = 1_024;

/// Jobs committed together at most, so that the first of them does not wait for ever.
const GROUP: usize = 512;

/// One write. Run once or, if its group failed, a second time on a rolled back connection.
trait Job: Send {
    /// Does the work and keeps its answer.
    fn run(&mut self, connection: &Connection) -> Result<(), Fault>;
    /// Gives the kept answer to whoever waits.
    fn acknowledge(self: Box<Self>);
    /// Gives an error instead.
    fn fail(self: Box<Self>, error: StoreError);
    /// A word for the log.
    fn name(&self) -> &'static str;
}

struct Task<T, W> {
    name: &'static str,
    work: W,
    answer: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Job for Task<T, W>
where
    T: Send,
    W: FnMut(&Connection) -> Result<T, Fault> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), Fault> {
        self.answer = match (self.work)(connection) {
            Ok(value) => Some(Ok(value)),
            Err(Fault::Refused(error)) => Some(Err(error)),
            Err(fault) => return Err(fault),
        };
        Ok(())
    }

    fn acknowledge(self: Box<Self>) {
        if let Some(answer) = self.answer {
            // A caller that has gone away does not undo the write.
            drop(self.reply.send(answer));
        }
    }

    fn fail(self: Box<Self>, error: StoreError) {
        drop(self.reply.send(Err(error)));
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

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
        connection: Connection,
        lock: InstanceLock,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let thread = Thread { file, synchronous, connection: Some(connection), waiting };
        let handle = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || {
                thread.run();
                drop(lock);
            })
            .map_err(|error| {
                tracing::warn!(store = "sqlite", %error, "the writing thread could not be started");
                StoreError::Away("its writing thread could not be started".to_owned())
            })?;
        Ok((Self { jobs }, handle))
    }

    /// Has `work` done and committed. Work that has begun is done even if the caller goes away.
    ///
    /// `work` checks first and writes then: what it refuses must have written nothing.
    pub(super) async fn write<T, W>(&self, name: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Task { name, work, answer: None, reply };
        self.jobs.send(Box::new(task)).await.map_err(|_| super::closed())?;
        answer.await.map_err(|_| super::closed())?
    }
}

struct Thread {
    file: PathBuf,
    synchronous: SqliteSynchronous,
    connection: Option<Connection>,
    waiting: mpsc::Receiver<Box<dyn Job>>,
}

impl Thread {
    fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        while self.waiting.blocking_recv_many(&mut group, GROUP) > 0 {
            self.commit(&mut group);
        }
        if let Some(connection) = self.connection.take()
            && let Err((_, error)) = connection.close()
        {
            tracing::warn!(store = "sqlite", %error, "the store's file was not closed cleanly; nothing is lost");
        }
    }

    fn commit(&mut self, group: &mut Vec<Box<dyn Job>>) {
        match self.transaction(group) {
            Ok(()) => group.drain(..).for_each(Job::acknowledge),
            Err(Failed::Before(error)) => group.drain(..).for_each(|job| job.fail(error.clone())),
            Err(Failed::Within(error)) if group.len() == 1 => group.drain(..).for_each(|job| job.fail(error.clone())),
            Err(Failed::Within(_)) => {
                for job in group.drain(..) {
                    self.commit_alone(job);
                }
            }
        }
    }

    fn commit_alone(&mut self, job: Box<dyn Job>) {
        let mut alone = [job];
        let outcome = self.transaction(&mut alone);
        let [job] = alone;
        match outcome {
            Ok(()) => job.acknowledge(),
            Err(Failed::Before(error) | Failed::Within(error)) => job.fail(error),
        }
    }

    /// Runs the jobs in one transaction and commits it, or rolls it back.
    fn transaction(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), Failed> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => schema::connect_writer(&self.file, self.synchronous)
                .map_err(|fault| Failed::Before(fault.into_store_error("reopen")))?,
        };
        if let Err(error) = execute(&connection, "BEGIN IMMEDIATE") {
            return Err(Failed::Before(self.give_back(connection, error.into(), "begin")));
        }
        let mut outcome = Ok(());
        for job in group {
            if let Err(fault) = job.run(&connection) {
                outcome = Err((fault, job.name()));
                break;
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

    /// Keeps the connection for the next group unless the fault spoils it.
    fn give_back(&mut self, connection: Connection, fault: Fault, doing: &'static str) -> StoreError {
        if !fault.spoils_connection() {
            self.connection = Some(connection);
        }
        fault.into_store_error(doing)
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
