//! Carries out what the state machine says.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::life::{Begun, JobDone, Life, Over};
use super::{Right, Supervisor};
use crate::api::event::{EventType, SessionState, Started, StateChanged, TurnLost, TurnLostCause};
use crate::claude::control;
use crate::process::{Signal, SpawnError};
use crate::session::agent::line_for;
use crate::session::handle::Running;
use crate::session::machine::{Cause, Effect, Push, Word};
use crate::session::warm::Prepared;
use crate::store::SessionPatch;
use crate::telemetry::metrics;

impl Supervisor {
    pub(super) async fn carry_out(&mut self, life: &mut Life, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Spawn => self.spawn(life),
                Effect::GoOn => self.plan.go_on_with_conversation(),
                Effect::Say(Word::Initialize) if life.greeted => {}
                Effect::Say(word) => {
                    life.say(line_for(word));
                }
                Effect::Deliver => self.deliver(life),
                Effect::CloseStdin => life.mouth = None,
                Effect::Signal(push) => {
                    if let Some(control) = &life.control {
                        // Too late is no failure: the exit is on its way.
                        let _ = control.signal(signal(push));
                    }
                }
                Effect::Freeze => life.then(JobDone::Settled, self.launcher.freeze(self.plan.id)),
                // It goes on once the store can say whose it is.
                Effect::Thaw if life.suspended => {}
                Effect::Thaw => life.then(JobDone::Settled, self.launcher.thaw(self.plan.id)),
                Effect::Sweep => life.then(JobDone::TreeGone, self.launcher.sweep(self.plan.id)),
                Effect::Arm(timer) => self.arm(timer, life),
                Effect::Disarm(timer) => {
                    life.timers.remove(&timer);
                }
                Effect::Started => self.started(life),
                Effect::State { state, event, cause } => self.enter(life, state, event, cause),
                Effect::ReleaseSlot => match std::mem::replace(&mut self.right, Right::None) {
                    Right::Slot(slot) => slot.release().await,
                    Right::Waiting(waiting) => {
                        self.position.send_replace(None);
                        waiting.leave().await;
                    }
                    Right::None => drop(self.position.send_replace(None)),
                },
                Effect::LoseMessages => self.lose_messages(life),
                Effect::LetGo => life.over = Some(Over::LetGo),
                Effect::End(outcome) => life.over = Some(Over::Ended(outcome)),
            }
        }
        self.show_rest(life);
    }

    /// Stops the session's processes while the store can't say whose the session is: another node may have taken it
    /// over, and two must not work in one workspace. What is paused stays so.
    pub(super) fn suspend(&self, life: &mut Life, suspended: bool) {
        if life.suspended == suspended || (suspended && life.control.is_none()) {
            return;
        }
        life.suspended = suspended;
        if life.machine.state() == SessionState::Paused {
            return;
        }
        if suspended {
            tracing::warn!(session_id = %self.plan.id, "the session's processes are stopped until the store is there");
            life.then(JobDone::Settled, self.launcher.freeze(self.plan.id));
        } else {
            life.then(JobDone::Settled, self.launcher.thaw(self.plan.id));
        }
    }

    fn spawn(&mut self, life: &mut Life) {
        if let Some(Prepared { process, heard, .. }) = self.prepared.take() {
            let begun = Begun { process, permit: None, turn: None, heard };
            life.job = Some(Box::pin(std::future::ready(JobDone::Spawned(Ok(Box::new(begun))))));
            return;
        }
        let (launcher, admission, plan) = (Arc::clone(&self.launcher), self.admission.clone(), self.plan.clone());
        let (passed, gate) = watch::channel(false);
        life.gate = Some(gate);
        life.job = Some(Box::pin(async move {
            // First, for it may take long: who waits for it keeps nobody else from starting.
            let turn = if plan.needs_login { launcher.login().turn().await } else { None };
            let Some(permit) = admission.start_permit().await else {
                return JobDone::Spawned(Err(SpawnError::Ending));
            };
            passed.send_replace(true);
            let begun = |process| Box::new(Begun { process, permit: Some(permit), turn, heard: Vec::new() });
            JobDone::Spawned(launcher.spawn(&plan).await.map(begun))
        }));
    }

    fn started(&mut self, life: &mut Life) {
        life.start_permit = None;
        life.started = true;
        if !life.greeted {
            metrics::agent_started(life.spawned_at.elapsed());
        }
        let started = Started {
            pid: self.running.borrow().map_or(0, |running| running.pid),
            agent_version: life.ears.version.clone(),
            workspace: self.plan.workspace.display().to_string(),
        };
        self.log.push(EventType::Started, &started);
    }

    /// Gives the agent the next message. From the second on, an event tells whose turn begins.
    fn deliver(&mut self, life: &mut Life) {
        let Some(message) = life.messages.next() else { return };
        life.say(control::user_message(&message.prompt, message.id));
        if self.plan.interactive {
            let state = life.machine.state();
            let changed = StateChanged { state, cause: None, message_id: Some(message.id) };
            self.log.push(EventType::State, &changed);
        }
        self.record.change(life.open_messages());
    }

    fn lose_messages(&mut self, life: &mut Life) {
        let cause = if life.machine.is_draining() { TurnLostCause::Drained } else { TurnLostCause::NoSlot };
        for message_id in life.messages.lose_waiting() {
            self.log.push(EventType::TurnLost, &TurnLost { message_id, cause });
        }
    }

    fn enter(&mut self, life: &Life, state: SessionState, event: bool, cause: Option<Cause>) {
        if event {
            let cause = cause.map(|cause| cause.as_str().to_owned());
            self.log.push(EventType::State, &StateChanged { state, cause, message_id: None });
        }
        // The end is shown only once its event has been acknowledged.
        if state != SessionState::Ended {
            let before = self.state.send_replace(state);
            metrics::session_moved(Some(before), Some(state));
            let messages = Some(life.messages.open());
            self.record.change(SessionPatch { state: Some(state), messages, ..SessionPatch::default() });
        }
    }

    /// Shows whether the session could give its process up, and since when.
    fn show_rest(&self, life: &Life) {
        let at_rest = life.machine.can_be_put_away();
        self.running.send_if_modified(|running| match running {
            Some(Running { at_rest_since, .. }) if at_rest_since.is_some() != at_rest => {
                *at_rest_since = at_rest.then(Instant::now);
                true
            }
            _ => false,
        });
    }
}

fn signal(push: Push) -> Signal {
    match push {
        Push::Interrupt => Signal::Interrupt,
        Push::Terminate => Signal::Terminate,
        Push::Kill => Signal::Kill,
    }
}
