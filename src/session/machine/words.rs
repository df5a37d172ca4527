//! The words between the state machine and its supervisor: what happened, what to do, and the clocks.

use super::{ExitFacts, Outcome, Verdict};
use crate::api::event::{EndReason, SessionState};
use crate::api::session::SessionKind;

/// What a session is, as far as its life is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nature {
    /// Claude with its stream, or a command whose exit code is its result.
    pub kind: SessionKind,
    /// Stays for more messages after a result.
    pub interactive: bool,
    /// While it idles its process may be ended and brought back later.
    pub put_away: bool,
    /// Messages that it begins with.
    pub messages: u32,
    /// The wall-clock limit counts for each turn and not for the whole session.
    pub wall_per_turn: bool,
    /// If its first process ends before it is ready, another one is tried, which goes on with a conversation.
    pub second_start: bool,
    /// How it comes to be here.
    pub origin: Origin,
}

/// How a session comes to have a state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is new.
    New,
    /// It was put away, and a message has come for it.
    Woken,
    /// The node that ran it died.
    Recovered,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// It has the slot it waited for.
    SlotTaken,
    /// The process runs.
    Spawned,
    /// It could not be started.
    SpawnFailed(String),
    /// The agent answered `initialize`.
    Initialized,
    /// The agent has begun a turn, with or without a message.
    TurnBegan,
    /// A message was taken in.
    Message,
    /// The agent gave a result.
    Result {
        /// What it came to.
        verdict: Box<Verdict>,
        /// Messages that the agent has already wait for results of their own.
        more: bool,
    },
    /// The agent works on so many things in the background now.
    Background(u32),
    /// The agent waits for the answer to a permission question.
    PermissionAsked,
    /// One of those questions needs no answer any more.
    PermissionResolved,
    /// The process has gone and its output has been read to the end.
    Exited(ExitFacts),
    /// Nothing of the process's tree is left.
    TreeGone,
    /// Somebody, or the gateway, wants it ended for that reason.
    Stop(EndReason),
    /// The same, without any more patience: everything is killed.
    Kill(EndReason),
    /// The gateway shuts down: what is at rest is put away, what runs may finish.
    Drain,
    /// End the process of a session at rest.
    PutAway,
    /// Interrupt the running turn.
    Interrupt,
    /// Stop its processes for now.
    Pause,
    /// Let them go on.
    Unpause,
    /// A timer that was armed has run out.
    Elapsed(Timer),
}

/// The clocks of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// It must have a slot by then.
    Queue,
    /// The agent must have answered by then.
    Start,
    /// Wall-clock limit.
    Wall,
    /// Limit for silence; every byte of output puts it off.
    Idle,
    /// At rest for so long, its process is put away.
    Rest,
    /// After a result, what runs in the background must be done by then.
    Background,
    /// Told to go, the agent must have gone by then.
    Leave,
    /// Whoever it was started for must have come back by then.
    Disconnect,
    /// The rung of the stop ladder must have worked by then.
    Rung,
    /// The oldest permission question must have its answer by then. The supervisor's own.
    Permission,
    /// The agent must have answered the oldest control request by then. The supervisor's own.
    Answer,
}

impl Timer {
    /// Every clock, for the end.
    pub(super) const ALL: [Self; 11] = [
        Self::Queue,
        Self::Start,
        Self::Wall,
        Self::Idle,
        Self::Rest,
        Self::Background,
        Self::Leave,
        Self::Disconnect,
        Self::Rung,
        Self::Permission,
        Self::Answer,
    ];
}

/// What to write to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The `initialize` request.
    Initialize,
    /// Interrupt the turn.
    Interrupt,
    /// End at once.
    EndSession,
}

/// How hard to push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start the process.
    Spawn,
    /// From now on processes go on with the conversation that there is.
    GoOn,
    /// Write to its stdin.
    Say(Word),
    /// Write the message that waits longest.
    Deliver,
    /// Close its stdin.
    CloseStdin,
    /// Send its group a signal.
    Signal(Push),
    /// Stop everything of its tree for now.
    Freeze,
    /// Let everything of its tree go on.
    Thaw,
    /// Kill whatever is left of its tree; answered by [`Input::TreeGone`].
    Sweep,
    /// Start a timer (again).
    Arm(Timer),
    /// Stop a timer.
    Disarm(Timer),
    /// Tell that the agent has started.
    Started,
    /// The state is now this one; tell it with an event if `event` says so.
    State {
        /// The new state.
        state: SessionState,
        /// Whether an event tells it (`session.started` and `session.ended` speak for themselves).
        event: bool,
        /// Why, where it is not plain.
        cause: Option<Cause>,
    },
    /// Give the slot back, or leave the line for one.
    ReleaseSlot,
    /// The messages that wait will not be delivered: tell so.
    LoseMessages,
    /// The session is put away: nobody runs it from now on. The last effect.
    LetGo,
    /// Write the terminal event: the session is over. The last effect.
    End(Box<Outcome>),
}

/// Why a session changed its state, where it is not plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its process was ended; a message brings it back.
    PutAway,
    /// A message brings its process back.
    Message,
    /// The node that ran it died.
    NodeLost,
    /// A message has joined the running turn.
    Steered,
}

impl Cause {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PutAway => "put_away",
            Self::Message => "message",
            Self::NodeLost => "node_lost",
            Self::Steered => "steered",
        }
    }
}

/// The rungs of the stop ladder, gentlest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// The turn is interrupted.
    Interrupt,
    /// The agent is told to end.
    EndSession,
    /// SIGINT.
    Sigint,
    /// SIGTERM.
    Sigterm,
    /// SIGKILL.
    Sigkill,
}
