//! The one table that turns what went wrong inside into the errors of the protocol.
//!
//! Texts of inner errors pass only where they are written for callers; everything else becomes a plain
//! sentence, and the cause is logged.

use serde_json::json;

use crate::api::{ErrorKind, RpcError, SessionState};
use crate::auth::{AccountError, AuthError, KeyError};
use crate::session::SessionError;
use crate::session::reader::ReadError;
use crate::store::StoreError;

/// How long a caller does well to wait for the store, in milliseconds.
const STORE_RETRY_MS: u64 = 1_000;
/// How long a credentials file may take to be written, in milliseconds.
const LOGIN_RETRY_MS: u64 = 1_000;

impl From<SessionError> for RpcError {
    fn from(error: SessionError) -> Self {
        let text = error.to_string();
        match error {
            SessionError::NotAllowed(_) => Self::new(ErrorKind::NotAllowed, text),
            SessionError::InvalidParams(_) => Self::new(ErrorKind::InvalidParams, text),
            SessionError::Missing(_) => Self::new(ErrorKind::NoSuchSession, text),
            SessionError::Limit { retry_after_ms, .. } => {
                Self::new(ErrorKind::SessionLimit, text).retry_after_ms(retry_after_ms)
            }
            SessionError::WrongState { state, .. } => {
                Self::new(ErrorKind::WrongState, text).details(json!({"state": state}))
            }
            SessionError::LetGo => Self::new(ErrorKind::WrongState, text).details(json!({"state": SessionState::Idle})),
            SessionError::TooManyMessages => Self::new(ErrorKind::TooManyRequests, text),
            SessionError::Spent { .. } => Self::new(ErrorKind::UsageLimit, text),
            SessionError::NodeAway => Self::new(ErrorKind::NodeAway, text).retry_after_ms(STORE_RETRY_MS),
            SessionError::ClaudeLogin { status, instructions, momentary, .. } => {
                let error = Self::new(ErrorKind::ClaudeLogin, text)
                    .details(json!({"status": status, "instructions": instructions}));
                if momentary { error.retry_after_ms(LOGIN_RETRY_MS) } else { error }
            }
            SessionError::Draining => Self::new(ErrorKind::Draining, text),
            SessionError::KeyReused => Self::new(ErrorKind::IdempotencyReused, text),
            SessionError::BeyondHead { head, .. } => {
                Self::new(ErrorKind::InvalidParams, text).details(json!({"last_seq": head}))
            }
            SessionError::Read(error) => error.into(),
            SessionError::Store(error) => error.into(),
        }
    }
}

impl From<ReadError> for RpcError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Expired { oldest } => {
                let text =
                    format!("the events before {oldest} are no longer kept; attach with `after_seq` {}", oldest - 1);
                Self::new(ErrorKind::CursorExpired, text).details(json!({"oldest_seq": oldest}))
            }
            ReadError::Removed => Self::new(ErrorKind::NoSuchSession, "no such session: it is no longer kept"),
            ReadError::Store(error) => error.into(),
        }
    }
}

impl From<AccountError> for RpcError {
    fn from(error: AccountError) -> Self {
        let text = error.to_string();
        let invalid = |name: &str| Self::new(ErrorKind::InvalidParams, format!("`{name}`: {text}"));
        match error {
            AccountError::Username(_) | AccountError::Exists | AccountError::NoSuchAccount => invalid("username"),
            AccountError::Password(_) => invalid("password"),
            AccountError::Scope { .. } | AccountError::NoScopes => invalid("scopes"),
            AccountError::InvitationTime => invalid("expires_in_seconds"),
            AccountError::Store(error) => error.into(),
            AccountError::Hash(_) | AccountError::PasswordFile { .. } => {
                tracing::error!(%error, "an account could not be made or changed");
                internal()
            }
        }
    }
}

impl From<KeyError> for RpcError {
    fn from(error: KeyError) -> Self {
        let text = error.to_string();
        let invalid = |name: &str| Self::new(ErrorKind::InvalidParams, format!("`{name}`: {text}"));
        match error {
            KeyError::TooMany => Self::new(ErrorKind::NotAllowed, text),
            KeyError::Name => invalid("name"),
            KeyError::Life => invalid("expires_in_seconds"),
            KeyError::Scopes => invalid("scopes"),
            KeyError::Missing => invalid("key_id"),
            KeyError::Random => {
                tracing::error!("the system gives no random bytes");
                internal()
            }
            KeyError::Store(error) => error.into(),
        }
    }
}

impl From<AuthError> for RpcError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Store(error) => error.into(),
            error => Self::new(ErrorKind::Unauthorised, error.to_string()),
        }
    }
}

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        if error.retryable() {
            let text = "the store does not answer; try again shortly";
            return Self::new(ErrorKind::StoreAway, text).retry_after_ms(STORE_RETRY_MS);
        }
        tracing::error!(%error, "a call failed in the store");
        internal()
    }
}

/// The gateway's own fault, of which the caller learns nothing more.
#[must_use]
pub(super) fn internal() -> RpcError {
    RpcError::new(ErrorKind::Internal, "the gateway failed at this call; its log tells why")
}
