//! How a session is ended: the stop ladder, the agent that was told to go, and the clocks that start either.

use super::{Effect, Leaving, Machine, Process, Push, Rung, Timer, Word};
use crate::api::event::{EndReason, SessionState};
use crate::api::session::SessionKind;

impl Machine {
    /// Ends the session for that reason; the first reason stands.
    pub(super) fn stop(&mut self, reason: EndReason, effects: &mut Vec<Effect>) {
        if self.leaving == Some(Leaving::Over) {
            // Its result is there and it is on its way out: it ends as what it has come to.
            self.enter(SessionState::Stopping, effects);
            return;
        }
        if self.stop.is_some() {
            return;
        }
        if self.process == Process::Going && self.leaving.is_none() {
            // Its agent has gone by itself, and it ends as what it has come to. One at rest would only be put away.
            self.stop = Some(reason).filter(|_| self.state == SessionState::Idle);
            self.enter(SessionState::Stopping, effects);
            return;
        }
        self.stop = Some(reason);
        self.stopped_at_rest = self.rests() && self.waiting == 0;
        if self.process == Process::None {
            // It waits for a slot: there is nothing to end.
            self.finish(effects);
            return;
        }
        for timer in [Timer::Start, Timer::Wall, Timer::Idle, Timer::Rest, Timer::Background] {
            effects.push(Effect::Disarm(timer));
        }
        if self.state == SessionState::Paused {
            effects.push(Effect::Thaw);
        }
        self.enter(SessionState::Stopping, effects);
        // One that goes already only needs the patience it was given. Without a process the spawn that is under
        // way answers, and `spawned` goes on from there.
        if self.process == Process::Alive && self.leaving.is_none() {
            let first = match (self.nature.kind, self.ready, self.in_turn) {
                (SessionKind::Command, _, _) | (_, false, _) => Rung::Sigterm,
                (_, true, true) => Rung::Interrupt,
                (_, true, false) => Rung::EndSession,
            };
            self.climb(first, effects);
        }
    }

    /// Ends the session at once, whatever is under way.
    pub(super) fn kill(&mut self, reason: EndReason, effects: &mut Vec<Effect>) {
        if self.leaving != Some(Leaving::Over) {
            self.stop(reason, effects);
        }
        match self.process {
            Process::Alive => self.climb(Rung::Sigkill, effects),
            Process::Coming => self.rung = Some(Rung::Sigkill),
            Process::Going | Process::None => {}
        }
    }

    /// The gateway shuts down: what waits for a slot ends, what rests is put away, what runs may finish.
    pub(super) fn drain(&mut self, effects: &mut Vec<Effect>) {
        self.draining = true;
        if self.state == SessionState::Paused && self.rests() && self.stands() {
            // What rests is put away, and what stands still can't go.
            self.unpause(effects);
        }
        if self.state == SessionState::Queued {
            self.leave_line(EndReason::Drained, effects);
        } else if self.can_be_put_away() {
            self.leave(Leaving::Away, effects);
        } else if self.state == SessionState::Idle && self.listens() {
            self.stop(EndReason::Drained, effects);
        }
    }

    /// It will not get its slot. One with a conversation rests on, only its messages are lost.
    fn leave_line(&mut self, reason: EndReason, effects: &mut Vec<Effect>) {
        match self.nature.origin {
            super::Origin::New => self.stop(reason, effects),
            super::Origin::Woken | super::Origin::Recovered => self.let_go(effects),
        }
    }

    /// Tells the agent to go by itself.
    pub(super) fn leave(&mut self, why: Leaving, effects: &mut Vec<Effect>) {
        self.leaving = Some(why);
        for timer in [Timer::Idle, Timer::Rest, Timer::Background] {
            effects.push(Effect::Disarm(timer));
        }
        effects.extend([Effect::Say(Word::EndSession), Effect::CloseStdin, Effect::Arm(Timer::Leave)]);
    }

    pub(super) fn climb(&mut self, rung: Rung, effects: &mut Vec<Effect>) {
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

    pub(super) fn elapsed(&mut self, timer: Timer, effects: &mut Vec<Effect>) {
        match timer {
            Timer::Queue if self.state == SessionState::Queued => self.leave_line(EndReason::TimedOut, effects),
            Timer::Start if !self.ready => self.stop(EndReason::IdleTimedOut, effects),
            Timer::Wall => self.stop(EndReason::TimedOut, effects),
            Timer::Disconnect => self.stop(EndReason::Cancelled, effects),
            Timer::Idle if self.state != SessionState::Paused && self.questions == 0 => {
                self.stop(EndReason::IdleTimedOut, effects);
            }
            Timer::Rest if self.can_be_put_away() => self.leave(Leaving::Away, effects),
            Timer::Background if self.listens() && !self.in_turn => self.leave(Leaving::Over, effects),
            Timer::Leave if self.process == Process::Alive && self.rung.is_none() => {
                self.forced = self.leaving == Some(Leaving::Over);
                self.climb(Rung::Sigint, effects);
            }
            Timer::Rung if self.process == Process::Alive => {
                let next = match self.rung {
                    Some(Rung::Interrupt) => Rung::EndSession,
                    Some(Rung::EndSession) => Rung::Sigint,
                    Some(Rung::Sigint) => Rung::Sigterm,
                    _ => Rung::Sigkill,
                };
                self.climb(next, effects);
            }
            _ => {}
        }
    }

    pub(super) fn pause(&mut self, effects: &mut Vec<Effect>) {
        self.before_pause = self.state;
        effects.extend([Effect::Freeze, Effect::Disarm(Timer::Idle), Effect::Disarm(Timer::Rest)]);
        self.enter(SessionState::Paused, effects);
    }

    pub(super) fn unpause(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Thaw);
        self.enter(self.before_pause, effects);
        if !self.in_turn {
            // It was at rest, or the turn's result was printed before the pause took hold.
            self.settle(effects);
        } else if self.questions == 0 {
            effects.push(Effect::Arm(Timer::Idle));
        }
    }
}
