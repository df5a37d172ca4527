//! What everybody but its supervisor holds of a live session.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::error::SessionError;
use super::feed::Feed;
use super::message::Message;
use crate::api::event::{EndReason, SessionState};
use crate::api::session::{PermissionMode, RespondParams};
use crate::claude::ClientInput;
use crate::store::SessionRow;

/// What a supervisor can be asked to do, also by another node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// End the session for that reason.
    Stop(EndReason),
    /// The same at once: everything is killed.
    Kill(EndReason),
    /// The gateway shuts down: end or put away what does not run.
    Drain,
    /// End the process of a session at rest; a message brings it back.
    PutAway,
    /// Interrupt the running turn.
    Interrupt,
    /// Stop its processes for now.
    Pause,
    /// Let them go on.
    Unpause,
    /// One more connection of the owner's stands behind a session that is to end with its connections.
    Hold {
        /// The node that has the connection.
        at: String,
    },
    /// Such a connection has gone. After the last one the session is stopped, unless one comes back in time.
    LetGo {
        /// The node that had the connection.
        at: String,
    },
    /// A node has gone, with all its connections.
    NodeGone {
        /// Its name.
        node: String,
    },
    /// The store says that the session is another node's, or nobody's.
    Disown,
    /// A message; `steer`: into the running turn.
    Send {
        /// The message.
        message: Message,
        /// Do not wait for the turn's result.
        steer: bool,
    },
    /// The answer to a permission question.
    Respond {
        /// The answer, judged by the policy.
        answer: Box<RespondParams>,
        /// Who answers.
        username: String,
    },
    /// Change the model, the permission mode, or both; judged by the policy.
    Configure {
        /// The new model.
        model: Option<String>,
        /// The new mode.
        permission_mode: Option<PermissionMode>,
    },
    /// A raw line for a session started so; judged by the policy.
    Input(Box<ClientInput>),
}

impl Command {
    /// Does it begin a turn, which costs something?
    #[must_use]
    pub fn costs(&self) -> bool {
        match self {
            Self::Send { .. } => true,
            Self::Input(input) => matches!(**input, ClientInput::Message { .. }),
            _ => false,
        }
    }
}

/// A command and where its answer goes: the state it led to.
pub type Request = (Command, oneshot::Sender<Result<SessionState, SessionError>>);

/// The agent's process, once there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Its process id; also its process group.
    pub pid: u32,
    /// Since when the session is at rest, if its process can be put away.
    pub at_rest_since: Option<Instant>,
}

/// A live session.
#[derive(Debug)]
pub struct Handle {
    /// The record as it was when the session came to this node.
    pub row: SessionRow,
    /// Its newest events.
    pub feed: Arc<Feed>,
    /// Its state now. Closed once its supervisor has gone.
    pub state: watch::Receiver<SessionState>,
    /// Its process: nothing until it has been started.
    pub running: watch::Receiver<Option<Running>>,
    /// Its place in the line for a slot, while it waits for one.
    pub position: watch::Receiver<Option<u64>>,
    /// What its conversation has cost, as Claude says, in US dollars.
    pub cost: watch::Receiver<Option<f64>>,
    /// The model that it was last configured for.
    pub model: watch::Receiver<Option<String>>,
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
        SessionRow {
            state: *self.state.borrow(),
            last_seq: self.feed.head(),
            total_cost_usd: *self.cost.borrow(),
            model: self.model.borrow().clone(),
            ..self.row.clone()
        }
    }

    /// Asks the supervisor; the answer is the state that the command led to.
    ///
    /// # Errors
    /// [`SessionError::WrongState`] where the command means nothing now, also when the session has ended;
    /// [`SessionError::LetGo`] if the session was put away meanwhile.
    pub async fn ask(&self, command: Command) -> Result<SessionState, SessionError> {
        let (reply, answer) = oneshot::channel();
        if self.commands.send((command, reply)).await.is_ok()
            && let Ok(answer) = answer.await
        {
            return answer;
        }
        // The supervisor takes no more commands: the session has come to its end, or is put away.
        match *self.state.borrow() {
            SessionState::Idle => Err(SessionError::LetGo),
            _ => Err(SessionError::wrong_state(SessionState::Ended, "it has already ended")),
        }
    }

    /// Has its end been acknowledged by the store? Then the store knows everything about it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        *self.state.borrow() == SessionState::Ended
    }

    /// Waits until the session has ended, or was put away.
    pub async fn gone(&self) {
        let mut state = self.state.clone();
        // An error means that the supervisor has gone, which it does only after the one or the other.
        drop(state.wait_for(|state| *state == SessionState::Ended).await);
    }
}
