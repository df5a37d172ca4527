//! Checkpoints: when what the write-ahead log holds is copied into the database file, so that the log can begin anew.
//!
//! A checkpoint writes every page a second time and waits for the disk twice. Whoever is to be acknowledged would wait
//! with the writing thread, so a thread of its own does it once the writing thread has been quiet for a moment, or has
//! not become quiet for long.
//!
//! Invariants:
//! - Nothing depends on a checkpoint: what is committed can be read, and survives, before and after it.
//! - The log is bounded by [`LONGEST`] and what is written during one checkpoint: then the writing thread does it itself,
//!   because beside a thread that never rests a checkpoint never comes to the log's end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::fault::Fault;
use super::schema;

/// Bytes in the log that are worth a checkpoint. Fewer and longer ones cost less, because a page that changed often is
/// copied once.
const WORTH: u64 = 16 * 1024 * 1024;
/// Bytes in the log at which nothing more is written before a checkpoint.
const LONGEST: u64 = 128 * 1024 * 1024;
/// A writing thread that has committed nothing for so long is quiet.
const QUIET: Duration = Duration::from_millis(50);
/// After so long a checkpoint is due, quiet or not.
const PATIENCE: Duration = Duration::from_secs(1);
/// Runs of one checkpoint: each copies what was committed during the one before, until it meets the log's end.
const RUNS: usize = 3;

/// The niceness of the thread: whoever waits for an event goes first. Nobody waits for it, and no lock is held by it.
const LOW_PRIORITY: i32 = 10;

/// The checkpointing thread, and what it needs to know. Owned by the writing thread; ends with it.
pub(super) struct Checkpoints {
    /// What the last commit has left in the log; 0 once it has been looked at. Stored within the commit, on the thread
    /// that owns this.
    log_bytes: Arc<AtomicU64>,
    /// `None`: the thread is to end.
    wanted: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread.
    pub(super) fn start(file: &Path) -> std::io::Result<Self> {
        // One wish is as good as many.
        let (wanted, wishes) = sync_channel(1);
        let file = file.to_owned();
        let thread = std::thread::Builder::new().name("sqlite-checkpoint".to_owned()).spawn(move || {
            // Of this thread alone. Where it is not allowed the thread only takes more of a processor than it needs.
            let _ = rustix::process::setpriority_process(None, LOW_PRIORITY);
            run(&wishes, || schema::connect_reader(&file));
        })?;
        Ok(Self { log_bytes: Arc::default(), wanted: Some(wanted), thread: Some(thread) })
    }

    /// From now on the commits of this connection are heard of.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn listen(&self, connection: &mut Connection) -> Result<(), Fault> {
        let page: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let log_bytes = Arc::clone(&self.log_bytes);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
            log_bytes.store(u64::try_from(pages).unwrap_or(0) * u64::from(page), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(())
    }

    /// To be called after each commit, with those who waited for it answered: has a checkpoint made if it is time.
    pub(super) fn after_commit(&self, connection: &Connection) {
        match self.log_bytes.swap(0, Ordering::Relaxed) {
            ..WORTH => {}
            WORTH..LONGEST => {
                if let Some(wanted) = &self.wanted {
                    // Full: it is wanted already.
                    let _ = wanted.try_send(());
                }
            }
            // Another program may hold a part of the log for its reading. Then there is no end to it yet.
            LONGEST.. => tell(once(connection).map(drop)),
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        drop(self.wanted.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn run(wishes: &Receiver<()>, connect: impl Fn() -> Result<Connection, Fault>) {
    let mut connection = None;
    while wishes.recv().is_ok() && until_quiet(wishes) {
        let mut made = || {
            let connection = match connection.take() {
                Some(connection) => connection,
                None => connect()?,
            };
            for _ in 0..RUNS {
                if once(&connection)? {
                    break;
                }
            }
            Ok(connection)
        };
        match made() {
            Ok(used) => connection = Some(used),
            Err(fault) => tell(Err(fault)),
        }
    }
}

/// Waits until nobody has wished for a while, or for long enough. `false`: the thread is to end.
fn until_quiet(wishes: &Receiver<()>) -> bool {
    let latest = Instant::now() + PATIENCE;
    loop {
        let left = latest.saturating_duration_since(Instant::now());
        match wishes.recv_timeout(QUIET.min(left)) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

/// Copies what the log holds; `true`: all of it. Nobody waits for it but the caller.
fn once(connection: &Connection) -> Result<bool, Fault> {
    let counts = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let (is_busy, log, copied) = connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], counts)?;
    Ok(is_busy == 0 && log == copied)
}

/// A failure is told; the next commit of many bytes brings the next try.
fn tell(outcome: Result<(), Fault>) {
    if let Err(fault) = outcome {
        let error = fault.into_store_error("checkpoint");
        tracing::warn!(store = "sqlite", %error, "the write-ahead log was not copied into the file; nothing is lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::tests::connection;

    const CHUNK: u64 = 1024 * 1024;

    /// Commits about so many bytes, as the writing thread does.
    fn write(connection: &Connection, checkpoints: &Checkpoints, bytes: u64) {
        for _ in 0..bytes.div_ceil(CHUNK) {
            let chunk = i64::try_from(CHUNK).unwrap();
            connection.execute("INSERT INTO batches VALUES (1, random(), 1, 1, zeroblob(?1), NULL)", [chunk]).unwrap();
            checkpoints.after_commit(connection);
        }
    }

    /// A file, its writer's connection and the thread that hears of its commits.
    fn listening() -> (tempfile::TempDir, std::path::PathBuf, Connection, Checkpoints) {
        let (directory, mut connection) = connection();
        let file = directory.path().join("gateway.db");
        let checkpoints = Checkpoints::start(&file).unwrap();
        checkpoints.listen(&mut connection).unwrap();
        (directory, file, connection, checkpoints)
    }

    fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
        let latest = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < latest, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the log holds, as the next commit finds it.
    fn log_bytes(connection: &Connection, checkpoints: &Checkpoints) -> u64 {
        connection.execute("INSERT INTO removals DEFAULT VALUES", []).unwrap();
        checkpoints.log_bytes.load(Ordering::Relaxed)
    }

    #[test]
    fn a_log_worth_it_is_copied_once_the_writer_is_quiet_and_begins_anew() {
        let (_directory, file, connection, checkpoints) = listening();
        write(&connection, &checkpoints, WORTH / 2);
        let small = std::fs::metadata(&file).unwrap().len();
        write(&connection, &checkpoints, WORTH);
        eventually("the file to grow", || std::fs::metadata(&file).unwrap().len() > small + WORTH);
        eventually("the log to begin anew", || {
            std::thread::sleep(QUIET * 2);
            let is_new = log_bytes(&connection, &checkpoints) < CHUNK;
            checkpoints.after_commit(&connection);
            is_new
        });
    }

    #[test]
    fn a_writer_that_is_never_quiet_makes_the_checkpoint_itself() {
        let (_directory, mut connection) = connection();
        // A thread that hears nothing.
        let (wanted, _nobody) = sync_channel(0);
        let checkpoints = Checkpoints { log_bytes: Arc::default(), wanted: Some(wanted), thread: None };
        checkpoints.listen(&mut connection).unwrap();
        write(&connection, &checkpoints, LONGEST - 8 * CHUNK);
        assert!(log_bytes(&connection, &checkpoints) > LONGEST - 16 * CHUNK, "nobody else makes one");
        write(&connection, &checkpoints, 16 * CHUNK);
        assert!(log_bytes(&connection, &checkpoints) < 16 * CHUNK);
    }

    #[test]
    fn while_somebody_reads_the_log_grows_and_afterwards_it_is_copied() {
        let (_directory, file, connection, checkpoints) = listening();
        let other = Connection::open(&file).unwrap();
        other.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
        write(&connection, &checkpoints, LONGEST + CHUNK);
        assert!(log_bytes(&connection, &checkpoints) > LONGEST);
        other.execute_batch("COMMIT").unwrap();
        write(&connection, &checkpoints, CHUNK);
        assert!(log_bytes(&connection, &checkpoints) < CHUNK);
    }

    #[test]
    fn the_thread_ends_with_its_owner() {
        let (directory, _connection) = connection();
        let checkpoints = Checkpoints::start(&directory.path().join("gateway.db")).unwrap();
        checkpoints.wanted.as_ref().unwrap().send(()).unwrap();
        drop(checkpoints);
    }
}
