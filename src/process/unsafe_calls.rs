//! What no safe call does: the only unsafe code of the crate, in one file, so that it is read as a whole. Two things: what a new process does to
//! itself before its program begins, and giving free memory back to the system.
//!
//! The process is not a copy of the gateway: until its exec it borrows the gateway's memory, as `posix_spawn` does it, while the thread that starts
//! it stands still. A copy would cost milliseconds, for itself and for every page that the gateway touches afterwards. Nor does it copy the gateway's
//! descriptors, of which there are hundreds beside hundred sessions: it has the gateway's table until its first step, and leaves it with the lowest.
//!
//! Invariants: nothing that runs in the new process allocates, frees, locks or touches shared state but [`Preparation`] (another thread may hold any
//! lock); everything needed is prepared before. No handler of the gateway's ever runs there: signals are blocked until theirs are the defaults. In
//! this order: a table of descriptors of its own, signals to their defaults, standard input and output, a session of its own, umask 022, the tag, no
//! descriptor but 0–2, no capability to inherit, the user, the workspace (entered as that user), and last, because a change of user clears it, the
//! parent-death signal.
#![expect(unsafe_code, reason = "clone, exec and malloc_trim have no safe form")]

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::libc;
use nix::sched::{CloneFlags, clone};
use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::fs::Mode;
use rustix::process::{Pid, Rlimit, Signal, WaitOptions, waitpid};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use super::error::Step;

/// What the C library too runs a file with that the kernel knows no way to run.
pub(super) const SHELL: &CStr = c"/bin/sh";
/// The new process's stack until its exec. What runs on it makes system calls and little else.
const STACK_BYTES: usize = 256 * 1024;

/// Everything the new process needs to know, owned, so that nothing has to be allocated on the way.
pub(super) struct Preparation<'a> {
    /// The file to run.
    pub(super) program: CString,
    /// Its name and its arguments.
    pub(super) args: Words,
    /// The same for [`SHELL`], should the file be text without `#!`.
    pub(super) shell_args: Words,
    /// The whole environment.
    pub(super) env: Words,
    /// Standard input, output and error. None of them is one of 0–2 here: those are always open in a program of Rust's.
    /// The new process gets no descriptor above the highest of them.
    pub(super) stdio: &'a [OwnedFd; 3],
    /// The workspace.
    pub(super) cwd: CString,
    /// The gateway's own process id: the parent, as long as it lives.
    pub(super) parent: u32,
    /// Another user than the gateway's, if any.
    pub(super) user: Option<Become>,
    /// The limit that marks everything that comes of the process.
    pub(super) tag: Rlimit,
    /// Give up the way to more privileges by exec (setuid files).
    pub(super) no_new_privileges: bool,
}

/// The identity to take.
pub(super) struct Become {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<Gid>,
}

/// Words as the kernel takes them.
pub(super) struct Words {
    /// What the pointers lead to.
    _words: Vec<CString>,
    /// One for each word, and null.
    pointers: Vec<*const c_char>,
}

impl Words {
    pub(super) fn new(words: Vec<CString>) -> Self {
        let pointers = words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _words: words, pointers }
    }
}

/// What the processes' first steps need of this process, one after the other.
pub(super) struct Ground {
    stack: Vec<u8>,
    /// Can a process leave the gateway's table of descriptors without a copy of all of it? A kernel before 5.9 and an old
    /// container runtime don't know how.
    can_leave_table: bool,
}

impl Default for Ground {
    fn default() -> Self {
        Self { stack: vec![0; STACK_BYTES], can_leave_table: close_range(libc::c_uint::MAX, 0) }
    }
}

/// Starts the program; comes back once it runs, or could not. The caller has to wait for the process.
pub(super) fn start(preparation: &Preparation<'_>, ground: &mut Ground) -> io::Result<Pid> {
    let failure = AtomicI32::new(0);
    let shares_table = ground.can_leave_table;
    let child = Box::new(|| {
        failure.store(preparation.become_program(shares_table), Ordering::Relaxed);
        127
    });
    let mut flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    // The copy, of which all would be closed at once, takes a tenth of a millisecond for a thousand.
    flags.set(CloneFlags::CLONE_FILES, shares_table);
    let blocked = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    // SAFETY: this thread stands still until the process has its own memory or is gone, so nothing that was borrowed moves or goes. What the process
    // does with the shared memory is `become_program`: system calls, on memory that was prepared, and the number above. It frees nothing.
    let started = unsafe { clone(child, &mut ground.stack, flags, Some(libc::SIGCHLD)) };
    blocked.thread_set_mask()?;
    let pid = Pid::from_raw(started?.as_raw()).ok_or(io::ErrorKind::Other)?;
    match failure.into_inner() {
        0 => Ok(pid),
        failure => {
            // It is on its way out; nobody else waits for it.
            let _status = waitpid(Some(pid), WaitOptions::empty());
            Err(io::Error::from_raw_os_error(failure))
        }
    }
}

type Failure = (Step, rustix::io::Errno);

impl Preparation<'_> {
    /// Comes back only with what failed, as [`Step::encode`] or as exec's `errno`.
    fn become_program(&self, shares_table: bool) -> i32 {
        // Before anything else: what is done to descriptors until then is done to the gateway's.
        if shares_table && !self.leave_table() {
            return Step::Setup.encode(rustix::io::Errno::MFILE.raw_os_error());
        }
        if let Err((step, errno)) = self.make_ready() {
            return step.encode(errno.raw_os_error());
        }
        let errno = execute(&self.program, &self.args, &self.env);
        if errno == libc::ENOEXEC { execute(SHELL, &self.shell_args, &self.env) } else { errno }
    }

    /// Gives this process a table of descriptors of its own, with those up to the highest it needs.
    fn leave_table(&self) -> bool {
        let highest = self.stdio.iter().map(AsRawFd::as_raw_fd).max().and_then(|highest| highest.try_into().ok());
        highest.is_some_and(|highest: libc::c_uint| close_range(highest + 1, libc::CLOSE_RANGE_UNSHARE))
    }

    fn make_ready(&self) -> Result<(), Failure> {
        default_signals();
        let [stdin, stdout, stderr] = self.stdio;
        let connected = rustix::stdio::dup2_stdin(stdin)
            .and_then(|()| rustix::stdio::dup2_stdout(stdout))
            .and_then(|()| rustix::stdio::dup2_stderr(stderr));
        connected.map_err(|errno| (Step::Setup, errno))?;
        rustix::process::setsid().map_err(|errno| (Step::Setup, errno))?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        super::tag::put_on(self.tag);
        close_on_exec_from(3);
        clear_ambient_capabilities();
        if let Some(user) = &self.user {
            user.enter().map_err(|errno| (Step::User, errno))?;
        }
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true).map_err(|errno| (Step::User, errno))?;
        }
        rustix::process::chdir(self.cwd.as_c_str()).map_err(|errno| (Step::Workspace, errno))?;
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM)).map_err(|errno| (Step::Setup, errno))?;
        // The gateway may have died before the line above; then no signal will ever come.
        let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
        if parent == self.parent { Ok(()) } else { Err((Step::Orphaned, rustix::io::Errno::CHILD)) }
    }
}

impl Become {
    /// The raw calls change the calling thread only, which is the new process's one: the C library's would change all of the gateway's.
    fn enter(&self) -> rustix::io::Result<()> {
        let (uid, gid) = (Uid::from_raw_unchecked(self.uid), Gid::from_raw_unchecked(self.gid));
        rustix::thread::set_thread_groups(&self.groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        // A gateway that is not root but has capabilities keeps them over a change of user; only root's are dropped by the kernel.
        if self.uid != 0 {
            let none = CapabilitySet::empty();
            rustix::thread::set_capabilities(
                None,
                CapabilitySets { effective: none, permitted: none, inheritable: none },
            )?;
        }
        Ok(())
    }
}

/// Returns only if it fails: the `errno`.
fn execute(program: &CStr, args: &Words, env: &Words) -> i32 {
    // SAFETY: both lists end with null and lead to strings that live as long as they do.
    unsafe { libc::execve(program.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    nix::errno::Errno::last_raw()
}

/// Ignored signals and the mask would be inherited over exec (a gateway started by `nohup` ignores SIGHUP).
fn default_signals() {
    // The kernel's own form of "default, no flags, no mask": all zero, and shorter than this. The C library's call refuses signals 32 and 33.
    let default = [0u64; 8];
    for signal in 1..=64 {
        // SAFETY: the kernel only reads `default`; numbers that can't be set give an error that means nothing here.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8usize) };
    }
    // SAFETY: `mask` is written by sigemptyset before it is read.
    unsafe {
        let mut mask = std::mem::MaybeUninit::uninit();
        libc::sigemptyset(mask.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, mask.as_ptr(), std::ptr::null_mut());
    }
}

/// Descriptors that somebody opened without close-on-exec end here.
fn close_on_exec_from(first: libc::c_uint) {
    if close_range(first, libc::CLOSE_RANGE_CLOEXEC) {
        return;
    }
    // A kernel before 5.11.
    for descriptor in first..65_536 {
        // SAFETY: changes only flags of this process's own descriptors.
        unsafe { libc::fcntl(descriptor.cast_signed(), libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// What `flags` say, to all descriptors from `first` on; `false` if the kernel does not know it.
fn close_range(first: libc::c_uint, flags: libc::c_uint) -> bool {
    // SAFETY: it touches no memory. Whose descriptors they are is seen to where it is called: nobody's (there is none so high), or a new process's.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) == 0 }
}

fn clear_ambient_capabilities() {
    // SAFETY: changes only this thread's capabilities. It can fail only where there are none.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
}

/// Gives what lies free in the C library's heaps back to the system; `false`: there was nothing, or it is not glibc, which alone can be asked.
///
/// Takes milliseconds for each ten MiB. The heaps are held one after the other meanwhile: a thread that wants memory of one waits. Not to be called
/// on a thread of the runtime.
#[must_use]
pub fn give_memory_back() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: it touches what nobody owns, under the allocator's own locks, and may be called by any thread at any time.
        unsafe { libc::malloc_trim(0) == 1 }
    }
    #[cfg(not(target_env = "gnu"))]
    {
        false
    }
}
