//! What a process has used: processor time and memory, from `/proc`.

use std::fs;
use std::time::Duration;

/// Longer than anything is put off.
const PUT_OFF: Duration = Duration::from_secs(2);

/// A tick of what `/proc/PID/stat` counts.
const TICK: Duration = Duration::from_millis(10);

/// The processor time that it has used: to the nanosecond for threads that live, and to a tick with those that have ended.
pub(crate) fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process that lives");
    let nanoseconds = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that lives");
    let (_, fields) = text.rsplit_once(')').expect("a name in brackets");
    let ticks = fields.split(' ').skip(12).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
    Duration::from_nanos(nanoseconds.sum()).max(TICK * ticks)
}

/// The same, with what it has put off: the gateway leaves a part of the store's work until it is quiet.
pub(crate) fn cpu_at_rest(pid: u32) -> Duration {
    rest();
    cpu(pid)
}

/// Waits until nothing is left to do of what was before.
pub(crate) fn rest() {
    std::thread::sleep(PUT_OFF);
}

/// The memory that it alone keeps resident, in bytes.
pub(crate) fn memory(pid: u32) -> u64 {
    status(pid, "RssAnon:") * 1024
}

/// The most memory that it has had resident, files included, in bytes.
pub(crate) fn peak(pid: u32) -> u64 {
    status(pid, "VmHWM:") * 1024
}

/// From now on [`peak`] is of the time after this.
pub(crate) fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the peak can be reset");
}

/// All memory that it has resident, in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:") * 1024
}

fn status(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process that lives");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of its status");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
