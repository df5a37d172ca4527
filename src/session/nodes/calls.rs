//! What nodes ask each other on a caller's behalf, and the task that answers.
//!
//! The asked node checks the caller as it would its own: the same code answers both. A session that is not (any more)
//! where it was looked for is [`SessionError::LetGo`]: the asker looks at the record again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::api::event::SessionState;
use crate::api::principal::Principal;
use crate::api::session::{SendParams, SendResult};
use crate::session::error::SessionError;
use crate::session::handle::Command;
use crate::session::registry::Sessions;
use crate::store::Incoming;
use crate::telemetry::tasks;

/// Requests of other nodes that may wait, and that are worked on at once.
const WAITING: usize = 256;
const AT_ONCE: usize = 64;
/// How long another node has for most commands, and for those that wait for the agent.
const PATIENCE: Duration = Duration::from_secs(5);
const LONG_PATIENCE: Duration = Duration::from_secs(15);

/// What one node asks another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::session) enum Asked {
    /// To pass a command to a session.
    Command {
        /// On whose behalf.
        caller: Principal,
        /// Which session.
        session: Uuid,
        /// What it is to do.
        command: Command,
    },
    /// To take a message for a session.
    Send {
        /// On whose behalf.
        caller: Principal,
        /// The message, with its id.
        params: SendParams,
        /// Is the id the caller's own, so that it may have come before?
        repeatable: bool,
    },
}

/// What it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::session) enum Reply {
    /// The state that the command led to.
    State(SessionState),
    /// The message was taken.
    Sent(SendResult),
}

impl Asked {
    fn patience(&self) -> Duration {
        match self {
            Self::Command { command: Command::Configure { .. }, .. } => LONG_PATIENCE,
            Self::Command { .. } | Self::Send { .. } => PATIENCE,
        }
    }
}

impl super::Nodes {
    /// Asks another node.
    ///
    /// # Errors
    /// [`SessionError::NodeAway`] without an answer; else what that node says.
    pub(in crate::session) async fn ask(&self, node: &str, asked: &Asked) -> Result<Reply, SessionError> {
        let bus = self.bus.as_ref().ok_or(SessionError::NodeAway)?;
        let request = serde_json::to_vec(asked).map_err(|error| broken(&error))?;
        let answer = bus.call(node, Bytes::from(request), asked.patience()).await?;
        serde_json::from_slice::<Result<Reply, SessionError>>(&answer).map_err(|error| broken(&error))?
    }
}

/// Our own types always pass; another version's may not.
fn broken(error: &serde_json::Error) -> SessionError {
    tracing::error!(%error, "gateways of different versions do not understand each other");
    SessionError::NodeAway
}

impl Sessions {
    /// Answers what other nodes ask, until `stop`.
    pub fn answer_nodes(self: &Arc<Self>, stop: CancellationToken) {
        let nodes = self.nodes();
        let Some(bus) = nodes.bus().cloned() else { return };
        let requests = ReceiverStream::new(bus.listen(nodes.name(), WAITING));
        let sessions = Arc::clone(self);
        tasks::spawn("node-calls", async move {
            let answering = requests.for_each_concurrent(AT_ONCE, |Incoming { request, asker }| {
                let (sessions, bus) = (&sessions, &bus);
                async move {
                    let answer = match serde_json::from_slice(&request) {
                        Ok(asked) => sessions.answer(asked).await,
                        Err(error) => Err(broken(&error)),
                    };
                    let Ok(answer) = serde_json::to_vec(&answer) else { return };
                    if let Err(error) = bus.answer(&asker, Bytes::from(answer)).await {
                        tracing::warn!(node = asker.node, %error, "another gateway could not be answered");
                    }
                }
            });
            tokio::select! {
                () = stop.cancelled() => {}
                () = answering => {}
            }
        });
    }

    async fn answer(self: &Arc<Self>, asked: Asked) -> Result<Reply, SessionError> {
        match asked {
            Asked::Command { caller, session, command } => {
                self.ask_here(&caller, session, &command).await.map(Reply::State)
            }
            Asked::Send { caller, params, repeatable } => {
                self.send_here(&caller, &params, repeatable).await.map(Reply::Sent)
            }
        }
    }
}
