//! Claude's `result` line: what a turn came to.
//!
//! Every member but the type may be missing or of another shape in another version; a missing one is `None`, never
//! a reason to lose the result. Costs count for the whole session, tokens and turns for this turn only.

use serde_json::Value;
use uuid::Uuid;

use super::members::{members, owned, read, string};

/// What a turn came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResultLine {
    /// `success`, or `error_…`. A failed API request is a `success` with [`is_error`](Self::is_error).
    pub subtype: String,
    /// Did the turn fail?
    pub is_error: bool,
    /// Why it is over: `completed`, `api_error`, `aborted_streaming`, `max_turns` …
    pub terminal_reason: Option<String>,
    /// The final text. The `error_…` subtypes have none.
    pub result: Option<String>,
    /// What fits the `json_schema`, where one was given and Claude kept to it.
    pub structured_output: Option<Value>,
    /// What the session has cost so far, in US dollars, resumed conversations included.
    pub total_cost_usd: Option<f64>,
    /// Token counts of this turn.
    pub usage: Option<Value>,
    /// Model turns of this turn.
    pub num_turns: Option<u64>,
    /// How long the turn took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The HTTP status of the API request that failed.
    pub api_error_status: Option<u16>,
    /// The API's word for that error.
    pub api_error_type: Option<String>,
    /// Claude's words for what failed, where the subtype is `error_…`.
    pub errors: Vec<String>,
    /// The messages that this result answers: several if they were queued together, none for a turn that began by
    /// itself.
    pub user_message_uuids: Vec<Uuid>,
    /// Which result of the process, from 0.
    pub result_index: Option<u64>,
    /// Turns that wait behind this one.
    pub queued_turn_count: Option<u64>,
    /// What began the turn, where it was not a message: `task-notification` …
    pub origin_kind: Option<String>,
    /// The conversation, as Claude names it.
    pub session_id: Option<Uuid>,
}

impl ResultLine {
    /// The result that the object `text` is; `None` if it is no object at all.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let [subtype, is_error, terminal_reason, result, structured_output, total_cost_usd, usage, num_turns] =
            members(
                text,
                &[
                    "subtype",
                    "is_error",
                    "terminal_reason",
                    "result",
                    "structured_output",
                    "total_cost_usd",
                    "usage",
                    "num_turns",
                ],
            )?;
        let [duration_ms, status, error_type, errors, uuids, uuid, result_index, queued, origin, session_id] = members(
            text,
            &[
                "duration_ms",
                "api_error_status",
                "api_error_type",
                "errors",
                "user_message_uuids",
                "user_message_uuid",
                "result_index",
                "queued_turn_count",
                "origin",
                "session_id",
            ],
        )?;
        let subtype = owned(subtype).unwrap_or_default();
        Some(Self {
            // A result that does not say so is an error unless it calls itself a success.
            is_error: read(is_error).unwrap_or(subtype != "success"),
            subtype,
            terminal_reason: owned(terminal_reason),
            result: owned(result),
            structured_output: read(structured_output),
            total_cost_usd: read(total_cost_usd),
            usage: read(usage),
            num_turns: read(num_turns),
            duration_ms: read(duration_ms),
            api_error_status: read(status),
            api_error_type: owned(error_type),
            errors: read(errors).unwrap_or_default(),
            user_message_uuids: read(uuids).or_else(|| read(uuid).map(|uuid| vec![uuid])).unwrap_or_default(),
            result_index: read(result_index),
            queued_turn_count: read(queued),
            origin_kind: origin
                .and_then(|origin| members(origin, &["kind"]))
                .and_then(|[kind]| string(kind).map(std::borrow::Cow::into_owned)),
            session_id: read(session_id),
        })
    }
}
