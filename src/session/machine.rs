//! The life of a session as a pure function: `(state, input) → (state, effects)`.
//!
//! No clock, no process, no store: the supervisor carries the effects out and feeds back what came of them,
//! so that thousands of histories can be tried without starting anything.
//!
//! Invariants, whatever the order of the inputs:
//! - [`Effect::End`] is given exactly once, and nothing follows it.
//! - It is given only after the process's tree is known to be gone ([`Input::TreeGone`]) or was never there.
//! - The slot is given back exactly once, after the tree is gone and before the end.

use crate::api::event::{EndReason, SessionState};
use crate::api::session::SessionKind;

mod ending;

pub use ending::{ExitFacts, Outcome, Verdict};

/// What a session is, as far as its life is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nature {
    /// Claude with its stream, or a command whose exit code is its result.
    pub kind: SessionKind,
    /// Stays for more messages after a result.
    pub interactive: bool,
    /// Has a first message to send.
    pub has_prompt: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The process runs.
    Spawned,
    /// It could not be started.
    SpawnFailed(String),
    /// The agent answered `initialize`.
    Initialized,
    /// The agent gave a result.
    Result(Box<Verdict>),
    /// The agent waits for the answer to a permission question.
    PermissionAsked,
    /// That question (the last open one) has its answer.
    PermissionResolved,
    /// The process has gone and its output has been read to the end.
    Exited(ExitFacts),
    /// Nothing of the process's tree is left.
    TreeGone,
    /// Somebody, or the gateway, wants it ended for that reason.
    Stop(EndReason),
    /// Interrupt the running turn.
    Interrupt,
    /// Stop its processes for now.
    Pause,
    /// Let them go on.
    Unpause,
    /// A timer that was armed has run out.
    Elapsed(Timer),
}

/// The clocks of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// The agent must have answered by then.
    Start,
    /// Wall-clock limit.
    Wall,
    /// Limit for silence; every byte of output puts it off.
    Idle,
    /// After a result, the agent must have gone by then.
    ResultGrace,
    /// Whoever it was started for must have come back by then.
    Disconnect,
    /// The rung of the stop ladder must have worked by then.
    Rung,
}

/// What to write to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The `initialize` request.
    Initialize,
    /// The first message.
    Prompt,
    /// Interrupt the turn.
    Interrupt,
    /// End at once.
    EndSession,
}

/// How hard to push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Continue,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start the process.
    Spawn,
    /// Write to its stdin.
    Say(Word),
    /// Close its stdin.
    CloseStdin,
    /// Send its group a signal.
    Signal(Push),
    /// Kill whatever is left of its tree; answered by [`Input::TreeGone`].
    Sweep,
    /// Start a timer (again).
    Arm(Timer),
    /// Stop a timer.
    Disarm(Timer),
    /// Tell that the agent has started.
    Started,
    /// The state is now this one; tell it with an event if `event` says so.
    State {
        /// The new state.
        state: SessionState,
        /// Whether an event tells it (`session.started` and `session.ended` speak for themselves).
        event: bool,
    },
    /// Give the slot back.
    ReleaseSlot,
    /// Write the terminal event: the session is over.
    End(Box<Outcome>),
}

/// The rungs of the stop ladder, gentlest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// The turn is interrupted.
    Interrupt,
    /// The agent is told to end.
    EndSession,
    /// SIGINT.
    Sigint,
    /// SIGTERM.
    Sigterm,
    /// SIGKILL.
    Sigkill,
}

/// The state of one session's life.
#[derive(Debug, Clone)]
pub struct Machine {
    nature: Nature,
    state: SessionState,
    /// The state to go back to after a pause.
    before_pause: SessionState,
    /// There is a process that has not been seen to exit.
    alive: bool,
    /// The agent has answered, or needs not to.
    ready: bool,
    /// A turn is under way: an interrupt makes sense.
    in_turn: bool,
    /// The permission questions without an answer.
    questions: u32,
    rung: Option<Rung>,
    /// Why it is being stopped, where somebody asked.
    stop: Option<EndReason>,
    /// The newest result.
    verdict: Option<Box<Verdict>>,
    /// The agent had to be pushed out after its result.
    forced: bool,
    exit: Option<ExitFacts>,
    spawn_error: Option<String>,
}

impl Machine {
    /// A session that has its slot, and what to do first.
    #[must_use]
    pub fn start(nature: Nature) -> (Self, Vec<Effect>) {
        let machine = Self {
            nature,
            state: SessionState::Starting,
            before_pause: SessionState::Running,
            alive: false,
            ready: false,
            in_turn: false,
            questions: 0,
            rung: None,
            stop: None,
            verdict: None,
            forced: false,
            exit: None,
            spawn_error: None,
        };
        (machine, vec![Effect::Arm(Timer::Wall), Effect::Spawn])
    }

    /// Where the session is.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.state
    }

    /// Takes an input in and says what to do, in order.
    pub fn apply(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.state == SessionState::Ended {
            return effects;
        }
        match input {
            Input::Spawned => self.spawned(&mut effects),
            Input::SpawnFailed(message) => {
                self.spawn_error = Some(message);
                self.finish(&mut effects);
            }
            Input::Initialized if !self.ready => self.initialized(&mut effects),
            Input::Result(verdict) => self.result(verdict, &mut effects),
            Input::PermissionAsked => {
                self.questions += 1;
                self.show_turn(&mut effects);
            }
            Input::PermissionResolved => {
                self.questions = self.questions.saturating_sub(1);
                self.show_turn(&mut effects);
            }
            Input::Exited(facts) if self.alive => {
                self.alive = false;
                self.exit = Some(facts);
                effects.push(Effect::Sweep);
            }
            Input::TreeGone if !self.alive && self.exit.is_some() => self.finish(&mut effects),
            Input::Stop(reason) => self.stop(reason, &mut effects),
            Input::Interrupt if self.in_turn && self.rung.is_none() => effects.push(Effect::Say(Word::Interrupt)),
            Input::Pause if self.pausable() => {
                self.before_pause = self.state;
                effects.extend([Effect::Signal(Push::Pause), Effect::Disarm(Timer::Idle)]);
                self.enter(SessionState::Paused, true, &mut effects);
            }
            Input::Unpause if self.state == SessionState::Paused => {
                effects.extend([Effect::Signal(Push::Continue), Effect::Arm(Timer::Idle)]);
                self.enter(self.before_pause, true, &mut effects);
            }
            Input::Elapsed(timer) => self.elapsed(timer, &mut effects),
            // Out of place: too late, or asked for in a state where it means nothing.
            Input::Initialized
            | Input::Exited(_)
            | Input::TreeGone
            | Input::Interrupt
            | Input::Pause
            | Input::Unpause => {}
        }
        effects
    }

    /// Can the session be paused now?
    #[must_use]
    pub fn pausable(&self) -> bool {
        self.alive
            && matches!(self.state, SessionState::Running | SessionState::AwaitingPermission | SessionState::Idle)
    }

    /// The rung of the stop ladder it stands on.
    #[must_use]
    pub fn rung(&self) -> Option<Rung> {
        self.rung
    }

    /// Is there a turn to interrupt?
    #[must_use]
    pub fn interruptible(&self) -> bool {
        self.in_turn && self.rung.is_none()
    }

    fn spawned(&mut self, effects: &mut Vec<Effect>) {
        self.alive = true;
        if self.stop.is_some() {
            // Stopped while the process was being made: it has heard nothing yet, so there is nothing to save.
            self.climb(Rung::Sigterm, effects);
        } else if self.nature.kind == SessionKind::Command {
            self.ready = true;
            self.in_turn = true;
            effects.extend([Effect::Started, Effect::Arm(Timer::Idle)]);
            self.enter(SessionState::Running, false, effects);
        } else {
            // Not before: few agents start at once, and the wait for its turn is not the agent's.
            effects.extend([Effect::Arm(Timer::Start), Effect::Say(Word::Initialize)]);
        }
    }

    fn initialized(&mut self, effects: &mut Vec<Effect>) {
        self.ready = true;
        if self.stop.is_some() || !self.alive {
            return;
        }
        effects.extend([Effect::Disarm(Timer::Start), Effect::Started]);
        if self.nature.has_prompt {
            self.in_turn = true;
            effects.extend([Effect::Say(Word::Prompt), Effect::Arm(Timer::Idle)]);
            self.enter(SessionState::Running, false, effects);
        } else {
            self.enter(SessionState::Idle, true, effects);
        }
    }

    fn result(&mut self, verdict: Box<Verdict>, effects: &mut Vec<Effect>) {
        if !self.alive {
            return;
        }
        self.in_turn = false;
        self.questions = 0;
        // Once it is being stopped, a result only tells how the stop went: it must not turn a cancelled
        // session into a failed one.
        if self.stop.is_none() {
            self.verdict = Some(verdict);
        }
        match self.rung {
            Some(Rung::Interrupt) => self.climb(Rung::EndSession, effects),
            Some(_) => {}
            None if self.stop.is_some() => {}
            None if self.nature.interactive => {
                effects.push(Effect::Disarm(Timer::Idle));
                self.enter(SessionState::Idle, true, effects);
            }
            None => {
                effects.extend([
                    Effect::Say(Word::EndSession),
                    Effect::CloseStdin,
                    Effect::Disarm(Timer::Idle),
                    Effect::Arm(Timer::ResultGrace),
                ]);
            }
        }
    }

    fn stop(&mut self, reason: EndReason, effects: &mut Vec<Effect>) {
        if self.stop.is_some()
            || self.rung.is_some()
            || self.exit.is_some()
            || (self.verdict.is_some() && !self.nature.interactive)
        {
            // Already being stopped, or already over but for what is left of it: the first reason stands.
            return;
        }
        self.stop = Some(reason);
        effects.extend([Effect::Disarm(Timer::Start), Effect::Disarm(Timer::Wall), Effect::Disarm(Timer::Idle)]);
        if self.state == SessionState::Paused {
            effects.push(Effect::Signal(Push::Continue));
        }
        self.enter(SessionState::Stopping, true, effects);
        if self.alive {
            let first = match (self.nature.kind, self.ready, self.in_turn) {
                (SessionKind::Command, _, _) | (_, false, _) => Rung::Sigterm,
                (_, true, true) => Rung::Interrupt,
                (_, true, false) => Rung::EndSession,
            };
            self.climb(first, effects);
        }
        // Without a process the spawn that is under way answers, and `spawned` goes on from there.
    }

    fn climb(&mut self, rung: Rung, effects: &mut Vec<Effect>) {
        self.rung = Some(rung);
        match rung {
            Rung::Interrupt => effects.push(Effect::Say(Word::Interrupt)),
            Rung::EndSession => effects.extend([Effect::Say(Word::EndSession), Effect::CloseStdin]),
            Rung::Sigint => effects.push(Effect::Signal(Push::Interrupt)),
            Rung::Sigterm => effects.push(Effect::Signal(Push::Terminate)),
            Rung::Sigkill => effects.push(Effect::Signal(Push::Kill)),
        }
        effects.push(Effect::Arm(Timer::Rung));
    }

    fn elapsed(&mut self, timer: Timer, effects: &mut Vec<Effect>) {
        match timer {
            Timer::Start if !self.ready => self.stop(EndReason::IdleTimedOut, effects),
            Timer::Wall => self.stop(EndReason::TimedOut, effects),
            Timer::Disconnect => self.stop(EndReason::Cancelled, effects),
            Timer::Idle if self.state != SessionState::Paused => self.stop(EndReason::IdleTimedOut, effects),
            Timer::ResultGrace if self.alive && self.rung.is_none() => {
                self.forced = true;
                self.climb(Rung::Sigint, effects);
            }
            Timer::Rung if self.alive => {
                let next = match self.rung {
                    Some(Rung::Interrupt) => Rung::EndSession,
                    Some(Rung::EndSession) => Rung::Sigint,
                    Some(Rung::Sigint) => Rung::Sigterm,
                    _ => Rung::Sigkill,
                };
                self.climb(next, effects);
            }
            Timer::Start | Timer::Idle | Timer::ResultGrace | Timer::Rung => {}
        }
    }

    /// Shows whether the turn runs or waits for an answer.
    fn show_turn(&mut self, effects: &mut Vec<Effect>) {
        let state = if self.questions > 0 { SessionState::AwaitingPermission } else { SessionState::Running };
        match self.state {
            SessionState::Paused => self.before_pause = state,
            SessionState::Running | SessionState::AwaitingPermission if self.state != state => {
                self.enter(state, true, effects);
            }
            _ => {}
        }
    }

    fn enter(&mut self, state: SessionState, event: bool, effects: &mut Vec<Effect>) {
        if self.state != state {
            self.state = state;
            effects.push(Effect::State { state, event });
        }
    }

    fn finish(&mut self, effects: &mut Vec<Effect>) {
        for timer in [Timer::Start, Timer::Wall, Timer::Idle, Timer::ResultGrace, Timer::Rung] {
            effects.push(Effect::Disarm(timer));
        }
        effects.push(Effect::ReleaseSlot);
        self.enter(SessionState::Ended, false, effects);
        effects.push(Effect::End(Box::new(self.outcome())));
    }
}

#[cfg(test)]
mod tests;
