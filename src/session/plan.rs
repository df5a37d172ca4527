//! A plan: everything that was decided about a session before it starts. Made by the policy, carried out
//! by the supervisor.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use super::machine::Nature;
use crate::api::session::{OnDisconnect, OnLost, Prompt, SessionKind, StartParams};

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The session's id.
    pub id: Uuid,
    /// What kind of session.
    pub kind: SessionKind,
    /// The program as the settings name it; looked up when it is started.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The directory it works in, inside an allowed root.
    pub workspace: PathBuf,
    /// It is the session's own and has to be made before the start.
    pub fresh_workspace: bool,
    /// The first message.
    pub prompt: Option<Prompt>,
    /// Stays for more messages.
    pub interactive: bool,
    /// Wall-clock limit.
    pub timeout: Option<Duration>,
    /// Limit for silence.
    pub idle_timeout: Option<Duration>,
    /// Can its conversation be continued later?
    pub resumable: bool,
    /// What was asked for, for the record.
    pub params: StartParams,
}

impl Plan {
    /// The plan as far as the state machine is concerned.
    #[must_use]
    pub fn nature(&self) -> Nature {
        Nature { kind: self.kind, interactive: self.interactive, has_prompt: self.prompt.is_some() }
    }

    /// See [`OnDisconnect`]; commands always stop.
    #[must_use]
    pub fn on_disconnect(&self) -> OnDisconnect {
        match self.kind {
            SessionKind::Command => OnDisconnect::Stop,
            SessionKind::Claude => self.params.on_disconnect,
        }
    }

    /// See [`OnLost`]; commands always end.
    #[must_use]
    pub fn on_lost(&self) -> OnLost {
        match self.kind {
            SessionKind::Command => OnLost::End,
            SessionKind::Claude => self.params.on_lost,
        }
    }
}
