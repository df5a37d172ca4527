//! A process that was started: its pipes, its status, its end.
//!
//! Invariants: its number is never used for a signal, so that none can reach a later owner of it; what is dropped before it was waited for is killed,
//! and what of it can't be waited for at once falls to the `reaper`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

/// A process to be waited for.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    /// The process itself, whoever has its number later.
    handle: OwnedFd,
    waited: bool,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

/// The gateway's ends of its pipes.
pub(super) struct Pipes {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

impl Child {
    /// Takes over a process that has just been started by this thread. If that fails it is killed.
    pub(super) fn new(pid: Pid, pipes: Pipes) -> io::Result<Self> {
        let handle = match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(handle) => handle,
            Err(errno) => {
                // Nobody has waited for it: the number is its own.
                let _gone = rustix::process::kill_process(pid, Signal::KILL);
                return Err(errno.into());
            }
        };
        let mut child = Self { pid, handle, waited: false, stdin: None, stdout: None, stderr: None };
        child.stdin = pipes.stdin.map(|pipe| ChildStdin::from_std(pipe.into())).transpose()?;
        child.stdout = Some(ChildStdout::from_std(pipes.stdout.into())?);
        child.stderr = Some(ChildStderr::from_std(pipes.stderr.into())?);
        Ok(child)
    }

    /// A second handle to the process, readable once it has ended.
    pub(super) fn watch(&self) -> io::Result<OwnedFd> {
        self.handle.try_clone()
    }

    /// Its status if it has ended. Asked again after that, an error.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.waited {
            return Err(io::ErrorKind::NotFound.into());
        }
        let status = rustix::process::waitpid(Some(self.pid), WaitOptions::NOHANG);
        // An error means that there is nothing to wait for.
        self.waited = !matches!(status, Ok(None) | Err(rustix::io::Errno::INTR));
        Ok(status?.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.waited {
            return;
        }
        let _gone = rustix::process::pidfd_send_signal(&self.handle, Signal::KILL);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let _left_to_the_reaper = rustix::process::waitid(WaitId::PidFd(self.handle.as_fd()), options);
    }
}
