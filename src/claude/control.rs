//! Lines for Claude's stdin: messages, control requests and answers to Claude's own requests.
//!
//! Each is one JSON object that ends in a line feed. Text of a caller only ever stands inside JSON strings.

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::session::{PermissionMode, Prompt};

/// A message for Claude.
///
/// With `client_composed` Claude takes the text as it is: no slash command, no `@file`. The id comes back in
/// [`Lifecycle`](super::ClaudeLine::Lifecycle) lines and in the result; the same id twice is one message.
#[must_use]
pub fn user_message(prompt: &Prompt, uuid: Uuid) -> Vec<u8> {
    line(&json!({
        "type": "user",
        "message": {"role": "user", "content": prompt},
        "parent_tool_use_id": null,
        "session_id": "default",
        "uuid": uuid,
        "client_composed": true,
    }))
}

/// Asks Claude who it is; its answer is the sign that it is up (see [`Initialized`]).
#[must_use]
pub fn initialize(request_id: &str) -> Vec<u8> {
    request(request_id, &json!({"subtype": "initialize", "hooks": null}))
}

/// Ends the running turn. Messages that wait run afterwards unless they are taken back first.
#[must_use]
pub fn interrupt(request_id: &str) -> Vec<u8> {
    request(request_id, &json!({"subtype": "interrupt"}))
}

/// Ends the process at once, its children included.
#[must_use]
pub fn end_session(request_id: &str) -> Vec<u8> {
    request(request_id, &json!({"subtype": "end_session"}))
}

/// Takes back a message that waits behind the running turn.
#[must_use]
pub fn cancel_message(request_id: &str, uuid: Uuid) -> Vec<u8> {
    request(request_id, &json!({"subtype": "cancel_async_message", "message_uuid": uuid}))
}

/// Changes the model; `None` goes back to the default. Claude does not refuse unknown names.
#[must_use]
pub fn set_model(request_id: &str, model: Option<&str>) -> Vec<u8> {
    request(request_id, &json!({"subtype": "set_model", "model": model}))
}

/// Changes the permission mode.
#[must_use]
pub fn set_permission_mode(request_id: &str, mode: PermissionMode) -> Vec<u8> {
    request(request_id, &json!({"subtype": "set_permission_mode", "mode": mode.as_str()}))
}

/// Asks Claude what is in its context, by its own estimate: it does not ask the API for that.
#[must_use]
pub fn context_summary(request_id: &str) -> Vec<u8> {
    request(request_id, &json!({"subtype": "get_context_usage", "detail": "summary"}))
}

/// Lets Claude use the tool that it asked about: with another input if one is given, and remembering rules if
/// there are some (see [`PermissionQuestion`](super::PermissionQuestion)).
#[must_use]
pub fn allow(request_id: &str, updated_input: Option<&Value>, updated_permissions: Option<&Value>) -> Vec<u8> {
    let mut answer = serde_json::Map::new();
    answer.insert("behavior".to_owned(), json!("allow"));
    if let Some(input) = updated_input {
        answer.insert("updatedInput".to_owned(), input.clone());
    }
    if let Some(permissions) = updated_permissions {
        answer.insert("updatedPermissions".to_owned(), permissions.clone());
    }
    respond(request_id, &Value::Object(answer))
}

/// Forbids Claude the tool that it asked about. `message` is what Claude is told; `interrupt` also ends the turn.
#[must_use]
pub fn deny(request_id: &str, message: &str, interrupt: bool) -> Vec<u8> {
    respond(request_id, &json!({"behavior": "deny", "message": message, "interrupt": interrupt}))
}

/// Answers any request of Claude's.
#[must_use]
pub fn respond(request_id: &str, response: &Value) -> Vec<u8> {
    line(&json!({
        "type": "control_response",
        "response": {"subtype": "success", "request_id": request_id, "response": response},
    }))
}

/// Refuses a request of Claude's. A question about a tool counts as denied then.
#[must_use]
pub fn refuse(request_id: &str, error: &str) -> Vec<u8> {
    line(&json!({
        "type": "control_response",
        "response": {"subtype": "error", "request_id": request_id, "error": error},
    }))
}

fn request(request_id: &str, request: &Value) -> Vec<u8> {
    line(&json!({"type": "control_request", "request_id": request_id, "request": request}))
}

/// Any object as a line.
pub(super) fn line<T: Serialize>(object: &T) -> Vec<u8> {
    // Serialising a `Value` can't fail: its keys are strings and there is no writer to fail.
    let mut bytes = serde_json::to_vec(object).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// What is worth knowing of Claude's answer to [`initialize`].
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(default)]
pub struct Initialized {
    /// Claude Code's version. Old ones do not say it.
    #[serde(rename = "claude_code_version")]
    pub agent_version: Option<String>,
    /// Claude's own process id, as it sees it.
    pub pid: Option<u32>,
}

impl Initialized {
    /// Reads the answer; members of another shape count as absent.
    #[must_use]
    pub fn from_answer(answer: Option<&serde_json::value::RawValue>) -> Self {
        let [version, pid] = answer
            .and_then(|answer| super::members::members(answer.get(), &["claude_code_version", "pid"]))
            .unwrap_or_default();
        Self { agent_version: super::members::owned(version), pid: super::members::read(pid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: Vec<u8>) -> String {
        let text = String::from_utf8(line).unwrap();
        assert!(text.ends_with('\n'));
        assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
        text.trim_end().to_owned()
    }

    fn value(line: Vec<u8>) -> Value {
        serde_json::from_str(&text(line)).unwrap()
    }

    #[test]
    fn a_message_is_sent_byte_for_byte_and_marked_as_composed_by_the_client() {
        let uuid = Uuid::from_u128(7);
        let prompt = "/clear\n@file --flag \"quoted\" \u{2028} 😀\0";
        assert_eq!(
            value(user_message(&Prompt::Text(prompt.to_owned()), uuid)),
            json!({
                "type": "user",
                "message": {"role": "user", "content": prompt},
                "parent_tool_use_id": null,
                "session_id": "default",
                "uuid": "00000000-0000-0000-0000-000000000007",
                "client_composed": true,
            })
        );
    }

    #[test]
    fn content_blocks_are_sent_as_they_are() {
        let block = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}});
        let prompt = Prompt::Blocks(vec![block.as_object().unwrap().clone()]);
        assert_eq!(value(user_message(&prompt, Uuid::nil()))["message"]["content"], json!([block]));
    }

    #[test]
    fn control_requests_have_claudes_shape() {
        let expected = |request: Value| json!({"type": "control_request", "request_id": "r", "request": request});
        assert_eq!(value(initialize("r")), expected(json!({"subtype": "initialize", "hooks": null})));
        assert_eq!(value(interrupt("r")), expected(json!({"subtype": "interrupt"})));
        assert_eq!(value(end_session("r")), expected(json!({"subtype": "end_session"})));
        assert_eq!(value(context_summary("r")), expected(json!({"subtype": "get_context_usage", "detail": "summary"})));
        assert_eq!(value(set_model("r", None)), expected(json!({"subtype": "set_model", "model": null})));
        assert_eq!(value(set_model("r", Some("a\nb"))), expected(json!({"subtype": "set_model", "model": "a\nb"})));
        assert_eq!(
            value(set_permission_mode("r", PermissionMode::AcceptEdits)),
            expected(json!({"subtype": "set_permission_mode", "mode": "acceptEdits"}))
        );
        assert_eq!(
            value(cancel_message("r", Uuid::nil())),
            expected(json!({"subtype": "cancel_async_message", "message_uuid": Uuid::nil()}))
        );
    }

    #[test]
    fn answers_have_claudes_shape_and_leave_out_what_is_not_given() {
        let answer = |line| value(line)["response"]["response"].clone();
        assert_eq!(answer(allow("r", None, None)), json!({"behavior": "allow"}));
        assert_eq!(
            answer(allow("r", Some(&json!({"command": "ls"})), Some(&json!([1])))),
            json!({"behavior": "allow", "updatedInput": {"command": "ls"}, "updatedPermissions": [1]})
        );
        assert_eq!(
            answer(deny("r", "why\nnot", true)),
            json!({"behavior": "deny", "message": "why\nnot", "interrupt": true})
        );
        assert_eq!(
            value(refuse("r", "no")),
            json!({"type": "control_response", "response": {"subtype": "error", "request_id": "r", "error": "no"}})
        );
    }
}
