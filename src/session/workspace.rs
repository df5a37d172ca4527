//! Workspaces: inside the allowed roots, resolved through every link, or made fresh.
//!
//! What lies there is the agents': it is looked at and made as the user that they run as. A gateway that may change
//! users need not have the right to pass over permissions or to give files away.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::error::SessionError;
use crate::process::{RunAs, UserThread};

/// The roots that workspaces must lie in.
#[derive(Debug, Clone)]
pub struct Workspaces {
    roots: Vec<PathBuf>,
    trusted: Vec<PathBuf>,
    agent: Agent,
}

/// Whose workspaces they are.
#[derive(Debug, Clone, Default)]
struct Agent {
    user: Option<RunAs>,
    /// Touches files as that user. `None`: agents run as the gateway's own, or it may not become theirs; then no agent
    /// can be started either.
    thread: Option<Arc<UserThread>>,
}

/// A workspace that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its real path.
    pub path: PathBuf,
    /// Do a project's own settings and hooks load here?
    pub trusted: bool,
}

impl Workspaces {
    /// Resolves the roots, making those that are missing (mode 0700, `owner`'s if there is one).
    ///
    /// # Errors
    /// When a root can't be made or resolved; the text names it, for the operator.
    pub fn prepare(roots: &[PathBuf], trusted: &[PathBuf], owner: Option<RunAs>) -> Result<Self, String> {
        let agent = Agent::new(owner);
        let resolve = |root: &PathBuf| {
            // Agents may be in where the gateway may not.
            let found = |root: &PathBuf| match agent.resolve(root.clone()) {
                Ok((real, _)) => Ok(real),
                Err(_) => root.canonicalize(),
            };
            match found(root) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    agent
                        .make(root)
                        .map_err(|error| format!("workspace root {} can't be made: {error}", root.display()))?;
                    found(root)
                }
                outcome => outcome,
            }
            .map_err(|error| format!("workspace root {} can't be used: {error}", root.display()))
        };
        let trusted = trusted.iter().map(resolve).collect::<Result<Vec<_>, _>>()?;
        let mut roots = roots.iter().map(resolve).collect::<Result<Vec<_>, _>>()?;
        for root in &trusted {
            if !roots.contains(root) {
                roots.push(root.clone());
            }
        }
        Ok(Self { roots, trusted, agent })
    }

    /// The workspace a caller named: absolute, or relative to the first root.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`] outside the roots, also through a link; [`SessionError::InvalidParams`]
    /// if inside there is no such directory.
    pub fn named(&self, name: &str) -> Result<Workspace, SessionError> {
        let outside = || SessionError::NotAllowed("the workspace lies outside the allowed roots".to_owned());
        if name.is_empty() || name.contains('\0') {
            return Err(SessionError::InvalidParams("`workspace` must name a directory".to_owned()));
        }
        let base = self.roots.first().ok_or_else(outside)?;
        let path = base.join(name);
        // Before the file system is asked, so that nobody can probe what exists elsewhere.
        let plain = lexical(&path);
        if !self.roots.iter().any(|root| plain.starts_with(root)) && !self.reaches_a_root(&plain) {
            return Err(outside());
        }
        let missing = || SessionError::InvalidParams("`workspace` is not a directory that exists".to_owned());
        let (real, is_dir) = self.agent.resolve(path).map_err(|_| missing())?;
        if !self.roots.iter().any(|root| real.starts_with(root)) {
            return Err(outside());
        }
        if !is_dir {
            return Err(missing());
        }
        let trusted = self.trusted.iter().any(|root| real.starts_with(root));
        Ok(Workspace { path: real, trusted })
    }

    /// Where the session's own directory will be: under the first root. See [`Workspaces::make`].
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`] if there is no root.
    pub fn fresh(&self, session: Uuid) -> Result<Workspace, SessionError> {
        let root = self.roots.first().ok_or_else(no_workspace)?;
        let path = root.join(session.to_string());
        let trusted = self.trusted.iter().any(|trusted| path.starts_with(trusted));
        Ok(Workspace { path, trusted })
    }

    /// Makes a fresh workspace: the agent's own, mode 0700.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`] if it can't be made; why is logged.
    pub fn make(&self, path: &Path) -> Result<(), SessionError> {
        self.agent.make(path).map_err(|error| {
            tracing::error!(%error, path = %path.display(), "a workspace could not be made");
            no_workspace()
        })
    }

    /// Removes a directory that is empty; another one stays.
    pub fn remove_if_empty(&self, path: &Path) {
        if let Err(error) = self.agent.remove(path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "a workspace that nobody used could not be removed");
        }
    }

    /// A root given through a link (`/tmp` on some systems) is still the same root.
    fn reaches_a_root(&self, path: &Path) -> bool {
        path.ancestors()
            .filter_map(|ancestor| ancestor.canonicalize().ok())
            .next()
            .is_some_and(|real| self.roots.iter().any(|root| real.starts_with(root)))
    }
}

fn no_workspace() -> SessionError {
    SessionError::NotAllowed("no workspace can be made for the session; name one".to_owned())
}

impl Agent {
    fn new(user: Option<RunAs>) -> Self {
        let other = user.as_ref().filter(|user| !user.is_this_process());
        let thread = other.and_then(|user| UserThread::start("workspaces", Some(user)).ok()).map(Arc::new);
        Self { user, thread }
    }

    /// Does `work` with the agents' rights.
    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
        match &self.thread {
            Some(thread) => thread.run_and_wait(work).unwrap_or_else(|| Err(Error::other("the thread has ended"))),
            None => work(),
        }
    }

    /// The real path, and whether it is a directory.
    fn resolve(&self, path: PathBuf) -> std::io::Result<(PathBuf, bool)> {
        self.run(move || {
            let real = path.canonicalize()?;
            let is_dir = real.is_dir();
            Ok((real, is_dir))
        })
    }

    /// Removes an empty directory, as [`Agent::make`] makes one.
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        let theirs = path.to_owned();
        match self.run(move || fs::remove_dir(theirs)) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied && self.thread.is_some() => fs::remove_dir(path),
            removed => removed,
        }
    }

    /// Makes a directory of the agents' own. Where they may not make one, the gateway makes it and gives it to them, if
    /// it may.
    fn make(&self, path: &Path) -> std::io::Result<()> {
        let theirs = path.to_owned();
        match (self.run(move || make(&theirs)), &self.user) {
            (Err(error), Some(user)) if error.kind() == ErrorKind::PermissionDenied && self.thread.is_some() => {
                make(path)?;
                std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)).inspect_err(|_| {
                    // One that agents can't use must not look like a workspace.
                    let _stays = fs::remove_dir(path);
                })
            }
            (made, _) => made,
        }
    }
}

fn make(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The path with `.` and `..` taken out without asking the file system.
fn lexical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared() -> (tempfile::TempDir, Workspaces) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("inside")).unwrap();
        fs::create_dir_all(dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), root.join("link")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let workspaces = Workspaces::prepare(&[root], &[], None).unwrap();
        (dir, workspaces)
    }

    #[test]
    fn a_directory_inside_a_root_is_used_by_absolute_and_by_relative_name() {
        let (dir, workspaces) = prepared();
        let expected = dir.path().join("root/inside").canonicalize().unwrap();
        assert_eq!(workspaces.named("inside").unwrap().path, expected);
        assert_eq!(workspaces.named(expected.to_str().unwrap()).unwrap().path, expected);
        assert_eq!(workspaces.named("inside/../inside/.").unwrap().path, expected);
    }

    #[test]
    fn e12_what_lies_outside_or_leads_out_is_not_allowed() {
        let (dir, workspaces) = prepared();
        let elsewhere = dir.path().join("elsewhere");
        let missing = dir.path().join("never-was");
        for name in [
            "..",
            "../..",
            "../elsewhere",
            "/",
            "/etc",
            "link",
            "inside/../../elsewhere",
            elsewhere.to_str().unwrap(),
            missing.to_str().unwrap(),
        ] {
            assert!(matches!(workspaces.named(name), Err(SessionError::NotAllowed(_))), "{name}");
        }
    }

    #[test]
    fn e12_what_is_missing_or_no_directory_is_an_invalid_parameter() {
        let (_dir, workspaces) = prepared();
        for name in ["nothing", "file", "", "a\0b"] {
            assert!(matches!(workspaces.named(name), Err(SessionError::InvalidParams(_))), "{name:?}");
        }
    }

    #[test]
    fn a_fresh_workspace_is_the_sessions_own_and_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let (_dir, workspaces) = prepared();
        let id = Uuid::new_v4();
        let workspace = workspaces.fresh(id).unwrap();
        assert!(!workspace.path.exists());
        workspaces.make(&workspace.path).unwrap();
        assert_eq!(workspace.path.file_name().unwrap().to_str(), Some(id.to_string().as_str()));
        assert_eq!(fs::metadata(&workspace.path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!workspace.trusted);
    }

    #[test]
    fn only_an_empty_workspace_is_removed() {
        let (_dir, workspaces) = prepared();
        let workspace = workspaces.fresh(Uuid::new_v4()).unwrap();
        workspaces.make(&workspace.path).unwrap();
        fs::write(workspace.path.join("work"), "").unwrap();
        workspaces.remove_if_empty(&workspace.path);
        assert!(workspace.path.join("work").exists());
        fs::remove_file(workspace.path.join("work")).unwrap();
        workspaces.remove_if_empty(&workspace.path);
        assert!(!workspace.path.exists());
    }
}
