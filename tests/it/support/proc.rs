//! Looks at processes through `/proc`.

use std::fs;

/// Is there such a process, zombies not counted?
pub(crate) fn alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// Can it do nothing of its own? It is stopped or dead; or it waits in the kernel with a stop on its way, as whoever
/// waits for a `vfork`ed child that is stopped itself: it stops before it does anything else.
pub(crate) fn stands_still(pid: u32) -> bool {
    match state(pid) {
        Some('T' | 'Z') | None => true,
        Some('D') => is_to_stop(pid),
        Some(_) => false,
    }
}

/// Has SIGSTOP been sent to it that it has not come to yet?
fn is_to_stop(pid: u32) -> bool {
    const SIGSTOP: u64 = 1 << 18;
    ["SigPnd:", "ShdPnd:"].iter().any(|pending| mask(pid, pending).is_some_and(|mask| mask & SIGSTOP != 0))
}

/// A mask of its status; `None` if it has ended.
fn mask(pid: u32, name: &str) -> Option<u64> {
    u64::from_str_radix(&status_word(pid, name)?, 16).ok()
}

/// Its state: `R`, `S`, `T` (stopped), `Z` (zombie) …
pub(crate) fn state(pid: u32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

/// Its resident memory in KiB.
pub(crate) fn rss_kib(pid: u32) -> u64 {
    status_number(pid, "VmRSS:").unwrap_or_else(|| panic!("process {pid} has no resident memory: has it ended?"))
}

/// The most resident memory that it ever had, in KiB.
pub(crate) fn peak_rss_kib(pid: u32) -> u64 {
    status_number(pid, "VmHWM:").unwrap_or_else(|| panic!("process {pid} has no resident memory: has it ended?"))
}

/// From now on the most resident memory counts from what it has now.
pub(crate) fn forget_peak_rss(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("a process of ours");
}

/// How many bytes it has written, to whatever.
pub(crate) fn written_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap_or(0)
}

/// How many descriptors it has open.
pub(crate) fn fd_count(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the descriptors of a living process").count()
}

/// What its descriptors stand for, without the files that the store opens as it needs them: a reader
/// that two requests at once bring into being stays for the next two.
pub(crate) fn descriptors_but_the_store(pid: u32) -> Vec<String> {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).expect("the descriptors of a living process");
    // One that was closed since the folder was read has no target, and is not there.
    let targets = all.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    targets
        .map(|target| target.to_string_lossy().into_owned())
        .filter(|target| !target.contains("/gateway.db"))
        .collect()
}

/// How many threads it has.
pub(crate) fn thread_count(pid: u32) -> u64 {
    status_number(pid, "Threads:").unwrap_or(0)
}

/// Its children, zombies too.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    all().into_iter().filter(|&other| parent(other) == Some(pid)).collect()
}

/// Its children that have ended and that it has not waited for.
pub(crate) fn zombies(pid: u32) -> Vec<u32> {
    children(pid).into_iter().filter(|&child| state(child) == Some('Z')).collect()
}

/// Its parent.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// Living processes whose environment holds exactly `entry` (`NAME=value`).
pub(crate) fn with_environment(entry: &str) -> Vec<u32> {
    let holds = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == entry.as_bytes())
    };
    all().into_iter().filter(holds).filter(|&pid| alive(pid)).collect()
}

/// Its effective capabilities, one bit each.
pub(crate) fn capabilities(pid: u32) -> u64 {
    mask(pid, "CapEff:").expect("the capabilities of a living process")
}

/// Has it a controlling terminal?
pub(crate) fn has_terminal(pid: u32) -> bool {
    stat(pid).and_then(|fields| fields.get(4)?.parse::<i64>().ok()).is_some_and(|terminal| terminal != 0)
}

/// Its resource limits: name, soft limit, hard limit, as `/proc` writes them.
pub(crate) fn limits(pid: u32) -> Vec<(String, [String; 2])> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).expect("the limits of a living process");
    let row = |line: &str| {
        // The columns have fixed widths: 26 characters of name.
        let (name, values) = line.split_at(26);
        let mut values = values.split_whitespace().map(str::to_owned);
        (name.trim().to_owned(), [values.next().expect("a limit"), values.next().expect("a limit")])
    };
    text.lines().skip(1).map(row).collect()
}

/// Its command line, for messages.
pub(crate) fn command_line(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ")
}

/// Sends a signal; a process that has gone is no failure.
pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
    let _gone = rustix::process::kill_process(pid, signal);
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The fields after the program's name, which may hold anything: state, parent, group, session …
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}

fn status_number(pid: u32, name: &str) -> Option<u64> {
    status_word(pid, name)?.parse().ok()
}

fn status_word(pid: u32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next().map(str::to_owned)
}
