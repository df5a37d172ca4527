//! What the process was started with, for tests of what an agent may see. Taken first of all, before the
//! program opens anything of its own.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

/// Everything, as JSON. Lines of `/proc/self/status` and `/proc/self/limits` keep their names.
pub(crate) fn take() -> Value {
    let fds = descriptors();
    let status = table("/proc/self/status", ':');
    let identity = |name: &str| status.get(name).cloned().unwrap_or_default();
    // Not by the system calls: the number is 0 if the leader is outside the pid namespace, as under a container's `exec`, and
    // rustix's `Pid` can't be 0.
    let number = |name: &str| status.get(name).and_then(|ids| ids.split_whitespace().last()?.parse::<u32>().ok());
    json!({
        "argv": std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "env": std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect::<BTreeMap<_, _>>(),
        "cwd": std::env::current_dir().ok(),
        "fds": fds,
        "umask": identity("Umask"),
        "pid": std::process::id(),
        "ppid": identity("PPid"),
        "pgid": number("NSpgid"),
        "sid": number("NSsid"),
        "uid": rustix::process::getuid().as_raw(),
        "gid": rustix::process::getgid().as_raw(),
        "groups": identity("Groups"),
        "no_new_privs": identity("NoNewPrivs"),
        "capabilities": {
            "effective": identity("CapEff"), "permitted": identity("CapPrm"), "inheritable": identity("CapInh"),
            "bounding": identity("CapBnd"), "ambient": identity("CapAmb"),
        },
        "signals": {"blocked": identity("SigBlk"), "ignored": identity("SigIgn")},
        "limits": limits(),
        "oom_score_adj": fs::read_to_string("/proc/self/oom_score_adj").ok().map(|text| text.trim().to_owned()),
    })
}

/// Open descriptors and what they lead to; the one that lists them is left out.
fn descriptors() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return BTreeMap::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
            let own = target.starts_with("/proc/") && target.ends_with("/fd");
            (!own).then(|| (entry.file_name().to_string_lossy().into_owned(), target))
        })
        .collect()
}

fn table(path: &str, separator: char) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let rows = text.lines().filter_map(|line| line.split_once(separator));
    rows.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// Resource limits: name → soft and hard.
fn limits() -> BTreeMap<String, [String; 2]> {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let rows = text.lines().skip(1).filter_map(|line| {
        // The columns have fixed widths: 26 characters of name, 21 of soft limit.
        let (name, rest) = line.split_at_checked(26)?;
        let mut values = rest.split_whitespace();
        Some((name.trim().to_owned(), [values.next()?.to_owned(), values.next()?.to_owned()]))
    });
    rows.collect()
}
