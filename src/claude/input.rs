//! Raw lines that a client wants to write to Claude's stdin (`session.input`).
//!
//! Only three types pass, and only in shapes that do not make Claude exit. What a line asks is told in typed form,
//! so that the session treats it like the typed method of the same meaning. Of the other control requests those are
//! passed on that reach no further than a session's own conversation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::control::line;
use crate::api::session::{PermissionMode, Prompt};

/// Control requests that are passed on as they are. Claude knows many more: some change its login or settings that
/// all sessions share, some leave the workspace. Whatever a version adds is shut out until somebody has looked at it.
const PASSED_ON: [&str; 11] = [
    "get_context_usage",
    "get_usage",
    "initialize",
    "mcp_message",
    "mcp_reconnect",
    "mcp_set_servers",
    "mcp_status",
    "mcp_toggle",
    "rewind_files",
    "set_max_thinking_tokens",
    "stop_task",
];

/// What a raw line asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ClientInput {
    /// A message: like `session.send`.
    Message {
        /// What it says.
        prompt: Prompt,
        /// The id that the client chose.
        uuid: Option<Uuid>,
    },
    /// End the turn: like `session.interrupt`.
    Interrupt {
        /// The client's id for the answer.
        request_id: String,
    },
    /// End the process: like `session.stop`.
    EndSession {
        /// The client's id for the answer.
        request_id: String,
    },
    /// Change the model: like `session.configure`.
    SetModel {
        /// The client's id for the answer.
        request_id: String,
        /// The model; `None` for the default.
        model: Option<String>,
    },
    /// Change the permission mode: like `session.configure`.
    SetPermissionMode {
        /// The client's id for the answer.
        request_id: String,
        /// The mode, to be judged by the policy.
        mode: PermissionMode,
    },
    /// Any other control request: to be passed on.
    ControlRequest {
        /// The client's id for the answer.
        request_id: String,
        /// The permission modes that it sets, to be judged by the policy.
        modes: Vec<PermissionMode>,
        /// The line for stdin.
        #[serde(with = "as_text")]
        line: Vec<u8>,
    },
    /// An answer to one of Claude's requests: to be passed on, the first one for a request.
    ControlResponse {
        /// Claude's id of the request.
        request_id: String,
        /// The changes of permissions that it brings, to be judged by the policy.
        updates: Vec<Value>,
        /// The line for stdin.
        #[serde(with = "as_text")]
        line: Vec<u8>,
    },
}

/// Why a raw line is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// It is not an object of one of the three types.
    #[error("message must be one object of type user, control_request or control_response")]
    Type,
    /// Claude would exit over it, or it lacks what it needs.
    #[error("message lacks {0}, or it has the wrong shape")]
    Missing(&'static str),
    /// A permission mode that there is not.
    #[error(
        "message asks for a permission mode that is not one of default, acceptEdits, plan, dontAsk, bypassPermissions"
    )]
    PermissionMode,
    /// A control request that reaches beyond the session, or one that this version does not know.
    #[error("message asks for something that is not passed on; possible are interrupt, end_session, set_model, \
             set_permission_mode, {}", PASSED_ON.join(", "))]
    NotPassedOn,
    /// The message's id is not a UUID.
    #[error("message has a uuid that is not a UUID")]
    Uuid,
}

/// The permission mode of that word; `manual` is Claude's newer word for `default`.
#[must_use]
pub fn permission_mode(word: &str) -> Option<PermissionMode> {
    Some(match word {
        "default" | "manual" => PermissionMode::Default,
        "acceptEdits" => PermissionMode::AcceptEdits,
        "plan" => PermissionMode::Plan,
        "dontAsk" => PermissionMode::DontAsk,
        "bypassPermissions" => PermissionMode::BypassPermissions,
        _ => return None,
    })
}

/// Understands one raw line.
///
/// # Errors
/// [`InputError`], if it is of another type or of a shape that Claude can't take.
pub fn parse_input(message: &Value) -> Result<ClientInput, InputError> {
    let object = message.as_object().ok_or(InputError::Type)?;
    match object.get("type").and_then(Value::as_str) {
        Some("user") => user(object),
        Some("control_request") => control_request(message, object),
        Some("control_response") => {
            let response = object.get("response").and_then(Value::as_object).ok_or(InputError::Missing("response"))?;
            Ok(ClientInput::ControlResponse {
                request_id: text(response, "request_id").ok_or(InputError::Missing("response.request_id"))?,
                updates: updates(response)?,
                line: line(message),
            })
        }
        _ => Err(InputError::Type),
    }
}

fn user(object: &Map<String, Value>) -> Result<ClientInput, InputError> {
    let message = object.get("message").and_then(Value::as_object).ok_or(InputError::Missing("message"))?;
    if message.get("role").and_then(Value::as_str) != Some("user") {
        return Err(InputError::Missing("message.role \"user\""));
    }
    let prompt = match message.get("content") {
        Some(Value::String(text)) => Some(Prompt::Text(text.clone())),
        Some(Value::Array(blocks)) => {
            blocks.iter().map(|block| block.as_object().cloned()).collect::<Option<Vec<_>>>().map(Prompt::Blocks)
        }
        _ => None,
    };
    let uuid = match object.get("uuid") {
        None | Some(Value::Null) => None,
        Some(uuid) => Some(uuid.as_str().and_then(|uuid| uuid.parse().ok()).ok_or(InputError::Uuid)?),
    };
    Ok(ClientInput::Message { prompt: prompt.ok_or(InputError::Missing("message.content"))?, uuid })
}

fn control_request(message: &Value, object: &Map<String, Value>) -> Result<ClientInput, InputError> {
    let request_id = text(object, "request_id").ok_or(InputError::Missing("request_id"))?;
    let request = object.get("request").and_then(Value::as_object).ok_or(InputError::Missing("request"))?;
    let subtype = text(request, "subtype").ok_or(InputError::Missing("request.subtype"))?;
    Ok(match subtype.as_str() {
        "interrupt" => ClientInput::Interrupt { request_id },
        "end_session" => ClientInput::EndSession { request_id },
        "set_model" => match request.get("model") {
            None | Some(Value::Null) => ClientInput::SetModel { request_id, model: None },
            Some(Value::String(model)) => ClientInput::SetModel { request_id, model: Some(model.clone()) },
            Some(_) => return Err(InputError::Missing("request.model")),
        },
        "set_permission_mode" => {
            let word = text(request, "mode").ok_or(InputError::Missing("request.mode"))?;
            ClientInput::SetPermissionMode {
                request_id,
                mode: permission_mode(&word).ok_or(InputError::PermissionMode)?,
            }
        }
        subtype if PASSED_ON.contains(&subtype) => {
            ClientInput::ControlRequest { request_id, modes: modes_of_agents(request)?, line: line(message) }
        }
        _ => return Err(InputError::NotPassedOn),
    })
}

/// The permission modes of the subagents that an `initialize` defines.
fn modes_of_agents(request: &Map<String, Value>) -> Result<Vec<PermissionMode>, InputError> {
    let agents = request.get("agents").and_then(Value::as_object).into_iter().flat_map(Map::values);
    let modes = agents.filter_map(|agent| agent.get("permissionMode")).filter(|mode| !mode.is_null());
    modes.map(|mode| mode.as_str().and_then(permission_mode).ok_or(InputError::PermissionMode)).collect()
}

/// The changes of permissions that an answer brings: to a question of Claude's, or from a hook that decides one.
fn updates(response: &Map<String, Value>) -> Result<Vec<Value>, InputError> {
    let Some(answer) = response.get("response") else { return Ok(Vec::new()) };
    let mut updates = Vec::new();
    for holder in [Some(answer), answer.pointer("/hookSpecificOutput/decision")] {
        match holder.and_then(|holder| holder.get("updatedPermissions")) {
            None | Some(Value::Null) => {}
            Some(Value::Array(more)) => updates.extend_from_slice(more),
            Some(_) => return Err(InputError::Missing("updatedPermissions")),
        }
    }
    Ok(updates)
}

fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).map(ToOwned::to_owned)
}

/// A line is text, and travels as such.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(line: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(line))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        String::deserialize(deserializer).map(String::into_bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_taken_apart_so_that_it_goes_the_way_of_every_message() {
        let uuid = Uuid::from_u128(1);
        assert_eq!(
            parse_input(&json!({"type": "user", "message": {"role": "user", "content": "hi"}, "uuid": uuid})),
            Ok(ClientInput::Message { prompt: Prompt::Text("hi".to_owned()), uuid: Some(uuid) })
        );
        let block = json!({"type": "text", "text": "hi"});
        assert_eq!(
            parse_input(&json!({"type": "user", "message": {"role": "user", "content": [block]}})),
            Ok(ClientInput::Message { prompt: Prompt::Blocks(vec![block.as_object().unwrap().clone()]), uuid: None })
        );
    }

    #[test]
    fn what_has_a_typed_method_is_told_in_typed_form() {
        let ask = |request: Value| {
            parse_input(&json!({"type": "control_request", "request_id": "r", "request": request})).unwrap()
        };
        let request_id = || "r".to_owned();
        assert_eq!(ask(json!({"subtype": "interrupt"})), ClientInput::Interrupt { request_id: request_id() });
        assert_eq!(ask(json!({"subtype": "end_session"})), ClientInput::EndSession { request_id: request_id() });
        assert_eq!(
            ask(json!({"subtype": "set_model", "model": null})),
            ClientInput::SetModel { request_id: request_id(), model: None }
        );
        assert_eq!(
            ask(json!({"subtype": "set_permission_mode", "mode": "bypassPermissions"})),
            ClientInput::SetPermissionMode { request_id: request_id(), mode: PermissionMode::BypassPermissions }
        );
    }

    #[test]
    fn other_control_lines_are_passed_on_as_one_line() {
        let message =
            json!({"type": "control_request", "request_id": "r", "request": {"subtype": "mcp_status", "a": "\n"}});
        let Ok(ClientInput::ControlRequest { line, modes, .. }) = parse_input(&message) else { panic!() };
        assert_eq!(modes, []);
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), message);

        let message = json!({"type": "control_response", "response": {"subtype": "success", "request_id": "q"}});
        let Ok(ClientInput::ControlResponse { request_id, updates, line }) = parse_input(&message) else { panic!() };
        assert_eq!((request_id.as_str(), updates), ("q", vec![]));
        assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), message);
    }

    #[test]
    fn what_reaches_beyond_the_session_is_not_passed_on() {
        for subtype in
            ["claude_authenticate", "apply_flag_settings", "update_settings", "set_cwd", "add_directory", "x"]
        {
            let message = json!({"type": "control_request", "request_id": "r", "request": {"subtype": subtype}});
            assert_eq!(parse_input(&message), Err(InputError::NotPassedOn), "{subtype}");
        }
    }

    #[test]
    fn what_the_policy_must_judge_is_found_where_it_hides() {
        let agents = |mode: Value| {
            let request = json!({"subtype": "initialize", "agents": {"a": {}, "b": {"permissionMode": mode}}});
            parse_input(&json!({"type": "control_request", "request_id": "r", "request": request}))
        };
        let Ok(ClientInput::ControlRequest { modes, .. }) = agents(json!("bypassPermissions")) else { panic!() };
        assert_eq!(modes, [PermissionMode::BypassPermissions]);
        assert_eq!(agents(json!("auto")), Err(InputError::PermissionMode));

        let answer = |response: Value| {
            let response = json!({"subtype": "success", "request_id": "q", "response": response});
            parse_input(&json!({"type": "control_response", "response": response}))
        };
        let hook = json!({"hookSpecificOutput": {"decision": {"behavior": "allow", "updatedPermissions": [1]}}});
        for response in [hook, json!({"behavior": "allow", "updatedPermissions": [1]})] {
            let Ok(ClientInput::ControlResponse { updates, .. }) = answer(response) else { panic!() };
            assert_eq!(updates, [json!(1)]);
        }
        assert!(answer(json!({"updatedPermissions": {"type": "addRules"}})).is_err());
    }

    #[test]
    fn what_claude_would_exit_over_is_refused() {
        let refused = |message: Value| parse_input(&message).unwrap_err();
        assert_eq!(refused(json!([])), InputError::Type);
        assert_eq!(refused(json!({})), InputError::Type);
        assert_eq!(refused(json!({"type": "update_environment_variables"})), InputError::Type);
        assert_eq!(refused(json!({"type": "user"})), InputError::Missing("message"));
        assert_eq!(
            refused(json!({"type": "user", "message": {"role": "assistant", "content": "x"}})),
            InputError::Missing("message.role \"user\"")
        );
        assert_eq!(
            refused(json!({"type": "user", "message": {"role": "user", "content": [1]}})),
            InputError::Missing("message.content")
        );
        assert_eq!(
            refused(json!({"type": "user", "message": {"role": "user", "content": "x"}, "uuid": "1"})),
            InputError::Uuid
        );
        assert_eq!(refused(json!({"type": "control_request", "request_id": "r"})), InputError::Missing("request"));
        let mode = json!({"subtype": "set_permission_mode", "mode": "auto"});
        assert_eq!(
            refused(json!({"type": "control_request", "request_id": "r", "request": mode})),
            InputError::PermissionMode
        );
    }
}
