//! What goes into a session while it lives: `session.send`, `respond`, `configure`, `input`.

use jsonrpsee::core::RegisterMethodError;
use serde_json::Value;
use uuid::Uuid;

use super::session::ask;
use crate::api::error::ErrorKind;
use crate::api::method::{SessionConfigure, SessionInput, SessionRespond, SessionSend};
use crate::api::session::{Behavior, InputResult, OWN_REQUEST_PREFIX, RespondParams, SendResult, StateResult};
use crate::api::{Principal, RpcError};
use crate::claude::{ClientInput, InputError, parse_input};
use crate::rpc::register::{Registrar, Request};
use crate::session::Command;
use crate::session::policy::{Policy, check_model, check_prompt};

pub(in crate::rpc) fn register(registrar: &mut Registrar) -> Result<(), RegisterMethodError> {
    registrar.on::<SessionSend, _, _, _>(send)?;
    registrar.on::<SessionRespond, _, _, _>(respond)?;
    registrar.on::<SessionConfigure, _, _, _>(configure)?;
    registrar.on::<SessionInput, _, _, _>(input)
}

async fn send(request: Request<SessionSend>) -> Result<SendResult, RpcError> {
    Ok(request.context.sessions.send(&request.peer.principal, request.params.clone()).await?)
}

async fn respond(request: Request<SessionRespond>) -> Result<StateResult, RpcError> {
    let answer = request.params.clone();
    check_answer(&answer)?;
    let principal = &request.peer.principal;
    let policy = request.context.sessions.policy();
    policy.check_updates(principal, answer.updated_permissions.as_deref().unwrap_or_default())?;
    let command = Command::Respond { answer: Box::new(answer), username: principal.username.clone() };
    ask(request.params.session_id, request, command).await
}

async fn configure(request: Request<SessionConfigure>) -> Result<StateResult, RpcError> {
    let params = &request.params;
    let (model, permission_mode) = (params.model.clone(), params.permission_mode);
    if model.is_none() && permission_mode.is_none() {
        return Err(invalid("name a `model` or a `permission_mode`"));
    }
    check_model(model.as_deref())?;
    request.context.sessions.policy().check_mode(&request.peer.principal, permission_mode)?;
    ask(params.session_id, request, Command::Configure { model, permission_mode }).await
}

async fn input(request: Request<SessionInput>) -> Result<InputResult, RpcError> {
    let message = Value::Object(request.params.message.clone());
    let mut input = parse_input(&message).map_err(|error| match error {
        InputError::NotPassedOn => RpcError::new(ErrorKind::NotAllowed, error.to_string()),
        error => invalid(&error.to_string()),
    })?;
    judge(request.context.sessions.policy(), &request.peer.principal, &input)?;
    let message_id = if let ClientInput::Message { uuid, .. } = &mut input {
        Some(*uuid.get_or_insert_with(Uuid::new_v4))
    } else {
        None
    };
    let answer = ask(request.params.session_id, request, Command::Input(Box::new(input))).await?;
    Ok(InputResult { state: answer.state, message_id })
}

/// What belongs to the one behaviour can't go with the other: a denial that brings a new input is a mistake.
fn check_answer(answer: &RespondParams) -> Result<(), RpcError> {
    let allows = answer.updated_input.is_some() || answer.updated_permissions.is_some();
    match answer.behavior {
        Behavior::Deny if allows => Err(invalid("`updated_input` and `updated_permissions` belong to `allow`")),
        Behavior::Allow if answer.message.is_some() || answer.interrupt => {
            Err(invalid("`message` and `interrupt` belong to `deny`"))
        }
        _ => Ok(()),
    }
}

/// A raw line is judged like the typed method of the same meaning.
fn judge(policy: &Policy, caller: &Principal, input: &ClientInput) -> Result<(), RpcError> {
    match input {
        ClientInput::Message { prompt, .. } => check_prompt(prompt)?,
        ClientInput::SetModel { model, .. } => check_model(model.as_deref())?,
        ClientInput::SetPermissionMode { mode, .. } => policy.check_mode(caller, Some(*mode))?,
        ClientInput::ControlRequest { modes, .. } => {
            for mode in modes {
                policy.check_mode(caller, Some(*mode))?;
            }
        }
        ClientInput::ControlResponse { updates, .. } => policy.check_updates(caller, updates)?,
        ClientInput::Interrupt { .. } | ClientInput::EndSession { .. } => {}
    }
    let asked_id = match input {
        ClientInput::Interrupt { request_id }
        | ClientInput::EndSession { request_id }
        | ClientInput::SetModel { request_id, .. }
        | ClientInput::SetPermissionMode { request_id, .. }
        | ClientInput::ControlRequest { request_id, .. } => request_id,
        ClientInput::Message { .. } | ClientInput::ControlResponse { .. } => return Ok(()),
    };
    if asked_id.starts_with(OWN_REQUEST_PREFIX) {
        return Err(invalid("a `request_id` must not begin with `ccgw-`: those are the gateway's own"));
    }
    Ok(())
}

fn invalid(text: &str) -> RpcError {
    RpcError::new(ErrorKind::InvalidParams, text)
}
