//! The errors a JSON-RPC caller can meet: a closed list of kinds, each with its code.
//!
//! `rpc/error.rs` is the only place that turns inner errors into these. Messages say what happened and
//! what to do; they never hold a path, an address or a type name of ours.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why a call failed, as a word for programs (`error.data.kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The text is not JSON.
    ParseError,
    /// The JSON is not a request.
    InvalidRequest,
    /// The message or the answer is larger than the limit.
    TooLarge,
    /// The batch holds more calls than the limit.
    BatchTooLarge,
    /// No method of that name.
    MethodNotFound,
    /// The parameters do not fit the method.
    InvalidParams,
    /// The gateway's own fault.
    Internal,
    /// The policy forbids it: a program, flag, workspace or mode that is not allowed.
    NotAllowed,
    /// No such session, or not the caller's.
    NoSuchSession,
    /// There is no slot for the session: all are taken, or the caller has as many as one may have (and the
    /// queue is full, where one was asked for).
    SessionLimit,
    /// Claude's account is at its usage limit.
    UsageLimit,
    /// The token lacks the scope.
    Unauthorised,
    /// The session is not in a state in which this can be done.
    WrongState,
    /// The store does not answer.
    StoreAway,
    /// The gateway that runs the session does not answer. What was asked for may have been done.
    NodeAway,
    /// The gateway is shutting down and takes no new work.
    Draining,
    /// The events after that number are no longer kept.
    CursorExpired,
    /// Too many requests on this connection.
    TooManyRequests,
    /// The idempotency key was used with other parameters.
    IdempotencyReused,
    /// Claude has no login that serves, so no session of its is started (`details`: the state and what to do, as
    /// `GET /auth/status` has them). `retryable` only where it may mend itself in a moment.
    ClaudeLogin,
}

impl ErrorKind {
    /// Every kind, for documents and tests.
    pub const ALL: [Self; 20] = [
        Self::ParseError,
        Self::InvalidRequest,
        Self::TooLarge,
        Self::BatchTooLarge,
        Self::MethodNotFound,
        Self::InvalidParams,
        Self::Internal,
        Self::NotAllowed,
        Self::NoSuchSession,
        Self::SessionLimit,
        Self::UsageLimit,
        Self::Unauthorised,
        Self::WrongState,
        Self::StoreAway,
        Self::NodeAway,
        Self::Draining,
        Self::CursorExpired,
        Self::TooManyRequests,
        Self::IdempotencyReused,
        Self::ClaudeLogin,
    ];

    /// The JSON-RPC error code: the specification's, or one of ours between −32001 and −32012.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::ParseError => -32700,
            Self::InvalidRequest | Self::TooLarge | Self::BatchTooLarge => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams => -32602,
            Self::Internal => -32603,
            Self::NotAllowed => -32001,
            Self::NoSuchSession => -32002,
            Self::SessionLimit => -32003,
            Self::UsageLimit => -32004,
            Self::Unauthorised => -32005,
            Self::WrongState => -32006,
            Self::StoreAway | Self::NodeAway => -32007,
            Self::Draining => -32008,
            Self::CursorExpired => -32009,
            Self::TooManyRequests => -32010,
            Self::IdempotencyReused => -32011,
            Self::ClaudeLogin => -32012,
        }
    }

    /// The word on the wire; also a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ParseError => "parse_error",
            Self::InvalidRequest => "invalid_request",
            Self::TooLarge => "too_large",
            Self::BatchTooLarge => "batch_too_large",
            Self::MethodNotFound => "method_not_found",
            Self::InvalidParams => "invalid_params",
            Self::Internal => "internal",
            Self::NotAllowed => "not_allowed",
            Self::NoSuchSession => "no_such_session",
            Self::SessionLimit => "session_limit",
            Self::UsageLimit => "usage_limit",
            Self::Unauthorised => "unauthorised",
            Self::WrongState => "wrong_state",
            Self::StoreAway => "store_away",
            Self::NodeAway => "node_away",
            Self::Draining => "draining",
            Self::CursorExpired => "cursor_expired",
            Self::TooManyRequests => "too_many_requests",
            Self::IdempotencyReused => "idempotency_reused",
            Self::ClaudeLogin => "claude_login",
        }
    }

    /// Can the same call succeed later without a change? (`error.data.retryable`)
    #[must_use]
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            Self::SessionLimit
                | Self::UsageLimit
                | Self::StoreAway
                | Self::NodeAway
                | Self::Draining
                | Self::TooManyRequests
        )
    }
}

/// `error.data` of every error object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorData {
    /// Why, as a word.
    pub kind: ErrorKind,
    /// Whether the same call can succeed later.
    pub retryable: bool,
    /// How long to wait before it is worth trying again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// More that a program can use, by kind (`cursor_expired`: `oldest_seq`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// The error object of a JSON-RPC answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// The number (see [`ErrorKind::code`]).
    pub code: i32,
    /// What happened and what to do, for a person.
    pub message: String,
    /// The same for a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<ErrorData>,
}

impl RpcError {
    /// An error of that kind with its code and data.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            code: kind.code(),
            message: message.into(),
            data: Some(ErrorData { kind, retryable: kind.retryable(), retry_after_ms: None, details: None }),
        }
    }

    /// Says when to try again, and so that it is worth it.
    #[must_use]
    pub fn retry_after_ms(mut self, milliseconds: u64) -> Self {
        if let Some(data) = &mut self.data {
            data.retryable = true;
            data.retry_after_ms = Some(milliseconds);
        }
        self
    }

    /// Adds machine-readable details.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        if let Some(data) = &mut self.data {
            data.details = Some(details);
        }
        self
    }

    /// The kind, where the peer sent one.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        self.data.as_ref().map(|data| data.kind)
    }
}
