//! What was found, in words: the state, why, and what to do.
//!
//! No sentence here holds a path, an address or anything of a token: strangers may read them.

use super::content::{Content, Login, SCOPE};
use super::place::{Found, Place, Saving};
use super::sources::Winner;
use super::{Inspection, Inspector};
use crate::api::http::{AuthStatus, LoginMethod, LoginState};
use crate::telemetry::time::rfc3339_ms;

/// How to log in.
pub(super) fn login_step() -> String {
    "Run `claude auth login` as the user that agents run as, with the same CLAUDE_CONFIG_DIR; or bring a credentials \
     file with `cc-gateway credentials install`; or make a token with `claude setup-token` and set \
     CLAUDE_CODE_OAUTH_TOKEN to it"
        .to_owned()
}

/// Tells of a login that wins over the credentials file.
pub(super) fn winner(winner: &Winner, place: Option<&Place>, status: &mut AuthStatus) {
    let name = winner.name;
    status.status = LoginState::Authenticated;
    status.method = winner.method;
    status.credentials_found = true;
    status.message = match winner.method {
        LoginMethod::Provider => {
            format!("Claude uses {name}, whose own login counts; only a request shows whether it is accepted")
        }
        _ => format!("Claude logs in with {name}; only a request shows whether it is accepted"),
    };
    let file_counts =
        place.is_some_and(|place| matches!(&place.found, Found::File(Content::Login(login)) if login.counts()));
    if file_counts {
        status.warnings.push(format!("{name} wins over the subscription login in the credentials file"));
        let step = match winner.method {
            LoginMethod::ApiKeyHelper => {
                "To use the subscription login in the credentials file, take apiKeyHelper out of Claude's settings"
                    .to_owned()
            }
            LoginMethod::Provider => {
                format!("To use the subscription login in the credentials file, do not turn {name} on")
            }
            _ => format!("To use the subscription login in the credentials file, unset {name}"),
        };
        status.instructions = Some(vec![step]);
    }
}

/// Judges a credentials file.
pub(super) struct Judge<'a> {
    pub inspector: &'a Inspector,
    pub now_ms: u64,
}

impl Judge<'_> {
    pub(super) fn file(&self, place: &Place, mut status: AuthStatus) -> Inspection {
        let unreadable = LoginState::Unreadable;
        let own = |what: &str| {
            format!(
                "{what} belong to the user that agents run as: chown it, modes 0600 for the file and 0700 for the \
                 directory"
            )
        };
        let (state, message, step, momentary) = match &place.found {
            Found::File(Content::Login(login)) => return self.login(login, place, status),
            Found::Missing => {
                let message = "There is no login: the credentials file does not exist".to_owned();
                (LoginState::NotAuthenticated, message, login_step(), false)
            }
            Found::DanglingLink => {
                let message = "There is no login: the credentials file is a link that leads nowhere".to_owned();
                (LoginState::NotAuthenticated, message, format!("Remove the link. {}", login_step()), false)
            }
            Found::File(Content::NoLogin) => {
                let message = "There is no login in the credentials file".to_owned();
                (LoginState::NotAuthenticated, message, login_step(), false)
            }
            Found::File(Content::Empty) => {
                let message = "The credentials file is empty".to_owned();
                (unreadable, message, format!("Remove the file. {}", login_step()), true)
            }
            Found::File(Content::Garbled) => {
                let message = "The credentials file is not the JSON that Claude writes".to_owned();
                (unreadable, message, format!("Remove the file. {}", login_step()), true)
            }
            Found::FileForbidden if self.is_others(place) => {
                let message = "The credentials file belongs to another user than agents run as, who can't read it";
                (unreadable, message.to_owned(), own("Let the file"), false)
            }
            Found::FileForbidden => {
                let message = "The credentials file's mode does not let the user that agents run as read it";
                (unreadable, message.to_owned(), "Give the file the mode 0600".to_owned(), false)
            }
            Found::WayForbidden => {
                let message = "The user that agents run as can't enter the credentials file's directory";
                (unreadable, message.to_owned(), own("Let the directory and the file"), false)
            }
            Found::Directory => {
                let message = "In the place of the credentials file there is a directory".to_owned();
                let step = "Remove it (a missing file that was mounted into a container becomes a directory), mount \
                            the directory around it instead, and log in again";
                (unreadable, message, step.to_owned(), false)
            }
            Found::NotAFile => {
                let message = "The credentials file is not a regular file".to_owned();
                (unreadable, message, format!("Remove it. {}", login_step()), false)
            }
            Found::Failed => {
                let message = "The credentials file can't be read: its file system fails".to_owned();
                let step = "Look after the file system of Claude's configuration directory";
                (unreadable, message, step.to_owned(), true)
            }
        };
        status.status = state;
        status.message = message;
        status.instructions = Some(vec![step]);
        Inspection { status, expires_at_ms: None, momentary }
    }

    fn login(&self, login: &Login, place: &Place, mut status: AuthStatus) -> Inspection {
        let no = |status: AuthStatus| Inspection { status, expires_at_ms: None, momentary: false };
        status.subscription_type.clone_from(&login.subscription);
        if !login.has_access_token {
            status.message = "The login was ended: Claude emptied it because its renewal was refused".to_owned();
            status.instructions = Some(vec![login_step()]);
            return no(status);
        }
        status.expires_at = login.expires_at_ms.map(rfc3339_ms);
        status.expires_in_seconds = login.expires_at_ms.map(|end| seconds_between(self.now_ms, end));
        if !login.has_scope {
            status.message = format!("The login lacks the scope {SCOPE}, without which Claude does not use it");
            status.instructions = Some(vec![login_step()]);
            return no(status);
        }
        status.credentials_found = true;
        status.method = LoginMethod::OauthFile;
        status.refreshable = login.has_refresh_token && place.saving == Saving::Possible;
        let soon = login.has_ended(self.now_ms.saturating_add(self.inspector.warn_ahead_ms));
        let (state, message) = match (status.refreshable, login.has_ended(self.now_ms), soon) {
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
        let mut steps = self.obstacles(login, place, &mut status.warnings);
        if matches!(state, LoginState::Expired | LoginState::Expiring) {
            steps.push(login_step());
        }
        status.instructions = (!steps.is_empty()).then_some(steps);
        Inspection { status, expires_at_ms: login.expires_at_ms, momentary: false }
    }

    /// What is wrong although it works, into `warnings`; and what to do about it.
    fn obstacles(&self, login: &Login, place: &Place, warnings: &mut Vec<String>) -> Vec<String> {
        let mut steps = Vec::new();
        let mut tell = |warning: &str, step: &str| {
            warnings.push(warning.to_owned());
            steps.push(step.to_owned());
        };
        if login.has_refresh_token {
            match place.saving {
                Saving::Possible => {}
                Saving::DirectoryReadOnly => tell(
                    "Claude can't renew the login: it may not write to the credentials file's directory",
                    "Make the directory of the credentials file writable for the user that agents run as",
                ),
                Saving::FileReadOnly => tell(
                    "The credentials file is mounted read-only: Claude uses up the refresh token and can't save the \
                     new one",
                    "Do not mount the file read-only; mount the directory around it instead, writable",
                ),
            }
            if place.symlink {
                tell(
                    "The credentials file is a symbolic link: a renewal replaces the link and leaves a dead login \
                     behind it",
                    "Put the file itself there instead of a symbolic link, or share the whole directory by \
                     CLAUDE_CONFIG_DIR",
                );
            }
        }
        if self.is_others(place) {
            tell(
                "The credentials file belongs to another user than agents run as",
                "Let the file belong to the user that agents run as, mode 0600",
            );
        }
        if place.facts.is_some_and(|facts| facts.mode & 0o077 != 0) {
            tell("Other users may read or write the credentials file", "Give the credentials file the mode 0600");
        }
        steps
    }

    fn is_others(&self, place: &Place) -> bool {
        place.facts.is_some_and(|facts| facts.owner != self.inspector.agent_uid)
    }
}

/// From `from_ms` to `to_ms` in whole seconds, rounded down; negative if `to_ms` is past.
fn seconds_between(from_ms: u64, to_ms: u64) -> i64 {
    let from = i64::try_from(from_ms).unwrap_or(i64::MAX);
    let to = i64::try_from(to_ms).unwrap_or(i64::MAX);
    (to - from).div_euclid(1_000)
}
