//! Parameters and results of the `session.*` methods.
//!
//! Every parameter struct refuses unknown fields, so that a misspelt option is an error and not a silence.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::event::{Ended, Event, SessionState};
use super::selector::{EventFilter, EventSelector};

/// A prompt: plain text, or Claude's content blocks (text, image …).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Prompt {
    /// Text, sent to Claude byte for byte.
    Text(String),
    /// Content blocks of the Messages API.
    Blocks(Vec<serde_json::Map<String, Value>>),
}

/// What becomes of a session whose starting connection goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// It runs on.
    #[default]
    Keep,
    /// It is stopped.
    Stop,
}

/// What becomes of a session whose gateway dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnLost {
    /// It ends `lost`.
    #[default]
    End,
    /// It is started again under the same id.
    Resume,
}

/// Claude's permission mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum PermissionMode {
    /// Ask for everything that is not allowed by a rule.
    #[default]
    #[serde(rename = "default")]
    Default,
    /// Edits inside the workspace pass.
    #[serde(rename = "acceptEdits")]
    AcceptEdits,
    /// Plan only; writes are denied.
    #[serde(rename = "plan")]
    Plan,
    /// Deny instead of asking.
    #[serde(rename = "dontAsk")]
    DontAsk,
    /// Everything is allowed. Needs the settings' leave.
    #[serde(rename = "bypassPermissions")]
    BypassPermissions,
}

impl PermissionMode {
    /// The CLI's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::AcceptEdits => "acceptEdits",
            Self::Plan => "plan",
            Self::DontAsk => "dontAsk",
            Self::BypassPermissions => "bypassPermissions",
        }
    }
}

/// Parameters of `session.start`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StartParams {
    /// The first message. May be left out only by an interactive session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
    /// The directory to work in; inside an allowed root. Default: a fresh one of the session's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Model alias or name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Claude's permission mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission_mode: Option<PermissionMode>,
    /// Tools (and rules such as `Bash(git:*)`) that need no question.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_tools: Vec<String>,
    /// Tools that are never used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disallowed_tools: Vec<String>,
    /// Ends the session after so many model turns for one message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_turns: Option<u32>,
    /// Ends the session once it has cost more, in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_budget_usd: Option<f64>,
    /// Replaces Claude's system prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// Is added to Claude's system prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append_system_prompt: Option<String>,
    /// MCP servers, as Claude's `mcpServers` object. Stdio servers need the scope `raw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_config: Option<serde_json::Map<String, Value>>,
    /// The result must fit this JSON schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<serde_json::Map<String, Value>>,
    /// Also stream text as it is generated (`stream_event` lines).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial_messages: bool,
    /// Stay for more messages instead of ending with the first result.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interactive: bool,
    /// Continue the conversation of this (ended) session in a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<Uuid>,
    /// Wall-clock limit in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// Limit for silence in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<f64>,
    /// What becomes of it when this connection goes.
    pub on_disconnect: OnDisconnect,
    /// What becomes of it when the gateway dies.
    pub on_lost: OnLost,
    /// Hand Claude's control requests to the client. Needs the scope `raw`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
    /// Wait for a slot instead of failing when all are taken.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub queue: bool,
    /// For how long to wait for a slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timeout_seconds: Option<f64>,
    /// The same key of the same caller with the same parameters gives the same session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub idempotency_key: Option<String>,
    /// The caller's own words about it, for `session.list`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Stream its events to this connection. Default `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attach: Option<bool>,
}

/// Result of `session.start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StartResult {
    /// The session's id; also Claude's session id.
    pub session_id: Uuid,
    /// Where it is now.
    pub state: SessionState,
    /// Its place in the queue, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u64>,
    /// The id of its first message, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Uuid>,
}

/// Parameters of `session.send`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendParams {
    /// Which session.
    pub session_id: Uuid,
    /// The message.
    pub prompt: Prompt,
    /// Its id; the same id twice is one message. Default: a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Uuid>,
    /// Let it join the running turn instead of waiting for the turn's result. It then has no result of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub steer: bool,
    /// Wait for a slot, if the session has none and all are taken, instead of failing. Default `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<bool>,
}

/// Result of `session.send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SendResult {
    /// The message's id. The events of its turn name it.
    pub message_id: Uuid,
    /// Where the session is now.
    pub state: SessionState,
    /// Its place in the queue, while it waits for a slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u64>,
}

/// The ids of the gateway's own control requests begin with this, so that they can't meet a client's.
pub const OWN_REQUEST_PREFIX: &str = "ccgw-";

/// Parameters of `session.input`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputParams {
    /// Which session; it was started with `raw: true`.
    pub session_id: Uuid,
    /// One stream-json object for the agent: of type `user`, `control_request` or `control_response`. The ids of
    /// control requests must not begin with `ccgw-`. What it asks is judged like the typed method of the same
    /// meaning; control requests that reach beyond the session are refused.
    pub message: serde_json::Map<String, Value>,
}

/// Result of `session.input`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputResult {
    /// Where the session is now.
    pub state: SessionState,
    /// The message's id, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Uuid>,
}

/// The answer to a permission question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Behavior {
    /// Claude may use the tool.
    Allow,
    /// It may not.
    Deny,
}

/// Parameters of `session.respond`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RespondParams {
    /// Which session.
    pub session_id: Uuid,
    /// Which question: `request_id` of `permission.requested`.
    pub request_id: String,
    /// The answer.
    pub behavior: Behavior,
    /// With `allow`: what the tool is given instead of what Claude asked for. The answers to `AskUserQuestion` go
    /// here, as the question's input with `answers` added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_input: Option<serde_json::Map<String, Value>>,
    /// With `allow`: rules that spare the next question, such as those of `suggestions`. None that reach beyond the
    /// session's workspace. Where Claude does not read the workspace's own settings, and with the destination
    /// `session`, they hold for its process: a session that was put away asks again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_permissions: Option<Vec<Value>>,
    /// With `deny`: what Claude is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// With `deny`: also end the turn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupt: bool,
}

/// Parameters of `session.configure`: what is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigureParams {
    /// Which session.
    pub session_id: Uuid,
    /// Model alias or name, from the next request on; `default` for Claude's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Claude's permission mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission_mode: Option<PermissionMode>,
}

/// Parameters that only name a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionParams {
    /// Which session.
    pub session_id: Uuid,
}

/// Result of the methods that steer a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateResult {
    /// Where it is now.
    pub state: SessionState,
}

/// Parameters of `session.attach`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachParams {
    /// Which session.
    pub session_id: Uuid,
    /// Events after this number; 0 (the default) gives the whole log.
    #[serde(default)]
    pub after_seq: u64,
    /// Only these events: types, or `claude:` and the type of Claude's lines. `session.ended` always comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<EventSelector>>,
    /// Of those, not these; `["claude:stream_event"]` leaves the deltas out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<Vec<EventSelector>>,
}

impl AttachParams {
    /// The events of `session_id` after `after_seq` that `filter` lets through.
    #[must_use]
    pub fn new(session_id: Uuid, after_seq: u64, filter: EventFilter) -> Self {
        Self { session_id, after_seq, types: filter.types, without: filter.without }
    }

    /// Which events are wanted.
    #[must_use]
    pub fn filter(&self) -> EventFilter {
        EventFilter { types: self.types.clone(), without: self.without.clone() }
    }
}

/// Result of `session.attach`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttachResult {
    /// The session.
    pub session: Session,
    /// The number of the next event this connection will get, if nothing is filtered out.
    pub next_seq: u64,
}

/// Result of `session.detach`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DetachResult {
    /// Was this connection attached?
    pub detached: bool,
    /// The last event sent to this connection; attach again with it.
    pub last_seq: u64,
}

/// What kind of session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    /// Started by `session.start`.
    #[default]
    Claude,
    /// Started by the dialect's `execute`.
    Command,
}

/// One session as `session.get` and `session.list` show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// Its id.
    pub session_id: Uuid,
    /// What kind.
    pub kind: SessionKind,
    /// Where it is.
    pub state: SessionState,
    /// The account that started it.
    pub owner: String,
    /// When it was started, RFC 3339.
    pub created_at: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// The directory it works in.
    pub workspace: String,
    /// The model asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Stays for more messages.
    pub interactive: bool,
    /// What becomes of it when its connection goes.
    pub on_disconnect: OnDisconnect,
    /// What becomes of it when its gateway dies.
    pub on_lost: OnLost,
    /// The caller's words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The conversation it continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<Uuid>,
    /// The number of its newest event; 0 before the first.
    pub last_seq: u64,
    /// What Claude said last that its conversation has cost, in US dollars; absent before the first turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_cost_usd: Option<f64>,
    /// Its end, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// Parameters of `session.list`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListParams {
    /// Only sessions in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<SessionState>,
    /// Only sessions with this label: `name` or `name=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Where the last page ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many; 1 to 500, default 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 500))]
    pub limit: Option<u32>,
}

/// Result of `session.list`: newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListResult {
    /// The page.
    pub sessions: Vec<Session>,
    /// Give this as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Parameters of `session.events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsParams {
    /// Which session.
    pub session_id: Uuid,
    /// Events after this number; default 0.
    #[serde(default)]
    pub after_seq: u64,
    /// At most so many; 1 to 10,000, default 1,000. The answer also stops at 4 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub limit: Option<u32>,
}

/// Result of `session.events`, as a client reads it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventsResult {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The number that the next page begins with.
    pub next_seq: u64,
    /// `true`: the session has ended and this page holds its last event.
    pub end: bool,
}

/// [`EventsResult`] with its events spliced in as they were encoded once.
#[derive(Debug, Serialize)]
pub struct EncodedEvents {
    /// The events, each already JSON.
    pub events: Vec<Box<RawValue>>,
    /// The number that the next page begins with.
    pub next_seq: u64,
    /// See [`EventsResult::end`].
    pub end: bool,
}
