//! A running process and the means to signal it.

use std::sync::Arc;

use rustix::process::Pid;

use super::launch::Marker;
use super::leaders::Leader;
use super::output::Output;

/// A program that has been started.
#[derive(Debug)]
pub struct Process {
    /// Its process id, which is also its process group's and its system session's.
    pub pid: u32,
    /// Its standard input, if it was started with one.
    pub stdin: Option<tokio::process::ChildStdin>,
    /// Its output and its end. Dropped before the end, it kills the process group; a sweep should follow.
    pub output: Output,
    /// Signals.
    pub control: ProcessControl,
}

/// Signals a process group. Cheap to clone; outlives the process.
#[derive(Debug, Clone)]
pub struct ProcessControl {
    leader: Arc<Leader>,
}

/// The signals the gateway sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

impl Signal {
    pub(super) fn number(self) -> rustix::process::Signal {
        match self {
            Self::Interrupt => rustix::process::Signal::INT,
            Self::Terminate => rustix::process::Signal::TERM,
            Self::Kill => rustix::process::Signal::KILL,
            Self::Stop => rustix::process::Signal::STOP,
            Self::Continue => rustix::process::Signal::CONT,
        }
    }
}

impl ProcessControl {
    pub(super) fn new(leader: Arc<Leader>) -> Self {
        Self { leader }
    }

    /// Sends `signal` to the leader's process group. `false`: nobody was there to take it.
    ///
    /// Processes that left the group are not reached (Claude's Bash tools are such): that is what a sweep is for, and a freeze. Once the leader's end has been
    /// told, this does nothing, because its number may belong to somebody else.
    #[must_use = "a signal may have come too late"]
    pub fn signal(&self, signal: Signal) -> bool {
        let send = || match i32::try_from(self.leader.pid).ok().and_then(Pid::from_raw) {
            Some(group) => rustix::process::kill_process_group(group, signal.number()).is_ok(),
            None => false,
        };
        self.leader.unless_reaped(send).unwrap_or(false)
    }

    /// The leader's process id. It may be another's once the leader has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.leader.pid
    }

    /// What everything started from this process carries.
    #[must_use]
    pub fn marker(&self) -> &Marker {
        &self.leader.marker
    }
}
