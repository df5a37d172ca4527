//! Claude's own login: which one Claude would use, whether it serves, and how one is put in its place.
//!
//! `claude auth status` is of no use here: it may renew, or even wipe, the login it reports on. So the files are
//! read directly, and what Claude would do with them is told: which login wins, whether it can renew itself, and
//! what stands in the way. Looking ([`Inspector::inspect`]) changes nothing and spends nothing; only [`install()`]
//! writes. No token leaves these files: of a token it is only asked whether it is empty.
//!
//! What can be read and written depends on who asks. Where agents run as another user, these must run as that user
//! to tell the truth; this module does not know how.

mod content;
mod decide;
mod install;
mod judge;
mod place;
mod sources;
pub mod uploads;

use std::borrow::Cow;
use std::path::PathBuf;

pub use decide::Refusal;
pub use install::{Installed, install};
use nix::unistd::{Uid, User};
use place::{Place, credentials_path};
use sources::{Variables, Winner, variable};

use crate::api::http::{AuthStatus, CredentialsFile, LoginMethod, LoginState};

/// The variable of the gateway's own environment that may hold a credentials file, in base64. Agents never get it.
pub const CREDENTIALS_VARIABLE: &str = "CLAUDE_CREDENTIALS_B64";

/// Whose login is looked at, and when a warning begins.
#[derive(Clone)]
pub struct Inspector {
    /// The environment that agents get.
    pub env: Variables,
    /// The user that agents run as.
    pub agent_uid: u32,
    /// A login that ends within so many milliseconds and can't renew itself is `expiring`.
    pub warn_ahead_ms: u64,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The environment may hold a login.
        f.debug_struct("Inspector").field("agent_uid", &self.agent_uid).finish_non_exhaustive()
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// As callers are told.
    pub status: AuthStatus,
    /// When the access token of the login that wins ends, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
    /// It may well be mended in a moment without anybody's help: a file that is just being written.
    pub momentary: bool,
}

impl Inspection {
    /// What can't be looked at now: the file system does not answer.
    #[must_use]
    pub fn unanswered() -> Self {
        let mut status = nothing(None);
        status.status = LoginState::Unreadable;
        status.message = "Claude's login can't be looked at: its file system does not answer".to_owned();
        status.instructions = Some(vec!["Look after the file system of Claude's configuration directory".to_owned()]);
        Self { status, expires_at_ms: None, momentary: true }
    }
}

impl Inspector {
    /// Looks at the login that an agent would use at `now_ms` (milliseconds since the Unix epoch). Blocks on the file
    /// system.
    #[must_use]
    pub fn inspect(&self, now_ms: u64) -> Inspection {
        let env = self.env_with_home();
        let place = credentials_path(&env).map(Place::look);
        let mut status = nothing(place.as_ref());
        let mut found = match (sources::winner(&env), place) {
            (Some(winner), place) => {
                judge::winner(&winner, place.as_ref(), &mut status);
                Inspection { status, expires_at_ms: None, momentary: false }
            }
            (None, None) => {
                status.message = "There is no login, and no home directory to look for one".to_owned();
                status.instructions = Some(vec![
                    "Set claude_config_dir, or HOME in the gateway's environment".to_owned(),
                    judge::login_step(),
                ]);
                Inspection { status, expires_at_ms: None, momentary: false }
            }
            (None, Some(place)) => judge::Judge { inspector: self, now_ms }.file(&place, status),
        };
        let serves = found.status.credentials_found;
        if !serves && found.status.method == LoginMethod::None && sources::has_console_key(&env) {
            let winner = Winner { name: "the key that Claude's console made", method: LoginMethod::ConsoleKey };
            let mut status = nothing(None);
            status.path.clone_from(&found.status.path);
            (status.readable, status.writable) = (found.status.readable, found.status.writable);
            status.file.clone_from(&found.status.file);
            judge::winner(&winner, None, &mut status);
            found = Inspection { status, expires_at_ms: None, momentary: false };
        }
        found.status.usable = matches!(found.status.status, LoginState::Authenticated | LoginState::Expiring);
        found
    }

    /// Where a login is installed; `None` if agents have no home.
    #[must_use]
    pub fn target(&self) -> Option<PathBuf> {
        credentials_path(&self.env_with_home())
    }

    /// The agents' environment with a home: where it names none, Claude takes the one that the system's account database
    /// has for its user.
    fn env_with_home(&self) -> Cow<'_, Variables> {
        if variable(&self.env, "HOME").is_some() {
            return Cow::Borrowed(&self.env);
        }
        let mut env = self.env.clone();
        if let Some(user) = User::from_uid(Uid::from_raw(self.agent_uid)).ok().flatten() {
            env.insert("HOME".into(), user.dir.into());
        }
        Cow::Owned(env)
    }
}

/// A status that tells of the place only.
fn nothing(place: Option<&Place>) -> AuthStatus {
    let file = place.and_then(|place| {
        let facts = place.facts?;
        Some(CredentialsFile { owner_uid: facts.owner, mode: format!("{:04o}", facts.mode), symlink: place.symlink })
    });
    AuthStatus {
        status: LoginState::NotAuthenticated,
        usable: false,
        method: LoginMethod::None,
        credentials_found: false,
        path: place.map(|place| place.path.to_string_lossy().into_owned()),
        file,
        readable: place.is_some_and(Place::is_readable),
        writable: place.is_some_and(|place| place.saving == place::Saving::Possible),
        refreshable: false,
        expires_at: None,
        expires_in_seconds: None,
        subscription_type: None,
        message: String::new(),
        instructions: None,
        warnings: Vec::new(),
        delivery: None,
    }
}

#[cfg(test)]
mod tests;
