//! What `/proc` says about processes. Everything here may be out of date when it is returned; callers check again before they act.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

/// More than `stat` and `limits` can have.
const LONGEST_AT_ONCE: usize = 4096;

/// One process, from `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: u32,
    pub(super) parent: u32,
    /// The process group's number.
    pub(super) group: u32,
    /// The system session's number: the process id of the one that called setsid; 0 if that one is outside our pid namespace
    /// (as under a container's `exec`).
    pub(super) session: u32,
    /// Ended and not yet waited for, or going.
    pub(super) dead: bool,
    /// Ended and not yet waited for.
    pub(super) zombie: bool,
    /// Stopped by a signal; not one that a debugger holds.
    pub(super) stopped: bool,
    /// A thread of the kernel: no program of anybody's.
    pub(super) of_kernel: bool,
    /// Clock ticks since the machine's start. With the pid it names a process for ever.
    pub(super) started: u64,
}

/// The flag of a kernel's thread (`PF_KTHREAD`, include/linux/sched.h); it goes when the thread becomes a program.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// All process ids, the highest (mostly the newest) first.
pub(super) fn all_pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable_by(|a, b| b.cmp(a));
    pids
}

/// The children of this process, ended ones included; `None` where the kernel does not tell. One may be missing while
/// others are being waited for (proc(5)): whoever asks asks again later.
pub(super) fn children_of_ours() -> Option<Vec<u32>> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        match std::fs::read_to_string(thread.path().join("children")) {
            Ok(text) => children.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok())),
            // The thread has ended meanwhile, and its children are another's; else the kernel has no such file.
            Err(_) if !thread.path().exists() => {}
            Err(_) => return None,
        }
    }
    Some(children)
}

/// One process; `None` if there is none (any more).
pub(super) fn stat(pid: u32) -> Option<Stat> {
    parse(pid, &read_at_once(&format!("/proc/{pid}/stat"))?)
}

/// What a file of `/proc` says that the kernel writes at one stroke. A hunt reads hundreds of them: no call more than it takes.
pub(super) fn read_at_once(path: &str) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let mut text = vec![0; LONGEST_AT_ONCE];
    let length = file.read(&mut text).ok()?;
    text.truncate(length);
    Some(text)
}

/// `pid (name) state ppid pgrp session …`: the name may hold anything, even `)` and newlines, so fields are counted from its last `)`.
fn parse(pid: u32, text: &[u8]) -> Option<Stat> {
    let after_name = memchr::memrchr(b')', text)? + 1;
    let mut fields = std::str::from_utf8(text.get(after_name..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let flags: u32 = fields.nth(2)?.parse().ok()?;
    let started = fields.nth(12)?.parse().ok()?;
    let (zombie, stopped) = (state == "Z", state == "T");
    let (dead, of_kernel) = (zombie || matches!(state, "X" | "x"), flags & KERNEL_THREAD != 0);
    Some(Stat { pid, parent, group, session, dead, zombie, stopped, of_kernel, started })
}

/// Does the environment that `pid` was started with hold exactly `entry` (`NAME=value`)? `false` also if it can't be read.
pub(super) fn carries(pid: u32, entry: &[u8]) -> bool {
    environment(pid).is_some_and(|environment| holds(&environment, entry))
}

/// The environment that `pid` was started with. That of a process that has ended is empty; of another user there is none.
pub(super) fn environment(pid: u32) -> Option<Vec<u8>> {
    let mut environment = Vec::with_capacity(LONGEST_AT_ONCE);
    File::open(format!("/proc/{pid}/environ")).ok()?.read_to_end(&mut environment).ok()?;
    Some(environment)
}

/// Does this environment hold exactly `entry`?
pub(super) fn holds(environment: &[u8], entry: &[u8]) -> bool {
    environment.split(|byte| *byte == 0).any(|found| found == entry)
}

/// The process id given out last; `None` where the kernel does not tell.
pub(super) fn newest_pid() -> Option<u32> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_ascii_whitespace().nth(4)?.parse().ok()
}

/// Is that the number of a thread of this process?
pub(super) fn is_thread_of_ours(number: u32) -> bool {
    std::fs::exists(format!("/proc/self/task/{number}")).unwrap_or(false)
}

/// Opens a handle to a process: a signal sent through it never reaches a later process of the same number. Take it first and look at the process
/// afterwards; if what is seen is another's, the handle is one of a process that has ended.
pub(super) fn handle(pid: u32) -> rustix::io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty())
}

/// Sends a signal to exactly the process that was seen, never to a later one of the same number. `false`: it is gone, or it may not be signalled.
pub(super) fn signal(seen: &Stat, signal: Signal) -> bool {
    let handle = handle(seen.pid);
    if stat(seen.pid).is_none_or(|now| now.started != seen.started || now.dead) {
        return false;
    }
    match (handle, i32::try_from(seen.pid).ok().and_then(Pid::from_raw)) {
        (Ok(handle), _) => rustix::process::pidfd_send_signal(handle, signal).is_ok(),
        // No descriptor to be had. The number was right a moment ago.
        (Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM), Some(pid)) => {
            rustix::process::kill_process(pid, signal).is_ok()
        }
        _ => false,
    }
}

/// Now, in the unit of [`Stat::started`]. `/proc/uptime` counts hundredths of a second, as do the ticks that Linux shows to programs.
pub(super) fn now() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let digits = text.split_ascii_whitespace().next().unwrap_or_default().replace('.', "");
    digits.parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_read_right() {
        let me = stat(std::process::id()).unwrap();
        assert_eq!(me.parent, std::os::unix::process::parent_id());
        // Not `getsid`: rustix's `Pid` can't be 0, and the number is 0 where the session's leader is outside our pid namespace.
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let session = status.lines().find_map(|line| line.strip_prefix("NSsid:")).unwrap();
        assert_eq!(session.split_whitespace().last(), Some(me.session.to_string().as_str()));
        assert!(!me.dead && !me.of_kernel && me.started > 0 && me.started <= now());
        assert!(all_pids().contains(&me.pid));
    }

    #[test]
    fn a_child_is_among_the_children_whichever_thread_has_started_it() {
        let start = || std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let parent = std::thread::spawn(move || {
            tell.send(start()).unwrap();
            held.recv().unwrap_err();
        });
        let mut children = [start(), told.recv().unwrap()];
        let ours = children_of_ours().unwrap();
        let found = children.iter().all(|child| ours.contains(&child.id()));
        children[0].kill().unwrap();
        children[1].kill().unwrap();
        drop(release);
        parent.join().unwrap();
        assert!(children.iter_mut().all(|child| !child.wait().unwrap().success()));
        assert!(found, "{ours:?}");
        assert!(children.iter().all(|child| !children_of_ours().unwrap().contains(&child.id())));
    }

    #[test]
    fn a_name_made_to_confuse_does_not_shift_the_fields() {
        let text =
            b"7 (a) Z 1 2\n (b)) S 3 4 5 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 1000 10 18446744073709551615";
        assert_eq!(
            parse(7, text),
            Some(Stat {
                pid: 7,
                parent: 3,
                group: 4,
                session: 5,
                dead: false,
                zombie: false,
                stopped: false,
                of_kernel: false,
                started: 12345
            })
        );
    }

    #[test]
    fn a_thread_of_the_kernel_is_known_as_such() {
        let text = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 9 0 0 18446744073709551615";
        let thread = parse(2, text).unwrap();
        assert!(thread.of_kernel && thread.started == 9, "{thread:?}");
    }

    #[test]
    fn only_a_whole_entry_of_the_environment_counts() {
        let variable = std::env::vars_os().find(|(name, value)| !name.is_empty() && value.len() > 1).unwrap();
        let entry = [variable.0.as_encoded_bytes(), b"=", variable.1.as_encoded_bytes()].concat();
        assert!(carries(std::process::id(), &entry));
        assert!(!carries(std::process::id(), &entry[..entry.len() - 1]));
        assert!(!carries(std::process::id(), b"CC_GATEWAY_SESSION=not-here"));
    }

    #[test]
    fn the_newest_process_is_known() {
        let child = std::process::Command::new("/bin/true").spawn().unwrap();
        let newest = newest_pid().unwrap();
        // Others may have started some meanwhile.
        assert!(newest.wrapping_sub(child.id()) < 10_000, "{newest} after {}", child.id());
        child.wait_with_output().unwrap();
    }

    #[test]
    fn a_process_that_is_another_one_now_is_not_signalled() {
        let seen = Stat { started: 1, ..stat(std::process::id()).unwrap() };
        assert!(!signal(&seen, Signal::KILL));
    }
}
