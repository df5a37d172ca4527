//! Where things lie when the settings do not say so, and what a path in the settings means.
//!
//! Afterwards `data_dir`, `store_url` and `workspace_roots` are filled in and absolute. Two stay as given,
//! since naming even their default means something else, and have a function that says where they are:
//! - `claude_config_dir`: told of it, Claude looks for more of its files there ([`claude_config_dir`]);
//! - `jwt_secret_file`: a file that is named is never made ([`default_secret_file`]).

use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use super::loader::Loaded;
use super::problem::Problem;
use super::settings::Settings;
use super::sources::Environment;
use super::store_url::SQLITE_SCHEME;

/// Fills in the paths that were left empty, and makes the others absolute: `~/` is the home directory, a
/// relative one begins where the gateway was started.
pub(super) fn fill_in(loaded: &mut Loaded, env: &Environment, problems: &mut Vec<Problem>) {
    let home = home(env);
    let data_origin = loaded.origin("data_dir");
    let roots_origin = loaded.origin("workspace_roots");
    let settings = &mut loaded.settings;

    let data = &mut settings.data;
    if data.data_dir.as_os_str().is_empty() {
        match data_home(env) {
            Some(data_home) => data.data_dir = data_home.join("cc-gateway"),
            None => problems.push(Problem::new(
                data_origin,
                Some("data_dir"),
                "neither XDG_DATA_HOME nor HOME is set: name a directory",
            )),
        }
    }
    let home = home.as_deref();
    make_absolute(&mut data.data_dir, home);
    if data.store_url.is_empty() {
        data.store_url = format!("{SQLITE_SCHEME}{}", data.data_dir.join("gateway.db").display());
    } else if let Some(file) = data.store_url.strip_prefix(SQLITE_SCHEME).filter(|file| !file.is_empty()) {
        let mut file = PathBuf::from(file);
        make_absolute(&mut file, home);
        data.store_url = format!("{SQLITE_SCHEME}{}", file.display());
    }

    let auth = &mut settings.auth;
    make_absolute(&mut auth.jwt_secret_file, home);
    make_absolute(&mut auth.admin_password_file, home);
    make_absolute(&mut auth.signing_key_file, home);
    auth.accepted_key_files.iter_mut().for_each(|path| make_absolute(path, home));

    let workspaces = &mut settings.workspaces;
    if workspaces.workspace_roots.is_empty() {
        match home {
            Some(home) => workspaces.workspace_roots.push(home.join("cc-gateway-workspaces")),
            None => problems.push(Problem::new(
                roots_origin,
                Some("workspace_roots"),
                "HOME is not set: name the directories that sessions may work in",
            )),
        }
    }
    // What these mean must not depend on where the gateway was started: relative ones are refused later.
    let fixed = workspaces.workspace_roots.iter_mut().chain(&mut workspaces.trusted_workspace_roots);
    let agent = &mut settings.agent;
    let agents = [&mut agent.claude_config_dir, &mut agent.credentials_uploads_dir, &mut agent.agent_program];
    for path in fixed.chain(agents) {
        expand_home(path, home);
    }
}

/// The file of the embedded store; `None` if another store is set.
#[must_use]
pub fn store_file(settings: &Settings) -> Option<PathBuf> {
    settings.data.store_url.strip_prefix(SQLITE_SCHEME).filter(|file| !file.is_empty()).map(PathBuf::from)
}

/// The file that the signing secret is made in at first start, when the settings name neither.
#[must_use]
pub fn default_secret_file(settings: &Settings) -> PathBuf {
    settings.data.data_dir.join("jwt-secret")
}

/// The directory of Claude's configuration and login: the one set, else `~/.claude` of the user that agents
/// run as. `None` if that user has no home.
#[must_use]
pub fn claude_config_dir(settings: &Settings, env: &Environment) -> Option<PathBuf> {
    let agent = &settings.agent;
    if !agent.claude_config_dir.as_os_str().is_empty() {
        return Some(agent.claude_config_dir.clone());
    }
    let home = match &agent.agent_user {
        Some(name) => User::from_name(name).ok().flatten().map(|user| user.dir),
        None => home(env),
    };
    home.map(|home| home.join(".claude"))
}

/// `$XDG_CONFIG_HOME`, else `~/.config`; `None` if this user has no home.
#[must_use]
pub fn config_home(env: &Environment) -> Option<PathBuf> {
    absolute(env, "XDG_CONFIG_HOME").or_else(|| home(env).map(|home| home.join(".config")))
}

fn data_home(env: &Environment) -> Option<PathBuf> {
    absolute(env, "XDG_DATA_HOME").or_else(|| home(env).map(|home| home.join(".local").join("share")))
}

/// `$HOME`, else what the user database says.
fn home(env: &Environment) -> Option<PathBuf> {
    absolute(env, "HOME").or_else(|| {
        let user = User::from_uid(Uid::effective()).ok().flatten()?;
        user.dir.is_absolute().then_some(user.dir)
    })
}

/// A variable's path. One that is not absolute counts as not set, as the XDG specification has it.
fn absolute(env: &Environment, name: &str) -> Option<PathBuf> {
    env.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn expand_home(path: &mut PathBuf, home: Option<&Path>) {
    if let (Ok(rest), Some(home)) = (path.strip_prefix("~"), home) {
        *path = home.join(rest);
    }
}

fn make_absolute(path: &mut PathBuf, home: Option<&Path>) {
    expand_home(path, home);
    // Fails only for an empty path, or when the working directory is gone; then it stays as it is.
    if let Ok(absolute) = std::path::absolute(&*path) {
        *path = absolute;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_home_the_one_of_the_account_database_is_taken() {
        let Some(user) = User::from_uid(Uid::effective()).unwrap() else { return };
        assert_eq!(config_home(&Environment::default()), Some(user.dir.join(".config")));
    }
}
