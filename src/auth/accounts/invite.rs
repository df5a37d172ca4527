//! Invitations: a code that makes one account, once, within its time.
//!
//! Invariants: a code is taken out of the store before the account is made, so that it never makes two. It is put back
//! only where it is certain that it made none.
//!
//! It must not know HTTP.

use std::collections::BTreeSet;
use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{AccountError, Accounts, LoginError, PasswordError, check_password, check_scopes, check_username};
use crate::api::{Role, Scope};
use crate::auth::audit::{Deed, REFUSED, words};
use crate::auth::random::{is_secret, kept_form, make_secret};
use crate::store::{Account, Note, NoteKind};
use crate::telemetry::time::now_ms;

/// What a code begins with.
const PREFIX: &str = "ccgi_";
/// How long an invitation holds unless its maker says otherwise: three days.
const INVITATION_SECONDS: u64 = 3 * 24 * 3_600;
/// The longest that an invitation holds: thirty days.
const LONGEST_SECONDS: u64 = 30 * 24 * 3_600;

/// Why an invitation made no account. The texts are for the caller.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// No such code, used, or over: a caller is not told which. 401.
    #[error("the invitation is not valid")]
    Refused,
    /// Too many wrong codes from this address, or as for a login. 429, 503.
    #[error(transparent)]
    Login(LoginError),
    /// The name or the password will not do, or the name is taken. The code still holds. 422, 409.
    #[error(transparent)]
    Account(#[from] AccountError),
}

/// What the code gives to whoever accepts it.
#[derive(Debug, Serialize, Deserialize)]
struct Invitation {
    role: Role,
    scopes: Option<BTreeSet<Scope>>,
}

impl Accounts {
    /// Makes an invitation: its code, given here and never again, and when it ends. It holds for `seconds`
    /// (`None`: three days), thirty days at most.
    ///
    /// # Errors
    /// [`AccountError`]: the scopes or the time will not do, or the store failed.
    pub async fn invite(
        &self,
        role: Role,
        scopes: Option<BTreeSet<Scope>>,
        seconds: Option<u64>,
    ) -> Result<(SecretString, u64), AccountError> {
        check_scopes(role, scopes.as_ref())?;
        let seconds = seconds.unwrap_or(INVITATION_SECONDS);
        if !(1..=LONGEST_SECONDS).contains(&seconds) {
            return Err(AccountError::InvitationTime);
        }
        let unmade = |_| AccountError::Hash(PasswordError::Hash("no random bytes".to_owned()));
        let secret = make_secret().map_err(unmade)?;
        let ends = now_ms().saturating_add(seconds.saturating_mul(1_000));
        let value = serde_json::to_string(&Invitation { role, scopes }).unwrap_or_default();
        let note = Note { kind: NoteKind::Invitation, key: kept_form(&secret), value, expires_at_ms: Some(ends) };
        self.store.put_note(note).await?;
        Ok((format!("{PREFIX}{secret}").into(), ends))
    }

    /// Makes the account that a code stands for, with a name and a password of its owner's choice.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub async fn accept(
        &self,
        code: &SecretString,
        username: &str,
        password: SecretString,
        peer: IpAddr,
    ) -> Result<Account, AcceptError> {
        let deed = Deed { address: Some(peer), ..Deed::new(words::ACCEPT) };
        let outcome = self.judge_code(code, username, password, peer).await;
        match &outcome {
            Ok(account) => {
                tracing::info!(subject = account.subject, %peer, "an invitation was accepted");
                self.audit.tell(deed.of(account));
            }
            Err(AcceptError::Refused) => {
                tracing::info!(%peer, "an invitation was refused");
                self.audit.tell(Deed { outcome: REFUSED, ..deed });
            }
            Err(AcceptError::Login(_) | AcceptError::Account(_)) => {}
        }
        outcome
    }

    async fn judge_code(
        &self,
        code: &SecretString,
        username: &str,
        password: SecretString,
        peer: IpAddr,
    ) -> Result<Account, AcceptError> {
        let held = |retry_after| AcceptError::Login(LoginError::Throttled { retry_after });
        self.throttle.check_address(peer).await.map_err(held)?;
        let secret = code.expose_secret().strip_prefix(PREFIX).filter(|secret| is_secret(secret));
        let note = match secret {
            Some(secret) => self.note_of(secret).await?,
            None => None,
        };
        let Some(note) = note else {
            self.throttle.address_failed(peer).await;
            return Err(AcceptError::Refused);
        };
        let Ok(Invitation { role, scopes }) = serde_json::from_str(&note.value) else {
            return Err(AcceptError::Refused);
        };
        check_username(username)?;
        check_password(&password)?;
        if self.store.account_by_name(username).await.map_err(AccountError::from)?.is_some() {
            return Err(AccountError::Exists.into());
        }
        let hash = self.hash(password).await.map_err(AccountError::from)?;
        let taken = self.store.change_note(note.kind, &note.key, &note.value, None, None).await;
        if !taken.map_err(AccountError::from)? {
            return Err(AcceptError::Refused);
        }
        match self.add(username, hash, role, scopes).await {
            Ok(account) => Ok(account),
            Err(AccountError::Exists) => {
                // Somebody has just taken the name; the invitation is as good as before.
                self.store.put_note(note).await.map_err(AccountError::from)?;
                Err(AccountError::Exists.into())
            }
            Err(other) => Err(other.into()),
        }
    }

    async fn note_of(&self, secret: &str) -> Result<Option<Note>, AccountError> {
        Ok(self.store.note(NoteKind::Invitation, &kept_form(secret)).await?)
    }
}
