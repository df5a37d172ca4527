//! The supervisor: the one task that owns a session, from its slot (or its place in the line for one) to its
//! terminal event, or until it is put away.
//!
//! It feeds what happens (lines, exit, timers, commands) to the state machine and carries the effects out.
//! It never waits for a reader, and for the store only through the log writer: while an append is under way
//! it goes on reading the agent, until too much waits; then the agent's pipe is simply not read.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::StreamExt;

use super::admission::{Admission, Progress, Slot, Waiting};
use super::error::SessionError;
use super::handle::{Request, Running};
use super::launch::Launcher;
use super::machine::{ExitFacts, Input, Machine, Origin, Timer};
use super::plan::Plan;
use super::record::RecordWriter;
use super::warm::Prepared;
use super::writer::LogWriter;
use crate::api::event::{EventType, Queued, SessionState, StateChanged, TurnLost, TurnLostCause};
use crate::api::session::SessionKind;
use crate::config::settings::SessionSettings;
use crate::process::OutputItem;
use crate::store::StoreError;
use crate::telemetry::metrics;

mod clocks;
mod commands;
mod effects;
mod end;
mod life;
mod lines;
mod permissions;

use clocks::next_timer;
use life::{Begun, Happened, JobDone, Life};

/// What a session has of the right to a process.
pub(super) enum Right {
    /// A slot. Held until the last process has gone.
    Slot(Slot),
    /// A place in the line for one.
    Waiting(Waiting),
    /// Nothing, or not any more.
    None,
}

/// How a supervisor has left its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It has ended.
    Ended,
    /// It is put away: nobody runs it.
    PutAway,
    /// It is another node's, or its record is gone.
    Abandoned,
}

/// One session's owner.
pub(super) struct Supervisor {
    pub plan: Plan,
    pub settings: Arc<SessionSettings>,
    pub launcher: Arc<Launcher>,
    pub admission: Admission,
    pub right: Right,
    pub log: LogWriter,
    pub record: RecordWriter,
    pub commands: mpsc::Receiver<Request>,
    /// Who the session belongs to: costs are counted for them.
    pub owner: String,
    /// Messages whose turns went down with the node that ran the session before.
    pub lost_messages: Vec<uuid::Uuid>,
    pub state: watch::Sender<SessionState>,
    pub running: watch::Sender<Option<Running>>,
    pub position: watch::Sender<Option<u64>>,
    pub cost: watch::Sender<Option<f64>>,
    pub model: watch::Sender<Option<String>>,
    pub created_at_ms: u64,
    /// How many connections of this node it lives for as it begins.
    pub connections: u32,
    /// A process that was started ahead for the session: its first one.
    pub prepared: Option<Prepared>,
    /// This node's name.
    pub node: Arc<str>,
    /// Can the store say whose the session is? While it can't, another node may have taken it.
    pub sure: watch::Receiver<bool>,
}

impl Supervisor {
    /// Runs the session to its end, or until it is put away.
    pub(super) async fn run(mut self) -> Left {
        if self.plan.origin == Origin::New {
            metrics::session_started(kind_word(self.plan.kind));
        }
        let (machine, effects) = match self.right {
            Right::Waiting(_) => Machine::queue(self.plan.nature()),
            Right::Slot(_) | Right::None => Machine::start(self.plan.nature()),
        };
        metrics::session_moved(None, Some(machine.state()));
        let woken = self.plan.origin != Origin::New;
        let mut life = Life::new(machine, woken, self.plan.cost_before, self.sure.clone());
        life.holders.extend((self.connections > 0).then(|| (self.node.to_string(), self.connections)));
        self.tell_origin(life.machine.state());
        if let Some(message) = self.plan.message.take() {
            // The first one is always taken.
            let _ = life.messages.take(message);
        }
        if let Right::Waiting(waiting) = &self.right {
            self.tell_position(&mut life, waiting.position());
        }
        self.carry_out(&mut life, effects).await;
        self.await_connections(&mut life);
        while life.over.is_none() {
            let happened = self.wait(&mut life).await;
            if let Err(error) = self.take_in(&mut life, happened).await {
                return self.abandon(life, &error).await;
            }
        }
        self.finish(life).await
    }

    /// Tells why a session that has been here before is here again.
    fn tell_origin(&mut self, state: SessionState) {
        let cause = match self.plan.origin {
            Origin::New => return,
            Origin::Woken => super::machine::Cause::Message,
            Origin::Recovered => super::machine::Cause::NodeLost,
        };
        let changed = StateChanged { state, cause: Some(cause.as_str().to_owned()), message_id: None };
        self.log.push(EventType::State, &changed);
        for message_id in std::mem::take(&mut self.lost_messages) {
            self.log.push(EventType::TurnLost, &TurnLost { message_id, cause: TurnLostCause::NodeLost });
        }
    }

    /// Waits for the next thing to happen. Every branch is cancel-safe, and what a branch waits for knows who waits also
    /// when the branch is gone: see [`Life::rarely`]. Only the place in the line does not; there nothing is printed.
    async fn wait(&mut self, life: &mut Life) -> Happened {
        self.hold_back(life, life.suspended || self.log.is_full());
        let reads = life.output.is_some() && !life.held_back;
        let may_log = self.may_log();
        let right = &mut self.right;
        let mut in_line = pin!(async {
            match right {
                Right::Waiting(waiting) => waiting.next().await,
                Right::Slot(_) | Right::None => pending().await,
            }
        });
        // In turns, so that neither who prints all the time nor who asks all the time keeps the other waiting.
        let output_first = std::mem::take(&mut life.other_happened);
        poll_fn(|context| {
            let mut printed = |context: &mut Context<'_>| match &mut life.output {
                Some(output) if reads => output.poll(context).map(Happened::Printed),
                _ => Poll::Pending,
            };
            if output_first && let Poll::Ready(happened) = printed(context) {
                return Poll::Ready(happened);
            }
            let other = life.rarely.poll(context, async {
                let next_timer = next_timer(&life.timers, life.held_back);
                tokio::select! {
                    Some(request) = self.commands.recv() => Happened::Asked(request),
                    progress = in_line.as_mut() => Happened::InLine(progress),
                    done = async { match &mut life.job { Some(job) => job.await, None => pending().await } } => {
                        life.job = None;
                        Happened::Job(done)
                    }
                    logged = self.log.advance(), if may_log && self.log.is_busy() => Happened::Logged(logged),
                    () = self.record.advance(), if self.record.is_busy() => Happened::Recorded,
                    Some(sure) = life.standing.next() => Happened::Standing(sure),
                    (timer, at) = async { match next_timer {
                        Some((timer, at)) => { life.alarm.at(at).await; (timer, at) }
                        None => pending().await,
                    } } => Happened::Timer(timer, at),
                }
            });
            if other.is_ready() {
                life.other_happened = true;
                return other;
            }
            if output_first { Poll::Pending } else { printed(context) }
        })
        .await
    }

    /// Where what is spent is limited, a turn's result is shown when the store knows its cost: whoever asks for more then
    /// is judged by it.
    fn may_log(&self) -> bool {
        self.settings.max_spend_usd_per_principal <= 0.0 || !self.record.owes()
    }

    async fn take_in(&mut self, life: &mut Life, happened: Happened) -> Result<(), StoreError> {
        if !matches!(happened, Happened::Printed(Some(OutputItem::Lines { .. }))) {
            life.rarely.changed();
        }
        match happened {
            Happened::Asked((command, reply)) => self.obey(life, command, reply).await,
            Happened::InLine(progress) => self.move_in_line(life, progress).await,
            Happened::Printed(Some(OutputItem::Lines { lines, bytes })) => {
                if bytes > 0 {
                    life.last_output = Instant::now();
                    life.stalled = false;
                }
                for line in &lines {
                    self.take_line(life, line).await;
                }
                let logged = if self.may_log() { self.log.advance_at_once() } else { None };
                if self.log.is_busy() {
                    life.rarely.changed();
                }
                return logged.unwrap_or(Ok(()));
            }
            Happened::Printed(Some(OutputItem::Exited(exit))) => {
                life.control = None;
                life.mouth = None;
                life.start_permit = None;
                life.login_turn = None;
                let facts = ExitFacts { code: exit.code, signal: exit.signal, cut: life.ears.cut };
                life.requests.clear();
                self.close_questions(life).await;
                self.give_up_changes(life);
                self.apply(life, Input::Exited(facts)).await;
            }
            Happened::Printed(None) => life.output = None,
            Happened::Job(JobDone::Spawned(Ok(spawned))) => {
                let Begun { process, permit, turn, heard } = *spawned;
                life.start_permit = permit;
                life.greeted = !heard.is_empty();
                life.login_turn = turn;
                life.gate = None;
                life.spawned_at = Instant::now();
                life.last_output = life.spawned_at;
                self.running.send_replace(Some(Running { pid: process.pid, at_rest_since: None }));
                life.mouth = process.stdin.map(super::mouth::Mouth::new);
                life.output = Some(process.output);
                life.control = Some(process.control);
                life.ears = super::agent::Ears::default();
                self.suspend(life, !*self.sure.borrow());
                self.apply(life, Input::Spawned).await;
                for line in &heard {
                    self.take_line(life, line).await;
                }
            }
            Happened::Job(JobDone::Spawned(Err(error))) => {
                life.gate = None;
                tracing::warn!(session_id = %self.plan.id, %error, "an agent could not be started");
                self.apply(life, Input::SpawnFailed(error.to_string())).await;
            }
            Happened::Job(JobDone::TreeGone) => self.apply(life, Input::TreeGone).await,
            Happened::Job(JobDone::Settled) | Happened::Recorded => {}
            Happened::Timer(timer, at) => self.ring(life, timer, at).await,
            Happened::Standing(sure) => self.suspend(life, !sure),
            Happened::Logged(outcome) => return outcome,
        }
        Ok(())
    }

    /// The line for slots has moved.
    async fn move_in_line(&mut self, life: &mut Life, progress: Result<Progress, SessionError>) {
        match progress {
            Ok(Progress::Position(position)) => self.tell_position(life, position),
            Ok(Progress::Slot(slot)) => {
                self.right = Right::Slot(slot);
                self.position.send_replace(None);
                self.apply(life, Input::SlotTaken).await;
            }
            // The line only fails when it is gone with everything else.
            Err(error) => {
                tracing::error!(session_id = %self.plan.id, %error, "a session has lost its place in the line");
                self.right = Right::None;
                self.apply(life, Input::Elapsed(Timer::Queue)).await;
            }
        }
    }

    fn tell_position(&mut self, life: &mut Life, position: u64) {
        self.position.send_replace(Some(position));
        if life.place_told.replace(position) != Some(position) {
            self.log.push(EventType::Queued, &Queued { position });
        }
    }

    async fn apply(&mut self, life: &mut Life, input: Input) {
        let effects = life.machine.apply(input);
        self.carry_out(life, effects).await;
    }
}

fn kind_word(kind: SessionKind) -> &'static str {
    match kind {
        SessionKind::Claude => "claude",
        SessionKind::Command => "command",
    }
}
