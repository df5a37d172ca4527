//! Everything that can go wrong for a caller, in one enum.
//!
//! Messages name the gateway's address as the caller gave it and never hold a token or a password.

use std::time::Duration;

use uuid::Uuid;

use crate::api::RpcError;

/// Why the client could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address given can't be used.
    #[error("`{url}` is not a usable address: {reason}")]
    Address {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nothing answers there.
    #[error("no gateway can be reached at {at}: {source}")]
    Unreachable {
        /// Host and port.
        at: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The gateway answered with an HTTP refusal.
    #[error("{}", refusal_text(*.status, .title, .detail.as_deref()))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What happened, in the gateway's words.
        title: String,
        /// What to do, in the gateway's words.
        detail: Option<String>,
        /// How long to wait before it is worth trying again.
        retry_after: Option<Duration>,
    },
    /// The gateway answered the call with an error object.
    #[error("{}", .0.message)]
    Rpc(#[from] RpcError),
    /// The connection ended before the answer, or before the session's end.
    #[error("the connection to the gateway was lost{}", close_text(*.code, .reason))]
    ConnectionLost {
        /// The close code, where the gateway gave one.
        code: Option<u16>,
        /// Its reason; empty where there is none.
        reason: String,
    },
    /// No answer within the limit (see [`super::ClientOptions`]).
    #[error("the gateway did not answer in time ({waited_for})")]
    TimedOut {
        /// What was waited for.
        waited_for: &'static str,
    },
    /// The peer does not speak this protocol.
    #[error("the peer does not speak cc-gateway's protocol: {0}")]
    Protocol(String),
    /// Events are missing. Must not happen; attach again to read them.
    #[error("events of session {session_id} are missing: after {expected_after} came {got}")]
    Gap {
        /// Which session.
        session_id: Uuid,
        /// The last event seen.
        expected_after: u64,
        /// The event that came.
        got: u64,
    },
    /// What comes next is no longer kept: the log is limited, or the session was removed.
    #[error("the events of session {session_id} after {last_seq} are no longer kept")]
    Expired {
        /// Which session.
        session_id: Uuid,
        /// The last event seen.
        last_seq: u64,
        /// The oldest that is still kept, where there is one: attach with one less.
        oldest_seq: Option<u64>,
    },
    /// A token could not be had.
    #[error("no access token: {0}")]
    Token(String),
    /// Connecting again was given up.
    #[error("gave up after {tries} tries to connect again; the last one said: {last}")]
    GaveUp {
        /// How often it was tried.
        tries: u32,
        /// Why the last one failed.
        last: Box<Self>,
    },
}

impl ClientError {
    /// Can the same thing succeed later without a change?
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::GaveUp { .. } => true,
            Self::Refused { status, .. } => matches!(status, 429 | 502..=504),
            Self::Rpc(error) => error.data.as_ref().is_some_and(|data| data.retryable),
            // What breaks the protocol would break it again.
            Self::ConnectionLost { code, .. } => !matches!(code, Some(1002 | 1003 | 1007 | 1009)),
            Self::Address { .. } | Self::Protocol(_) | Self::Gap { .. } | Self::Expired { .. } | Self::Token(_) => {
                false
            }
        }
    }

    /// How long the gateway asks to wait before the next try.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Rpc(error) => error.data.as_ref().and_then(|data| data.retry_after_ms).map(Duration::from_millis),
            Self::GaveUp { last, .. } => last.retry_after(),
            _ => None,
        }
    }

    /// Was the caller's login refused or missing?
    #[must_use]
    pub fn not_authorised(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 401 | 403),
            Self::Rpc(error) => error.code == crate::api::ErrorKind::Unauthorised.code(),
            Self::ConnectionLost { code, .. } => *code == Some(4001),
            Self::Token(_) => true,
            Self::GaveUp { last, .. } => last.not_authorised(),
            _ => false,
        }
    }

    /// A connection that ended without a word.
    pub(super) fn lost() -> Self {
        Self::ConnectionLost { code: None, reason: String::new() }
    }
}

fn refusal_text(status: u16, title: &str, detail: Option<&str>) -> String {
    match detail {
        Some(detail) if detail != title => format!("the gateway refused ({status}): {title}: {detail}"),
        _ => format!("the gateway refused ({status}): {title}"),
    }
}

fn close_text(code: Option<u16>, reason: &str) -> String {
    match code {
        Some(code) if reason.is_empty() => format!(" (close code {code})"),
        Some(code) => format!(" (close code {code}: {reason})"),
        None if reason.is_empty() => String::new(),
        None => format!(": {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ErrorKind;

    #[test]
    fn an_error_object_is_retryable_when_the_gateway_says_so() {
        assert!(ClientError::Rpc(RpcError::new(ErrorKind::Draining, "going")).retryable());
        assert!(!ClientError::Rpc(RpcError::new(ErrorKind::NoSuchSession, "none")).retryable());
    }

    #[test]
    fn a_close_for_a_broken_rule_is_not_retried_and_a_restart_is() {
        let closed = |code| ClientError::ConnectionLost { code: Some(code), reason: String::new() };
        assert!(closed(1012).retryable() && closed(4008).retryable() && closed(4001).retryable());
        assert!(!closed(1002).retryable() && !closed(1009).retryable());
    }

    #[test]
    fn the_wait_that_the_gateway_asks_for_is_found() {
        let error = ClientError::Rpc(RpcError::new(ErrorKind::Draining, "going").retry_after_ms(250));
        assert_eq!(error.retry_after(), Some(Duration::from_millis(250)));
    }

    #[test]
    fn a_refusal_reads_as_a_sentence() {
        let error = ClientError::Refused {
            status: 401,
            title: "Wrong username or password".into(),
            detail: Some("Check them and try again.".into()),
            retry_after: None,
        };
        assert_eq!(
            error.to_string(),
            "the gateway refused (401): Wrong username or password: Check them and try again."
        );
        assert!(error.not_authorised() && !error.retryable());
    }
}
