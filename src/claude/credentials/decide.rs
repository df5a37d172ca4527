//! May a credentials file that was brought from outside take the place of the one that is there?
//!
//! It must be a login that Claude would use. It does not replace a newer one: of two logins the one whose access
//! token ends later is newer, since every renewal moves that on. One that no longer serves is always replaced. Where
//! one of the two names no end, the file that was brought counts as newer: bringing it is the later act.

use super::content::{Content, Login};
use super::place::Found;

/// Why a credentials file is not installed. Texts are for everybody: they hold no path and nothing of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// It is not base64.
    #[error("the value is not base64")]
    NotBase64,
    /// It is not Claude's.
    #[error("the file is not the JSON that Claude writes")]
    Garbled,
    /// It is somebody else's.
    #[error("the file can't be read by the user that the gateway runs as: change its owner or its mode")]
    Unreadable,
    /// It holds no subscription login.
    #[error("there is no login in the file")]
    NoLogin,
    /// Claude has emptied it.
    #[error("the file's tokens are empty: Claude empties them when a renewal is refused")]
    Emptied,
    /// Claude would not use it.
    #[error("the login lacks the scope user:inference, without which Claude does not use it")]
    Scope,
    /// It is over.
    #[error("the login has ended and can't renew itself")]
    Ended,
    /// What is there is better.
    #[error("the login is older than the one that is installed, which serves")]
    Older,
    /// Claude is renewing the login at this moment.
    #[error("Claude is renewing its login at this moment; try again")]
    Busy,
    /// Agents have no home.
    #[error("there is no place for it: set claude_config_dir, or HOME in the gateway's environment")]
    NoPlace,
    /// The place is taken by a directory.
    #[error("in the place of Claude's credentials file there is a directory: remove it")]
    Directory,
    /// The file in its place is a mount of its own.
    #[error("Claude's credentials file is mounted by itself and can't be replaced: mount the directory around it")]
    Mounted,
    /// The user that agents run as may not write there.
    #[error("Claude's configuration directory can't be written by the user that agents run as")]
    Forbidden,
    /// Anything else of the file system.
    #[error("the file can't be read or written: {0}")]
    Failed(std::io::ErrorKind),
}

impl Refusal {
    /// Is it worth trying again without a change?
    #[must_use]
    pub fn is_momentary(&self) -> bool {
        *self == Self::Busy
    }
}

/// Is that a login that Claude would use?
pub(super) fn judge(content: Content, now_ms: u64) -> Result<Login, Refusal> {
    let login = match content {
        Content::Empty => return Err(Refusal::Empty),
        Content::Garbled => return Err(Refusal::Garbled),
        Content::NoLogin => return Err(Refusal::NoLogin),
        Content::Login(login) => login,
    };
    match () {
        () if !login.has_access_token => Err(Refusal::Emptied),
        () if !login.has_scope => Err(Refusal::Scope),
        () if !serves(&login, now_ms) => Err(Refusal::Ended),
        () => Ok(login),
    }
}

/// May `new` take the place of what is there?
pub(super) fn may_replace(new: &Login, there: &Found, now_ms: u64) -> Result<(), Refusal> {
    match there {
        Found::Directory => Err(Refusal::Directory),
        Found::File(Content::Login(old)) if serves(old, now_ms) => match (new.expires_at_ms, old.expires_at_ms) {
            (Some(new_end), Some(old_end)) if new_end < old_end => Err(Refusal::Older),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn serves(login: &Login, now_ms: u64) -> bool {
    login.counts() && (login.has_refresh_token || !login.has_ended(now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn login(end: Option<i64>, renews: bool) -> Login {
        Login {
            has_access_token: true,
            has_refresh_token: renews,
            has_scope: true,
            expires_at_ms: end.map(|after| NOW.saturating_add_signed(after)),
            subscription: None,
        }
    }

    fn replaces(new: &Login, old: Login) -> Result<(), Refusal> {
        may_replace(new, &Found::File(Content::Login(old)), NOW)
    }

    #[test]
    fn an_older_login_replaces_a_newer_one_only_if_that_no_longer_serves() {
        assert_eq!(replaces(&login(Some(1), true), login(Some(2), true)), Err(Refusal::Older));
        assert_eq!(replaces(&login(Some(2), true), login(Some(2), true)), Ok(()));
        assert_eq!(replaces(&login(Some(3), true), login(Some(2), true)), Ok(()));
        // Over, but it renews itself.
        assert_eq!(replaces(&login(Some(-5), true), login(Some(-1), true)), Err(Refusal::Older));
        assert_eq!(replaces(&login(Some(-5), true), login(Some(-1), false)), Ok(()));
        let emptied = Login { has_access_token: false, ..login(Some(9), true) };
        assert_eq!(replaces(&login(Some(1), true), emptied), Ok(()));
        let useless = Login { has_scope: false, ..login(Some(9), true) };
        assert_eq!(replaces(&login(Some(1), true), useless), Ok(()));
        for (new, old) in [(None, Some(9)), (Some(1), None), (None, None)] {
            assert_eq!(replaces(&login(new, false), login(old, true)), Ok(()), "{new:?} {old:?}");
        }
    }

    #[test]
    fn what_claude_would_not_use_is_refused_with_the_reason() {
        for (content, refusal) in [
            (Content::Empty, Refusal::Empty),
            (Content::Garbled, Refusal::Garbled),
            (Content::NoLogin, Refusal::NoLogin),
            (Content::Login(Login { has_access_token: false, ..login(None, true) }), Refusal::Emptied),
            (Content::Login(Login { has_scope: false, ..login(None, true) }), Refusal::Scope),
            (Content::Login(login(Some(-1), false)), Refusal::Ended),
            (Content::Login(login(Some(0), false)), Refusal::Ended),
        ] {
            assert_eq!(judge(content, NOW), Err(refusal));
        }
        for good in [login(Some(-1), true), login(Some(1), false), login(None, false)] {
            assert_eq!(judge(Content::Login(good.clone()), NOW), Ok(good));
        }
    }

    #[test]
    fn a_directory_is_never_replaced_and_anything_else_that_is_no_login_is() {
        let new = login(Some(1), true);
        assert_eq!(may_replace(&new, &Found::Directory, NOW), Err(Refusal::Directory));
        for there in [Found::Missing, Found::DanglingLink, Found::FileForbidden, Found::File(Content::Garbled)] {
            assert_eq!(may_replace(&new, &there, NOW), Ok(()), "{there:?}");
        }
    }
}
