//! What everybody but its supervisor holds of a live session.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::error::SessionError;
use super::feed::Feed;
use crate::api::event::{EndReason, SessionState};
use crate::store::SessionRow;

/// What a supervisor can be asked to do.
#[derive(Debug, Clone, Copy)]
pub enum Command {
    /// End the session for that reason.
    Stop(EndReason),
    /// Interrupt the running turn.
    Interrupt,
    /// Stop its processes for now.
    Pause,
    /// Let them go on.
    Unpause,
    /// One more connection of the owner's stands behind a session that is to end with its connections.
    Hold,
    /// Such a connection has gone. After the last one the session is stopped, unless one comes back in time.
    LetGo,
}

/// A command and where its answer goes: the state it led to.
pub type Request = (Command, oneshot::Sender<Result<SessionState, SessionError>>);

/// The agent's process, once there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Its process id; also its process group.
    pub pid: u32,
}

/// A live session.
#[derive(Debug)]
pub struct Handle {
    /// The record as it was created.
    pub row: SessionRow,
    /// Its newest events.
    pub feed: Arc<Feed>,
    /// Its state now.
    pub state: watch::Receiver<SessionState>,
    /// Its process: nothing until it has been started.
    pub running: watch::Receiver<Option<Running>>,
    /// Where commands go. Bounded: a caller waits when a session is asked too much at once.
    pub(super) commands: mpsc::Sender<Request>,
}

impl Handle {
    /// The session's id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.row.id
    }

    /// The record as it stands now.
    #[must_use]
    pub fn current(&self) -> SessionRow {
        SessionRow { state: *self.state.borrow(), last_seq: self.feed.head(), ..self.row.clone() }
    }

    /// Asks the supervisor; the answer is the state that the command led to.
    ///
    /// # Errors
    /// [`SessionError::WrongState`] where the command means nothing now, also when the session has ended.
    pub async fn ask(&self, command: Command) -> Result<SessionState, SessionError> {
        let over = SessionError::WrongState { state: SessionState::Ended, need: "it has already ended" };
        let (reply, answer) = oneshot::channel();
        if self.commands.send((command, reply)).await.is_err() {
            return Err(over);
        }
        answer.await.unwrap_or(Err(over))
    }

    /// Has its end been acknowledged by the store? Then the store knows everything about it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        *self.state.borrow() == SessionState::Ended
    }

    /// Waits until the session has ended.
    pub async fn ended(&self) {
        let mut state = self.state.clone();
        // An error means that the supervisor has gone, which it does only after the end.
        drop(state.wait_for(|state| *state == SessionState::Ended).await);
    }
}
