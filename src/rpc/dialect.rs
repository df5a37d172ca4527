//! The dialect of cc_executor's clients: its methods as ordinary sessions of kind `command`, and a
//! translator that turns their events into `process.*` notifications.
//!
//! The dialect's known faults are left out: no shell, no phrases matched in output, a cancel is always
//! followed by `process.completed`, a connection that does not answer `ping` is not closed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use jsonrpsee::core::RegisterMethodError;
use serde::Deserialize;
use serde_json::json;

use super::envelope::notification;
use super::methods::session::too_many_attachments;
use super::peer::Attached;
use super::register::{Registrar, Request};
use crate::api::dialect::{
    ControlResult, ControlType, ExecuteResult, HookStatusResult, PongResult, ProcessCompleted, ProcessOutput,
    ProcessStatus,
};
use crate::api::event::{EndReason, Ended, EventType, Output, OutputStream, SessionState, StateChanged};
use crate::api::method::{Control, Execute, HookStatus, Pong};
use crate::api::selector::TypeSet;
use crate::api::{ErrorKind, RpcError};
use crate::session::log::Frame;
use crate::session::{Command, Handle};
use crate::telemetry::metrics;

/// Longest piece of a line in one `process.output`, in characters.
const PIECE_CHARS: usize = 65_536;

pub(super) fn register(registrar: &mut Registrar) -> Result<(), RegisterMethodError> {
    registrar.on::<Execute, _, _, _>(execute)?;
    registrar.on::<Control, _, _, _>(control)?;
    registrar.on::<Pong, _, _, _>(|_| async { Ok(PongResult { status: "ok".to_owned() }) })?;
    registrar.on::<HookStatus, _, _, _>(|_| async {
        Ok(HookStatusResult { enabled: false, message: "this gateway has no hooks of its own".to_owned() })
    })
}

async fn execute(request: Request<Execute>) -> Result<ExecuteResult, RpcError> {
    let (peer, sessions) = (&request.peer, &request.context.sessions);
    peer.uses_dialect();
    if peer.command().is_some_and(|command| sessions.live(command).is_some()) {
        return Err(RpcError::new(ErrorKind::InvalidParams, "A process is already running"));
    }
    if !peer.has_room() {
        return Err(too_many_attachments());
    }
    let params = &request.params;
    let started = sessions.execute(&peer.principal, &params.command, params.timeout).await;
    let handle = started.map_err(|error| {
        let error = RpcError::from(error);
        metrics::start_refused(error.kind().map_or("internal", ErrorKind::as_str));
        error
    })?;
    peer.set_command(handle.id());
    peer.hold(handle.id());
    let pid = pid(&handle).await?;
    let (_, reader) = sessions.reader(&peer.principal, handle.id(), 0, TypeSet::ALL).await?;
    let attachment = peer.attach(reader, Some(Translator::new(pid)));
    request.attach(attachment.map_err(|_| too_many_attachments())?);
    Ok(ExecuteResult { status: "started".to_owned(), pid, pgid: pid, session_id: handle.id() })
}

/// The command's process id, once it runs.
async fn pid(handle: &Arc<Handle>) -> Result<u32, RpcError> {
    let mut running = handle.running.clone();
    let found = running.wait_for(Option::is_some).await.ok().and_then(|running| *running);
    match found {
        Some(running) => Ok(running.pid),
        None => {
            let text = "the command could not be started; `session.events` tells why";
            Err(RpcError::new(ErrorKind::WrongState, text).details(json!({"state": SessionState::Ended})))
        }
    }
}

async fn control(request: Request<Control>) -> Result<ControlResult, RpcError> {
    let (peer, sessions) = (&request.peer, &request.context.sessions);
    peer.uses_dialect();
    let none = || RpcError::new(ErrorKind::NoSuchSession, "No process is running");
    let id = peer.command().filter(|command| sessions.live(*command).is_some()).ok_or_else(none)?;
    let (command, status) = match request.params.control {
        ControlType::Pause => (Command::Pause, "paused"),
        ControlType::Resume => (Command::Unpause, "resumed"),
        ControlType::Cancel => {
            if let Some(attached) = peer.attachment(id) {
                attached.cancel_asked.store(true, Ordering::Release);
            }
            (Command::Stop(EndReason::Cancelled), "canceled")
        }
    };
    sessions.ask(&peer.principal, id, command).await?;
    Ok(ControlResult { status: status.to_owned() })
}

/// Turns one command's events into the dialect's notifications.
#[derive(Debug)]
pub struct Translator {
    pid: u32,
    started: Instant,
    paused: bool,
    cancel_told: bool,
}

impl Translator {
    /// For the command with that process.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self { pid, started: Instant::now(), paused: false, cancel_told: false }
    }

    /// The notifications that tell the event, each a whole text.
    pub fn translate(&mut self, frame: &Frame, attached: &Attached) -> Vec<String> {
        let data = frame.data();
        match frame.kind.event_type() {
            Some(EventType::Started) => vec![self.status("process.started", "started")],
            Some(EventType::Claude) => output(OutputStream::Stdout, &String::from_utf8_lossy(&data)),
            Some(EventType::Output) => match read::<Output>(&data) {
                Some(line) => output(line.stream, &line.text),
                None => Vec::new(),
            },
            Some(EventType::State) => match read::<StateChanged>(&data).map(|changed| changed.state) {
                Some(SessionState::Paused) => {
                    self.paused = true;
                    vec![self.status("process.paused", "paused")]
                }
                Some(SessionState::Running) if self.paused => {
                    self.paused = false;
                    vec![self.status("process.resumed", "resumed")]
                }
                Some(SessionState::Stopping) => self.canceled(attached),
                _ => Vec::new(),
            },
            Some(EventType::Ended) => {
                let mut texts = self.canceled(attached);
                texts.extend(read::<Ended>(&data).map(|ended| self.completed(&ended)));
                texts
            }
            _ => Vec::new(),
        }
    }

    fn canceled(&mut self, attached: &Attached) -> Vec<String> {
        if self.cancel_told || !attached.cancel_asked.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.cancel_told = true;
        vec![self.status("process.canceled", "canceled")]
    }

    fn status(&self, method: &str, status: &str) -> String {
        let (pid, status) = (self.pid, status.to_owned());
        notification(method, &ProcessStatus { status, pid, pgid: pid, exit_code: None, error: None })
    }

    fn completed(&self, ended: &Ended) -> String {
        let exit_code = ended.exit_code.or_else(|| ended.signal.map(|signal| -signal));
        let status = if exit_code == Some(0) { "completed" } else { "failed" };
        notification(
            "process.completed",
            &ProcessCompleted {
                status: status.to_owned(),
                pid: self.pid,
                pgid: self.pid,
                exit_code,
                error: None,
                execution_time: self.started.elapsed().as_secs_f64(),
                early_completion_detected: false,
                early_completion_time: None,
                time_saved: 0,
                completion_marker: None,
            },
        )
    }
}

fn read<'de, T: Deserialize<'de>>(data: &'de [u8]) -> Option<T> {
    serde_json::from_slice(data).ok()
}

/// A line as `process.output`: whole with its ending, or cut into pieces.
fn output(stream: OutputStream, line: &str) -> Vec<String> {
    let stream = match stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    let told = |data: String, truncated: bool, place: Option<(u64, u64)>| {
        notification(
            "process.output",
            &ProcessOutput {
                stream: stream.to_owned(),
                data,
                truncated,
                chunk_index: place.map(|(index, _)| index),
                total_chunks: place.map(|(_, total)| total),
            },
        )
    };
    let line = format!("{line}\n");
    if line.len() <= PIECE_CHARS || line.chars().count() <= PIECE_CHARS {
        return vec![told(line, false, None)];
    }
    let chars: Vec<char> = line.chars().collect();
    let total = chars.len().div_ceil(PIECE_CHARS) as u64;
    let pieces = chars.chunks(PIECE_CHARS).zip(0_u64..);
    pieces.map(|(piece, index)| told(piece.iter().collect(), index + 1 < total, Some((index, total)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn params(text: &str) -> Value {
        serde_json::from_str::<Value>(text).unwrap()["params"].clone()
    }

    #[test]
    fn a_line_keeps_its_ending_and_has_no_place() {
        let told = output(OutputStream::Stderr, "hello");
        assert_eq!(told.len(), 1);
        let expected = serde_json::json!({"type": "stderr", "data": "hello\n", "truncated": false,
            "chunk_index": null, "total_chunks": null});
        assert_eq!(params(&told[0]), expected);
    }

    #[test]
    fn a_long_line_is_cut_into_pieces_that_make_it_whole_again() {
        let line = "é".repeat(PIECE_CHARS * 2 + 5);
        let told: Vec<_> = output(OutputStream::Stdout, &line).iter().map(|text| params(text)).collect();
        assert_eq!(told.len(), 3);
        let whole: String = told.iter().map(|piece| piece["data"].as_str().unwrap()).collect();
        assert_eq!(whole, line + "\n");
        let truncated: Vec<_> = told.iter().map(|piece| piece["truncated"].as_bool().unwrap()).collect();
        assert_eq!(truncated, [true, true, false]);
        assert_eq!((told[2]["chunk_index"].as_u64(), told[2]["total_chunks"].as_u64()), (Some(2), Some(3)));
    }
}
