//! The one thread that forks.
//!
//! The kernel sends a parent-death signal when the *thread* that forked ends, not the process. So there is one such thread in a process, it has a
//! name, and it never ends. It also waits for orphans, see `reaper`.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::thread::Gid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::child::{Child, Pipes};
use super::control::{Process, ProcessControl};
use super::error::SpawnError;
use super::handover::Handover;
use super::launch::{INSTANCE_VARIABLE, Launch, SESSION_VARIABLE, StdinMode};
use super::leaders::{Leader, Leaders};
use super::output::{Output, OutputSource};
use super::reaper::reap_orphans;
use super::unsafe_calls::{self, Become, Ground, Preparation, SHELL, Words};

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
        let handover = Handover::new()?;
        let thread = std::thread::Builder::new().name("process-spawner".to_owned());
        thread.spawn(move || run(&waiting, &for_thread, handover))?;
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

fn run(jobs: &Receiver<Job>, leaders: &Arc<Leaders>, mut handover: Handover) {
    let mut reaped_at = Instant::now();
    let mut ground = Ground::default();
    loop {
        let job = jobs.recv_timeout(REAP_EVERY);
        // The thread must outlive any one start: its end would be the end of every process it ever forked.
        let done = std::panic::catch_unwind(AssertUnwindSafe(|| match job {
            Ok(Job::Spawn { launch, runtime, reply }) => {
                // Entered until the reply is taken: a process nobody wants is dropped, and killed, right here.
                let _inside = runtime.enter();
                drop(reply.send(start(&launch, leaders, &mut ground, &mut handover)));
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

fn start(
    launch: &Launch,
    leaders: &Arc<Leaders>,
    ground: &mut Ground,
    handover: &mut Handover,
) -> Result<Process, SpawnError> {
    let failed = |error: std::io::Error| SpawnError::from_spawn(&error);
    let (theirs, pipes) = pipes(launch.stdin).map_err(failed)?;
    let handed = handover.fill(theirs).map_err(failed)?;
    let pid = unsafe_calls::start(&preparation(launch, handed.stdio())?, ground).map_err(failed)?;
    // Their ends of the pipes must not stay open here: nobody would see the end of the output.
    drop(handed);
    // From here on, an error drops the child, which is killed and waited for.
    let mut child = Child::new(pid, pipes).map_err(failed)?;
    let exited = child.watch().and_then(watch).map_err(failed)?;
    let stdin = child.stdin.take();
    let pid = pid.as_raw_nonzero().get().unsigned_abs();
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

/// The program's standard input, output and error, and the gateway's ends of them.
fn pipes(stdin: StdinMode) -> std::io::Result<([OwnedFd; 3], Pipes)> {
    let (input, stdin): (OwnedFd, _) = match stdin {
        StdinMode::Pipe => {
            let (input, stdin) = std::io::pipe()?;
            (input.into(), Some(stdin.into()))
        }
        StdinMode::Null => (std::fs::File::open("/dev/null")?.into(), None),
    };
    let (stdout, output) = std::io::pipe()?;
    let (stderr, errors) = std::io::pipe()?;
    let pipes = Pipes { stdin, stdout: stdout.into(), stderr: stderr.into() };
    Ok(([input, output.into(), errors.into()], pipes))
}

fn preparation<'a>(launch: &Launch, stdio: &'a [OwnedFd; 3]) -> Result<Preparation<'a>, SpawnError> {
    if launch.env.keys().any(|name| name.is_empty() || name.as_bytes().contains(&b'=')) {
        return Err(SpawnError::BadArgument("a variable's name is empty or holds '='"));
    }
    let word = |bytes: &[u8]| CString::new(bytes).map_err(|_| SpawnError::BadArgument("it holds a NUL byte"));
    let cwd = CString::new(launch.cwd.as_os_str().as_bytes()).map_err(|_| SpawnError::BadWorkspace)?;
    let program = word(launch.program.as_os_str().as_bytes())?;
    let args = launch.args.iter().map(|arg| word(arg.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let shell_args = [SHELL.to_owned(), program.clone()].into_iter().chain(args.iter().cloned()).collect();
    let session = launch.marker.session().to_string();
    let marks = [(SESSION_VARIABLE, session.as_str()), (INSTANCE_VARIABLE, launch.marker.instance())];
    let marks = marks.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let env = launch.env.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let env = env.filter(|(name, _)| marks.iter().all(|(mark, _)| mark != name)).chain(marks);
    let env = env.map(|(name, value)| word(&[name, b"=", value].concat())).collect::<Result<Vec<_>, _>>()?;
    let user = launch.user.as_ref().filter(|user| !user.is_this_process()).map(|user| Become {
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.iter().map(|group| Gid::from_raw_unchecked(*group)).collect(),
    });
    Ok(Preparation {
        args: Words::new(std::iter::once(program.clone()).chain(args).collect()),
        program,
        shell_args: Words::new(shell_args),
        env: Words::new(env),
        stdio,
        cwd,
        parent: std::process::id(),
        user,
        tag: super::tag::limit(&launch.marker),
        no_new_privileges: launch.user.is_some(),
    })
}
