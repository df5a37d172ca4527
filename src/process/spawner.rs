//! The one thread that forks.
//!
//! The kernel sends a parent-death signal when the *thread* that forked ends, not the process. So there is one such thread in a process, it has a
//! name, and it never ends. It also waits for orphans, see `reaper`.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::AssertUnwindSafe;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::Gid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::control::{Process, ProcessControl};
use super::error::SpawnError;
use super::launch::{INSTANCE_VARIABLE, Launch, SESSION_VARIABLE, StdinMode};
use super::leaders::{Leader, Leaders};
use super::output::{Output, OutputSource};
use super::pre_exec::{Become, Preparation, prepare};
use super::reaper::reap_orphans;

/// Starts that may wait for the thread. Many more than a gateway lets start at once.
const WAITING: usize = 256;
/// How often the thread looks for ended orphans.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// The process's one spawner: a thread's lifetime decides when children die, so there must not be a second one that could end.
static THE_SPAWNER: Mutex<Option<Spawner>> = Mutex::new(None);

/// A handle to the thread that does every fork. All handles of a process lead to the same thread.
#[derive(Clone, Debug)]
pub struct Spawner {
    jobs: SyncSender<Job>,
    leaders: Arc<Leaders>,
}

enum Job {
    Spawn { launch: Box<Launch>, runtime: tokio::runtime::Handle, reply: oneshot::Sender<Result<Process, SpawnError>> },
    Reap { reply: oneshot::Sender<u64> },
    Other(Box<dyn FnOnce() + Send>),
}

impl Spawner {
    /// Starts the thread, or finds it running. Also makes this process the one to which orphans of its children fall.
    pub fn start() -> std::io::Result<Self> {
        let mut the_spawner = THE_SPAWNER.lock();
        if let Some(running) = the_spawner.as_ref() {
            return Ok(running.clone());
        }
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let (jobs, waiting) = sync_channel(WAITING);
        let leaders = Arc::new(Leaders::default());
        let for_thread = Arc::clone(&leaders);
        std::thread::Builder::new().name("process-spawner".to_owned()).spawn(move || run(&waiting, &for_thread))?;
        Ok(the_spawner.insert(Self { jobs, leaders }).clone())
    }

    /// Starts a program. Must be called inside a tokio runtime with I/O and time; the process's output belongs to that runtime.
    ///
    /// If the caller goes away meanwhile, the process is killed.
    pub async fn spawn(&self, launch: Launch) -> Result<Process, SpawnError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Spawn { launch: Box::new(launch), runtime: tokio::runtime::Handle::current(), reply })?;
        answer.await.unwrap_or(Err(SpawnError::Ending))
    }

    /// Waits for every ended orphan. Returns how many there were.
    pub(super) async fn reap(&self) -> u64 {
        let (reply, answer) = oneshot::channel();
        match self.send(Job::Reap { reply }) {
            Ok(()) => answer.await.unwrap_or(0),
            // The thread is very busy; it reaps on its own soon.
            Err(_) => 0,
        }
    }

    /// Does `work` on the thread itself, which starts nothing meanwhile: for when the machine gives no other thread, and so no process either.
    pub(super) fn do_itself(&self, work: Box<dyn FnOnce() + Send>) -> Result<(), SpawnError> {
        self.send(Job::Other(work))
    }

    pub(super) fn leaders(&self) -> &Leaders {
        &self.leaders
    }

    fn send(&self, job: Job) -> Result<(), SpawnError> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => SpawnError::Resources("too many programs are being started".to_owned()),
            TrySendError::Disconnected(_) => SpawnError::Ending,
        })
    }
}

fn run(jobs: &Receiver<Job>, leaders: &Arc<Leaders>) {
    let mut reaped_at = Instant::now();
    loop {
        let job = jobs.recv_timeout(REAP_EVERY);
        // The thread must outlive any one start: its end would be the end of every process it ever forked.
        let done = std::panic::catch_unwind(AssertUnwindSafe(|| match job {
            Ok(Job::Spawn { launch, runtime, reply }) => {
                // Entered until the reply is taken: a process nobody wants is dropped, and killed, right here.
                let _inside = runtime.enter();
                drop(reply.send(fork(&launch, leaders)));
                true
            }
            Ok(Job::Reap { reply }) => {
                let _nobody_waits = reply.send(reap_orphans(leaders));
                true
            }
            Ok(Job::Other(work)) => {
                work();
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => false,
        }));
        match done {
            Ok(true) => {}
            // Never while the process lives: the static holds a sender.
            Ok(false) => return,
            Err(_) => tracing::error!("starting a program panicked; its runtime has ended, or this is a bug"),
        }
        if reaped_at.elapsed() >= REAP_EVERY {
            reap_orphans(leaders);
            reaped_at = Instant::now();
        }
    }
}

fn fork(launch: &Launch, leaders: &Arc<Leaders>) -> Result<Process, SpawnError> {
    let mut command = command(launch)?;
    let mut child = command.spawn().map_err(|error| SpawnError::from_spawn(&error))?;
    // From here on, an error drops `child`, which kills and reaps it.
    let pid = child.id().ok_or(SpawnError::Ending)?;
    let handle = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(SpawnError::Ending)?;
    let exited = rustix::process::pidfd_open(handle, PidfdFlags::NONBLOCK)
        .map_err(|errno| SpawnError::from_spawn(&errno.into()))?;
    let exited = watch(exited).map_err(|error| SpawnError::from_spawn(&error))?;
    let stdin = child.stdin.take();
    let leader = Arc::new(Leader::new(pid, launch.marker.clone(), Arc::clone(leaders)));
    let source = OutputSource { child, exited };
    let output = Output::new(source, Arc::clone(&leader), launch.max_line_bytes, launch.output_grace);
    Ok(Process { pid, stdin, output, control: ProcessControl::new(leader) })
}

#[expect(
    deprecated,
    reason = "its replacement is unsafe, for types that lie about their descriptor; an OwnedFd does not"
)]
fn watch(exited: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(exited, Interest::READABLE)
}

fn command(launch: &Launch) -> Result<tokio::process::Command, SpawnError> {
    if launch.env.keys().any(|name| name.is_empty() || name.as_bytes().contains(&b'=')) {
        return Err(SpawnError::BadArgument("a variable's name is empty or holds '='"));
    }
    let cwd = CString::new(launch.cwd.as_os_str().as_bytes()).map_err(|_| SpawnError::BadWorkspace)?;
    let mut command = tokio::process::Command::new(&launch.program);
    command.args(&launch.args).env_clear().envs(&launch.env);
    command.env(SESSION_VARIABLE, launch.marker.session().to_string()).env(INSTANCE_VARIABLE, launch.marker.instance());
    command.stdin(match launch.stdin {
        StdinMode::Pipe => Stdio::piped(),
        StdinMode::Null => Stdio::null(),
    });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let user = launch.user.as_ref().filter(|user| !user.is_this_process()).map(|user| Become {
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.iter().map(|group| Gid::from_raw_unchecked(*group)).collect(),
    });
    let no_new_privileges = launch.user.is_some();
    let tag = super::tag::limit(&launch.marker);
    prepare(&mut command, Preparation { cwd, parent: std::process::id(), user, tag, no_new_privileges });
    Ok(command)
}
