//! Reads standard input, line by line, and answers control requests as the CLI does.
//!
//! Waits for the descriptor and for a wake-up at once, so that `close-stdin` really closes it: a thread
//! that sits in `read` would keep the pipe open.

use std::io::PipeReader;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::stdio;
use serde_json::{Value, json};

use crate::Agent;
use crate::inbox::{Message, Stop};
use crate::messages::{VERSION, control_error, control_success};
use crate::output::stderr;
use crate::script::Ignored;

/// Reads until standard input ends, or until a byte comes through `wake`: then it is closed.
pub(crate) fn read(agent: &Arc<Agent>, wake: &PipeReader) {
    let mut pending = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let mut sources = [PollFd::from_borrowed_fd(stdio::stdin(), PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
        if poll(&mut sources, None).is_err() {
            continue;
        }
        if !sources[1].revents().is_empty() {
            if let Ok(null) = std::fs::File::open("/dev/null") {
                let _still_open = stdio::dup2_stdin(null);
            }
            break;
        }
        let read = match rustix::io::read(stdio::stdin(), &mut chunk) {
            Ok(0) => break,
            Ok(count) => &chunk[..count],
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
            Err(_) => break,
        };
        for piece in read.split_inclusive(|&byte| byte == b'\n') {
            pending.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                line(agent, &pending);
                pending.clear();
            }
        }
    }
    agent.inbox.change(|state| state.closed = true);
}

fn line(agent: &Agent, bytes: &[u8]) {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return;
    }
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        let length = bytes.trim_ascii_end().len();
        stderr(&format!("Error parsing streaming input line (type=unknown, {length} chars): SyntaxError"));
        agent.exit(1);
    };
    match value["type"].as_str() {
        Some("user") => user(agent, &value),
        Some("control_request") => request(agent, &value),
        Some("control_response") => agent.inbox.change(|state| state.answers.push_back(value["response"].clone())),
        _ => {}
    }
}

fn user(agent: &Agent, value: &Value) {
    if value["message"]["role"] != "user" {
        stderr(&format!("Error: Expected message role 'user', got '{}'", value["message"]["role"]));
        agent.exit(1);
    }
    let content = &value["message"]["content"];
    let text = content.as_str().map_or_else(
        || {
            let texts: Vec<&str> =
                content.as_array().into_iter().flatten().filter_map(|b| b["text"].as_str()).collect();
            texts.join("\n")
        },
        str::to_owned,
    );
    let uuid = value["uuid"].as_str().map(str::to_owned);
    let known = uuid.clone().is_some_and(|uuid| !agent.inbox.change(|state| state.seen.insert(uuid)));
    if known {
        return;
    }
    if let Some(uuid) = &uuid {
        agent.print_control(&agent.session().lifecycle(uuid, "queued"));
    }
    agent.inbox.change(|state| state.messages.push_back(Message { text, uuid }));
}

fn request(agent: &Agent, value: &Value) {
    let (id, body) = (&value["request_id"], &value["request"]);
    let answer = match body["subtype"].as_str().unwrap_or_default() {
        "initialize" => control_success(
            id,
            Some(json!({
                "commands": [], "agents": [], "output_style": "default", "available_output_styles": ["default"],
                "models": [{"value": "default", "resolvedModel": crate::messages::MODEL, "displayName": "Default"}],
                "account": {"tokenSource": "none", "apiKeySource": "none", "apiProvider": "firstParty"},
                "pid": std::process::id(), "claude_code_version": VERSION,
                "current_permission_mode": agent.session().permission_mode, "session_state": "idle",
            })),
        ),
        "interrupt" => {
            if agent.inbox.ignores(Ignored::Interrupt) {
                return;
            }
            let queued: Vec<Option<String>> = agent.inbox.change(|state| {
                if state.running {
                    state.stop = Some(state.stop.unwrap_or(Stop::Interrupt));
                }
                state.messages.iter().map(|message| message.uuid.clone()).collect()
            });
            control_success(id, Some(json!({"still_queued": queued})))
        }
        "end_session" => {
            if agent.inbox.ignores(Ignored::EndSession) {
                return;
            }
            agent.print_control(&control_success(id, None));
            agent.inbox.change(|state| state.stop = Some(Stop::EndSession));
            return;
        }
        "cancel_async_message" => {
            let wanted = body["message_uuid"].as_str();
            let cancelled = agent.inbox.change(|state| {
                let before = state.messages.len();
                state.messages.retain(|message| message.uuid.as_deref() != wanted);
                state.messages.len() < before
            });
            control_success(id, Some(json!({"cancelled": cancelled, "message_uuid": wanted})))
        }
        "set_model" | "set_permission_mode" if agent.inbox.ignores(Ignored::Settings) => return,
        "set_model" => {
            let model = body["model"].as_str().unwrap_or(crate::messages::MODEL).to_owned();
            agent.change_session(|session| session.model.clone_from(&model));
            control_success(id, Some(json!({"model": model})))
        }
        "set_permission_mode" => {
            let mode = body["mode"].as_str().unwrap_or_default().to_owned();
            if ["acceptEdits", "auto", "default", "dontAsk", "plan"].contains(&mode.as_str()) {
                agent.change_session(|session| session.permission_mode.clone_from(&mode));
                control_success(id, Some(json!({"mode": mode})))
            } else {
                control_error(id, "Cannot set permission mode", "invalid_mode")
            }
        }
        "stop_task" | "set_max_thinking_tokens" => control_success(id, Some(json!({}))),
        other => control_error(id, &format!("Unsupported control request subtype: {other}"), "unsupported_request"),
    };
    agent.print_control(&answer);
}
