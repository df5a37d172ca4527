//! All of it: finds everything that a session (or a dead instance) has started, wherever it has gone, and kills it, stops it or lets it go on.
//!
//! Where the processes belong to another user and the gateway may not look into them, the hunt runs as a short helper under that user: this same
//! program with a hidden argument. Ended orphans that fell to the gateway are waited for, so that no zombie stays.

mod helper;
mod hunt;
mod order;
mod pause;
mod surveyor;
#[cfg(test)]
mod testing;

use std::time::Duration;

use tokio::sync::oneshot;
use uuid::Uuid;

use order::{Answer, Order};

use super::launch::{INSTANCE_VARIABLE, Marker, SESSION_VARIABLE};
use super::leaders::Trace;
use super::proc_fs;
use super::spawner::Spawner;
use super::tag::Tag;
use super::user::RunAs;

pub use helper::{HELPER_ARGUMENT, helper_main};
pub use pause::{freeze, thaw};

/// A sweep, a freeze and a thaw give up after this. A process that survives SIGKILL for so long hangs in the kernel.
const LIMIT: Duration = Duration::from_secs(5);

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepReport {
    /// Processes found and killed. Who began and was killed with its whole group between two looks is not counted.
    pub killed: u64,
    /// Processes still there, at least; 0: a full look found none.
    pub left: u64,
}

/// A process for ever: its number and when it started, in clock ticks since the machine's start.
type Identity = (u32, u64);

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    /// A whole entry of the environment, `NAME=value`.
    entry: Vec<u8>,
    /// The same mark in the limits.
    tag: Option<Tag>,
    /// The leaders whose system sessions belong to it too.
    leaders: Vec<Trace>,
    /// Leaders of others: they need not be asked whose they are.
    others: Vec<Identity>,
}

impl Target {
    fn new(entry: Vec<u8>, leaders: Vec<Trace>) -> Self {
        Self { tag: Tag::of(&entry), entry, leaders, others: Vec::new() }
    }

    /// A session's, with its leaders.
    fn of_session(session: Uuid, leaders: Vec<Trace>) -> Self {
        Self::new(format!("{SESSION_VARIABLE}={session}").into_bytes(), leaders)
    }

    /// Does that process carry the mark?
    fn is_on(&self, pid: u32) -> bool {
        proc_fs::carries(pid, &self.entry) || self.tag.is_some_and(|tag| tag.is_on(pid))
    }
}

/// Stops and kills everything that carries the marker's session or descends from what does, the leader included. `user`: whom the processes belong to,
/// as in their launch. Takes some milliseconds when there is nothing (some more if other sessions end too, see `surveyor`), and at most about 5 s.
///
/// Call it when nothing of the session is to live on; also after the leader's exit was told.
pub async fn sweep(marker: &Marker, user: Option<&RunAs>) -> SweepReport {
    let session = marker.session();
    let spawner = spawner();
    let target = target_of(session, spawner.as_ref());
    let report = run(target, user, spawner.as_ref()).await;
    pause::forget(session);
    if let Some(spawner) = spawner.filter(|_| report.left == 0) {
        spawner.leaders().forget_reaped(session);
    }
    report
}

/// Stops and kills everything that an older, dead instance has left. At start, before anything is spawned; never with an instance id that is in use.
pub async fn sweep_instance(instance: &str, user: Option<&RunAs>) -> SweepReport {
    let target = Target::new(format!("{INSTANCE_VARIABLE}={instance}").into_bytes(), Vec::new());
    run(target, user, spawner().as_ref()).await
}

fn spawner() -> Option<Spawner> {
    Spawner::start().inspect_err(|error| tracing::error!(%error, "the spawner can't be started")).ok()
}

fn target_of(session: Uuid, spawner: Option<&Spawner>) -> Target {
    let Some(leaders) = spawner.map(Spawner::leaders) else { return Target::of_session(session, Vec::new()) };
    Target { others: leaders.of_others(session), ..Target::of_session(session, leaders.of(session)) }
}

async fn run(target: Target, user: Option<&RunAs>, spawner: Option<&Spawner>) -> SweepReport {
    let report = if out_of_sight(user).is_none() && surveyor::shows_nothing_of(&target).await {
        SweepReport::default()
    } else {
        let unknown = SweepReport { killed: 0, left: 1 };
        let act = |target: &_| hunt::hunt(target, LIMIT);
        carry_out(Order::Kill, target, user, spawner, act).await.unwrap_or(unknown)
    };
    if let Some(spawner) = spawner {
        spawner.reap().await;
    }
    if report.left > 0 {
        tracing::error!(killed = report.killed, left = report.left, "processes survived the sweep");
    }
    report
}

/// The user into whose processes this one may not look: a helper has to.
fn out_of_sight(user: Option<&RunAs>) -> Option<&RunAs> {
    user.filter(|user| !helper::can_look_into(user))
}

/// Runs `act`, which is what `order` says, in a helper where this process may not look, else here. `None`: nothing is known of what came of it.
async fn carry_out<T: Answer + Send + 'static>(
    order: Order,
    target: Target,
    user: Option<&RunAs>,
    spawner: Option<&Spawner>,
    act: impl Fn(&Target) -> T + Clone + Send + 'static,
) -> Option<T> {
    let helped = match (out_of_sight(user), spawner) {
        (Some(user), Some(spawner)) => helper::ask(user, &order, &target, spawner).await,
        _ => None,
    };
    match helped {
        Some(answer) => Some(answer),
        // Also where the helper could not be started, as at the limit of processes: the tag is seen without any right.
        None => here(target, spawner, act).await,
    }
}

async fn here<T: Send + 'static>(
    target: Target,
    spawner: Option<&Spawner>,
    act: impl Fn(&Target) -> T + Clone + Send + 'static,
) -> Option<T> {
    let (work, answer) = acting(target.clone(), act.clone());
    // Not the runtime's pool: what it finds no thread for it keeps waiting, and a tree that has taken all processes there are gives none back.
    if std::thread::Builder::new().name("sweep".to_owned()).spawn(work).is_ok() {
        return answer.await.ok();
    }
    let (work, answer) = acting(target, act);
    match spawner.map(|spawner| spawner.do_itself(Box::new(work))) {
        Some(Ok(())) => answer.await.ok(),
        _ => None,
    }
}

/// Work to be done by some thread, and its answer; none comes if it panics.
fn acting<T: Send + 'static>(
    target: Target,
    act: impl Fn(&Target) -> T + Send + 'static,
) -> (impl FnOnce() + Send + 'static, oneshot::Receiver<T>) {
    let (reply, answer) = oneshot::channel();
    let work = move || {
        let _nobody_waits = reply.send(act(&target));
    };
    (work, answer)
}
