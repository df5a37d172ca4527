//! Who is calling, in the words of the protocol: subject, role, scopes.
//!
//! A [`Principal`] is made by `auth` from a verified access token and is immutable; nothing else makes one.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an account is allowed to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees and steers every session, manages accounts.
    Admin,
    /// Sees and steers their own sessions.
    User,
}

/// One right. A method names the scope it needs in the method table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Start sessions.
    Run,
    /// Read sessions and their events.
    Watch,
    /// Steer sessions: stop, interrupt, answer.
    Control,
    /// Speak to the agent directly: raw input, stdio MCP servers, hooks.
    Raw,
    /// Manage accounts and see everybody's sessions.
    Admin,
}

impl Role {
    /// The scopes an account of this role has unless its token says less.
    #[must_use]
    pub fn scopes(self) -> BTreeSet<Scope> {
        match self {
            Self::Admin => [Scope::Run, Scope::Watch, Scope::Control, Scope::Raw, Scope::Admin].into(),
            Self::User => [Scope::Run, Scope::Watch, Scope::Control].into(),
        }
    }

    /// The word on the wire and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
        }
    }
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::Run, Self::Watch, Self::Control, Self::Raw, Self::Admin];

    /// The word on the wire and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Watch => "watch",
            Self::Control => "control",
            Self::Raw => "raw",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(UnknownScope)
    }
}

/// A scope that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope is `run`, `watch`, `control`, `raw` or `admin`")]
pub struct UnknownScope;

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "admin" => Ok(Self::Admin),
            "user" => Ok(Self::User),
            _ => Err(UnknownRole),
        }
    }
}

/// A role that is neither `admin` nor `user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is `admin` or `user`")]
pub struct UnknownRole;

/// The login that a token came from. Tokens that were renewed from it name it too, so that all of them can be taken
/// back together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Login {
    /// When it began, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// Its name: 32 hexadecimal digits that tell nothing.
    pub key: String,
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.began_ms, self.key)
    }
}

impl std::str::FromStr for Login {
    type Err = UnknownLogin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (began, key) = text.split_once('-').ok_or(UnknownLogin)?;
        let began_ms = u64::from_str_radix(began, 16).map_err(|_| UnknownLogin)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let login = Self { began_ms, key: key.to_owned() };
        // One login, one text.
        let fits = key.len() == 32 && key.bytes().all(is_digit) && login.to_string() == text;
        if fits { Ok(login) } else { Err(UnknownLogin) }
    }
}

/// A text that names no login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a login")]
pub struct UnknownLogin;

/// Who is calling. Made from a verified access token; one node tells another on whose behalf it asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The account's id (the token's `sub`): owns sessions, never shown to others.
    pub subject: String,
    /// The account's name at login, for people to read.
    pub username: String,
    /// The account's role when the token was issued.
    pub role: Role,
    /// What this token may do: never more than the role.
    pub scopes: BTreeSet<Scope>,
    /// When the token ends, in seconds since the Unix epoch. A connection must not outlive it.
    pub expires_at: u64,
    /// The token's own id (`jti`), for logs.
    pub token_id: String,
    /// The login that the token came from, so that it can be taken back.
    pub login: Login,
    /// The outside issuer that vouches for this caller, who has no account here. `None`: an account of ours.
    pub issuer: Option<String>,
}

impl Principal {
    /// May this caller use a method that needs `scope`?
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// May this caller see what belongs to `owner` (a subject)? Owners and admins may; for all others it
    /// looks as if it did not exist.
    #[must_use]
    pub fn may_see(&self, owner: &str) -> bool {
        self.subject == owner || self.has(Scope::Admin)
    }
}
