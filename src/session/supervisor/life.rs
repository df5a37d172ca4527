//! What has come about in a session since its supervisor began, beside the parts that the supervisor is made of.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::WatchStream;

use super::clocks::ANSWER_TIME;
use crate::api::event::SessionState;
use crate::process::{Line, Output, OutputItem, Process, ProcessControl, SpawnError};
use crate::session::admission::Progress;
use crate::session::agent::Ears;
use crate::session::error::SessionError;
use crate::session::handle::Request;
use crate::session::login::Turn;
use crate::session::machine::{Machine, Outcome, Timer};
use crate::session::message::Messages;
use crate::session::mouth::Mouth;
use crate::session::questions::Questions;
use crate::store::{SessionPatch, StoreError};
use crate::telemetry::alarm::Alarm;
use crate::telemetry::rarely::Rarely;

/// The one job under way: a start, a freeze, a sweep.
pub(super) type Job = Pin<Box<dyn Future<Output = JobDone> + Send>>;

/// A process that was started, and what it may keep others from while it starts.
pub(super) struct Begun {
    pub process: Process,
    pub permit: Option<OwnedSemaphorePermit>,
    pub turn: Option<Turn>,
    /// It was started ahead, and has answered `initialize`: what it has printed.
    pub heard: Vec<Line>,
}

/// What it came to.
pub(super) enum JobDone {
    /// The process runs, or why not.
    Spawned(Result<Box<Begun>, SpawnError>),
    /// The tree was stopped, or goes on.
    Settled,
    /// Nothing of the tree is left.
    TreeGone,
}

/// What happened.
pub(super) enum Happened {
    Asked(Request),
    InLine(Result<Progress, SessionError>),
    Printed(Option<OutputItem>),
    Job(JobDone),
    /// A clock, and when it was to ring.
    Timer(Timer, Instant),
    Logged(Result<(), StoreError>),
    /// The store can say (again) whose the session is, or can't any more.
    Standing(bool),
    Recorded,
}

/// Where the answer to a command goes.
pub(super) type Reply = oneshot::Sender<Result<SessionState, SessionError>>;

/// A change that the agent was asked for and has not confirmed.
pub(super) struct Change {
    /// What the record says from then on.
    pub apply: Applied,
    /// Who waits for it; the last change of a call has it.
    pub reply: Option<Reply>,
    /// Who asked waits for the answer until then; `None`: nobody does any more.
    pub deadline: Option<Instant>,
}

/// What is changed.
#[derive(Debug, Clone)]
pub(super) enum Applied {
    /// The model; `None`: Claude's own.
    Model(Option<String>),
    /// The permission mode.
    Mode(crate::api::session::PermissionMode),
}

/// How the supervisor's work ends.
pub(super) enum Over {
    /// The session has ended.
    Ended(Box<Outcome>),
    /// It was put away.
    LetGo,
    /// It is no longer this node's.
    Disowned,
}

/// The changing side of a session.
pub(super) struct Life {
    pub machine: Machine,
    pub timers: BTreeMap<Timer, Instant>,
    /// Rings at the next of them.
    pub alarm: Alarm,
    /// The clock that has rung last and when it was set for: the agent's output is looked at once more before it counts.
    pub rang: Option<(Timer, Instant)>,
    pub job: Option<Job>,
    /// When whatever is not printed is looked at.
    pub rarely: Rarely,
    /// Such a thing has happened last: what is printed comes first now.
    pub other_happened: bool,
    /// Changes of whether the store can say whose the session is.
    pub standing: WatchStream<bool>,
    /// Is the job still waiting for leave to start? Then it can be given up.
    pub gate: Option<watch::Receiver<bool>>,
    pub start_permit: Option<OwnedSemaphorePermit>,
    /// Others wait for it to renew Claude's login.
    pub login_turn: Option<Turn>,
    pub output: Option<Output>,
    pub control: Option<ProcessControl>,
    pub mouth: Option<Mouth>,
    pub ears: Ears,
    pub messages: Messages,
    pub questions: Questions,
    /// Requests of the agent that a raw session's client has still to answer.
    pub requests: Vec<String>,
    /// Changes by the id of the control request that asks for them.
    pub changes: HashMap<String, Change>,
    /// How many control requests of that kind there were, for their ids.
    pub changes_asked: u64,
    pub spawned_at: Instant,
    pub last_output: Instant,
    pub stalled: bool,
    /// Connections that a session with `on_disconnect: stop` lives for, by the node that has them.
    pub holders: HashMap<String, u32>,
    /// Its processes are stopped for now, because the store can't say whether the session is still this node's.
    pub suspended: bool,
    /// The agent's pipe is not read because too much waits for the store.
    pub held_back: bool,
    /// The agent was started ahead: it was asked to `initialize` and has answered.
    pub greeted: bool,
    /// The agent has been ready: there is a conversation.
    pub started: bool,
    /// What the conversation has cost, as Claude said last, in US dollars.
    pub cost: f64,
    /// The newest place in the line that an event has told.
    pub place_told: Option<u64>,
    pub over: Option<Over>,
}

impl Life {
    /// The life of a session that has just come to this node.
    pub(super) fn new(machine: Machine, started: bool, cost: f64, sure: watch::Receiver<bool>) -> Self {
        let now = Instant::now();
        Self {
            machine,
            timers: BTreeMap::new(),
            alarm: Alarm::new(),
            rang: None,
            job: None,
            rarely: Rarely::new(),
            other_happened: false,
            standing: WatchStream::from_changes(sure),
            gate: None,
            start_permit: None,
            login_turn: None,
            output: None,
            control: None,
            mouth: None,
            ears: Ears::default(),
            messages: Messages::default(),
            questions: Questions::default(),
            requests: Vec::new(),
            changes: HashMap::new(),
            changes_asked: 0,
            spawned_at: now,
            last_output: now,
            stalled: false,
            holders: HashMap::new(),
            suspended: false,
            held_back: false,
            greeted: false,
            started,
            cost,
            place_told: None,
            over: None,
        }
    }

    /// The record's change that names the messages without an answer.
    pub(super) fn open_messages(&self) -> SessionPatch {
        SessionPatch { messages: Some(self.messages.open()), ..SessionPatch::default() }
    }

    /// Queues a job behind the one under way.
    pub(super) fn then(&mut self, done: JobDone, work: impl Future<Output = ()> + Send + 'static) {
        let before = self.job.take();
        self.job = Some(Box::pin(async move {
            if let Some(before) = before {
                before.await;
            }
            work.await;
            done
        }));
    }

    /// The agent is being asked for a change, by a control request with that id.
    pub(super) fn expect_change(&mut self, id: String, apply: Applied, reply: Option<Reply>) {
        let deadline = Instant::now() + ANSWER_TIME;
        self.changes.insert(id, Change { apply, reply, deadline: Some(deadline) });
        self.timers.entry(Timer::Answer).or_insert(deadline);
    }

    /// Writes a line to the agent, if it listens. A full queue means an agent that does not read; its clock or the
    /// ladder will end it.
    pub(super) fn say(&mut self, line: Vec<u8>) -> bool {
        self.mouth.as_mut().is_some_and(|mouth| mouth.say(line))
    }
}
