//! What a credentials file holds, as far as anybody here may know: of a token only whether it is empty.

use crate::claude::members::{members, owned, read, string};

/// The scope without which Claude does not use a login.
pub(super) const SCOPE: &str = "user:inference";

/// What a text is to Claude.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing but white space.
    Empty,
    /// Not the JSON that Claude writes.
    Garbled,
    /// JSON of Claude's that holds no subscription login.
    NoLogin,
    /// A login, good or not.
    Login(Login),
}

/// A subscription login without its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub has_access_token: bool,
    pub has_refresh_token: bool,
    pub has_scope: bool,
    /// When the access token ends, in milliseconds since the Unix epoch; `None`: not told.
    pub expires_at_ms: Option<u64>,
    pub subscription: Option<String>,
}

impl Login {
    /// Does Claude use it at all? One that it does not use is to Claude as if there were none.
    pub(super) fn counts(&self) -> bool {
        self.has_access_token && self.has_scope
    }

    /// Has its access token ended?
    pub(super) fn has_ended(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|end| end <= now_ms)
    }
}

impl Content {
    /// Reads the text of a credentials file.
    pub(super) fn of(text: &str) -> Self {
        if text.trim().is_empty() {
            return Self::Empty;
        }
        let Some([login]) = members(text, &["claudeAiOauth"]) else { return Self::Garbled };
        let Some(login) = login.filter(|login| *login != "null") else { return Self::NoLogin };
        let Some([access, refresh, scopes, expires_at, subscription]) =
            members(login, &["accessToken", "refreshToken", "scopes", "expiresAt", "subscriptionType"])
        else {
            return Self::Garbled;
        };
        let given = |token| string(token).is_some_and(|token| !token.is_empty());
        Self::Login(Login {
            has_access_token: given(access),
            has_refresh_token: given(refresh),
            has_scope: read::<Vec<String>>(scopes).is_some_and(|scopes| scopes.iter().any(|scope| scope == SCOPE)),
            // Claude's numbers are floats; a cast keeps what is beyond the range at its end.
            expires_at_ms: read::<f64>(expires_at).map(|milliseconds| milliseconds as u64),
            subscription: owned(subscription),
        })
    }
}
