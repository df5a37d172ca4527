//! What to start: program, arguments, the whole environment, and the marker that everything started from it will carry.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use super::error::SpawnError;
use super::user::RunAs;

/// The variable that names the session in the environment of everything a session starts.
pub const SESSION_VARIABLE: &str = "CC_GATEWAY_SESSION";
/// The variable that names the node, for what an instance leaves behind when it dies.
pub const INSTANCE_VARIABLE: &str = "CC_GATEWAY_INSTANCE";

/// One program to start. It has no `Debug`: its environment may hold secrets.
pub struct Launch {
    /// The file to run; absolute, see [`find_program`]. (A text file without `#!` is run by `/bin/sh`: the C library does that.)
    pub program: PathBuf,
    /// Its arguments, without the program's name.
    pub args: Vec<OsString>,
    /// The whole environment: nothing is inherited. The marker's two variables are added.
    pub env: BTreeMap<OsString, OsString>,
    /// The directory to start in; entered as `user`.
    pub cwd: PathBuf,
    /// What the program reads.
    pub stdin: StdinMode,
    /// What everything started from this program will carry.
    pub marker: Marker,
    /// The user to run as; `None`: the gateway's own.
    pub user: Option<RunAs>,
    /// Longer lines are cut, see [`super::Line::cut_from`].
    pub max_line_bytes: usize,
    /// How long after the program's exit its output may be held open by somebody else before the end is told.
    pub output_grace: Duration,
}

/// What a program's standard input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StdinMode {
    /// A pipe, given to the caller.
    Pipe,
    /// `/dev/null`.
    Null,
}

/// Names a session and its node in the environment of all of the session's processes, so that they can be found again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Marker {
    session: Uuid,
    instance: String,
}

impl Marker {
    /// The marker of `session` on the node `instance`.
    #[must_use]
    pub fn new(session: Uuid, instance: &str) -> Self {
        Self { session, instance: instance.to_owned() }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> Uuid {
        self.session
    }

    /// The node.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }
}

/// Finds the file to run: `name` itself if it is absolute, else the first match in `path_var` (the form of `PATH`; only absolute directories count).
///
/// It must be a regular file (links are followed) with an executable bit. A relative name with a slash is not found: there is no directory it could
/// safely be relative to. Blocks on the file system.
pub fn find_program(name: &Path, path_var: Option<&OsStr>) -> Result<PathBuf, SpawnError> {
    if name.is_absolute() {
        return executable(name).map(|()| name.to_owned());
    }
    if name.as_os_str().is_empty() || name.as_os_str().as_bytes().contains(&b'/') {
        return Err(SpawnError::NotFound);
    }
    let mut found = Err(SpawnError::NotFound);
    for directory in path_var.map(std::env::split_paths).into_iter().flatten().filter(|path| path.is_absolute()) {
        let candidate = directory.join(name);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(SpawnError::NotExecutable) => found = Err(SpawnError::NotExecutable),
            Err(_) => {}
        }
    }
    found
}

fn executable(path: &Path) -> Result<(), SpawnError> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => SpawnError::NotExecutable,
        _ => SpawnError::NotFound,
    })?;
    if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
        Ok(())
    } else {
        Err(SpawnError::NotExecutable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &Path, name: &str, mode: u32) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn h9_an_absolute_program_must_be_an_executable_file() {
        let directory = tempfile::tempdir().unwrap();
        let good = file(directory.path(), "good", 0o755);
        let plain = file(directory.path(), "plain", 0o644);
        assert_eq!(find_program(&good, None), Ok(good));
        assert_eq!(find_program(&plain, None), Err(SpawnError::NotExecutable));
        assert_eq!(find_program(directory.path(), None), Err(SpawnError::NotExecutable));
        assert_eq!(find_program(&directory.path().join("gone"), None), Err(SpawnError::NotFound));
    }

    #[test]
    fn h9_a_name_is_looked_up_in_the_path_and_the_first_that_can_run_wins() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        file(first.path(), "tool", 0o644);
        let good = file(second.path(), "tool", 0o755);
        file(first.path(), "only-plain", 0o644);
        let path = std::env::join_paths([first.path(), second.path()]).unwrap();
        assert_eq!(find_program(Path::new("tool"), Some(&path)), Ok(good));
        assert_eq!(find_program(Path::new("only-plain"), Some(&path)), Err(SpawnError::NotExecutable));
        assert_eq!(find_program(Path::new("gone"), Some(&path)), Err(SpawnError::NotFound));
        assert_eq!(find_program(Path::new("tool"), None), Err(SpawnError::NotFound));
    }

    #[test]
    fn a_relative_path_is_never_found() {
        assert_eq!(find_program(Path::new("bin/sh"), Some(OsStr::new("/"))), Err(SpawnError::NotFound));
        assert_eq!(find_program(Path::new("sh"), Some(OsStr::new("bin:.:"))), Err(SpawnError::NotFound));
    }
}
