//! Why something can't be done with a session.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::reader::ReadError;
use crate::api::event::SessionState;
use crate::api::http::LoginState;
use crate::store::StoreError;

/// A refusal or a failure. Texts are for the caller: they name no path and no address of the gateway's own. It also
/// travels between nodes, for a caller of another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub enum SessionError {
    /// The policy forbids it.
    #[error("{0}")]
    NotAllowed(String),
    /// The parameters make no sense.
    #[error("{0}")]
    InvalidParams(String),
    /// There is none, or it is not the caller's: the two look the same.
    #[error("there is no session {0}")]
    Missing(Uuid),
    /// There is no slot for it, or no place to wait for one.
    #[error("{reason}")]
    Limit {
        /// Which limit it is.
        reason: LimitReason,
        /// When it is worth trying again, in milliseconds.
        retry_after_ms: u64,
    },
    /// The session's state does not allow it.
    #[error("the session is {}: {need}", state.as_str())]
    WrongState {
        /// Where it is.
        state: SessionState,
        /// What it would have to be.
        need: Cow<'static, str>,
    },
    /// The session was put away at that very moment: ask again.
    #[error("the session is being put away; try again")]
    LetGo,
    /// Too many messages wait for their turn.
    #[error("{} messages wait already; try again after a result", super::message::MAX_WAITING)]
    TooManyMessages,
    /// The caller has spent what may be spent.
    #[error(
        "your sessions have cost {} US dollars of the {} allowed in {window_hours:.0} hours", dollars(*spent_usd), dollars(*limit_usd)
    )]
    Spent {
        /// What was spent.
        spent_usd: f64,
        /// What may be.
        limit_usd: f64,
        /// In how long.
        window_hours: f64,
    },
    /// The gateway that runs the session has not answered. What was asked for may have been done.
    #[error("the gateway that runs the session does not answer; try again")]
    NodeAway,
    /// Claude has no login that serves.
    #[error("Claude can't log in, so no session is started: {message} (GET /auth/status tells more)")]
    ClaudeLogin {
        /// The login's state.
        status: LoginState,
        /// That in a sentence.
        message: String,
        /// What an operator can do.
        instructions: Vec<String>,
        /// It may mend itself in a moment.
        momentary: bool,
    },
    /// The gateway is shutting down.
    #[error("the gateway is shutting down and starts nothing new")]
    Draining,
    /// The idempotency key was used with other parameters.
    #[error("this idempotency key was used before with other parameters")]
    KeyReused,
    /// `after_seq` lies beyond the log's head.
    #[error("`after_seq` is {after_seq}, but the session's newest event is {head}")]
    BeyondHead {
        /// What was asked for.
        after_seq: u64,
        /// The newest number.
        head: u64,
    },
    /// What comes after the cursor is no longer kept, or could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SessionError {
    /// The session is in that state, and would have to be as `need` says.
    #[must_use]
    pub fn wrong_state(state: SessionState, need: &'static str) -> Self {
        Self::WrongState { state, need: Cow::Borrowed(need) }
    }
}

/// Which limit keeps a session from its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitReason {
    /// Every slot is taken.
    Slots {
        /// How many slots there are.
        max: u32,
    },
    /// Others wait for the next slot, and nobody passes them.
    Line {
        /// How many wait.
        waiting: usize,
    },
    /// No more sessions may wait.
    QueueFull {
        /// How many may.
        max: u32,
    },
    /// No more sessions of this principal may wait.
    OwnQueue {
        /// How many may.
        max: u32,
    },
    /// The principal has as many live sessions as one may have.
    OwnSessions {
        /// How many that is.
        max: u32,
    },
}

impl fmt::Display for LimitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slots { max } => write!(f, "all {max} slots are taken; try again when a session has ended"),
            Self::Line { waiting } => {
                write!(
                    f,
                    "sessions that wait for a slot come first: {waiting} now; wait with them (`queue`) or try again"
                )
            }
            Self::QueueFull { max } => {
                write!(f, "the queue is full with {max} sessions; try again when it has moved on")
            }
            Self::OwnQueue { max } => {
                write!(
                    f,
                    "this is your own limit: {max} sessions in the queue; try again when one of yours has started"
                )
            }
            Self::OwnSessions { max } => {
                write!(f, "this is your own limit: {max} sessions at once; try again when one of yours has ended")
            }
        }
    }
}

/// An amount with cents, and with more digits where cents would tell something else.
fn dollars(amount: f64) -> String {
    let exact = format!("{amount:.6}");
    let digits = exact.trim_end_matches('0').len();
    let cents = exact.find('.').map_or(exact.len(), |point| point + 3);
    exact[..digits.max(cents)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_told_with_all_the_digits_that_count() {
        for (amount, told) in [(0.0, "0.00"), (2.5, "2.50"), (0.0005, "0.0005"), (0.012, "0.012"), (100.0, "100.00")] {
            assert_eq!(dollars(amount), told);
        }
    }
}
