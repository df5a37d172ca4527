//! What a supervisor is asked to do, and what it answers.

use std::collections::hash_map::Entry;

use tokio::time::Instant;

use super::Supervisor;
use super::life::{Applied, Change, Life, Over, Reply};
use crate::api::event::{EndReason, EventType, SessionState, StateChanged};
use crate::api::session::{OWN_REQUEST_PREFIX, OnDisconnect, PermissionMode};
use crate::claude::{ClientInput, control};
use crate::session::error::SessionError;
use crate::session::handle::Command;
use crate::session::machine::{Cause, Input, Timer};
use crate::session::message::{Message, Taken};
use crate::session::plan::Arguments;
use crate::store::SessionPatch;

/// Changes that the agent may owe an answer for.
const MAX_CHANGES: usize = 64;

impl Supervisor {
    pub(super) async fn obey(&mut self, life: &mut Life, command: Command, reply: Reply) {
        let answer = match command {
            Command::Configure { model, permission_mode } => {
                self.configure(life, model, permission_mode, reply);
                return;
            }
            Command::Send { message, steer } => match self.send(life, message, steer).await {
                Ok(state) => {
                    // Not before the record names the message: a gateway that dies then tells that its turn is lost.
                    let open = life.open_messages();
                    self.record.change_then(open, move || drop(reply.send(Ok(state))));
                    return;
                }
                refused => refused,
            },
            Command::Respond { answer, username } => self.respond(life, &answer, &username).await,
            Command::Input(input) => self.input(life, *input).await,
            Command::Hold { at } => {
                *life.holders.entry(at).or_default() += 1;
                life.timers.remove(&Timer::Disconnect);
                Ok(life.machine.state())
            }
            Command::LetGo { at } => {
                if let Entry::Occupied(mut held) = life.holders.entry(at) {
                    *held.get_mut() -= 1;
                    if *held.get() == 0 {
                        held.remove();
                        self.await_connections(life);
                    }
                }
                Ok(life.machine.state())
            }
            Command::NodeGone { node } => {
                if life.holders.remove(&node).is_some() {
                    self.await_connections(life);
                }
                Ok(life.machine.state())
            }
            Command::Disown => {
                life.over.get_or_insert(Over::Disowned);
                Ok(life.machine.state())
            }
            Command::Stop(reason) => self.stop(life, Input::Stop(reason)).await,
            Command::Kill(reason) => self.stop(life, Input::Kill(reason)).await,
            other => self.steer(life, &other).await,
        };
        // The asker may have gone; the command has been carried out all the same.
        drop(reply.send(answer));
    }

    /// If no node has a connection any more that the session lives for, its time begins to run.
    pub(super) fn await_connections(&self, life: &mut Life) {
        if life.holders.is_empty() && self.plan.on_disconnect() == OnDisconnect::Stop {
            self.arm(Timer::Disconnect, life);
        }
    }

    async fn steer(&mut self, life: &mut Life, command: &Command) -> Result<SessionState, SessionError> {
        let state = life.machine.state();
        let wrong = |need| Err(SessionError::wrong_state(state, need));
        let input = match command {
            Command::Interrupt if life.machine.interruptible() => Input::Interrupt,
            Command::Interrupt => return wrong("no turn is running"),
            Command::Pause if life.machine.pausable() => Input::Pause,
            Command::Pause => return wrong("only a running session can be paused"),
            Command::Unpause if state == SessionState::Paused => Input::Unpause,
            Command::Unpause => return wrong("it is not paused"),
            Command::PutAway if life.machine.can_be_put_away() => Input::PutAway,
            Command::PutAway => return wrong("it is not at rest"),
            _ => Input::Drain,
        };
        self.apply(life, input).await;
        Ok(life.machine.state())
    }

    async fn stop(&mut self, life: &mut Life, input: Input) -> Result<SessionState, SessionError> {
        // Whosever it is: its processes are to end, and a stopped one hears nothing.
        self.suspend(life, false);
        self.apply(life, input).await;
        if life.gate.as_ref().is_some_and(|started| !*started.borrow()) {
            // It still waits for leave to start: there is nothing to end.
            life.job = None;
            life.gate = None;
            self.apply(life, Input::SpawnFailed("stopped before it was started".to_owned())).await;
        }
        Ok(life.machine.state())
    }

    /// Takes a message in. The caller has the record name it.
    async fn send(&mut self, life: &mut Life, message: Message, steer: bool) -> Result<SessionState, SessionError> {
        let state = life.machine.state();
        if steer && life.machine.steerable() {
            if life.messages.give_at_once(message.id) {
                life.say(control::user_message(&message.prompt, message.id));
                // The log knows of each message that the agent has, or the same one would be another after the process.
                let cause = Some(Cause::Steered.as_str().to_owned());
                let changed = StateChanged { state, cause, message_id: Some(message.id) };
                self.log.push(EventType::State, &changed);
            }
            return Ok(state);
        }
        if !life.machine.takes_messages() {
            let need = if state == SessionState::Stopping || life.over.is_some() {
                "it is on its way to its end"
            } else {
                "only an interactive session takes more messages"
            };
            return Err(SessionError::wrong_state(state, need));
        }
        match life.messages.take(message) {
            Taken::New => {
                self.apply(life, Input::Message).await;
                Ok(life.machine.state())
            }
            Taken::Known => Ok(state),
            Taken::Full => Err(SessionError::TooManyMessages),
        }
    }

    /// A raw line: what has a typed method goes its way, anything else to the agent as it is.
    async fn input(&mut self, life: &mut Life, input: ClientInput) -> Result<SessionState, SessionError> {
        let state = life.machine.state();
        let wrong = |need| Err(SessionError::wrong_state(state, need));
        if !self.plan.raw {
            return wrong("it was not started with `raw: true`");
        }
        if let ClientInput::Message { prompt, uuid } = input {
            let message = Message { id: uuid.unwrap_or_else(uuid::Uuid::new_v4), prompt };
            let answer = self.send(life, message, false).await;
            if answer.is_ok() {
                self.record.change(life.open_messages());
            }
            return answer;
        }
        if !life.machine.listens() {
            return wrong("its agent does not listen now");
        }
        let line = match input {
            ClientInput::Interrupt { request_id } => control::interrupt(&request_id),
            // The client reads the answer itself; what has been changed is noted all the same.
            ClientInput::SetModel { request_id, model } => {
                let line = control::set_model(&request_id, model.as_deref());
                life.expect_change(request_id, applied_model(model), None);
                line
            }
            ClientInput::SetPermissionMode { request_id, mode } => {
                let line = control::set_permission_mode(&request_id, mode);
                life.expect_change(request_id, Applied::Mode(mode), None);
                line
            }
            ClientInput::ControlRequest { line, .. } => line,
            ClientInput::ControlResponse { request_id, line, .. } => {
                let Some(at) = life.requests.iter().position(|open| *open == request_id) else {
                    return wrong("that request is not open (any more)");
                };
                life.requests.swap_remove(at);
                line
            }
            ClientInput::EndSession { .. } | ClientInput::Message { .. } => {
                return self.stop(life, Input::Stop(EndReason::Cancelled)).await;
            }
        };
        if life.say(line) { Ok(state) } else { wrong("its agent does not read") }
    }

    /// Asks the agent for the changes; the reply follows its answers. Without a process only what the next one is
    /// given is changed.
    fn configure(&mut self, life: &mut Life, model: Option<String>, mode: Option<PermissionMode>, reply: Reply) {
        let state = life.machine.state();
        let model = model.map(|model| applied_model(Some(model)));
        let changes: Vec<_> = model.into_iter().chain(mode.map(Applied::Mode)).collect();
        if state == SessionState::Queued {
            changes.into_iter().for_each(|change| self.note(change));
            drop(reply.send(Ok(state)));
            return;
        }
        let refusal = if state == SessionState::Paused {
            Some("`session.unpause` it first")
        } else if !life.machine.listens() {
            Some("its agent does not listen now")
        } else if life.changes.len() >= MAX_CHANGES {
            Some("its agent has answered none of many changes")
        } else {
            None
        };
        if let Some(need) = refusal {
            drop(reply.send(Err(SessionError::wrong_state(state, need))));
            return;
        }
        let last = changes.len().saturating_sub(1);
        let mut reply = Some(reply);
        for (at, apply) in changes.into_iter().enumerate() {
            life.changes_asked += 1;
            let id = format!("{OWN_REQUEST_PREFIX}change-{}", life.changes_asked);
            life.say(match &apply {
                Applied::Model(model) => control::set_model(&id, model.as_deref()),
                Applied::Mode(mode) => control::set_permission_mode(&id, *mode),
            });
            let reply = if at == last { reply.take() } else { None };
            life.expect_change(id, apply, reply);
        }
    }

    /// The agent has answered a control request.
    pub(super) fn changed(&mut self, life: &mut Life, id: &str, outcome: Result<(), String>) {
        let Some(change) = life.changes.remove(id) else { return };
        let answer = match outcome {
            Ok(()) => {
                self.note(change.apply);
                Ok(life.machine.state())
            }
            Err(text) => Err(SessionError::NotAllowed(format!("Claude refuses it: {text}"))),
        };
        if let Some(reply) = change.reply {
            drop(reply.send(answer));
        }
        if life.changes.values().all(|change| change.deadline.is_none()) {
            life.timers.remove(&Timer::Answer);
        }
    }

    /// A change that holds: for the record, and for the next process.
    pub(super) fn note(&mut self, change: Applied) {
        let params = &mut self.plan.params;
        let mut patch = SessionPatch::default();
        match &change {
            Applied::Model(model) => {
                params.model.clone_from(model);
                self.model.send_replace(model.clone());
                patch.model = Some(model.clone());
            }
            Applied::Mode(mode) => params.permission_mode = Some(*mode),
        }
        if let Arguments::Claude(line) = &mut self.plan.arguments {
            match change {
                Applied::Model(model) => line.model = model,
                Applied::Mode(mode) => line.permission_mode = Some(mode),
            }
        }
        patch.params = serde_json::to_string(&self.plan.params).ok();
        self.record.change(patch);
    }

    /// The process has gone: nobody answers.
    pub(super) fn give_up_changes(&self, life: &mut Life) {
        let state = life.machine.state();
        for (id, mut change) in life.changes.drain() {
            self.refuse_unanswered(&id, &mut change, state);
        }
    }

    /// The agent takes too long to answer some.
    pub(super) fn give_up_late_changes(&self, life: &mut Life) {
        let now = Instant::now();
        let state = life.machine.state();
        for (id, change) in &mut life.changes {
            // It may still make the change, and then the record has to say so.
            if change.deadline.take_if(|deadline| *deadline <= now).is_some() {
                self.refuse_unanswered(id, change, state);
            }
        }
        if let Some(next) = life.changes.values().filter_map(|change| change.deadline).min() {
            life.timers.insert(Timer::Answer, next);
        }
    }

    fn refuse_unanswered(&self, id: &str, change: &mut Change, state: SessionState) {
        tracing::warn!(session_id = %self.plan.id, request = id, "the agent has not answered a control request");
        if let Some(reply) = change.reply.take() {
            drop(reply.send(Err(SessionError::wrong_state(state, "its agent has not answered"))));
        }
    }
}

/// The word `default` means Claude's own model.
fn applied_model(model: Option<String>) -> Applied {
    Applied::Model(model.filter(|model| model != "default"))
}
