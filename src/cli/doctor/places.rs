//! The places the gateway keeps things in: settings file, data directory, workspace roots.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, access, accessat};

use super::report::Check;
use crate::config::data_dir::{self, DataDirError};
use crate::config::{Loaded, Problem, Settings};
use crate::process::{RunAs, UserThread};

/// The settings: every problem, and whether a secret in the file can be read by others.
pub(super) fn settings(loaded: &Loaded, problems: &[Problem]) -> Vec<Check> {
    const NAME: &str = "settings";
    let mut checks: Vec<Check> = problems
        .iter()
        .map(|problem| Check::fail(NAME, problem.to_string(), "mend it; the gateway does not start with it"))
        .collect();
    let file = loaded.file.as_deref();
    if let Some(file) = file.filter(|file| holds_secrets(loaded) && is_open(file)) {
        let found = format!("{} holds secrets and others can read it", file.display());
        checks.push(Check::warn(NAME, found, format!("chmod 600 {}", file.display())));
    }
    if checks.is_empty() {
        let from = file.map_or("no settings file".to_owned(), |file| file.display().to_string());
        checks.push(Check::ok(NAME, format!("{from}; {} settings given", loaded.origins.len())));
    }
    checks
}

fn holds_secrets(loaded: &Loaded) -> bool {
    use crate::config::Source;
    ["jwt_secret", "agent_env"].iter().any(|leaf| matches!(loaded.origins.get(leaf), Some(Source::File { .. })))
}

fn is_open(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| metadata.mode() & 0o044 != 0)
}

/// The data directory: there, the gateway's own, closed to others.
pub(super) fn data_directory(settings: &Settings) -> Check {
    const NAME: &str = "data directory";
    let path = &settings.data.data_dir;
    match data_dir::inspect(path) {
        Ok(()) if access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok() => {
            Check::ok(NAME, format!("{} is this user's own, mode 0700", path.display()))
        }
        Ok(()) => Check::fail(NAME, format!("{} can't be written", path.display()), "make it writable for this user"),
        Err(DataDirError::Missing { .. }) => match first_that_exists(path) {
            Some(above) if access(above, Access::WRITE_OK | Access::EXEC_OK).is_ok() => {
                Check::ok(NAME, format!("{} will be made at first start", path.display()))
            }
            _ => Check::fail(
                NAME,
                format!("{} does not exist and this user can't make it", path.display()),
                "make it with mode 0700 for this user, or set data_dir",
            ),
        },
        Err(error) => Check::fail(NAME, error.to_string(), "mend it, or set data_dir to another directory"),
    }
}

/// The workspace roots: there, and writable for agents. The default one is made at start.
pub(super) fn workspace_roots(loaded: &Loaded) -> Vec<Check> {
    const NAME: &str = "workspaces";
    let is_default = !loaded.origins.contains_key("workspace_roots");
    let agent = loaded.settings.agent.agent_user.as_deref().and_then(|name| RunAs::lookup(name).ok());
    let whose = agent.as_ref().map_or("this user", |agent| agent.name.as_str());
    // What lies there is the agents'. If this process may not look as their user, it can't start agents either: that is
    // said by another check, and this one says what it sees itself.
    let thread = UserThread::start("doctor-workspaces", agent.as_ref()).ok();
    let judge = |root: &PathBuf| {
        let shown = root.display();
        let path = root.clone();
        let seen = thread.as_ref().and_then(|thread| thread.run_and_wait(move || Seen::look(&path)));
        match seen.unwrap_or_else(|| Seen::look(root)) {
            Seen::Other => {
                Check::fail(NAME, format!("{shown} is not a directory"), "set workspace_roots to directories")
            }
            Seen::Closed => Check::fail(
                NAME,
                format!("{shown} can't be written by {whose}"),
                "make it writable, or take it out of workspace_roots",
            ),
            Seen::Writable => Check::ok(NAME, format!("{shown} is there and writable for {whose}")),
            Seen::Nothing(_)
                if is_default
                    && first_that_exists(root).is_some_and(|above| access(above, Access::WRITE_OK).is_ok()) =>
            {
                Check::ok(NAME, format!("{shown} will be made at start"))
            }
            Seen::Nothing(error) => Check::fail(
                NAME,
                format!("{shown} can't be used: {error}"),
                "make it, or take it out of workspace_roots",
            ),
        }
    };
    loaded.settings.workspaces.workspace_roots.iter().map(judge).collect()
}

/// What a user finds where a directory should be.
enum Seen {
    Writable,
    Closed,
    /// No directory.
    Other,
    Nothing(std::io::Error),
}

impl Seen {
    fn look(path: &Path) -> Self {
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        match std::fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => Self::Other,
            // As this thread's user, not as the process's.
            Ok(_) if accessat(CWD, path, wanted, AtFlags::EACCESS).is_ok() => Self::Writable,
            Ok(_) => Self::Closed,
            Err(error) => Self::Nothing(error),
        }
    }
}

fn first_that_exists(path: &Path) -> Option<&Path> {
    path.ancestors().find(|above| above.exists())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::report::Level;
    use super::*;
    use crate::config::{self, Flag, Sources};

    fn loaded(home: &Path, flags: &[String]) -> (Loaded, Vec<Problem>) {
        let flags = flags.iter().map(|flag| Flag::set(flag).unwrap()).collect();
        config::load_what_is_right(&Sources { file: None, env: [("HOME", home)].into_iter().collect(), flags })
    }

    #[test]
    fn what_is_not_there_yet_will_be_made() {
        let home = tempfile::tempdir().unwrap();
        let (loaded, problems) = loaded(home.path(), &[]);
        let mut checks = settings(&loaded, &problems);
        checks.push(data_directory(&loaded.settings));
        checks.extend(workspace_roots(&loaded));
        assert_eq!(checks.iter().map(|check| check.level).collect::<Vec<_>>(), [Level::Ok; 3], "{checks:?}");
        assert!(checks[1].found.ends_with("made at first start") && checks[2].found.ends_with("made at start"));
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "doctor changes nothing");
    }

    #[test]
    fn a_data_directory_open_to_others_and_a_missing_root_fail() {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let root = format!("workspace_roots={}/gone", home.path().display());
        let (loaded, _) = loaded(home.path(), &[format!("data_dir={}", home.path().display()), root]);
        let check = data_directory(&loaded.settings);
        assert_eq!(check.level, Level::Fail);
        assert!(check.found.contains("mode 0755"), "{check:?}");
        assert_eq!(workspace_roots(&loaded)[0].level, Level::Fail);
    }

    #[test]
    fn a_root_must_be_writable_for_the_user_that_agents_run_as() {
        let agent = RunAs::lookup("daemon").unwrap();
        if UserThread::start("test-files", Some(&agent)).is_err() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let root = home.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
        let flags = ["agent_user=daemon".to_owned(), format!("workspace_roots={}", root.display())];
        let judged = || workspace_roots(&loaded(home.path(), &flags).0).remove(0);
        assert_eq!(judged().level, Level::Fail, "it is the gateway's");
        assert!(judged().found.ends_with("can't be written by daemon"), "{:?}", judged());
        std::os::unix::fs::chown(&root, Some(agent.uid), Some(agent.gid)).unwrap();
        assert_eq!(judged().level, Level::Ok);
    }

    #[test]
    fn every_problem_with_the_settings_is_a_failure_and_an_open_file_with_a_secret_a_warning() {
        let home = tempfile::tempdir().unwrap();
        let (wrong, problems) = loaded(home.path(), &["max_sessions=0".to_owned(), "nonsense=1".to_owned()]);
        assert_eq!(settings(&wrong, &problems).iter().filter(|check| check.level == Level::Fail).count(), 2);

        let file = home.path().join("c.toml");
        std::fs::write(&file, "[auth]\njwt_secret = \"9f1c6b0d5e7a48329f0b7c6d1e2a3f4b\"\n").unwrap();
        for (mode, level) in [(0o644, Level::Warn), (0o600, Level::Ok)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let sources = Sources { file: Some(file.clone()), ..Sources::default() };
            let (loaded, problems) = config::load_what_is_right(&sources);
            assert_eq!(settings(&loaded, &problems)[0].level, level);
        }
    }
}
