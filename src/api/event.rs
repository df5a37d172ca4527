//! Events: their types, the states and end reasons of a session, and the `data` of each type.
//!
//! The codes of [`EventType`] are written into the store: they are never reused or renumbered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

/// What an event tells. The number is its code in the store; see [`super::selector::EventKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[repr(u8)]
pub enum EventType {
    /// The session waits for a slot: [`Queued`].
    #[serde(rename = "session.queued")]
    Queued = 0,
    /// The agent runs and has answered `initialize`: [`Started`].
    #[serde(rename = "session.started")]
    Started = 1,
    /// The session changed its state: [`StateChanged`].
    #[serde(rename = "session.state")]
    State = 2,
    /// One line of Claude's stream, byte for byte as JSON.
    #[serde(rename = "claude")]
    Claude = 3,
    /// A line that is not JSON, or a line of stderr: [`Output`].
    #[serde(rename = "output")]
    Output = 4,
    /// Claude asks whether it may use a tool: [`PermissionRequested`].
    #[serde(rename = "permission.requested")]
    PermissionRequested = 5,
    /// That question needs no answer any more: [`PermissionResolved`].
    #[serde(rename = "permission.resolved")]
    PermissionResolved = 6,
    /// The agent has been silent for long: [`Stalled`].
    #[serde(rename = "session.stalled")]
    Stalled = 7,
    /// A message will not get its answer: [`TurnLost`].
    #[serde(rename = "turn.lost")]
    TurnLost = 8,
    /// The session's one last event: [`Ended`].
    #[serde(rename = "session.ended")]
    Ended = 9,
}

impl EventType {
    /// Every type, in the order of the codes.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Started,
        Self::State,
        Self::Claude,
        Self::Output,
        Self::PermissionRequested,
        Self::PermissionResolved,
        Self::Stalled,
        Self::TurnLost,
        Self::Ended,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "session.queued",
            Self::Started => "session.started",
            Self::State => "session.state",
            Self::Claude => "claude",
            Self::Output => "output",
            Self::PermissionRequested => "permission.requested",
            Self::PermissionResolved => "permission.resolved",
            Self::Stalled => "session.stalled",
            Self::TurnLost => "turn.lost",
            Self::Ended => "session.ended",
        }
    }

    /// The code in the store.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The type with that code; `None` for a code from a newer version.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Waits for a slot.
    Queued,
    /// Has a slot; its agent is being started.
    Starting,
    /// A turn runs.
    Running,
    /// A turn waits for the answer to a permission question.
    AwaitingPermission,
    /// Waits for the next message.
    Idle,
    /// Its processes are stopped (SIGSTOP) until it is unpaused.
    Paused,
    /// Is being ended; its processes are going.
    Stopping,
    /// Has had its terminal event.
    Ended,
}

impl SessionState {
    /// Every state, for documents, metrics and tests.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Starting,
        Self::Running,
        Self::AwaitingPermission,
        Self::Idle,
        Self::Paused,
        Self::Stopping,
        Self::Ended,
    ];

    /// The word on the wire; also a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::AwaitingPermission => "awaiting_permission",
            Self::Idle => "idle",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Ended => "ended",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Why a session ended: the closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Claude gave its result.
    Completed,
    /// Claude gave a result that is an error, or the command ended with a non-zero exit code.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// It ran longer than its wall-clock limit.
    TimedOut,
    /// It was silent longer than its idle limit, or was never heard at all.
    IdleTimedOut,
    /// It passed its `max_budget_usd`.
    BudgetExhausted,
    /// It passed its `max_turns`.
    MaxTurns,
    /// Claude's login was refused or missing.
    AuthFailed,
    /// Claude's account is at its usage limit.
    RateLimited,
    /// The agent ended without a result.
    NoResult,
    /// The agent's last line was cut off.
    OutputTruncated,
    /// The agent could not be started.
    SpawnFailed,
    /// The agent was killed from outside (a signal that the gateway did not send).
    Killed,
    /// The gateway that ran it died.
    Lost,
    /// The gateway was shut down before it ended.
    Drained,
}

impl EndReason {
    /// Every reason, for documents, metrics and tests.
    pub const ALL: [Self; 15] = [
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::TimedOut,
        Self::IdleTimedOut,
        Self::BudgetExhausted,
        Self::MaxTurns,
        Self::AuthFailed,
        Self::RateLimited,
        Self::NoResult,
        Self::OutputTruncated,
        Self::SpawnFailed,
        Self::Killed,
        Self::Lost,
        Self::Drained,
    ];

    /// The word on the wire; also a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::IdleTimedOut => "idle_timed_out",
            Self::BudgetExhausted => "budget_exhausted",
            Self::MaxTurns => "max_turns",
            Self::AuthFailed => "auth_failed",
            Self::RateLimited => "rate_limited",
            Self::NoResult => "no_result",
            Self::OutputTruncated => "output_truncated",
            Self::SpawnFailed => "spawn_failed",
            Self::Killed => "killed",
            Self::Lost => "lost",
            Self::Drained => "drained",
        }
    }
}

/// `params` of a `session.event` notification, as a client reads it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The log position before this event as this reader saw it: `seq - 1` unless events were filtered out.
    pub prev_seq: u64,
    /// Whose event.
    pub session_id: Uuid,
    /// 1, 2, 3 … without a gap within a session.
    pub seq: u64,
    /// When it was taken in, RFC 3339 with milliseconds, UTC.
    pub at: String,
    /// What it tells.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// By type; for `claude` the agent's line byte for byte.
    #[schemars(with = "Value")]
    pub data: Box<RawValue>,
}

/// `params` of a `session.cursor` notification: events up to here were left out by this reader's filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cursor {
    /// Whose log.
    pub session_id: Uuid,
    /// The number up to which this reader has seen, or filtered out, everything.
    pub seq: u64,
}

/// Why a connection gets no more events of a session that has not ended for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DetachReason {
    /// What comes next was cut off: the session's log is limited. Attach with `after_seq` of `oldest_seq - 1`.
    CursorExpired,
    /// The session is no longer kept, or what is kept of it can't be read.
    Removed,
}

/// `params` of a `session.detached` notification: the gateway has ended an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Detached {
    /// Whose log.
    pub session_id: Uuid,
    /// The last number sent to this connection.
    pub last_seq: u64,
    /// Why.
    pub reason: DetachReason,
    /// The oldest event that is still kept, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_seq: Option<u64>,
}

/// `data` of `session.started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// The agent's process id.
    pub pid: u32,
    /// The agent's version as it says it, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// The directory it works in.
    pub workspace: String,
}

/// `data` of `session.queued`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Queued {
    /// The place in the line, from 1.
    pub position: u64,
}

/// `data` of `session.state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateChanged {
    /// The new state.
    pub state: SessionState,
    /// Why, where it is not plain: `put_away` (its process was ended; a message brings it back), `message` (one
    /// does), `node_lost` (the gateway that ran it died), `steered` (a message has joined the running turn).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// With `running`: the message whose turn begins, or that has joined it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Uuid>,
}

/// `data` of `permission.requested`: Claude asks whether it may use a tool. Answer with `session.respond`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PermissionRequested {
    /// To be named in the answer.
    pub request_id: String,
    /// The tool.
    pub tool_name: String,
    /// What it would be given.
    pub input: Value,
    /// The call in Claude's stream that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_use_id: Option<String>,
    /// The tool's name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// A headline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the call is for, in Claude's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The path that makes it ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_path: Option<String>,
    /// Why it asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_reason: Option<Value>,
    /// Rules that would spare the next question; can be given back as `updated_permissions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestions: Option<Value>,
    /// The sub-agent that asks, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Only a person can answer it (`AskUserQuestion`, `ExitPlanMode`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requires_user_interaction: bool,
    /// When it counts as denied unless it is answered, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// Who or what settled a permission question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResolvedBy {
    /// A caller answered.
    Caller,
    /// Nobody answered in time: it was denied.
    Timeout,
    /// Claude took the question back, or its turn ended.
    Agent,
}

/// `data` of `permission.resolved`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PermissionResolved {
    /// Which question.
    pub request_id: String,
    /// The answer; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<super::session::Behavior>,
    /// Who or what settled it.
    pub by: ResolvedBy,
    /// The account that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What Claude was told with a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Why a message will not get its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnLostCause {
    /// The gateway that ran the session died. The message is not sent again unasked.
    NodeLost,
    /// There was no slot for the session in time.
    NoSlot,
    /// The gateway was shut down.
    Drained,
}

/// `data` of `turn.lost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TurnLost {
    /// Which message.
    pub message_id: Uuid,
    /// Why.
    pub cause: TurnLostCause,
}

/// Which of the agent's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// `data` of `output`: a line that is not JSON, or a line of stderr, without its line ending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Where it was printed.
    pub stream: OutputStream,
    /// The line; bytes that are not UTF-8 are shown as U+FFFD.
    pub text: String,
    /// The line's exact bytes, where `text` can't hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// The line was longer than the limit and is cut; this is how long it was, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_from: Option<u64>,
    /// `true`: the output ended here without a line ending.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unterminated: bool,
}

/// `data` of `session.stalled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stalled {
    /// For how long nothing has been printed.
    pub silent_seconds: u64,
    /// The type of the last line, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_type: Option<String>,
}

/// `data` of `session.ended`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// Why, from the closed list.
    pub reason: EndReason,
    /// The agent's exit code, where it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the agent, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Is this end a failure? Claude's own `is_error` where the session ends with a result; not where a session at
    /// rest is stopped.
    pub is_error: bool,
    /// More about a failure, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The text of Claude's result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Claude's structured output, where a `json_schema` was given and met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured_output: Option<Value>,
    /// What Claude says the session has cost so far, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_cost_usd: Option<f64>,
    /// Claude's token counts of the last turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Value>,
    /// Claude's count of turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_turns: Option<u64>,
    /// From `session.start` to the end, in milliseconds.
    pub duration_ms: u64,
    /// Can the conversation be continued with `session.start {resume}`?
    pub resumable: bool,
    /// With `rate_limited`: when the account's limit is lifted, RFC 3339, where Claude says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<String>,
    /// `true`: the result was there, but the agent had to be ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced_exit: bool,
}
