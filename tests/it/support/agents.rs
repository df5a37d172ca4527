//! How many scripted agents live, by their own account (see `presence` of the scripted agent).

use std::fs::{self, File};
use std::path::Path;

/// Agents that live now.
pub(crate) fn running(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("agent-"))
        .filter(|entry| File::open(entry.path()).is_ok_and(|file| file.try_lock_shared().is_err()))
        .count()
}

/// The most agents that ever lived at once.
pub(crate) fn peak(directory: &Path) -> usize {
    starts(directory).into_iter().max().unwrap_or(0)
}

/// How many agents were ever started.
pub(crate) fn started(directory: &Path) -> usize {
    starts(directory).len()
}

fn starts(directory: &Path) -> Vec<usize> {
    let text = fs::read_to_string(directory.join("starts")).unwrap_or_default();
    text.lines().map(|line| line.parse().expect("a number of agents")).collect()
}
