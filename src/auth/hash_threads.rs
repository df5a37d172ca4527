//! The threads that hash passwords: as many as there are turns, and always the same ones.
//!
//! They are not the runtime's own: its blocking threads come and go by the dozen, and each of them has an arena of the
//! allocator that keeps what it was given back. Two hundred logins at once, two at a time, had grown the process by three
//! quarters of a gigabyte.
//!
//! It must not know what a job does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;

use crate::telemetry::metrics;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end once this is dropped and their jobs are done.
#[derive(Debug)]
pub(super) struct HashThreads {
    jobs: SyncSender<Job>,
}

impl HashThreads {
    /// So many threads, with room for as many jobs.
    pub(super) fn start(count: usize) -> Self {
        let (jobs, waiting) = sync_channel(count);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..count {
            let waiting = Arc::clone(&waiting);
            let started = std::thread::Builder::new().name("password-hash".to_owned()).spawn(move || work(&waiting));
            if let Err(error) = started {
                tracing::error!(%error, "a thread that hashes passwords could not be started");
            }
        }
        Self { jobs }
    }

    /// Has a job done. `false` if there is no thread, or no room: whoever holds a turn always finds room.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.jobs.try_send(Box::new(job)).is_ok()
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        // One thread waits for the next job, the others for that one.
        let job = waiting.lock().recv();
        let Ok(job) = job else { return };
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            metrics::task_panicked("password-hash");
            tracing::error!("hashing a password panicked; this is a bug");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_panics_takes_no_thread_with_it() {
        let threads = HashThreads::start(1);
        assert!(threads.run(|| panic!("on purpose")));
        let (told, heard) = std::sync::mpsc::channel();
        while !threads.run({
            let told = told.clone();
            move || assert!(told.send(()).is_ok())
        }) {
            std::thread::yield_now();
        }
        heard.recv().unwrap();
    }
}
