//! The state of Claude's own login, read and never written.
//!
//! `claude auth status` is of no use here: it may renew, or even wipe, the login it reports on. So the file is
//! read directly, and what Claude would do with it is told: which login wins, whether it can renew itself, and what
//! stands in the way. No token leaves this file: of a token it is only asked whether it is empty.
//!
//! What can be read and written depends on who asks. Where agents run as another user, this must run as that user
//! to tell the truth.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;

use super::members::{members, owned, read, string};
use crate::api::http::{AuthStatus, LoginMethod, LoginState};
use crate::telemetry::time::rfc3339_ms;

/// Larger than any credentials file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The scope without which Claude does not use a login.
const SCOPE: &str = "user:inference";

/// The logins of the environment in the order in which they win.
const ENVIRONMENT_LOGINS: [(&str, LoginMethod); 3] = [
    ("ANTHROPIC_API_KEY", LoginMethod::ApiKey),
    ("ANTHROPIC_AUTH_TOKEN", LoginMethod::AuthToken),
    ("CLAUDE_CODE_OAUTH_TOKEN", LoginMethod::OauthToken),
];

/// The state of the login that an agent with the environment `env` would use at `now_ms` (milliseconds since the
/// Unix epoch). A login that ends within `warn_ahead_ms` and can't renew itself is `expiring`.
#[must_use]
pub fn inspect(env: &BTreeMap<OsString, OsString>, now_ms: u64, warn_ahead_ms: u64) -> AuthStatus {
    let place = credentials_path(env).map(Place::look);
    let mut status = AuthStatus {
        status: LoginState::NotAuthenticated,
        method: LoginMethod::None,
        credentials_found: false,
        path: place.as_ref().map(|place| place.path.to_string_lossy().into_owned()),
        readable: place.as_ref().is_some_and(|place| place.readable),
        writable: place.as_ref().is_some_and(|place| place.saving == Saving::Possible),
        refreshable: false,
        expires_at: None,
        expires_in_seconds: None,
        subscription_type: None,
        message: String::new(),
        instructions: None,
    };
    if let Some((variable, method)) = environment_login(env) {
        let file_too = place.is_some_and(|place| matches!(place.content, Content::Login(_)));
        status.status = LoginState::Authenticated;
        status.method = method;
        status.credentials_found = true;
        status.message = format!("Claude logs in with {variable}; only a request shows whether it is accepted");
        if file_too {
            status.message.push_str(". It wins over the login in the credentials file");
            status.instructions =
                Some(vec![format!("To use the subscription login in the credentials file, unset {variable}")]);
        }
        return status;
    }
    match place {
        None => {
            status.message = "There is no login, and no home directory to look for one".to_owned();
            status.instructions =
                Some(vec!["Set claude_config_dir, or HOME in the gateway's environment".to_owned(), login_step()]);
        }
        Some(place) => place.tell(&mut status, now_ms, warn_ahead_ms),
    }
    status
}

/// The login of the environment that wins, if there is one; an empty one counts as not given.
fn environment_login(env: &BTreeMap<OsString, OsString>) -> Option<(&'static str, LoginMethod)> {
    ENVIRONMENT_LOGINS.into_iter().find(|(name, _)| variable(env, name).is_some())
}

/// Where Claude keeps its login.
fn credentials_path(env: &BTreeMap<OsString, OsString>) -> Option<PathBuf> {
    let directory = match variable(env, "CLAUDE_CONFIG_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => Path::new(variable(env, "HOME")?).join(".claude"),
    };
    Some(directory.join(".credentials.json"))
}

fn variable<'a>(env: &'a BTreeMap<OsString, OsString>, name: &str) -> Option<&'a OsString> {
    env.get(OsStr::new(name)).filter(|value| !value.is_empty())
}

fn login_step() -> String {
    "Run `claude auth login` as the user that agents run as, with the same CLAUDE_CONFIG_DIR; or make a token with \
     `claude setup-token` and set CLAUDE_CODE_OAUTH_TOKEN to it"
        .to_owned()
}

/// The credentials file as it was found.
struct Place {
    path: PathBuf,
    readable: bool,
    saving: Saving,
    symlink: bool,
    content: Content,
}

/// Can a renewed login be saved? Claude makes its locks in the directory and replaces the file there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saving {
    Possible,
    /// Claude can't lock, so it does not renew.
    DirectoryReadOnly,
    /// Claude can lock, so it renews, and then can't save: the refresh token is used up for nothing.
    FileReadOnly,
}

enum Content {
    Missing,
    NotAFile,
    Forbidden,
    Garbled,
    NoLogin,
    Login(Login),
}

struct Login {
    has_access_token: bool,
    has_refresh_token: bool,
    has_scope: bool,
    expires_at_ms: Option<u64>,
    subscription: Option<String>,
}

impl Place {
    fn look(path: PathBuf) -> Self {
        let content = look_inside(&path);
        let directory = path.parent().unwrap_or(Path::new("/"));
        let saving = match rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK) {
            Err(_) => Saving::DirectoryReadOnly,
            // A file without the write bit is replaced all the same; one on a read-only mount can't be.
            Ok(()) => match rustix::fs::access(&path, Access::WRITE_OK) {
                Err(Errno::ROFS) => Saving::FileReadOnly,
                _ => Saving::Possible,
            },
        };
        Self {
            readable: !matches!(content, Content::Missing | Content::NotAFile | Content::Forbidden),
            saving,
            symlink: path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()),
            content,
            path,
        }
    }

    fn tell(self, status: &mut AuthStatus, now_ms: u64, warn_ahead_ms: u64) {
        let (state, message, step) = match &self.content {
            Content::Login(login) => return self.tell_login(login, status, now_ms, warn_ahead_ms),
            Content::Missing => {
                (LoginState::NotAuthenticated, "There is no login: the credentials file does not exist", login_step())
            }
            Content::NoLogin => {
                (LoginState::NotAuthenticated, "There is no login in the credentials file", login_step())
            }
            Content::Forbidden => (
                LoginState::Unreadable,
                "The credentials file can't be read",
                "Make the file and its directory belong to the user that agents run as, modes 0600 and 0700".to_owned(),
            ),
            Content::NotAFile => (
                LoginState::Unreadable,
                "The credentials file is not a regular file",
                "Remove it (a missing file that was mounted into a container becomes a directory), mount the \
                 directory around it instead, and log in again"
                    .to_owned(),
            ),
            Content::Garbled => (
                LoginState::Unreadable,
                "The credentials file is not the JSON that Claude writes",
                format!("Remove the file. {}", login_step()),
            ),
        };
        status.status = state;
        status.message = message.to_owned();
        status.instructions = Some(vec![step]);
    }

    fn tell_login(&self, login: &Login, status: &mut AuthStatus, now_ms: u64, warn_ahead_ms: u64) {
        status.subscription_type.clone_from(&login.subscription);
        status.credentials_found = login.has_access_token || login.has_refresh_token;
        if status.credentials_found {
            status.method = LoginMethod::OauthFile;
        }
        if !login.has_access_token {
            status.message = "The login was ended: Claude emptied it because its renewal was refused".to_owned();
            status.instructions = Some(vec![login_step()]);
            return;
        }
        status.refreshable = login.has_refresh_token && self.saving == Saving::Possible;
        status.expires_at = login.expires_at_ms.map(rfc3339_ms);
        status.expires_in_seconds = login.expires_at_ms.map(|end| seconds_between(now_ms, end));
        if !login.has_scope {
            status.message = format!("The login lacks the scope {SCOPE}, without which Claude does not use it");
            status.instructions = Some(vec![login_step()]);
            return;
        }
        let ended = login.expires_at_ms.is_some_and(|end| end <= now_ms);
        let soon = login.expires_at_ms.is_some_and(|end| end <= now_ms.saturating_add(warn_ahead_ms));
        let (state, message) = match (status.refreshable, ended, soon) {
            (true, true, _) => {
                (LoginState::Authenticated, "Claude is logged in; the next session renews the access token")
            }
            (true, false, _) => (LoginState::Authenticated, "Claude is logged in and renews the login itself"),
            (false, true, _) => (LoginState::Expired, "The login has ended and can't renew itself"),
            (false, false, true) => (LoginState::Expiring, "The login ends soon and can't renew itself"),
            (false, false, false) if login.expires_at_ms.is_some() => {
                (LoginState::Authenticated, "Claude is logged in; the login can't renew itself")
            }
            (false, false, false) => (LoginState::Authenticated, "Claude is logged in; the login has no known end"),
        };
        status.status = state;
        status.message = message.to_owned();
        let mut steps = self.obstacles(login);
        if matches!(state, LoginState::Expired | LoginState::Expiring) {
            steps.push(login_step());
        }
        status.instructions = (!steps.is_empty()).then_some(steps);
    }

    /// What stands in the way of a renewal, and what to do about it.
    fn obstacles(&self, login: &Login) -> Vec<String> {
        let mut steps = Vec::new();
        if !login.has_refresh_token {
            return steps;
        }
        match self.saving {
            Saving::Possible => {}
            Saving::DirectoryReadOnly => steps.push(
                "Claude can't renew the login because it may not write to the credentials file's directory: make \
                 the directory writable for the user that agents run as"
                    .to_owned(),
            ),
            Saving::FileReadOnly => steps.push(
                "The credentials file is mounted read-only: Claude uses up the refresh token and can't save the new \
                 one. Mount the directory around it instead, writable"
                    .to_owned(),
            ),
        }
        if self.symlink {
            steps.push(
                "The credentials file is a symbolic link: a renewal replaces the link and leaves a dead login behind \
                 it. Share the whole directory by CLAUDE_CONFIG_DIR instead"
                    .to_owned(),
            );
        }
        steps
    }
}

fn look_inside(path: &Path) -> Content {
    match path.metadata() {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            // A link that leads nowhere is a missing file too.
            return Content::Missing;
        }
        Err(_) => return Content::Forbidden,
        // Before it is opened: opening a pipe would wait.
        Ok(metadata) if !metadata.is_file() => return Content::NotAFile,
        Ok(_) => {}
    }
    let mut text = String::new();
    let read = File::open(path).map(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
    match read {
        Err(_) => Content::Forbidden,
        Ok(Err(_)) => Content::Garbled,
        Ok(Ok(bytes)) if bytes as u64 > MAX_FILE_BYTES => Content::Garbled,
        Ok(Ok(_)) => understand(&text),
    }
}

fn understand(text: &str) -> Content {
    let Some([login]) = members(text, &["claudeAiOauth"]) else { return Content::Garbled };
    let Some(login) = login.filter(|login| login.get() != "null") else { return Content::NoLogin };
    let Some([access, refresh, scopes, expires_at, subscription]) =
        members(login.get(), &["accessToken", "refreshToken", "scopes", "expiresAt", "subscriptionType"])
    else {
        return Content::Garbled;
    };
    let given = |token| string(token).is_some_and(|token| !token.is_empty());
    Content::Login(Login {
        has_access_token: given(access),
        has_refresh_token: given(refresh),
        has_scope: read::<Vec<String>>(scopes).is_some_and(|scopes| scopes.iter().any(|scope| scope == SCOPE)),
        // Claude's numbers are floats; a cast keeps what is beyond the range at its end.
        expires_at_ms: read::<f64>(expires_at).map(|milliseconds| milliseconds as u64),
        subscription: owned(subscription),
    })
}

/// From `from_ms` to `to_ms` in whole seconds, rounded down; negative if `to_ms` is past.
fn seconds_between(from_ms: u64, to_ms: u64) -> i64 {
    let from = i64::try_from(from_ms).unwrap_or(i64::MAX);
    let to = i64::try_from(to_ms).unwrap_or(i64::MAX);
    (to - from).div_euclid(1_000)
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
