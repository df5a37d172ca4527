//! The life of a session as a pure function: `(state, input) → (state, effects)`.
//!
//! No clock, no process, no store: the supervisor carries the effects out and feeds back what came of them,
//! so that thousands of histories can be tried without starting anything.
//!
//! Invariants, whatever the order of the inputs:
//! - One of [`Effect::End`] and [`Effect::LetGo`] is given exactly once, and nothing follows it.
//! - It is given only after the process's tree is known to be gone ([`Input::TreeGone`]) or was never there.
//! - The slot is given back exactly once, after the tree is gone and before that.
//! - One message is delivered at a time, in the order in which they came.

use crate::api::event::{EndReason, SessionState};
use crate::api::session::SessionKind;

mod ending;
mod ladder;
mod turns;
mod words;

pub use ending::{ExitFacts, Outcome, Verdict};
pub use words::{Cause, Effect, Input, Nature, Origin, Push, Rung, Timer, Word};

/// Where the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    /// There is none, and none is on its way.
    None,
    /// It is being started.
    Coming,
    /// It runs.
    Alive,
    /// It has exited; its tree is being swept.
    Going,
}

/// Why the agent was told to go by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// The session is over: its result is there.
    Over,
    /// The session rests and does not need it.
    Away,
}

/// The state of one session's life.
#[derive(Debug, Clone)]
pub struct Machine {
    nature: Nature,
    state: SessionState,
    /// The state to go back to after a pause.
    before_pause: SessionState,
    process: Process,
    /// The agent has answered, or needs not to.
    ready: bool,
    /// It was ready once.
    was_ready: bool,
    /// A turn is under way: an interrupt makes sense.
    in_turn: bool,
    /// Messages that have been taken in and not delivered.
    waiting: u32,
    /// What the agent works on in the background.
    background: u32,
    /// The permission questions without an answer.
    questions: u32,
    leaving: Option<Leaving>,
    rung: Option<Rung>,
    /// Why it is being stopped, where somebody asked.
    stop: Option<EndReason>,
    /// When that came, nothing was under way that it could have broken off.
    stopped_at_rest: bool,
    /// The gateway shuts down.
    draining: bool,
    /// The newest result.
    verdict: Option<Box<Verdict>>,
    /// The agent had to be pushed out after its result.
    forced: bool,
    exit: Option<ExitFacts>,
    spawn_error: Option<String>,
    /// The last effect has been given.
    over: bool,
}

impl Machine {
    /// A session that has its slot, and what to do first.
    #[must_use]
    pub fn start(nature: Nature) -> (Self, Vec<Effect>) {
        let mut machine = Self::new(nature, SessionState::Starting);
        let mut effects = Vec::new();
        machine.has_slot(&mut effects);
        (machine, effects)
    }

    /// A session that waits for a slot, and what to do first.
    #[must_use]
    pub fn queue(nature: Nature) -> (Self, Vec<Effect>) {
        (Self::new(nature, SessionState::Queued), vec![Effect::Arm(Timer::Queue)])
    }

    fn new(nature: Nature, state: SessionState) -> Self {
        Self {
            nature,
            state,
            before_pause: SessionState::Running,
            process: Process::None,
            ready: false,
            was_ready: false,
            in_turn: false,
            waiting: nature.messages,
            background: 0,
            questions: 0,
            leaving: None,
            rung: None,
            stop: None,
            stopped_at_rest: false,
            draining: false,
            verdict: None,
            forced: false,
            exit: None,
            spawn_error: None,
            over: false,
        }
    }

    /// Where the session is.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.state
    }

    /// The rung of the stop ladder it stands on.
    #[must_use]
    pub fn rung(&self) -> Option<Rung> {
        self.rung
    }

    /// What the agent works on in the background.
    #[must_use]
    pub fn in_background(&self) -> u32 {
        self.background
    }

    /// Does the gateway shut down?
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Is there a turn to interrupt?
    #[must_use]
    pub fn interruptible(&self) -> bool {
        self.in_turn && self.stands()
    }

    /// Can a message join the running turn?
    #[must_use]
    pub fn steerable(&self) -> bool {
        self.interruptible()
    }

    /// Can the agent be asked something now?
    #[must_use]
    pub fn listens(&self) -> bool {
        self.ready && self.process == Process::Alive && self.stands()
    }

    /// Does it take messages? An interactive session always does, any other one only when it is at rest, which
    /// it is after its node was lost.
    #[must_use]
    pub fn takes_messages(&self) -> bool {
        let ends = self.over || self.stop.is_some() || self.leaving == Some(Leaving::Over);
        !ends
            && (self.nature.interactive
                || (self.state == SessionState::Idle && self.nature.kind == SessionKind::Claude))
    }

    /// Is it at rest, with a process that can be put away?
    #[must_use]
    pub fn can_be_put_away(&self) -> bool {
        let has_conversation = self.verdict.is_some() || self.nature.origin != Origin::New;
        self.nature.put_away
            && has_conversation
            && self.state == SessionState::Idle
            && self.process == Process::Alive
            && self.background == 0
            && self.stands()
    }

    /// Can the session be paused now?
    #[must_use]
    pub fn pausable(&self) -> bool {
        self.process == Process::Alive
            && self.stands()
            && matches!(self.state, SessionState::Running | SessionState::AwaitingPermission | SessionState::Idle)
    }

    /// Takes an input in and says what to do, in order.
    pub fn apply(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.over {
            return effects;
        }
        match input {
            Input::SlotTaken if self.state == SessionState::Queued => {
                effects.push(Effect::Disarm(Timer::Queue));
                self.enter(SessionState::Starting, &mut effects);
                self.has_slot(&mut effects);
            }
            Input::Spawned if self.process == Process::Coming => self.spawned(&mut effects),
            Input::SpawnFailed(message) if self.process == Process::Coming => {
                self.process = Process::None;
                self.spawn_error = Some(message);
                self.finish(&mut effects);
            }
            Input::Initialized if !self.ready && self.process == Process::Alive => self.initialized(&mut effects),
            Input::TurnBegan => self.turn_began(&mut effects),
            Input::Message => {
                self.waiting += 1;
                self.deliver(&mut effects);
            }
            Input::Result { verdict, more } => self.result(verdict, more, &mut effects),
            Input::Background(tasks) => self.background(tasks, &mut effects),
            Input::PermissionAsked => self.asked(&mut effects),
            Input::PermissionResolved => self.resolved(&mut effects),
            Input::Exited(facts) if self.process == Process::Alive => self.exited(facts, &mut effects),
            Input::TreeGone if self.process == Process::Going => self.tree_gone(&mut effects),
            Input::Stop(reason) => self.stop(reason, &mut effects),
            Input::Kill(reason) => self.kill(reason, &mut effects),
            Input::Drain => self.drain(&mut effects),
            Input::PutAway if self.can_be_put_away() => self.leave(Leaving::Away, &mut effects),
            Input::Interrupt if self.interruptible() => effects.push(Effect::Say(Word::Interrupt)),
            Input::Pause if self.pausable() => self.pause(&mut effects),
            Input::Unpause if self.state == SessionState::Paused => self.unpause(&mut effects),
            Input::Elapsed(timer) => self.elapsed(timer, &mut effects),
            // Out of place: too late, or asked for in a state where it means nothing.
            Input::SlotTaken
            | Input::Spawned
            | Input::SpawnFailed(_)
            | Input::Initialized
            | Input::Exited(_)
            | Input::TreeGone
            | Input::PutAway
            | Input::Interrupt
            | Input::Pause
            | Input::Unpause => {}
        }
        effects
    }

    /// It is at rest, or was when it was paused and has begun nothing since.
    fn rests(&self) -> bool {
        let paused = self.state == SessionState::Paused && self.before_pause == SessionState::Idle;
        (self.state == SessionState::Idle || paused) && !self.in_turn
    }

    /// Nobody ends it and it does not go by itself.
    fn stands(&self) -> bool {
        self.rung.is_none() && self.stop.is_none() && self.leaving.is_none()
    }

    /// It has its slot: a limit for the whole session counts from now on, over all of its processes here.
    fn has_slot(&mut self, effects: &mut Vec<Effect>) {
        if !self.nature.wall_per_turn {
            effects.push(Effect::Arm(Timer::Wall));
        }
        self.begin(effects);
    }

    /// The process is started.
    fn begin(&mut self, effects: &mut Vec<Effect>) {
        self.process = Process::Coming;
        effects.push(Effect::Spawn);
    }

    fn spawned(&mut self, effects: &mut Vec<Effect>) {
        self.process = Process::Alive;
        if self.stop.is_some() {
            // Stopped while the process was being made: it has heard nothing yet, so there is nothing to save.
            let first = if self.rung == Some(Rung::Sigkill) { Rung::Sigkill } else { Rung::Sigterm };
            self.climb(first, effects);
        } else if self.nature.kind == SessionKind::Command {
            self.ready = true;
            self.was_ready = true;
            self.in_turn = true;
            effects.extend([Effect::Started, Effect::Arm(Timer::Idle)]);
            self.show(SessionState::Running, false, None, effects);
        } else {
            // Not before: few agents start at once, and the wait for its turn is not the agent's.
            effects.extend([Effect::Arm(Timer::Start), Effect::Say(Word::Initialize)]);
        }
    }

    fn initialized(&mut self, effects: &mut Vec<Effect>) {
        self.ready = true;
        if self.stop.is_some() {
            return;
        }
        self.was_ready = true;
        effects.extend([Effect::Disarm(Timer::Start), Effect::Started]);
        self.settle(effects);
    }

    fn exited(&mut self, facts: ExitFacts, effects: &mut Vec<Effect>) {
        self.process = Process::Going;
        self.ready = false;
        self.background = 0;
        self.questions = 0;
        self.exit = Some(facts);
        for timer in [Timer::Start, Timer::Idle, Timer::Rest, Timer::Background, Timer::Leave, Timer::Rung] {
            effects.push(Effect::Disarm(timer));
        }
        effects.push(Effect::Sweep);
    }

    fn tree_gone(&mut self, effects: &mut Vec<Effect>) {
        self.process = Process::None;
        if std::mem::take(&mut self.nature.second_start) && !self.was_ready && self.state == SessionState::Starting {
            self.exit = None;
            self.verdict = None;
            self.leaving = None;
            self.rung = None;
            effects.push(Effect::GoOn);
            self.begin(effects);
            return;
        }
        // At rest, an agent may go whenever it likes, but for one that was killed.
        let rested = self.state == SessionState::Idle && self.nature.put_away;
        let by_itself = rested && self.exit.is_some_and(|exit| exit.signal.is_none() && !exit.cut);
        if self.stop.is_some() || !(self.leaving == Some(Leaving::Away) || by_itself) {
            self.finish(effects);
            return;
        }
        self.leaving = None;
        self.rung = None;
        self.exit = None;
        if self.draining || self.waiting == 0 {
            self.let_go(effects);
        } else {
            // A message came while the process was on its way out: the slot is still there.
            self.show(SessionState::Starting, true, Some(Cause::Message), effects);
            self.begin(effects);
        }
    }

    /// The session rests without a process.
    fn let_go(&mut self, effects: &mut Vec<Effect>) {
        effects.extend(Timer::ALL.map(Effect::Disarm));
        if self.waiting > 0 {
            self.waiting = 0;
            effects.push(Effect::LoseMessages);
        }
        self.state = SessionState::Idle;
        effects.push(Effect::State { state: SessionState::Idle, event: true, cause: Some(Cause::PutAway) });
        effects.extend([Effect::ReleaseSlot, Effect::LetGo]);
        self.over = true;
    }

    fn finish(&mut self, effects: &mut Vec<Effect>) {
        effects.extend(Timer::ALL.map(Effect::Disarm));
        effects.push(Effect::ReleaseSlot);
        self.show(SessionState::Ended, false, None, effects);
        effects.push(Effect::End(Box::new(self.outcome())));
        self.over = true;
    }

    fn enter(&mut self, state: SessionState, effects: &mut Vec<Effect>) {
        self.show(state, true, None, effects);
    }

    fn show(&mut self, state: SessionState, event: bool, cause: Option<Cause>, effects: &mut Vec<Effect>) {
        if self.state != state {
            self.state = state;
            effects.push(Effect::State { state, event, cause });
        }
    }
}

#[cfg(test)]
mod tests;
