//! Why something can't be done with a session.

use uuid::Uuid;

use super::reader::ReadError;
use crate::api::event::SessionState;
use crate::store::StoreError;

/// A refusal or a failure. Texts are for the caller: they name no path and no address of the gateway's own.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
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
    /// Every slot is taken.
    #[error("all {max} slots are taken; try again when a session has ended")]
    Limit {
        /// How many slots there are.
        max: u32,
        /// When the first lease runs out, at the latest.
        retry_after_ms: u64,
    },
    /// The session's state does not allow it.
    #[error("the session is {}: {need}", state.as_str())]
    WrongState {
        /// Where it is.
        state: SessionState,
        /// What it would have to be.
        need: &'static str,
    },
    /// The session was put away at that very moment: ask again.
    #[error("the session is being put away; try again")]
    LetGo,
    /// Too many messages wait for their turn.
    #[error("{} messages wait already; try again after a result", super::message::MAX_WAITING)]
    TooManyMessages,
    /// The caller has spent what may be spent.
    #[error("your sessions have cost {spent_usd:.2} US dollars of the {limit_usd:.2} allowed in {window_hours:.0} hours")]
    Spent {
        /// What was spent.
        spent_usd: f64,
        /// What may be.
        limit_usd: f64,
        /// In how long.
        window_hours: f64,
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
