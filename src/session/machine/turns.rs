//! Turns: one message at a time, permission questions, results, and what comes after them.

use super::{Effect, Leaving, Machine, Process, Rung, Timer, Verdict};
use crate::api::event::{EndReason, SessionState};

impl Machine {
    /// Writes the next message, if there is one and the agent is free for it.
    pub(super) fn deliver(&mut self, effects: &mut Vec<Effect>) {
        if self.waiting == 0 || self.in_turn || self.state == SessionState::Paused || !self.listens() {
            return;
        }
        self.waiting -= 1;
        effects.push(Effect::Disarm(Timer::Rest));
        effects.push(Effect::Disarm(Timer::Background));
        self.begin_turn(effects);
        // The message's own event tells the state.
        self.show(SessionState::Running, false, None, effects);
        effects.push(Effect::Deliver);
    }

    /// The agent has begun a turn by itself, or tells that it has begun the one it was given.
    pub(super) fn turn_began(&mut self, effects: &mut Vec<Effect>) {
        if self.in_turn || !self.listens() {
            return;
        }
        effects.push(Effect::Disarm(Timer::Rest));
        effects.push(Effect::Disarm(Timer::Background));
        self.begin_turn(effects);
        match self.state {
            SessionState::Paused => self.before_pause = SessionState::Running,
            _ => self.enter(SessionState::Running, effects),
        }
    }

    fn begin_turn(&mut self, effects: &mut Vec<Effect>) {
        self.in_turn = true;
        effects.push(Effect::Arm(Timer::Idle));
        if self.nature.wall_per_turn {
            effects.push(Effect::Arm(Timer::Wall));
        }
    }

    pub(super) fn result(&mut self, verdict: Box<Verdict>, more: bool, effects: &mut Vec<Effect>) {
        if self.process != Process::Alive {
            return;
        }
        self.in_turn = more && self.stop.is_none();
        self.questions = 0;
        if self.nature.wall_per_turn && !self.in_turn {
            effects.push(Effect::Disarm(Timer::Wall));
        }
        // Once it is being stopped, a result only tells how the stop went: it must not turn a cancelled
        // session into a failed one.
        if self.stop.is_none() {
            self.verdict = Some(verdict);
        }
        if !self.ready {
            // The agent tells why it can't begin, and goes: a conversation that is not there, for one.
            return;
        }
        if self.rung == Some(Rung::Interrupt) {
            self.climb(Rung::EndSession, effects);
        } else if self.in_turn {
            self.show_turn(effects);
        } else if self.state == SessionState::Paused {
            // It was printed before the pause took hold; what follows comes after it.
            self.before_pause = SessionState::Running;
        } else {
            self.settle(effects);
        }
    }

    /// No turn runs: the next message, rest, or the end.
    pub(super) fn settle(&mut self, effects: &mut Vec<Effect>) {
        if self.in_turn || !self.stands() {
            return;
        }
        let broke = self.verdict.as_ref().is_some_and(|verdict| verdict.reason == EndReason::BudgetExhausted);
        // Without a result there is nothing to end with: it was brought back without a message.
        let stays = (self.nature.interactive || self.verdict.is_none()) && !broke;
        // Shutting down, it only answers the message that it was started or woken for.
        let delivers = self.waiting > 0 && !(self.draining && self.verdict.is_some());
        if delivers && !broke {
            self.deliver(effects);
        } else if stays {
            effects.push(Effect::Disarm(Timer::Idle));
            self.enter(SessionState::Idle, effects);
            self.rest(effects);
        } else if self.background > 0 {
            effects.push(Effect::Arm(Timer::Background));
        } else {
            self.leave(Leaving::Over, effects);
        }
    }

    /// It rests: from now on its process may be put away.
    pub(super) fn rest(&mut self, effects: &mut Vec<Effect>) {
        if !self.can_be_put_away() {
            // One that is only kept by what it works on in the background may finish that, as a turn may.
            let is_kept = self.nature.put_away && self.background > 0;
            if self.draining && self.state == SessionState::Idle && !is_kept {
                self.stop(EndReason::Drained, effects);
            }
        } else if self.draining {
            self.leave(Leaving::Away, effects);
        } else {
            effects.push(Effect::Arm(Timer::Rest));
        }
    }

    /// The agent works on so many things in the background now.
    pub(super) fn background(&mut self, tasks: u32, effects: &mut Vec<Effect>) {
        let before = std::mem::replace(&mut self.background, tasks);
        if self.in_turn || !self.listens() || (before == 0) == (tasks == 0) {
            return;
        }
        match (self.state, tasks) {
            (SessionState::Idle, 0) => self.rest(effects),
            (SessionState::Idle, _) => effects.push(Effect::Disarm(Timer::Rest)),
            // What has ended in the background mostly begins a turn of its own: it gets the time for it.
            (SessionState::Running, 0) if self.verdict.is_some() => effects.push(Effect::Arm(Timer::Background)),
            _ => {}
        }
    }

    pub(super) fn asked(&mut self, effects: &mut Vec<Effect>) {
        self.questions += 1;
        // While a person thinks, the agent's silence is not its own.
        effects.push(Effect::Disarm(Timer::Idle));
        self.show_turn(effects);
    }

    pub(super) fn resolved(&mut self, effects: &mut Vec<Effect>) {
        self.questions = self.questions.saturating_sub(1);
        if self.questions == 0 && self.in_turn && self.stands() && self.state != SessionState::Paused {
            effects.push(Effect::Arm(Timer::Idle));
        }
        self.show_turn(effects);
    }

    /// Shows whether the turn runs or waits for an answer.
    fn show_turn(&mut self, effects: &mut Vec<Effect>) {
        let state = if self.questions > 0 { SessionState::AwaitingPermission } else { SessionState::Running };
        match self.state {
            SessionState::Paused if self.in_turn => self.before_pause = state,
            SessionState::Running | SessionState::AwaitingPermission => self.enter(state, effects),
            _ => {}
        }
    }
}
