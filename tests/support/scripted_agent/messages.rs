//! The lines that the CLI prints, in the shapes that recordings of the real one show. Pure.

use std::ops::Range;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::script::{ResultKind, Shape};

/// The version that the fake says it is.
pub(crate) const VERSION: &str = "2.1.329";

/// The model if none is asked for.
pub(crate) const MODEL: &str = "claude-opus-5-5";

/// What every line of a session has in common.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Its id.
    pub(crate) id: String,
    /// The model.
    pub(crate) model: String,
    /// The permission mode.
    pub(crate) permission_mode: String,
}

/// What a result tells.
pub(crate) struct ResultFacts<'a> {
    /// Which kind.
    pub(crate) kind: ResultKind,
    /// `terminal_reason`, where it is not the kind's own.
    pub(crate) terminal_reason: Option<&'a str>,
    /// The final text.
    pub(crate) text: &'a str,
    /// Turns of the whole conversation so far: each costs the same.
    pub(crate) conversation_turns: u64,
    /// Since the turn began, in milliseconds.
    pub(crate) duration_ms: u64,
    /// Ids of the messages that the turn served.
    pub(crate) uuids: &'a [String],
    /// Our own facts: what was printed.
    pub(crate) scripted: Value,
}

/// What one turn costs, in US dollars.
const TURN_COST: f64 = 0.001;

impl Session {
    /// `system/init`, printed at the beginning of every turn.
    pub(crate) fn init(&self) -> Value {
        let cwd = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
        json!({
            "type": "system", "subtype": "init", "cwd": cwd, "session_id": self.id,
            "tools": ["Task", "Bash", "Edit", "Read", "Write"], "mcp_servers": [], "model": self.model,
            "permissionMode": self.permission_mode, "slash_commands": [], "apiKeySource": "none",
            "claude_code_version": VERSION, "output_style": "default", "agents": [], "skills": [], "plugins": [],
            "capabilities": ["interrupt_receipt_v1", "msg_lifecycle_v1"], "uuid": Uuid::new_v4(),
        })
    }

    /// A message of the assistant with one block.
    pub(crate) fn assistant(&self, block: &Value, uuids: &[String]) -> Value {
        let mut line = json!({
            "type": "assistant",
            "message": {
                "id": id("msg_"), "type": "message", "role": "assistant", "model": self.model, "content": [block],
                "stop_reason": null, "stop_sequence": null,
                "usage": {"input_tokens": 11, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                          "output_tokens": 1, "service_tier": "standard"},
                "context_management": null,
            },
            "parent_tool_use_id": null, "session_id": self.id, "uuid": Uuid::new_v4(), "request_id": id("req_"),
        });
        name_messages(&mut line, uuids);
        line
    }

    /// A line of type `user`: a tool's result, or the note about an interrupt.
    pub(crate) fn user(&self, block: &Value) -> Value {
        json!({
            "type": "user", "message": {"role": "user", "content": [block]}, "parent_tool_use_id": null,
            "session_id": self.id, "uuid": Uuid::new_v4(),
        })
    }

    /// Streamed events of one piece of text, for `--include-partial-messages`.
    pub(crate) fn stream_events(&self, text: &str) -> Vec<Value> {
        let message =
            json!({"id": id("msg_"), "type": "message", "role": "assistant", "model": self.model, "content": []});
        [
            json!({"type": "message_start", "message": message}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}}),
            json!({"type": "message_stop"}),
        ]
        .into_iter()
        .map(|event| {
            json!({"type": "stream_event", "event": event, "session_id": self.id, "parent_tool_use_id": null,
                   "uuid": Uuid::new_v4()})
        })
        .collect()
    }

    /// What becomes of a message: `queued`, `started`, `completed`, `cancelled`.
    pub(crate) fn lifecycle(&self, uuid: &str, state: &str) -> Value {
        json!({"type": "command_lifecycle", "command_uuid": uuid, "state": state, "uuid": Uuid::new_v4(),
               "session_id": self.id})
    }

    /// The result of a turn.
    pub(crate) fn result(&self, facts: &ResultFacts<'_>) -> Value {
        let (subtype, is_error, terminal, status) = outcome(facts.kind);
        let cost = TURN_COST * count(facts.conversation_turns);
        let usage = json!({"input_tokens": 11, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                           "output_tokens": 7, "service_tier": "standard"});
        let mut line = json!({
            "duration_api_ms": 0, "stop_reason": if is_error { Value::Null } else { json!("end_turn") },
            "session_id": self.id, "total_cost_usd": cost, "usage": usage,
            "modelUsage": {&self.model: {"inputTokens": 11, "outputTokens": 7, "costUSD": cost}},
            "permission_denials": [], "terminal_reason": facts.terminal_reason.unwrap_or(terminal),
            "is_error": is_error, "num_turns": 1, "subtype": subtype, "api_error_status": status,
            "type": "result", "duration_ms": facts.duration_ms, "uuid": Uuid::new_v4(), "queued_turn_count": 0,
            "result_index": 0, "scripted": facts.scripted,
        });
        if subtype == "success" {
            line["result"] = json!(facts.text);
        } else {
            line["errors"] = json!([facts.text]);
        }
        name_messages(&mut line, facts.uuids);
        line
    }
}

fn outcome(kind: ResultKind) -> (&'static str, bool, &'static str, Option<u16>) {
    match kind {
        ResultKind::Ok => ("success", false, "completed", None),
        ResultKind::Error => ("success", true, "api_error", Some(500)),
        ResultKind::Auth => ("success", true, "api_error", Some(401)),
        ResultKind::RateLimit => ("success", true, "api_error", Some(429)),
        ResultKind::DuringExecution => ("error_during_execution", true, "aborted_streaming", None),
        ResultKind::MaxTurns => ("error_max_turns", true, "max_turns", None),
        ResultKind::MaxBudget => ("error_max_budget_usd", true, "budget_exhausted", None),
    }
}

/// The assistant's line that goes before a failed result: the CLI's word for the failure.
pub(crate) fn failure_word(kind: ResultKind) -> Option<&'static str> {
    match kind {
        ResultKind::Error => Some("server_error"),
        ResultKind::Auth => Some("authentication_failed"),
        ResultKind::RateLimit => Some("rate_limit"),
        _ => None,
    }
}

/// The answer to a control request.
pub(crate) fn control_success(request: &Value, response: Option<Value>) -> Value {
    let mut inner = json!({"subtype": "success", "request_id": request});
    if let Some(response) = response {
        inner["response"] = response;
    }
    json!({"type": "control_response", "response": inner})
}

/// The refusal of a control request.
pub(crate) fn control_error(request: &Value, error: &str, code: &str) -> Value {
    json!({"type": "control_response",
           "response": {"subtype": "error", "request_id": request, "error": error, "error_code": code}})
}

/// A made line: [`Template::fill`] gives any number of them without building JSON again.
///
/// No line is like the one before it: what repeats itself is written, sent and stored for less than what a model says.
pub(crate) struct Template {
    line: Vec<u8>,
    counter: Range<usize>,
    /// What fills the line up: another piece of the text in each.
    padding: Range<usize>,
    text: Vec<u8>,
    /// Where the microseconds stand, if the line has any.
    time: Option<Range<usize>>,
}

impl Template {
    /// Stands where the counter will be.
    const NO_COUNT: &str = "000000000000";
    /// Stands where the microseconds will be: as many digits as they have until the year 2286.
    const NO_TIME: u64 = 1_000_000_000_000_000;

    /// A template of a line of exactly `bytes` bytes, or of the shortest possible if that is longer.
    pub(crate) fn new(session: &Session, shape: Shape, bytes: usize) -> Self {
        let text = format!("{} ", Self::NO_COUNT);
        Self::padded(
            bytes,
            &text,
            &match shape {
                Shape::StreamEvent => json!({
                    "type": "stream_event",
                    "event": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
                    "session_id": session.id, "parent_tool_use_id": null, "uuid": Uuid::nil(),
                }),
                Shape::Assistant => session.assistant(&json!({"type": "text", "text": text}), &[]),
            },
        )
    }

    /// The same for a line that tells when it was printed, by [`Template::stamp`].
    pub(crate) fn stamped(session: &Session, bytes: usize) -> Self {
        let text = format!("{} ", Self::NO_COUNT);
        Self::padded(
            bytes,
            &text,
            &json!({
                "type": "stream_event", "session_id": session.id, "parent_tool_use_id": null, "sent_at_us": Self::NO_TIME,
                "event": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
            }),
        )
    }

    fn padded(bytes: usize, text: &str, line: &Value) -> Self {
        let line = line.to_string();
        let padding = "x".repeat(bytes.saturating_sub(line.len()));
        let filled = line.replacen(text, &format!("{text}{padding}"), 1) + "\n";
        let place = |of: &str| filled.find(of).map(|start| start..start + of.len());
        let (counter, time) = (place(text).unwrap_or_default(), place(&Self::NO_TIME.to_string()));
        let padding = counter.end..counter.end + padding.len();
        let counter = counter.start..counter.end.saturating_sub(1);
        let text = if padding.is_empty() { Vec::new() } else { words(padding.len() + TEXT_BYTES) };
        Self { line: filled.into_bytes(), counter, padding, text, time }
    }

    /// From now on lines tell this time, in microseconds since 1970.
    pub(crate) fn stamp(&mut self, microseconds: u64) {
        if let Some(time) = self.time.clone() {
            self.write(time, microseconds);
        }
    }

    /// The line with that number, its ending included.
    pub(crate) fn fill(&mut self, number: u64) -> &[u8] {
        self.write(self.counter.clone(), number);
        let length = self.padding.len();
        let start = usize::try_from(number).unwrap_or(0).wrapping_mul(length) % TEXT_BYTES;
        if let (Some(place), Some(piece)) =
            (self.line.get_mut(self.padding.clone()), self.text.get(start..start + length))
        {
            place.copy_from_slice(piece);
        }
        &self.line
    }

    fn write(&mut self, place: Range<usize>, number: u64) {
        let mut rest = number;
        for digit in self.line.get_mut(place).into_iter().flatten().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
    }
}

/// So much text goes by before a line has a piece that another has had: more than a packer looks back.
const TEXT_BYTES: usize = 256 * 1024;

/// Text of at least so many bytes, made of words in no order.
fn words(bytes: usize) -> Vec<u8> {
    const WORDS: [&str; 32] = [
        "the", "session", "of", "a", "function", "returns", "and", "value", "to", "file", "that", "in", "test", "is",
        "error", "line", "with", "change", "for", "it", "module", "when", "string", "this", "reads", "on", "result",
        "not", "call", "number", "which", "path",
    ];
    let mut text = Vec::with_capacity(bytes + 16);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(state >> 59).unwrap_or(0);
        text.extend_from_slice(WORDS.get(at).map_or(&b""[..], |word| word.as_bytes()));
        text.push(b' ');
    }
    text
}

fn name_messages(line: &mut Value, uuids: &[String]) {
    if let (Some(last), Some(fields)) = (uuids.last(), line.as_object_mut()) {
        let named: Map<String, Value> =
            [("user_message_uuid".to_owned(), json!(last)), ("user_message_uuids".to_owned(), json!(uuids))]
                .into_iter()
                .collect();
        fields.extend(named);
    }
}

fn id(prefix: &str) -> String {
    format!("{prefix}{}", &Uuid::new_v4().simple().to_string()[..24])
}

#[expect(clippy::cast_precision_loss, reason = "a count of turns is small")]
fn count(turns: u64) -> f64 {
    turns as f64
}
