//! What a new process does to itself between fork and exec. The only unsafe code of the crate.
//!
//! Invariants: nothing here allocates, locks or touches shared state (another thread may have held any lock when the fork happened); everything
//! needed is prepared before the fork. In this order: signals to their defaults, a session of its own, umask 022, the tag, no descriptor but 0–2, no
//! capability to inherit, the user, the workspace (entered as that user), and last, because a change of user clears it, the parent-death signal.
#![expect(unsafe_code, reason = "fork and exec: the kernel's interface for it has no safe form")]

use std::ffi::CString;

use nix::libc;
use rustix::fs::Mode;
use rustix::process::{Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use super::error::Step;

/// Everything the new process needs to know, owned, so that nothing has to be allocated after the fork.
pub(super) struct Preparation {
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

/// Makes `command` do all of the above in the child.
pub(super) fn prepare(command: &mut tokio::process::Command, preparation: Preparation) {
    // SAFETY: `Preparation::run` is async-signal-safe: it makes only system calls, on memory that was prepared before the fork.
    unsafe {
        command.pre_exec(move || preparation.run().map_err(|(step, errno)| step.encode(errno.raw_os_error())));
    }
}

type Failure = (Step, rustix::io::Errno);

impl Preparation {
    fn run(&self) -> Result<(), Failure> {
        default_signals();
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
    /// The raw calls change this thread only; after a fork there is no other one.
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

/// Descriptors that somebody opened without close-on-exec end here. They are marked, not closed: the pipe that reports a failed exec is one of them.
fn close_on_exec_from(first: libc::c_int) {
    // SAFETY: changes only flags of this process's own descriptors.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) == 0 {
            return;
        }
        // A kernel before 5.11.
        for descriptor in first..65_536 {
            libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

fn clear_ambient_capabilities() {
    // SAFETY: changes only this thread's capabilities. It can fail only where there are none.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
}
