//! A place in the line, as its session holds it.
//!
//! The place lasts as long as the [`Waiting`]. Whatever the line gives to one that is just being dropped comes
//! back by itself: a [`Slot`] that nobody takes out of the channel is dropped with it.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::desk::Desk;
use super::line::Ticket;
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

/// What the line gives at the end of the waiting.
pub(super) type Granted = Result<Slot, SessionError>;

/// A place in the line. Dropping it leaves the line.
#[derive(Debug)]
pub struct Waiting {
    pub(super) desk: Arc<Desk>,
    pub(super) owner: Arc<str>,
    pub(super) ticket: Ticket,
    /// The end of the waiting; `None` once it has been had.
    pub(super) granted: Option<oneshot::Receiver<Granted>>,
    /// The place as it was last told.
    pub(super) place: watch::Receiver<u64>,
}

impl Waiting {
    /// Place in the line now, from 1; also 1 when the slot is there and only has to be taken out by
    /// [`Waiting::next`].
    ///
    /// It is how many slots must come free if everybody stays and nobody comes. Whoever waits for a session of
    /// their own to end comes after all who don't.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.desk.line.lock().position(self.ticket).unwrap_or(1)
    }

    /// The next thing that happens: a new position or the slot. Cancel-safe. Positions are told a few times a
    /// second at most. After the slot, or an error, nothing happens any more.
    ///
    /// # Errors
    /// [`SessionError::Store`] if the store fails in a way that waiting does not cure. One that is away is
    /// waited for.
    pub async fn next(&mut self) -> Result<Progress, SessionError> {
        let Some(granted) = &mut self.granted else { return pending().await };
        tokio::select! {
            biased;
            outcome = granted => {
                self.granted = None;
                match outcome {
                    Ok(outcome) => outcome.map(Progress::Slot),
                    // The line drops nobody who has not left it.
                    Err(_) => pending().await,
                }
            }
            Ok(()) = self.place.changed() => Ok(Progress::Position(*self.place.borrow_and_update())),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.desk.leave(&self.owner, self.ticket);
    }
}
