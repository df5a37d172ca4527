//! One line of Claude's stdout, as far as the gateway has to understand it.
//!
//! Claude prints about a hundred kinds of lines and new versions print more; a line that is not needed here is
//! [`ClaudeLine::Other`] and goes to the readers as it came. The order of the keys is not stable, so lines are
//! parsed and never matched by their beginning. [`parse_line`] runs for every line, up to a million times a second:
//! an uninteresting line costs one pass and no allocation of note.

use std::borrow::Cow;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::members::{members, owned, raw, read, string};
use super::result::ResultLine;
pub use super::scanner::MAX_DEPTH;
use crate::api::selector::EventKind;

/// One line of Claude's stdout.
#[derive(Debug, Clone)]
pub enum ClaudeLine {
    /// `system/init`: begins every turn.
    Init {
        /// The model in use.
        model: Option<String>,
        /// Claude Code's version.
        version: Option<String>,
        /// The conversation, as Claude names it.
        session_id: Option<Uuid>,
        /// The permission mode in force, in Claude's words.
        permission_mode: Option<String>,
    },
    /// `result`: ends a turn.
    Result(Box<ResultLine>),
    /// Claude asks its host something.
    ControlRequest {
        /// To be named in the answer.
        request_id: String,
        /// What it asks: `can_use_tool`, `hook_callback`, `mcp_message` …
        subtype: String,
        /// The whole request object, `subtype` included.
        request: Box<RawValue>,
    },
    /// Claude's answer to a control request.
    ControlResponse {
        /// The request it answers.
        request_id: String,
        /// What it answers (there may be nothing to say), or why it refuses.
        outcome: Result<Option<Box<RawValue>>, String>,
    },
    /// Claude takes back a control request; it wants no answer.
    ControlCancel {
        /// Which one.
        request_id: String,
    },
    /// The state of the account's usage limit. Only with a subscription login.
    RateLimit(RateLimit),
    /// An API request failed and will be tried again.
    ApiRetry {
        /// Which try failed, from 1.
        attempt: u32,
        /// How many tries there are.
        max_retries: u32,
        /// When the next one comes, in milliseconds.
        retry_delay_ms: Option<u64>,
        /// The HTTP status, where there was an answer.
        error_status: Option<u16>,
        /// Claude's word for the error.
        error: Option<String>,
    },
    /// Claude says what it is doing: `running`, `idle`, `requires_action`.
    SessionState {
        /// The word.
        state: String,
    },
    /// The permission mode has changed: by a request, by an answer to a question, or at the end of planning.
    ModeChanged {
        /// Claude's word for it.
        mode: String,
    },
    /// What Claude works on in the background has changed.
    BackgroundTasks {
        /// How many tasks there are now.
        count: u32,
    },
    /// What became of a message that carried an id.
    Lifecycle {
        /// The message's id.
        uuid: Uuid,
        /// Where it is.
        state: LifecycleState,
    },
    /// The conversation was cleared and goes on under another id.
    ConversationReset {
        /// The new id.
        session_id: Uuid,
    },
    /// A piece of Claude's answer.
    Assistant {
        /// Where the piece stands for a failed API request: Claude's word for it, from a closed list
        /// (`authentication_failed`, `rate_limit`, `server_error` …).
        error: Option<String>,
        /// It comes from a sub-agent, so that its error is not the turn's.
        from_subagent: bool,
    },
    /// Anything else: to be passed on.
    Other {
        /// Its type; `system/…` with its subtype; `untyped` if it has none.
        kind: Cow<'static, str>,
    },
}

/// The state of the account's usage limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Where it stands.
    pub status: RateLimitStatus,
    /// When the limit is lifted, in seconds since the Unix epoch.
    pub resets_at: Option<u64>,
    /// Which limit: `five_hour`, `seven_day` …
    pub limit: Option<String>,
}

/// Where the account stands with its usage limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitStatus {
    /// Below it.
    Allowed,
    /// Near it.
    AllowedWarning,
    /// At it: requests are refused.
    Rejected,
    /// A word of a newer Claude.
    Unknown,
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifecycleState {
    /// Claude has it and works on something else.
    Queued,
    /// Its turn has begun, or it has joined a running one.
    Started,
    /// Its turn is over.
    Completed,
    /// It was taken back.
    Cancelled,
}

impl ClaudeLine {
    /// What the line is to a reader who chooses.
    #[must_use]
    pub fn event_kind(&self) -> EventKind {
        match self {
            Self::Init { .. }
            | Self::ApiRetry { .. }
            | Self::SessionState { .. }
            | Self::ModeChanged { .. }
            | Self::BackgroundTasks { .. } => EventKind::SYSTEM,
            Self::Result(_) => EventKind::RESULT,
            Self::ControlRequest { .. } => EventKind::CONTROL_REQUEST,
            Self::ControlResponse { .. } => EventKind::CONTROL_RESPONSE,
            Self::ControlCancel { .. } => EventKind::CONTROL_CANCEL_REQUEST,
            Self::RateLimit(_) => EventKind::RATE_LIMIT_EVENT,
            Self::Lifecycle { .. } => EventKind::COMMAND_LIFECYCLE,
            Self::ConversationReset { .. } => EventKind::OTHER_LINE,
            Self::Assistant { .. } => EventKind::ASSISTANT,
            Self::Other { kind } => EventKind::line(kind.split('/').next().unwrap_or_default()),
        }
    }

    /// The line's type as one word, `system/…` with its subtype.
    #[must_use]
    pub fn kind_word(&self) -> &str {
        match self {
            Self::Init { .. } => "system/init",
            Self::Result(_) => "result",
            Self::ControlRequest { .. } => "control_request",
            Self::ControlResponse { .. } => "control_response",
            Self::ControlCancel { .. } => "control_cancel_request",
            Self::RateLimit(_) => "rate_limit_event",
            Self::ApiRetry { .. } => "system/api_retry",
            Self::SessionState { .. } => "system/session_state_changed",
            Self::ModeChanged { .. } => "system/status",
            Self::BackgroundTasks { .. } => "system/background_tasks_changed",
            Self::Lifecycle { .. } => "command_lifecycle",
            Self::ConversationReset { .. } => "conversation_reset",
            Self::Assistant { .. } => "assistant",
            Self::Other { kind } => kind,
        }
    }
}

/// Understands one line of stdout, given without its line ending.
///
/// `None`: it is not UTF-8, not one well-formed JSON object, or nested deeper than [`MAX_DEPTH`]. What is accepted
/// can be spliced into a JSON text as it is. A known line that lacks what makes it useful (a control request without
/// an id) is [`ClaudeLine::Other`].
#[must_use]
pub fn parse_line(bytes: &[u8]) -> Option<ClaudeLine> {
    let text = std::str::from_utf8(bytes).ok()?;
    let [kind, subtype, error, parent] = members(text, &["type", "subtype", "error", "parent_tool_use_id"])?;
    let kind = string(kind);
    let Some(kind) = kind.as_deref() else { return Some(ClaudeLine::Other { kind: Cow::Borrowed("untyped") }) };
    if kind == "assistant" {
        return Some(ClaudeLine::Assistant { error: owned(error), from_subagent: string(parent).is_some() });
    }
    let subtype = string(subtype);
    let known = match (kind, subtype.as_deref()) {
        ("result", _) => ResultLine::parse(text).map(|result| ClaudeLine::Result(Box::new(result))),
        ("system", Some("init")) => init(text),
        ("system", Some("api_retry")) => api_retry(text),
        ("system", Some("session_state_changed")) => session_state(text),
        ("system", Some("status")) => mode_changed(text),
        ("system", Some("background_tasks_changed")) => background_tasks(text),
        ("control_request", _) => control_request(text),
        ("control_response", _) => control_response(text),
        ("control_cancel_request", _) => control_cancel(text),
        ("rate_limit_event", _) => rate_limit(text),
        ("command_lifecycle", _) => lifecycle(text),
        ("conversation_reset", _) => conversation_reset(text),
        _ => None,
    };
    Some(known.unwrap_or_else(|| ClaudeLine::Other { kind: other_kind(kind, subtype.as_deref()) }))
}

/// The word for a line that is passed on; only one that this version does not know needs memory of its own.
fn other_kind(kind: &str, subtype: Option<&str>) -> Cow<'static, str> {
    Cow::Borrowed(match (kind, subtype) {
        ("stream_event", _) => "stream_event",
        ("user", _) => "user",
        ("system", Some("status")) => "system/status",
        ("system", Some("thinking_tokens")) => "system/thinking_tokens",
        ("system", Some("task_progress")) => "system/task_progress",
        ("tool_progress", _) => "tool_progress",
        ("system", Some(subtype)) => return Cow::Owned(format!("system/{subtype}")),
        (kind, _) => return Cow::Owned(kind.to_owned()),
    })
}

fn init(text: &str) -> Option<ClaudeLine> {
    let [model, version, session_id, mode] =
        members(text, &["model", "claude_code_version", "session_id", "permissionMode"])?;
    Some(ClaudeLine::Init {
        model: owned(model),
        version: owned(version),
        session_id: read(session_id),
        permission_mode: owned(mode),
    })
}

fn api_retry(text: &str) -> Option<ClaudeLine> {
    let [attempt, max_retries, delay, status, error] =
        members(text, &["attempt", "max_retries", "retry_delay_ms", "error_status", "error"])?;
    Some(ClaudeLine::ApiRetry {
        attempt: read(attempt)?,
        max_retries: read(max_retries)?,
        retry_delay_ms: read(delay),
        error_status: read(status),
        error: owned(error),
    })
}

fn session_state(text: &str) -> Option<ClaudeLine> {
    let [state] = members(text, &["state"])?;
    Some(ClaudeLine::SessionState { state: owned(state)? })
}

/// Most status lines tell of something else.
fn mode_changed(text: &str) -> Option<ClaudeLine> {
    let [mode] = members(text, &["permissionMode"])?;
    Some(ClaudeLine::ModeChanged { mode: owned(mode)? })
}

fn background_tasks(text: &str) -> Option<ClaudeLine> {
    let [tasks] = members(text, &["tasks"])?;
    let tasks: Vec<serde::de::IgnoredAny> = read(tasks)?;
    Some(ClaudeLine::BackgroundTasks { count: u32::try_from(tasks.len()).unwrap_or(u32::MAX) })
}

fn control_request(text: &str) -> Option<ClaudeLine> {
    let [request_id, request] = members(text, &["request_id", "request"])?;
    let [subtype] = members(request?, &["subtype"])?;
    Some(ClaudeLine::ControlRequest {
        request_id: owned(request_id)?,
        subtype: owned(subtype)?,
        request: raw(request)?,
    })
}

fn control_response(text: &str) -> Option<ClaudeLine> {
    let [response] = members(text, &["response"])?;
    let [subtype, request_id, inner, error] = members(response?, &["subtype", "request_id", "response", "error"])?;
    let outcome = match string(subtype)?.as_ref() {
        "success" => Ok(raw(inner)),
        _ => Err(owned(error).unwrap_or_default()),
    };
    Some(ClaudeLine::ControlResponse { request_id: owned(request_id)?, outcome })
}

fn control_cancel(text: &str) -> Option<ClaudeLine> {
    let [request_id] = members(text, &["request_id"])?;
    Some(ClaudeLine::ControlCancel { request_id: owned(request_id)? })
}

fn rate_limit(text: &str) -> Option<ClaudeLine> {
    let [info] = members(text, &["rate_limit_info"])?;
    let [status, resets_at, limit] = members(info?, &["status", "resetsAt", "rateLimitType"])?;
    let status = match string(status)?.as_ref() {
        "allowed" => RateLimitStatus::Allowed,
        "allowed_warning" => RateLimitStatus::AllowedWarning,
        "rejected" => RateLimitStatus::Rejected,
        _ => RateLimitStatus::Unknown,
    };
    Some(ClaudeLine::RateLimit(RateLimit { status, resets_at: read(resets_at), limit: owned(limit) }))
}

fn lifecycle(text: &str) -> Option<ClaudeLine> {
    let [uuid, state] = members(text, &["command_uuid", "state"])?;
    let state = match string(state)?.as_ref() {
        "queued" => LifecycleState::Queued,
        "started" => LifecycleState::Started,
        "completed" => LifecycleState::Completed,
        "cancelled" => LifecycleState::Cancelled,
        _ => return None,
    };
    Some(ClaudeLine::Lifecycle { uuid: read(uuid)?, state })
}

fn conversation_reset(text: &str) -> Option<ClaudeLine> {
    let [id] = members(text, &["new_conversation_id"])?;
    Some(ClaudeLine::ConversationReset { session_id: read(id)? })
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
