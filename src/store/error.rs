//! What can go wrong in a store, the same for every implementation.

use serde::{Deserialize, Serialize};

/// A store's failure. Texts name no path and no address: those go to the log where the error arises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StoreError {
    /// The store does not answer, is locked, full or being restarted. Nothing is known to be lost.
    #[error("the store does not answer: {0}")]
    Away(String),
    /// The caller's epoch is not the session's current one (another node owns it now), or the session has
    /// ended and nobody owns it any more.
    #[error("the session has ended or another owner has taken it over")]
    NotOwner,
    /// The batch does not begin right after the log's head.
    #[error("the batch begins at {found}, the log's next number is {expected}")]
    Gap {
        /// The number the log needs next.
        expected: u64,
        /// The number the batch begins with.
        found: u64,
    },
    /// No such session, or no such account.
    #[error("no such record")]
    Missing,
    /// That name is taken.
    #[error("that name is taken")]
    Exists,
    /// What is stored can't be read: damaged, or written by a newer version.
    #[error("the stored data can't be read: {0}")]
    Damaged(String),
}

impl StoreError {
    /// Can the same call succeed later?
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Away(_))
    }
}
