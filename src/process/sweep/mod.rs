//! Leaving nothing: finds and kills everything that a session (or a dead instance) has started, wherever it has gone.
//!
//! Where the processes belong to another user and the gateway may not look into them, the hunt runs as a short helper under that user: this same
//! program with a hidden argument. Ended orphans that fell to the gateway are waited for, so that no zombie stays.

mod helper;
mod hunt;

use std::time::Duration;

use tokio::sync::oneshot;

use super::launch::{INSTANCE_VARIABLE, Marker, SESSION_VARIABLE};
use super::leaders::Trace;
use super::proc_fs;
use super::spawner::Spawner;
use super::tag::Tag;
use super::user::RunAs;

pub use helper::{HELPER_ARGUMENT, helper_main};

/// A sweep gives up after this. A process that survives SIGKILL for so long hangs in the kernel.
const LIMIT: Duration = Duration::from_secs(5);

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepReport {
    /// Processes killed.
    pub killed: u64,
    /// Processes still there, at least; 0: a full look found none.
    pub left: u64,
}

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    /// A whole entry of the environment, `NAME=value`.
    entry: Vec<u8>,
    /// The same mark in the limits.
    tag: Option<Tag>,
    /// The leaders whose system sessions belong to it too.
    leaders: Vec<Trace>,
}

impl Target {
    fn new(entry: Vec<u8>, leaders: Vec<Trace>) -> Self {
        Self { tag: Tag::of(&entry), entry, leaders }
    }

    /// Does that process carry the mark?
    fn is_on(&self, pid: u32) -> bool {
        proc_fs::carries(pid, &self.entry) || self.tag.is_some_and(|tag| tag.is_on(pid))
    }
}

/// Stops and kills everything that carries the marker's session or descends from what does, the leader included. `user`: whom the processes belong to,
/// as in their launch. Takes some milliseconds when there is nothing, and at most about 5 s.
///
/// Call it when nothing of the session is to live on; also after the leader's exit was told.
pub async fn sweep(marker: &Marker, user: Option<&RunAs>) -> SweepReport {
    let session = marker.session();
    let spawner = match Spawner::start() {
        Ok(spawner) => Some(spawner),
        Err(error) => {
            tracing::error!(%error, "the spawner can't be started");
            None
        }
    };
    let leaders = spawner.as_ref().map(|spawner| spawner.leaders().of(session)).unwrap_or_default();
    let target = Target::new(format!("{SESSION_VARIABLE}={session}").into_bytes(), leaders);
    let report = run(target, user, spawner.as_ref()).await;
    if let Some(spawner) = spawner.filter(|_| report.left == 0) {
        spawner.leaders().forget_reaped(session);
    }
    report
}

/// Stops and kills everything that an older, dead instance has left. At start, before anything is spawned; never with an instance id that is in use.
pub async fn sweep_instance(instance: &str, user: Option<&RunAs>) -> SweepReport {
    let spawner = Spawner::start().inspect_err(|error| tracing::error!(%error, "the spawner can't be started")).ok();
    let target = Target::new(format!("{INSTANCE_VARIABLE}={instance}").into_bytes(), Vec::new());
    run(target, user, spawner.as_ref()).await
}

async fn run(target: Target, user: Option<&RunAs>, spawner: Option<&Spawner>) -> SweepReport {
    let helped = match (user.filter(|user| !helper::can_look_into(user)), spawner) {
        (Some(user), Some(spawner)) => helper::hunt_as(user, &target, spawner).await,
        _ => None,
    };
    let report = match helped {
        Some(report) => report,
        // Also where the helper could not be started, as at the limit of processes: the tag is seen without any right.
        None => here(target, spawner).await,
    };
    if let Some(spawner) = spawner {
        spawner.reap().await;
    }
    if report.left > 0 {
        tracing::error!(killed = report.killed, left = report.left, "processes survived the sweep");
    }
    report
}

async fn here(target: Target, spawner: Option<&Spawner>) -> SweepReport {
    let unknown = SweepReport { killed: 0, left: 1 };
    let (work, answer) = hunting(target.clone());
    // Not the runtime's pool: what it finds no thread for it keeps waiting, and a tree that has taken all processes there are gives none back.
    if std::thread::Builder::new().name("sweep".to_owned()).spawn(work).is_ok() {
        return answer.await.unwrap_or(unknown);
    }
    let (work, answer) = hunting(target);
    match spawner.map(|spawner| spawner.do_itself(Box::new(work))) {
        Some(Ok(())) => answer.await.unwrap_or(unknown),
        _ => unknown,
    }
}

/// A hunt to be done by some thread, and its report; none comes if it panics.
fn hunting(target: Target) -> (impl FnOnce() + Send + 'static, oneshot::Receiver<SweepReport>) {
    let (reply, answer) = oneshot::channel();
    let work = move || {
        let _nobody_waits = reply.send(hunt::hunt(&target, LIMIT));
    };
    (work, answer)
}
