//! Logins at the provider that are under way, and one-time codes for command lines, kept as notes: any gateway of the
//! store can go on with what another one began.
//!
//! Invariants:
//! - A note is taken out in one step before anything is made of it: a `state` and a code serve once, whatever comes of
//!   it, on whatever gateways.
//! - Nothing that is kept is a secret: of `state`, code, cookie and the caller's verifier there are hashes. What the
//!   provider must be shown again (`nonce`, the PKCE verifier) is made of the `state`, which only the browser has, and
//!   a salt, which only the store has: neither alone is worth anything.

use serde::{Deserialize, Serialize};

use super::OidcError;
use crate::auth::random::{is_secret, kept_form, make_secret};
use crate::store::{Note, NoteKind, SharedStore};
use crate::telemetry::time::now_ms;

/// How long a login at the provider may take.
pub const LOGIN_SECONDS: u64 = 600;
/// How long a code for a command line serves.
pub const CODE_SECONDS: u64 = 60;

/// Where the outcome of a login goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Return {
    /// To the browser itself, which has a cookie of this hash.
    Browser {
        /// The hash.
        cookie: String,
    },
    /// As a one-time code to a program that listens on this port of the browser's own machine.
    CommandLine {
        /// The port.
        port: u16,
        /// The hash of what that program will show with the code.
        challenge: String,
    },
}

/// What is kept.
#[derive(Debug, Serialize, Deserialize)]
enum Kept {
    Begun { salt: String, to: Return },
    Done { subject: String, challenge: String },
}

/// A login that has begun.
pub(super) struct Begun {
    /// Goes to the provider and comes back with the browser.
    pub(super) state: String,
    pub(super) nonce: String,
    /// The PKCE verifier.
    pub(super) verifier: String,
    pub(super) to: Return,
}

impl Begun {
    fn new(state: String, salt: &str, to: Return) -> Self {
        let made_of = |what: &str| kept_form(&format!("{what}.{state}.{salt}"));
        Self { nonce: made_of("nonce"), verifier: made_of("verifier"), state, to }
    }
}

/// The notes of logins under way.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    store: SharedStore,
    login_ms: u64,
    code_ms: u64,
}

impl Pending {
    pub(super) fn new(store: SharedStore) -> Self {
        Self { store, login_ms: LOGIN_SECONDS * 1_000, code_ms: CODE_SECONDS * 1_000 }
    }

    /// Begins a login.
    pub(super) async fn begin(&self, to: Return) -> Result<Begun, OidcError> {
        let salt = make_secret().map_err(|_| OidcError::Random)?;
        let state = self.put(&Kept::Begun { salt: salt.clone(), to: to.clone() }, self.login_ms).await?;
        Ok(Begun::new(state, &salt, to))
    }

    /// Takes the login of that `state`; `None`: there is none, it is over, or it was taken before.
    pub(super) async fn take(&self, state: &str) -> Result<Option<Begun>, OidcError> {
        Ok(match self.remove(state).await? {
            Some(Kept::Begun { salt, to }) => Some(Begun::new(state.to_owned(), &salt, to)),
            Some(Kept::Done { .. }) | None => None,
        })
    }

    /// A code that stands for a login of that account, for whoever knows what `challenge` is the hash of.
    pub(super) async fn put_code(&self, subject: String, challenge: String) -> Result<String, OidcError> {
        self.put(&Kept::Done { subject, challenge }, self.code_ms).await
    }

    /// The account that a code stands for; `None`: the code or the verifier is wrong, over, or was used before.
    pub(super) async fn take_code(&self, code: &str, verifier: &str) -> Result<Option<String>, OidcError> {
        Ok(match self.remove(code).await? {
            Some(Kept::Done { subject, challenge }) if challenge == kept_form(verifier) => Some(subject),
            _ => None,
        })
    }

    async fn put(&self, kept: &Kept, lasts_ms: u64) -> Result<String, OidcError> {
        let secret = make_secret().map_err(|_| OidcError::Random)?;
        let note = Note {
            kind: NoteKind::OidcLogin,
            key: kept_form(&secret),
            value: serde_json::to_string(kept).unwrap_or_default(),
            expires_at_ms: Some(now_ms().saturating_add(lasts_ms)),
        };
        if self.store.put_note(note).await? { Ok(secret) } else { Err(OidcError::Random) }
    }

    async fn remove(&self, secret: &str) -> Result<Option<Kept>, OidcError> {
        if !is_secret(secret) {
            return Ok(None);
        }
        let key = kept_form(secret);
        let Some(note) = self.store.note(NoteKind::OidcLogin, &key).await? else { return Ok(None) };
        if !self.store.change_note(NoteKind::OidcLogin, &key, &note.value, None, None).await? {
            return Ok(None);
        }
        Ok(serde_json::from_str(&note.value).ok())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::fake_store::FakeStore;
    use crate::store::Store;

    fn command_line(challenge: &str) -> Return {
        Return::CommandLine { port: 4_711, challenge: challenge.to_owned() }
    }

    #[tokio::test]
    async fn a_login_is_taken_once_and_is_the_same_on_every_gateway_of_the_store() {
        let store: SharedStore = Arc::new(FakeStore::default());
        let (here, there) = (Pending::new(Arc::clone(&store)), Pending::new(store));
        let begun = here.begin(command_line("x")).await.unwrap();
        let taken = there.take(&begun.state).await.unwrap().unwrap();
        assert_eq!((taken.nonce, taken.verifier, taken.to), (begun.nonce, begun.verifier, begun.to));
        assert!(here.take(&begun.state).await.unwrap().is_none(), "it serves once");
    }

    #[tokio::test]
    async fn what_is_over_or_of_another_kind_is_not_there() {
        let store: SharedStore = Arc::new(FakeStore::default());
        let over = Pending { login_ms: 0, code_ms: 0, ..Pending::new(Arc::clone(&store)) };
        let state = over.begin(command_line("x")).await.unwrap().state;
        assert!(over.take(&state).await.unwrap().is_none());
        let code = over.put_code("ada".to_owned(), kept_form("v")).await.unwrap();
        assert!(over.take_code(&code, "v").await.unwrap().is_none());

        let pending = Pending::new(store);
        let code = pending.put_code("ada".to_owned(), kept_form("v")).await.unwrap();
        assert!(pending.take(&code).await.unwrap().is_none(), "a code is no state");
        let state = pending.begin(command_line("x")).await.unwrap().state;
        assert!(pending.take_code(&state, "x").await.unwrap().is_none(), "a state is no code");
        for bad in ["", "x", "../../etc/passwd"] {
            assert!(pending.take(bad).await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn a_code_serves_once_and_only_who_asked_for_it() {
        let pending = Pending::new(Arc::new(FakeStore::default()));
        let code = pending.put_code("ada".to_owned(), kept_form("mine")).await.unwrap();
        assert!(pending.take_code(&code, "a thief's").await.unwrap().is_none());
        assert!(pending.take_code(&code, "mine").await.unwrap().is_none(), "a thief has spent it");
        let code = pending.put_code("ada".to_owned(), kept_form("mine")).await.unwrap();
        assert_eq!(pending.take_code(&code, "mine").await.unwrap().as_deref(), Some("ada"));
        assert!(pending.take_code(&code, "mine").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn m3_the_store_holds_none_of_the_secrets() {
        let store = Arc::new(FakeStore::default());
        let pending = Pending::new(store.clone());
        let begun = pending.begin(command_line(&kept_form("mine"))).await.unwrap();
        let notes = store.notes(NoteKind::OidcLogin, "", 10).await.unwrap();
        let kept = format!("{notes:?}");
        assert_eq!(notes.len(), 1);
        for secret in [&begun.state, &begun.nonce, &begun.verifier] {
            assert!(!kept.contains(secret.as_str()), "{kept}");
        }
    }
}
