//! The processes that the gateway itself has started: who is still ours to wait for, and what is needed to find the rest of a session later.
//!
//! A leader's number is also the number of its system session, which its processes keep when they lose the marker (`env -i`). The list remembers
//! it, with times that tell it from a later use of the same number. Locks here are held for a few instructions only.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

use super::launch::Marker;
use super::proc_fs;

/// Reaped leaders of sessions that nobody swept are forgotten when more sessions than this are listed.
const SESSIONS_REMEMBERED: usize = 4096;

/// What is remembered of a leader. Times are in clock ticks since the machine's start, as in `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) pid: u32,
    pub(super) started: u64,
    /// When it was waited for; from then on the number may be used again.
    pub(super) reaped: Option<u64>,
}

/// All leaders by session. Lives as long as the gateway: shared by the spawner, which adds, and the leaders, which leave.
#[derive(Debug, Default)]
pub(super) struct Leaders(Mutex<HashMap<Uuid, Vec<Trace>>>);

impl Leaders {
    fn add(&self, session: Uuid, trace: Trace) {
        let mut sessions = self.0.lock();
        sessions.entry(session).or_default().push(trace);
        if sessions.len() > SESSIONS_REMEMBERED {
            sessions.retain(|_, traces| traces.iter().any(|trace| trace.reaped.is_none()));
        }
    }

    fn reaped(&self, session: Uuid, pid: u32, at: u64) {
        if let Some(traces) = self.0.lock().get_mut(&session) {
            for trace in traces.iter_mut().filter(|trace| trace.pid == pid && trace.reaped.is_none()) {
                trace.reaped = Some(at);
            }
        }
    }

    /// Is somebody going to wait for this process?
    pub(super) fn will_be_waited_for(&self, pid: u32) -> bool {
        self.0.lock().values().flatten().any(|trace| trace.pid == pid && trace.reaped.is_none())
    }

    pub(super) fn of(&self, session: Uuid) -> Vec<Trace> {
        self.0.lock().get(&session).cloned().unwrap_or_default()
    }

    /// The leaders of all other sessions, if it is known when they began: number and time.
    pub(super) fn of_others(&self, session: Uuid) -> Vec<(u32, u64)> {
        let sessions = self.0.lock();
        let others = sessions.iter().filter(|(its, _)| **its != session).flat_map(|(_, traces)| traces);
        let running = others.filter(|trace| trace.reaped.is_none() && trace.started > 0);
        running.map(|trace| (trace.pid, trace.started)).collect()
    }

    /// Nothing of this session is left: its reaped leaders need not be remembered.
    pub(super) fn forget_reaped(&self, session: Uuid) {
        let mut sessions = self.0.lock();
        if let Some(traces) = sessions.get_mut(&session) {
            traces.retain(|trace| trace.reaped.is_none());
            if traces.is_empty() {
                sessions.remove(&session);
            }
        }
    }
}

/// One process the gateway has started. Shared by its output, which waits for it, and its controls, which signal it.
pub(super) struct Leader {
    pub(super) pid: u32,
    pub(super) marker: Marker,
    /// Has it been waited for? The lock is held while waiting for it and while signalling, so that no signal reaches a number used again.
    reaped: Mutex<bool>,
    leaders: Arc<Leaders>,
}

impl Leader {
    pub(super) fn new(pid: u32, marker: Marker, leaders: Arc<Leaders>) -> Self {
        let started = proc_fs::stat(pid).map_or(0, |stat| stat.started);
        leaders.add(marker.session(), Trace { pid, started, reaped: None });
        Self { pid, marker, reaped: Mutex::new(false), leaders }
    }

    /// Runs `wait`, which may wait for the process and says whether it has, while no signal is sent to it.
    pub(super) fn while_waiting<R>(&self, wait: impl FnOnce() -> (R, bool)) -> R {
        let mut reaped = self.reaped.lock();
        let (result, waited) = wait();
        if waited && !*reaped {
            *reaped = true;
            self.leaders.reaped(self.marker.session(), self.pid, proc_fs::now());
        }
        result
    }

    /// Runs `act` unless the process has been waited for; `None` then.
    pub(super) fn unless_reaped<R>(&self, act: impl FnOnce() -> R) -> Option<R> {
        let reaped = self.reaped.lock();
        (!*reaped).then(act)
    }
}

impl std::fmt::Debug for Leader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Leader").field("pid", &self.pid).field("marker", &self.marker).finish_non_exhaustive()
    }
}
