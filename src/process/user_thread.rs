//! A thread that meets the file system as another user: what it may read, write and make is what that user may.
//!
//! The kernel keeps the identity for files by thread. Only that identity is changed, never the thread's user id: to
//! signals and to debuggers the thread stays the gateway's. Work that hangs (a file system that has gone away) holds
//! this one thread and nobody else; who asks meanwhile is told so at once or waits no longer than it likes.
//!
//! It must not know what the files hold.

use std::io::{Error, Result};
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use nix::unistd::{setfsgid, setfsuid};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid};
use tokio::sync::oneshot;

use super::user::RunAs;

/// Pieces of work that may wait. There is one asker, who waits for each answer; more wait only behind one that hangs.
const WAITING: usize = 8;

type Work = Box<dyn FnOnce() + Send>;

/// A handle to such a thread, which ends with it.
#[derive(Debug)]
pub struct UserThread {
    jobs: SyncSender<Work>,
}

impl UserThread {
    /// Starts a thread that touches files as `user`; `None`, or who this process runs as: as itself.
    ///
    /// # Errors
    /// There can be no thread, or this process may not act as that user.
    pub fn start(name: &'static str, user: Option<&RunAs>) -> Result<Self> {
        let user = user.filter(|user| !user.is_this_process()).cloned();
        let (jobs, waiting) = sync_channel(WAITING);
        let (ready, became) = sync_channel(1);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let outcome = user.as_ref().map_or(Ok(()), touch_files_as);
            let is_ready = outcome.is_ok();
            // Whoever asked waits below.
            let _told = ready.send(outcome);
            if is_ready {
                serve(&waiting);
            }
        })?;
        became.recv().unwrap_or_else(|_| Err(Error::other("the thread has ended")))?;
        Ok(Self { jobs })
    }

    /// Does `work` there; `None` if it panicked, or if so much waits behind work that hangs that it was not begun.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move || {
            // Who asked may have lost patience.
            let _unwanted = reply.send(work());
        });
        self.jobs.try_send(job).ok()?;
        answer.await.ok()
    }

    /// Does `work` there and blocks until it is done; `None` if it panicked. For work that this thread would else do
    /// itself at once.
    pub fn run_and_wait<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = sync_channel(1);
        let job = Box::new(move || {
            let _unwanted = reply.send(work());
        });
        self.jobs.send(job).ok()?;
        answer.recv().ok()
    }
}

fn serve(jobs: &Receiver<Work>) {
    while let Ok(work) = jobs.recv() {
        if std::panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
            tracing::error!("work with files as another user panicked; this is a bug");
        }
    }
}

/// Changes this thread's identity for files, and nothing else of it.
fn touch_files_as(user: &RunAs) -> Result<()> {
    let groups: Vec<Gid> = user.groups.iter().map(|group| Gid::from_raw_unchecked(*group)).collect();
    rustix::thread::set_thread_groups(&groups)?;
    let (uid, gid) = (user.uid.into(), user.gid.into());
    // These two tell no errors; asked again they tell what is.
    setfsgid(gid);
    setfsuid(uid);
    if setfsgid(gid) != gid || setfsuid(uid) != uid {
        return Err(rustix::io::Errno::PERM.into());
    }
    // A gateway that is not root but may pass over permissions would keep that.
    if user.uid != 0 {
        let none = CapabilitySet::empty();
        let nothing = CapabilitySets { effective: none, permitted: none, inheritable: none };
        rustix::thread::set_capabilities(None, nothing)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    use super::*;
    use crate::process::tests::may_become_others;

    fn mode(path: &std::path::Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn files_are_met_as_the_other_user_and_the_rest_of_the_process_stays_who_it_is() {
        let other = RunAs::lookup("daemon").unwrap();
        let thread = match UserThread::start("test-files", Some(&other)) {
            Ok(thread) => thread,
            Err(error) => {
                assert!(!may_become_others(), "{error}");
                return;
            }
        };
        let home = tempfile::tempdir().unwrap();
        mode(home.path(), 0o755);
        let (mine, theirs, group, made) =
            (home.path().join("mine"), home.path().join("theirs"), home.path().join("group"), home.path().join("made"));
        for path in [&mine, &theirs, &group] {
            fs::write(path, "x").unwrap();
            mode(path, 0o600);
        }
        chown(&theirs, Some(other.uid), Some(other.gid)).unwrap();
        chown(&group, Some(0), Some(other.gid)).unwrap();
        mode(&group, 0o640);
        let paths = [mine.clone(), theirs, group];
        let readable = thread.run(move || paths.map(|path| fs::read(path).is_ok())).await.unwrap();
        assert_eq!(readable, [false, true, true]);
        let target = made.clone();
        assert!(thread.run(move || fs::write(target, "x").is_err()).await.unwrap(), "the directory is not theirs");
        mode(home.path(), 0o777);
        let target = made.clone();
        thread.run(move || fs::write(target, "x")).await.unwrap().unwrap();
        let made = fs::metadata(made).unwrap();
        assert_eq!((made.uid(), made.gid()), (other.uid, other.gid));
        assert!(fs::read(mine).is_ok(), "this thread is who it was");
    }

    #[tokio::test]
    async fn work_that_panics_harms_no_work_after_it() {
        let thread = UserThread::start("test-files", None).unwrap();
        assert_eq!(thread.run(|| panic!("on purpose")).await, None::<()>);
        assert_eq!(thread.run(|| 1 + 1).await, Some(2));
    }

    #[tokio::test]
    async fn behind_work_that_hangs_nobody_is_taken_in_without_end() {
        let thread = UserThread::start("test-files", None).unwrap();
        let (go_on, wait) = sync_channel::<()>(0);
        let mut asked = Vec::new();
        let mut hung = Box::pin(thread.run(move || wait.recv().is_ok()));
        assert!(futures_util::poll!(&mut hung).is_pending());
        for _ in 0..WAITING + 2 {
            let mut next = Box::pin(thread.run(|| ()));
            match futures_util::poll!(&mut next) {
                std::task::Poll::Pending => asked.push(next),
                std::task::Poll::Ready(answer) => assert_eq!(answer, None),
            }
        }
        assert!(asked.len() <= WAITING + 1, "{}", asked.len());
        go_on.send(()).unwrap();
        assert_eq!(hung.await, Some(true));
        for next in asked {
            assert_eq!(next.await, Some(()));
        }
    }
}
