//! How many agents live, from their own side: independent of what the gateway believes.
//!
//! With `SCRIPTED_AGENT_COUNT_DIR` set, an agent holds a lock on a file of its own there; the kernel lets go
//! of it whatever ends the process. At its start, while it holds the directory's own lock, each agent counts
//! the locks that are held and adds the number to `starts`: its largest line is the true peak.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The mark of a living agent.
pub(crate) struct Presence {
    path: PathBuf,
    /// Held as long as the process lives; never read.
    _locked: File,
}

impl Presence {
    /// Makes the mark, if the environment asks for one.
    pub(crate) fn mark() -> io::Result<Option<Self>> {
        let Some(directory) = std::env::var_os("SCRIPTED_AGENT_COUNT_DIR").map(PathBuf::from) else { return Ok(None) };
        fs::create_dir_all(&directory)?;
        let gate = File::create(directory.join("gate"))?;
        gate.lock()?;
        let path = directory.join(format!("agent-{}", std::process::id()));
        let locked = File::create(&path)?;
        locked.lock()?;
        let line = format!("{}\n", living(&directory)? + 1);
        File::options().create(true).append(true).open(directory.join("starts"))?.write_all(line.as_bytes())?;
        Ok(Some(Self { path, _locked: locked }))
    }

    /// Takes the mark away, before a proper exit.
    pub(crate) fn remove(&self) {
        let _already_gone = fs::remove_file(&self.path);
    }
}

/// How many others hold their lock.
fn living(directory: &Path) -> io::Result<usize> {
    let own = format!("agent-{}", std::process::id());
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with("agent-") || name.to_string_lossy() == own.as_str() {
            continue;
        }
        if let Ok(file) = File::open(entry.path())
            && file.try_lock_shared().is_err()
        {
            count += 1;
        }
    }
    Ok(count)
}
