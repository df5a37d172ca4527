//! A place in the line, as its session holds it.
//!
//! The place lasts as long as the [`Waiting`]. It is a [`Slot`] that is not there yet, of the same id: whoever leaves
//! at the very moment when it is granted gives back whatever it is by then.

use std::future::pending;

use tokio::sync::watch;

use super::ours::Standing;
use super::slot::Slot;
use crate::session::error::SessionError;

/// What came of asking for a slot with the will to wait.
#[derive(Debug)]
pub enum Admitted {
    /// There was one.
    Slot(Slot),
    /// Here is a place in the line.
    Waiting(Waiting),
}

/// What happens to somebody who waits.
#[derive(Debug)]
pub enum Progress {
    /// The place in the line has changed to this, from 1.
    Position(u64),
    /// The waiting is over.
    Slot(Slot),
}

/// A place in the line. Dropping it leaves the line.
#[derive(Debug)]
pub struct Waiting {
    /// `None` once the waiting is over.
    slot: Option<Slot>,
    standing: watch::Receiver<Standing>,
}

impl Waiting {
    pub(super) fn new(slot: Slot, standing: watch::Receiver<Standing>) -> Self {
        Self { slot: Some(slot), standing }
    }

    /// Place in the line as it was last told, from 1; also 1 when the slot is there and only has to be taken out by
    /// [`Waiting::next`].
    ///
    /// It is how many slots must come free, on whatever node, if everybody stays and nobody comes. Whoever waits for a
    /// session of their own to end comes after all who don't.
    #[must_use]
    pub fn position(&self) -> u64 {
        match *self.standing.borrow() {
            Standing::At(position) => position,
            Standing::Granted | Standing::Failed(_) => 1,
        }
    }

    /// The next thing that happens: a new position or the slot. Cancel-safe. Positions are told a few times a
    /// second at most. After the slot, or an error, nothing happens any more.
    ///
    /// # Errors
    /// [`SessionError::Store`] if the store fails in a way that waiting does not cure. One that is away is
    /// waited for.
    pub async fn next(&mut self) -> Result<Progress, SessionError> {
        if self.slot.is_none() || self.standing.changed().await.is_err() {
            // It is over, and nothing follows.
            return pending().await;
        }
        let standing = self.standing.borrow_and_update().clone();
        match (standing, self.slot.take()) {
            (Standing::Granted, Some(slot)) => Ok(Progress::Slot(slot)),
            (Standing::Failed(error), slot) => {
                drop(slot);
                Err(error.into())
            }
            (Standing::At(position), slot) => {
                self.slot = slot;
                Ok(Progress::Position(position))
            }
            (Standing::Granted, None) => pending().await,
        }
    }

    /// Leaves the line and waits until the store knows: the place is free for somebody else then.
    pub async fn leave(mut self) {
        if let Some(slot) = self.slot.take() {
            slot.release().await;
        }
    }
}
