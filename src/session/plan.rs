//! A plan: everything that was decided about a session before it starts. Made by the policy, carried out
//! by the supervisor.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use super::machine::{Nature, Origin};
use super::message::Message;
use crate::api::session::{OnDisconnect, OnLost, SessionKind, StartParams};
use crate::claude::{CommandLine, CommandLineError, Conversation};

/// The smallest budget that Claude is given, in US dollars: it takes none of nothing.
const LEAST_BUDGET_USD: f64 = 0.000_001;

/// What the program is given.
#[derive(Debug, Clone)]
pub enum Arguments {
    /// Claude's, made anew for each process: what was changed meanwhile is in them.
    Claude(Box<CommandLine>),
    /// A command's, as they were judged.
    Command(Vec<String>),
}

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
    pub arguments: Arguments,
    /// It is Claude and needs Claude's login.
    pub needs_login: bool,
    /// The directory it works in, inside an allowed root.
    pub workspace: PathBuf,
    /// It is the session's own and has to be made before the start.
    pub fresh_workspace: bool,
    /// The first message.
    pub message: Option<Message>,
    /// How it comes to run.
    pub origin: Origin,
    /// Stays for more messages.
    pub interactive: bool,
    /// Claude's control requests go to the client.
    pub raw: bool,
    /// Wall-clock limit.
    pub timeout: Option<Duration>,
    /// When the session's first process was started, in milliseconds since the Unix epoch: a limit for the whole session
    /// counts from then. `None`: there was none, or there is no such limit.
    pub began_at_ms: Option<u64>,
    /// That limit counts for each turn: the caller has named none for the whole session.
    pub timeout_per_turn: bool,
    /// Limit for silence.
    pub idle_timeout: Option<Duration>,
    /// How long it waits for a slot.
    pub queue_timeout: Duration,
    /// Nobody knows whether there is a conversation: where none can be begun, the next process goes on with the one
    /// that there is.
    pub may_have_begun: bool,
    /// Can its conversation be continued later?
    pub resumable: bool,
    /// What its conversation had cost before, in US dollars: Claude counts on from there.
    pub cost_before: f64,
    /// What was asked for, for the record.
    pub params: StartParams,
}

impl Plan {
    /// It is for the session of that id, new, with its own workspace: the one that a process was started for.
    pub fn is_for(&mut self, id: Uuid, workspace: PathBuf) {
        self.id = id;
        self.workspace = workspace;
        if let Some(message) = &mut self.message {
            message.id = Message::first_id(id);
        }
        if let Arguments::Claude(line) = &mut self.arguments {
            line.conversation = Conversation::New { session_id: id };
        }
    }

    /// The plan as far as the state machine is concerned.
    #[must_use]
    pub fn nature(&self) -> Nature {
        Nature {
            kind: self.kind,
            interactive: self.interactive,
            // A session that lives for its connection could not be told that the connection has gone; and what a
            // client has told a raw one at its beginning would be lost with the process.
            put_away: self.kind == SessionKind::Claude && !self.raw && self.on_disconnect() == OnDisconnect::Keep,
            messages: u32::from(self.message.is_some()),
            wall_per_turn: self.timeout_per_turn,
            second_start: self.may_have_begun,
            origin: self.origin,
        }
    }

    /// The program's arguments for the next process.
    ///
    /// # Errors
    /// [`CommandLineError`], if the operating system would refuse them.
    pub fn arguments(&self) -> Result<Vec<String>, CommandLineError> {
        match &self.arguments {
            Arguments::Claude(line) => line.arguments(),
            Arguments::Command(words) => Ok(words.clone()),
        }
    }

    /// Does Claude read the workspace's own settings?
    #[must_use]
    pub fn reads_workspace(&self) -> bool {
        matches!(&self.arguments, Arguments::Claude(line) if !line.user_settings_only)
    }

    /// From now on there is a conversation: another process goes on with it.
    pub fn go_on_with_conversation(&mut self) {
        if let Arguments::Claude(line) = &mut self.arguments {
            line.conversation = Conversation::Continue { session_id: self.id };
        }
    }

    /// The session itself has spent so much, in US dollars: each process counts anew, and the next one may spend only
    /// what is left of the budget.
    pub fn spent(&mut self, dollars: f64) {
        if let Arguments::Claude(line) = &mut self.arguments
            && let Some(budget) = &mut line.max_budget_usd
        {
            *budget = (*budget - dollars.max(0.0)).max(LEAST_BUDGET_USD);
        }
    }

    /// Does the next process go on with the session's own conversation?
    #[must_use]
    pub fn goes_on(&self) -> bool {
        matches!(&self.arguments, Arguments::Claude(line) if matches!(line.conversation, Conversation::Continue { .. }))
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
