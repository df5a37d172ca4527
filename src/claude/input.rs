//! Raw lines that a client wants to write to Claude's stdin (`session.input`).
//!
//! Only three types pass, and only in shapes that do not make Claude exit. What a line asks is told in typed form,
//! so that the session treats it like the typed method of the same meaning; everything else is passed on.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::control::line;
use crate::api::session::{PermissionMode, Prompt};

/// What a raw line asks.
#[derive(Debug, Clone, PartialEq)]
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
        /// What it asks.
        subtype: String,
        /// The line for stdin.
        line: Vec<u8>,
    },
    /// An answer to one of Claude's requests: to be passed on, the first one for a request.
    ControlResponse {
        /// Claude's id of the request.
        request_id: String,
        /// The line for stdin.
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
        _ => ClientInput::ControlRequest { request_id, subtype, line: line(message) },
    })
}

fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).map(ToOwned::to_owned)
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
        let Ok(ClientInput::ControlRequest { line, subtype, .. }) = parse_input(&message) else { panic!() };
        assert_eq!(subtype, "mcp_status");
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), message);

        let message = json!({"type": "control_response", "response": {"subtype": "success", "request_id": "q"}});
        let Ok(ClientInput::ControlResponse { request_id, line }) = parse_input(&message) else { panic!() };
        assert_eq!(request_id, "q");
        assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), message);
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
