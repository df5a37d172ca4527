//! Puts a credentials file into its place: whole or not at all, mode 0600, owned by whoever this runs as.
//!
//! Claude may be renewing the login at the same moment and would then write its own over it. So Claude's lock is
//! taken, which is a directory; one that is older than Claude itself would wait for is passed over.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Inspector;
use super::content::Content;
use super::decide::{Refusal, judge, may_replace};
use super::place::{Place, read_small};

/// What Claude locks its renewals with.
const LOCK: &str = ".oauth_refresh.lock";
/// Claude breaks a lock that is older.
const LOCK_LIFE: Duration = Duration::from_secs(300);

/// What became of a file that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// It is Claude's login now.
    Written,
    /// It was already.
    Unchanged,
}

/// Makes `text` Claude's login, if it is one and no older than the one that is there; with `force` also if it is
/// older. Must run as the user that agents run as, whom the file then belongs to. Blocks on the file system.
///
/// # Errors
/// Why it is not installed; what was there is untouched then.
pub fn install(inspector: &Inspector, text: &str, now_ms: u64, force: bool) -> Result<Installed, Refusal> {
    let login = judge(Content::of(text), now_ms)?;
    let path = inspector.target().ok_or(Refusal::NoPlace)?;
    let directory = path.parent().ok_or(Refusal::NoPlace)?;
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| refusal(&error))?;
    let _lock = Lock::take(directory)?;
    let place = Place::look(path.clone());
    if read_small(&path).is_ok_and(|there| there.as_deref() == Some(text)) {
        return Ok(Installed::Unchanged);
    }
    match may_replace(&login, &place.found, now_ms) {
        Err(Refusal::Older) if force => {}
        outcome => outcome?,
    }
    write(directory, &path, text).map_err(|error| refusal(&error))?;
    Ok(Installed::Written)
}

fn write(directory: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| std::io::Error::from(ErrorKind::Other))?;
    let temporary = directory.join(format!(".credentials.json.tmp.{:016x}", u64::from_ne_bytes(random)));
    let written = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What can't be removed could not be made either.
        let _nothing_there = fs::remove_file(&temporary);
    }
    written?;
    // The name must survive a loss of power as the content does; where directories can't be synced, it may not.
    let _unsynced = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

fn refusal(error: &std::io::Error) -> Refusal {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Refusal::Forbidden,
        ErrorKind::ResourceBusy => Refusal::Mounted,
        ErrorKind::IsADirectory => Refusal::Directory,
        kind => Refusal::Failed(kind),
    }
}

/// Claude's lock, for as long as this lives.
struct Lock(Option<PathBuf>);

impl Lock {
    fn take(directory: &Path) -> Result<Self, Refusal> {
        let path = directory.join(LOCK);
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self(Some(path))),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let age = path.metadata().and_then(|metadata| metadata.modified()).map(|since| since.elapsed());
                match age {
                    Ok(Ok(age)) if age > LOCK_LIFE => Ok(Self(None)),
                    _ => Err(Refusal::Busy),
                }
            }
            Err(error) => Err(refusal(&error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Claude breaks it in time if it stays.
            let _stays = fs::remove_dir(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn text(end: u64) -> String {
        json!({"claudeAiOauth": {
            "accessToken": "sk-ant-oat01-a", "refreshToken": "sk-ant-ort01-r", "expiresAt": end,
            "scopes": ["user:inference"],
        }})
        .to_string()
    }

    fn inspector(directory: &Path) -> Inspector {
        let env = [("CLAUDE_CONFIG_DIR".into(), directory.into())].into();
        Inspector { env, agent_uid: rustix::process::geteuid().as_raw(), warn_ahead_ms: 0 }
    }

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_login_is_installed_with_its_directory_and_nothing_else_is_left() {
        let home = TempDir::new().unwrap();
        let directory = home.path().join("new/claude");
        assert_eq!(install(&inspector(&directory), &text(NOW + 1), NOW, false), Ok(Installed::Written));
        let file = directory.join(".credentials.json");
        assert_eq!(fs::read_to_string(&file).unwrap(), text(NOW + 1));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(names(&directory), [".credentials.json"]);
        assert_eq!(install(&inspector(&directory), &text(NOW + 1), NOW, false), Ok(Installed::Unchanged));
    }

    #[test]
    fn a_bad_or_older_one_changes_nothing_and_force_takes_the_older_one_only() {
        let home = TempDir::new().unwrap();
        let inspector = inspector(home.path());
        install(&inspector, &text(NOW + 9), NOW, false).unwrap();
        for (bad, refusal) in
            [("", Refusal::Empty), ("{", Refusal::Garbled), ("{}", Refusal::NoLogin), (&text(NOW + 1), Refusal::Older)]
        {
            assert_eq!(install(&inspector, bad, NOW, false), Err(refusal));
            assert_eq!(fs::read_to_string(home.path().join(".credentials.json")).unwrap(), text(NOW + 9));
        }
        assert_eq!(install(&inspector, "{}", NOW, true), Err(Refusal::NoLogin));
        assert_eq!(install(&inspector, &text(NOW + 1), NOW, true), Ok(Installed::Written));
        assert_eq!(names(home.path()), [".credentials.json"]);
    }

    #[test]
    fn while_claude_renews_its_login_nothing_is_installed_and_an_old_lock_does_not_count() {
        let home = TempDir::new().unwrap();
        let lock = home.path().join(LOCK);
        fs::create_dir(&lock).unwrap();
        assert_eq!(install(&inspector(home.path()), &text(NOW + 1), NOW, false), Err(Refusal::Busy));
        let long_ago = std::time::SystemTime::now() - 2 * LOCK_LIFE;
        File::open(&lock).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(install(&inspector(home.path()), &text(NOW + 1), NOW, false), Ok(Installed::Written));
        assert!(lock.exists(), "it is Claude's to remove");
    }

    #[test]
    fn a_link_is_replaced_and_a_directory_is_not() {
        let home = TempDir::new().unwrap();
        let (there, file) = (home.path().join("there"), home.path().join(".credentials.json"));
        fs::write(&there, text(NOW + 1)).unwrap();
        symlink(&there, &file).unwrap();
        assert_eq!(install(&inspector(home.path()), &text(NOW + 2), NOW, false), Ok(Installed::Written));
        assert!(!file.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&there).unwrap(), text(NOW + 1));
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(install(&inspector(home.path()), &text(NOW + 2), NOW, false), Err(Refusal::Directory));
    }
}
