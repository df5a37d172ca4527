//! Logins: what a caller gets by one, how it is renewed, and how it ends.
//!
//! A login is a pair of tokens. The refresh token serves once and gives the next pair; all pairs that come from one
//! login are its family, of which the store keeps which refresh token serves next.
//!
//! Invariants:
//! - Of a refresh token only the hash is kept (see [`super::random`]).
//! - A refresh token that has served already takes its whole family with it: two have it, and one of them is a thief.
//! - A family's name, as access tokens tell it, does not help to make a refresh token of it: so nobody who has but an
//!   access token can feign a reuse.
//! - Everything that is wrong with a refresh token looks the same to the caller.

use std::collections::BTreeSet;
use std::sync::Arc;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::random::{is_secret, kept_form, make_secret};
use super::revocation::{self, Revocations};
use super::token::{AccessToken, Grant, Tokens, read_scopes, write_scopes};
use crate::api::{Login, Principal, Scope};
use crate::config::settings::AuthSettings;
use crate::store::{Account, Note, NoteKind, SharedStore, StoreError};
use crate::telemetry::metrics;
use crate::telemetry::time::now_ms;

/// What a refresh token begins with: people and scanners see what they have found.
const PREFIX: &str = "ccgr_";
/// Longest refresh token that is looked at, in bytes.
const MAX_BYTES: usize = 256;
/// How often a change is tried whose answer was lost: it may have landed, and then the old token serves no more.
const TRIES: u32 = 3;

/// Two tokens for their owner. `Debug` shows neither.
#[derive(Debug)]
pub struct TokenPair {
    /// Serves for calls.
    pub access: AccessToken,
    /// Serves once, for the next pair. `None`: the store takes no new login just now.
    pub refresh: Option<RefreshToken>,
}

/// A fresh refresh token for its owner. `Debug` does not show it.
#[derive(Debug)]
pub struct RefreshToken {
    /// The token's text.
    pub token: SecretString,
    /// Seconds until it ends.
    pub expires_in: u64,
}

/// Why there are no tokens. The texts are for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// The refresh token is not valid, whatever the reason. 401.
    #[error("the refresh token is not valid")]
    Refused,
    /// The store does not answer. 503.
    #[error("the login can't be looked up now; try again")]
    Store(#[source] StoreError),
    /// The system gives no random bytes. 503.
    #[error("no token can be made now; try again")]
    Random,
}

impl From<StoreError> for RefreshError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a login could not be looked up or written");
        Self::Store(error)
    }
}

/// What is kept of a family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Family {
    subject: String,
    began_ms: u64,
    /// What this login may do at most, as tokens write it; `None`: whatever the account may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// The hash of the refresh token that serves next.
    next: String,
}

/// Makes, renews and ends logins. Share it by `Arc`.
#[derive(Debug)]
pub struct Logins {
    tokens: Arc<Tokens>,
    store: SharedStore,
    revocations: Revocations,
    refresh_seconds: u64,
}

impl Logins {
    /// Logins in that store, with the settings' lifetimes.
    #[must_use]
    pub fn new(tokens: Arc<Tokens>, store: SharedStore, revocations: Revocations, settings: &AuthSettings) -> Self {
        Self { tokens, store, revocations, refresh_seconds: settings.refresh_token_seconds }
    }

    /// Takes tokens back; for whoever changes accounts.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// A login of that account. `scopes`: no more than these, now and after every renewal; `None`: whatever the
    /// account's role gives. A store that can be read but not written does not keep anybody out: there is no refresh
    /// token then.
    ///
    /// # Errors
    /// [`RefreshError::Random`].
    pub async fn begin(&self, account: &Account, scopes: Option<&BTreeSet<Scope>>) -> Result<TokenPair, RefreshError> {
        let text = RefreshText::make()?;
        let family = Family {
            subject: account.subject.clone(),
            began_ms: now_ms(),
            scope: scopes.map(write_scopes),
            next: kept_form(&text.secret),
        };
        let note = Note {
            kind: NoteKind::RefreshFamily,
            key: text.key(),
            value: encode(&family),
            expires_at_ms: Some(self.refresh_ends_ms()),
        };
        match self.store.put_note(note).await {
            Ok(true) => Ok(self.pair(account, &family, &text)),
            // 256 random bits twice: the system's randomness is broken.
            Ok(false) => Err(RefreshError::Random),
            Err(error) => {
                tracing::warn!(%error, "a login can't be kept: it gets no refresh token");
                Ok(TokenPair { refresh: None, ..self.pair(account, &family, &text) })
            }
        }
    }

    /// The next pair of a login, and whose it is.
    ///
    /// # Errors
    /// [`RefreshError`].
    pub async fn refresh(&self, refresh_token: &str) -> Result<(TokenPair, Account), RefreshError> {
        let outcome = self.judge(refresh_token).await;
        match &outcome {
            Ok((_, account)) => {
                metrics::token_refresh("ok");
                tracing::info!(subject = account.subject, "a login was renewed");
            }
            Err(RefreshError::Refused) => metrics::token_refresh("refused"),
            Err(RefreshError::Store(_) | RefreshError::Random) => metrics::token_refresh("failed"),
        }
        outcome
    }

    async fn judge(&self, refresh_token: &str) -> Result<(TokenPair, Account), RefreshError> {
        let refuse = |reason: &str| {
            tracing::info!(reason, "a refresh token was refused");
            Err(RefreshError::Refused)
        };
        let Some(shown) = RefreshText::parse(refresh_token) else { return refuse("malformed") };
        let key = shown.key();
        let Some(note) = self.store.note(NoteKind::RefreshFamily, &key).await? else {
            return refuse("an unknown or ended login");
        };
        let family = decode(&note)?;
        if kept_form(&shown.secret) != family.next {
            self.reused(&key, &family).await?;
            return Err(RefreshError::Refused);
        }
        let login = login_of(&key, &family);
        let account = self.store.account(&family.subject).await?;
        let Some(account) = account.filter(|account| !account.disabled) else {
            self.end(&login, Some(&note)).await?;
            return refuse("no such account any more, or disabled");
        };
        if revocation::is_revoked(&self.store, &family.subject, &login).await? {
            self.end(&login, Some(&note)).await?;
            return refuse("revoked");
        }
        let next = RefreshText { secret: make_secret().map_err(|_| RefreshError::Random)?, ..shown };
        let renewed = Family { next: kept_form(&next.secret), ..family.clone() };
        if self.rotate(&note, encode(&renewed)).await? {
            Ok((self.pair(&account, &renewed, &next), account))
        } else if self.store.note(NoteKind::RefreshFamily, &key).await?.is_none() {
            refuse("the login was ended meanwhile")
        } else {
            // Somebody else has just used the same token.
            self.reused(&key, &family).await?;
            Err(RefreshError::Refused)
        }
    }

    async fn rotate(&self, note: &Note, renewed: String) -> Result<bool, StoreError> {
        let ends = Some(self.refresh_ends_ms());
        let mut tries = 1;
        loop {
            let changed = self.store.change_note(note.kind, &note.key, &note.value, Some(renewed.clone()), ends).await;
            match changed {
                Err(error) if error.retryable() && tries < TRIES => tries += 1,
                answer => return answer,
            }
        }
    }

    async fn reused(&self, key: &str, family: &Family) -> Result<(), RefreshError> {
        metrics::token_refresh("reused");
        tracing::warn!(subject = family.subject, "a refresh token was used twice: its login is ended");
        Ok(self.end(&login_of(key, family), None).await?)
    }

    /// Ends the login that a caller's access token came from: all its tokens are refused from here on, and its sockets
    /// are closed, on every gateway of the store.
    ///
    /// # Errors
    /// The store's; the same call can be made again.
    pub async fn log_out(&self, principal: &Principal) -> Result<(), StoreError> {
        let ends = principal.expires_at.saturating_mul(1_000);
        self.forget(&principal.login.key, None).await?;
        self.revocations.revoke_login(&principal.login, Some(ends)).await?;
        tracing::info!(subject = principal.subject, "a login was ended by its owner");
        Ok(())
    }

    /// Ends the login of a refresh token, if it is one that serves or has served. One that is not is no error: there
    /// is nothing to end.
    ///
    /// # Errors
    /// The store's; the same call can be made again.
    pub async fn log_out_refresh(&self, refresh_token: &str) -> Result<(), StoreError> {
        let Some(shown) = RefreshText::parse(refresh_token) else { return Ok(()) };
        let key = shown.key();
        let Some(note) = self.store.note(NoteKind::RefreshFamily, &key).await? else { return Ok(()) };
        self.end(&login_of(&key, &decode(&note)?), Some(&note)).await
    }

    /// Ends a login.
    async fn end(&self, login: &Login, note: Option<&Note>) -> Result<(), StoreError> {
        self.forget(&login.key, note).await?;
        self.revocations.revoke_login(login, None).await
    }

    /// Removes a family, whatever it says by then.
    async fn forget(&self, key: &str, known: Option<&Note>) -> Result<(), StoreError> {
        let mut found = known.cloned();
        loop {
            let note = match found.take() {
                Some(note) => note,
                None => match self.store.note(NoteKind::RefreshFamily, key).await? {
                    Some(note) => note,
                    None => return Ok(()),
                },
            };
            if self.store.change_note(note.kind, &note.key, &note.value, None, None).await? {
                return Ok(());
            }
        }
    }

    fn pair(&self, account: &Account, family: &Family, text: &RefreshText) -> TokenPair {
        let mut grant = Grant::new(account, login_of(&text.key(), family));
        if let Some(scope) = &family.scope {
            let allowed = read_scopes(scope);
            grant.scopes.retain(|scope| allowed.contains(scope));
        }
        TokenPair {
            access: self.tokens.issue_to(&grant),
            refresh: Some(RefreshToken { token: text.text(), expires_in: self.refresh_seconds }),
        }
    }

    fn refresh_ends_ms(&self) -> u64 {
        now_ms().saturating_add(self.refresh_seconds.saturating_mul(1_000))
    }
}

/// A refresh token: its family's secret name, and the secret that serves once.
struct RefreshText {
    family: String,
    secret: String,
}

impl RefreshText {
    fn make() -> Result<Self, RefreshError> {
        let random = || make_secret().map_err(|_| RefreshError::Random);
        Ok(Self { family: random()?, secret: random()? })
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (family, secret) = text.strip_prefix(PREFIX)?.split_once('.')?;
        (is_secret(family) && is_secret(secret)).then(|| Self { family: family.to_owned(), secret: secret.to_owned() })
    }

    /// The family's public name: the login's key.
    fn key(&self) -> String {
        let mut hash = kept_form(&self.family);
        hash.truncate(32);
        hash
    }

    fn text(&self) -> SecretString {
        format!("{PREFIX}{}.{}", self.family, self.secret).into()
    }
}

fn login_of(key: &str, family: &Family) -> Login {
    Login { began_ms: family.began_ms, key: key.to_owned() }
}

fn encode(family: &Family) -> String {
    // Texts and numbers always become JSON.
    serde_json::to_string(family).unwrap_or_default()
}

fn decode(note: &Note) -> Result<Family, StoreError> {
    serde_json::from_str(&note.value)
        .map_err(|_| StoreError::Damaged("a login's record is not the JSON it should be".to_owned()))
}

#[cfg(test)]
mod tests;
