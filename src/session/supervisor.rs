//! The supervisor: the one task that owns a session, from its slot to its terminal event.
//!
//! It feeds what happens (lines, exit, timers, commands) to the state machine and carries the effects out.
//! It never waits for a reader, and for the store only through the log writer: while an append is under way
//! it goes on reading the agent, until too much waits; then the agent's pipe is simply not read.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::admission::{Admission, Slot};
use super::agent::{Ears, Heard, Mouth, line_for, record};
use super::error::SessionError;
use super::handle::{Command, Request, Running};
use super::launch::Launcher;
use super::machine::{Effect, ExitFacts, Input, Machine, Outcome, Push, Rung, Timer};
use super::plan::Plan;
use super::record::RecordWriter;
use super::writer::LogWriter;
use crate::api::event::{EventType, SessionState, Stalled, Started, StateChanged};
use crate::api::session::SessionKind;
use crate::claude::{ClaudeLine, PermissionQuestion, control};
use crate::config::settings::SessionSettings;
use crate::process::{Output, OutputItem, Process, ProcessControl, Signal, SpawnError};
use crate::store::{SessionPatch, StoreError};
use crate::telemetry::metrics;
use crate::telemetry::time::now_ms;

/// The clocks that judge the agent by what it prints: they stand still while nobody reads it.
const JUDGE_OUTPUT: [Timer; 3] = [Timer::Start, Timer::Idle, Timer::ResultGrace];

type Job = Pin<Box<dyn Future<Output = JobDone> + Send>>;

/// What the one job under way came to.
enum JobDone {
    Spawned(Result<Box<(Process, OwnedSemaphorePermit)>, SpawnError>),
    TreeGone,
}

/// One session's owner.
pub(super) struct Supervisor {
    pub plan: Plan,
    pub settings: Arc<SessionSettings>,
    pub launcher: Arc<Launcher>,
    pub admission: Admission,
    /// Held until the last process has gone.
    pub slot: Option<Slot>,
    pub log: LogWriter,
    pub record: RecordWriter,
    pub commands: mpsc::Receiver<Request>,
    pub state: watch::Sender<SessionState>,
    pub running: watch::Sender<Option<Running>>,
    pub created_at_ms: u64,
}

/// What has come about since, beside the parts that the supervisor was made of.
struct Life {
    machine: Machine,
    timers: BTreeMap<Timer, Instant>,
    job: Option<Job>,
    /// Is the job still waiting for leave to start? Then it can be given up.
    gate: Option<watch::Receiver<bool>>,
    start_permit: Option<OwnedSemaphorePermit>,
    output: Option<Output>,
    control: Option<ProcessControl>,
    mouth: Option<Mouth>,
    ears: Ears,
    spawned_at: Instant,
    last_output: Instant,
    stalled: bool,
    /// Connections that a session with `on_disconnect: stop` lives for; the one that started it is the first.
    holders: u32,
    /// The agent's pipe is not read because too much waits for the store.
    held_back: bool,
    /// The agent has been ready: there is a conversation.
    started: bool,
    outcome: Option<Box<Outcome>>,
}

enum Happened {
    Asked(Request),
    Printed(Option<OutputItem>),
    Job(JobDone),
    Timer(Timer),
    Logged(Result<(), StoreError>),
    Recorded,
}

impl Supervisor {
    /// Runs the session to its end.
    pub(super) async fn run(mut self) {
        metrics::session_started(kind_word(self.plan.kind));
        metrics::session_moved(None, Some(SessionState::Starting));
        let (machine, effects) = Machine::start(self.plan.nature());
        let now = Instant::now();
        let mut life = Life {
            machine,
            timers: BTreeMap::new(),
            job: None,
            gate: None,
            start_permit: None,
            output: None,
            control: None,
            mouth: None,
            ears: Ears::default(),
            spawned_at: now,
            last_output: now,
            stalled: false,
            holders: 1,
            held_back: false,
            started: false,
            outcome: None,
        };
        self.carry_out(&mut life, effects).await;
        while life.outcome.is_none() {
            let happened = self.wait(&mut life).await;
            if let Err(error) = self.take_in(&mut life, happened).await {
                self.abandon(life, &error).await;
                return;
            }
        }
        self.end(life).await;
    }

    /// Waits for the next thing to happen. Every branch is cancel-safe.
    async fn wait(&mut self, life: &mut Life) -> Happened {
        self.hold_back(life, self.log.is_full());
        let reads = life.output.is_some() && !life.held_back;
        let counts = |(timer, _): &(&Timer, &Instant)| !(life.held_back && JUDGE_OUTPUT.contains(timer));
        let next_timer = life.timers.iter().filter(counts).min_by_key(|(_, at)| **at).map(|(timer, at)| (*timer, *at));
        tokio::select! {
            Some(request) = self.commands.recv() => Happened::Asked(request),
            item = async { match &mut life.output { Some(output) => output.next().await, None => None } }, if reads => {
                Happened::Printed(item)
            }
            done = async { match &mut life.job { Some(job) => job.await, None => std::future::pending().await } } => {
                life.job = None;
                Happened::Job(done)
            }
            logged = self.log.advance(), if self.log.is_busy() => Happened::Logged(logged),
            () = self.record.advance(), if self.record.is_busy() => Happened::Recorded,
            timer = async { match next_timer {
                Some((timer, at)) => { sleep_until(at).await; timer }
                None => std::future::pending().await,
            } } => {
                life.timers.remove(&timer);
                Happened::Timer(timer)
            }
        }
    }

    /// While the agent is held back its silence is not its own. Afterwards it gets its whole time again, for
    /// what it has printed meanwhile is still to be read.
    fn hold_back(&self, life: &mut Life, hold: bool) {
        if std::mem::replace(&mut life.held_back, hold) && !hold {
            let now = Instant::now();
            life.last_output = now;
            life.stalled = false;
            for timer in JUDGE_OUTPUT {
                if let (true, Some(after)) = (life.timers.contains_key(&timer), self.length(timer, life)) {
                    life.timers.insert(timer, now + after);
                }
            }
        }
    }

    async fn take_in(&mut self, life: &mut Life, happened: Happened) -> Result<(), StoreError> {
        match happened {
            Happened::Asked((command, reply)) => {
                let answer = self.obey(life, command).await;
                // The asker may have gone; the command has been carried out all the same.
                drop(reply.send(answer));
            }
            Happened::Printed(Some(OutputItem::Lines { lines, bytes })) => {
                if bytes > 0 {
                    life.last_output = Instant::now();
                    life.stalled = false;
                }
                for line in &lines {
                    let parsed = life.ears.parse(line);
                    let kind = parsed.as_ref().map(ClaudeLine::event_kind);
                    let heard = match &parsed {
                        Some(parsed) => {
                            parsed.kind_word().clone_into(life.ears.last_type.get_or_insert_default());
                            if self.plan.kind == SessionKind::Claude {
                                life.ears.listen(parsed)
                            } else {
                                Heard::default()
                            }
                        }
                        None => Heard::default(),
                    };
                    for input in heard.before {
                        self.apply(life, input).await;
                    }
                    record(line, kind, &mut self.log);
                    for input in heard.after {
                        self.apply(life, input).await;
                    }
                    if let Some(question) = heard.question {
                        self.deny(life, &question).await;
                    }
                    if let (Some(id), Some(mouth)) = (heard.unanswerable, &life.mouth) {
                        // A full queue means an agent that does not read; its clock will end it.
                        let _ = mouth.say(control::refuse(&id, "this gateway does not answer such requests"));
                    }
                }
            }
            Happened::Printed(Some(OutputItem::Exited(exit))) => {
                life.control = None;
                life.mouth = None;
                life.start_permit = None;
                let facts = ExitFacts { code: exit.code, signal: exit.signal, cut: life.ears.cut };
                self.apply(life, Input::Exited(facts)).await;
            }
            Happened::Printed(None) => life.output = None,
            Happened::Job(JobDone::Spawned(Ok(spawned))) => {
                let (process, permit) = *spawned;
                life.start_permit = Some(permit);
                life.gate = None;
                life.spawned_at = Instant::now();
                life.last_output = life.spawned_at;
                self.running.send_replace(Some(Running { pid: process.pid }));
                life.mouth = process.stdin.map(Mouth::new);
                life.output = Some(process.output);
                life.control = Some(process.control);
                self.apply(life, Input::Spawned).await;
            }
            Happened::Job(JobDone::Spawned(Err(error))) => {
                life.gate = None;
                tracing::warn!(session_id = %self.plan.id, %error, "an agent could not be started");
                self.apply(life, Input::SpawnFailed(error.to_string())).await;
            }
            Happened::Job(JobDone::TreeGone) => self.apply(life, Input::TreeGone).await,
            Happened::Timer(Timer::Idle) => self.idle(life).await,
            Happened::Timer(timer) => self.apply(life, Input::Elapsed(timer)).await,
            Happened::Logged(outcome) => return outcome,
            Happened::Recorded => {}
        }
        Ok(())
    }

    async fn obey(&mut self, life: &mut Life, command: Command) -> Result<SessionState, SessionError> {
        let state = life.machine.state();
        let input = match command {
            Command::Stop(reason) => Input::Stop(reason),
            Command::Interrupt if life.machine.interruptible() => Input::Interrupt,
            Command::Interrupt => return Err(SessionError::WrongState { state, need: "no turn is running" }),
            Command::Pause if life.machine.pausable() => Input::Pause,
            Command::Pause => {
                return Err(SessionError::WrongState { state, need: "only a running session can be paused" });
            }
            Command::Unpause if state == SessionState::Paused => Input::Unpause,
            Command::Unpause => return Err(SessionError::WrongState { state, need: "it is not paused" }),
            Command::Hold => {
                life.holders += 1;
                life.timers.remove(&Timer::Disconnect);
                return Ok(state);
            }
            Command::LetGo => {
                life.holders = life.holders.saturating_sub(1);
                if life.holders == 0
                    && let Some(grace) = self.length(Timer::Disconnect, life)
                {
                    life.timers.insert(Timer::Disconnect, Instant::now() + grace);
                }
                return Ok(state);
            }
        };
        let stops = matches!(input, Input::Stop(_));
        self.apply(life, input).await;
        if stops && life.gate.as_ref().is_some_and(|started| !*started.borrow()) {
            // It still waits for leave to start: there is nothing to end.
            life.job = None;
            life.gate = None;
            self.apply(life, Input::SpawnFailed("stopped before it was started".to_owned())).await;
        }
        Ok(life.machine.state())
    }

    async fn apply(&mut self, life: &mut Life, input: Input) {
        let effects = life.machine.apply(input);
        self.carry_out(life, effects).await;
    }

    async fn carry_out(&mut self, life: &mut Life, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Spawn => self.spawn(life),
                Effect::Say(word) => {
                    if let (Some(mouth), Some(line)) = (&life.mouth, line_for(word, self.plan.prompt.as_ref())) {
                        // A full queue means an agent that does not read; its clock or the ladder will end it.
                        let _ = mouth.say(line);
                    }
                }
                Effect::CloseStdin => life.mouth = None,
                Effect::Signal(push) => {
                    if let Some(control) = &life.control {
                        // Too late is no failure: the exit is on its way.
                        let _ = control.signal(signal(push));
                    }
                }
                Effect::Sweep => life.job = Some(self.launcher.sweep(self.plan.id).into_job()),
                Effect::Arm(timer) => {
                    if let Some(after) = self.length(timer, life) {
                        life.timers.insert(timer, Instant::now() + after);
                    }
                }
                Effect::Disarm(timer) => {
                    life.timers.remove(&timer);
                }
                Effect::Started => {
                    life.start_permit = None;
                    life.started = true;
                    metrics::agent_started(life.spawned_at.elapsed());
                    let pid = self.running.borrow().map_or(0, |running| running.pid);
                    let started = Started {
                        pid,
                        agent_version: life.ears.version.clone(),
                        workspace: self.plan.workspace.display().to_string(),
                    };
                    self.log.push(EventType::Started, &started);
                }
                Effect::State { state, event } => self.enter(state, event),
                Effect::ReleaseSlot => {
                    if let Some(slot) = self.slot.take() {
                        slot.release().await;
                    }
                }
                Effect::End(outcome) => life.outcome = Some(outcome),
            }
        }
    }

    fn spawn(&self, life: &mut Life) {
        let (launcher, admission, plan) = (Arc::clone(&self.launcher), self.admission.clone(), self.plan.clone());
        let (passed, gate) = watch::channel(false);
        life.gate = Some(gate);
        life.job = Some(Box::pin(async move {
            let Some(permit) = admission.start_permit().await else {
                return JobDone::Spawned(Err(SpawnError::Ending));
            };
            passed.send_replace(true);
            JobDone::Spawned(launcher.spawn(&plan).await.map(|process| Box::new((process, permit))))
        }));
    }

    fn enter(&mut self, state: SessionState, event: bool) {
        if event {
            self.log.push(EventType::State, &StateChanged { state, cause: None });
        }
        // The end is shown only once its event has been acknowledged.
        if state != SessionState::Ended {
            let before = self.state.send_replace(state);
            metrics::session_moved(Some(before), Some(state));
            self.record.set(state);
        }
    }

    /// Permission questions can't be answered from outside yet: they are denied, never allowed.
    async fn deny(&mut self, life: &mut Life, question: &PermissionQuestion) {
        self.log.push(EventType::PermissionRequested, question);
        let message = "not allowed: name the tool in `allowed_tools` when starting the session";
        if let Some(mouth) = &life.mouth {
            let _ = mouth.say(control::deny(&question.request_id, message, false));
        }
        let resolved = serde_json::json!({"request_id": question.request_id, "behavior": "deny", "by": "policy", "message": message});
        self.log.push(EventType::PermissionResolved, &resolved);
        self.apply(life, Input::PermissionResolved).await;
    }

    /// The idle clock: counted on raw bytes. Half-way it warns; at the end it acts.
    async fn idle(&mut self, life: &mut Life) {
        let Some(limit) = self.plan.idle_timeout else { return };
        let silent = life.last_output.elapsed();
        if silent >= limit {
            self.apply(life, Input::Elapsed(Timer::Idle)).await;
            return;
        }
        if silent >= limit / 2 && !life.stalled {
            life.stalled = true;
            let stalled = Stalled { silent_seconds: silent.as_secs(), last_type: life.ears.last_type.clone() };
            self.log.push(EventType::Stalled, &stalled);
        }
        let next = if life.stalled { limit } else { limit / 2 };
        life.timers.insert(Timer::Idle, life.last_output + next);
    }

    fn length(&self, timer: Timer, life: &Life) -> Option<Duration> {
        let settings = &self.settings;
        match timer {
            Timer::Start => Some(settings.start_timeout_seconds.duration()),
            Timer::Wall => self.plan.timeout,
            Timer::Idle => self.plan.idle_timeout.map(|limit| limit / 2),
            // The dialect has no word for coming back.
            Timer::Disconnect if self.plan.kind == SessionKind::Command => Some(Duration::ZERO),
            Timer::Disconnect => Some(settings.disconnect_grace_seconds.duration()),
            Timer::ResultGrace => Some(settings.result_grace_seconds.duration()),
            Timer::Rung => Some(match life.machine.rung() {
                Some(Rung::Interrupt) => settings.interrupt_grace_seconds.duration(),
                Some(Rung::EndSession) => settings.end_session_grace_seconds.duration(),
                Some(Rung::Sigint) => settings.sigint_grace_seconds.duration(),
                Some(Rung::Sigterm) => settings.sigterm_grace_seconds.duration(),
                // SIGKILL can only be late, not refused.
                Some(Rung::Sigkill) | None => Duration::from_secs(1),
            }),
        }
    }

    /// Writes the terminal event, waits until it is acknowledged, and only then shows the end, everywhere at once.
    async fn end(mut self, life: Life) {
        let Some(outcome) = life.outcome else { return };
        let reason = outcome.reason;
        let now = now_ms();
        let resumable = self.plan.resumable && life.started;
        let ended = outcome.told(now.saturating_sub(self.created_at_ms), resumable);
        let patch = SessionPatch {
            state: Some(SessionState::Ended),
            ended_at_ms: Some(now),
            ended: Some(ended.clone()),
            owner: None,
        };
        self.record.flush().await;
        let before = *self.state.borrow();
        let show = || {
            self.state.send_replace(SessionState::Ended);
        };
        if let Err(error) = self.log.end(&ended, patch, show).await {
            tracing::error!(session_id = %self.plan.id, %error, "the end of a session could not be written");
            show();
        }
        metrics::session_ended(reason);
        metrics::session_moved(Some(before), None);
        tracing::info!(session_id = %self.plan.id, reason = reason.as_str(), duration_ms = ended.duration_ms, "session ended");
    }

    /// The store says that the session is no longer this node's: its process goes, and nothing more is written.
    async fn abandon(mut self, mut life: Life, error: &StoreError) {
        tracing::error!(session_id = %self.plan.id, %error, "a session's log can't be written any more; it is given up");
        if let Some(control) = life.control.take() {
            let _ = control.signal(Signal::Kill);
        }
        self.launcher.sweep(self.plan.id).await;
        if let Some(slot) = self.slot.take() {
            slot.release().await;
        }
        let before = self.state.send_replace(SessionState::Ended);
        metrics::session_moved(Some(before), None);
    }
}

trait IntoJob {
    fn into_job(self) -> Job;
}

impl<F: Future<Output = ()> + Send + 'static> IntoJob for F {
    fn into_job(self) -> Job {
        Box::pin(async move {
            self.await;
            JobDone::TreeGone
        })
    }
}

fn signal(push: Push) -> Signal {
    match push {
        Push::Interrupt => Signal::Interrupt,
        Push::Terminate => Signal::Terminate,
        Push::Kill => Signal::Kill,
        Push::Pause => Signal::Stop,
        Push::Continue => Signal::Continue,
    }
}

fn kind_word(kind: SessionKind) -> &'static str {
    match kind {
        SessionKind::Claude => "claude",
        SessionKind::Command => "command",
    }
}
