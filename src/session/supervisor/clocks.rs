//! The clocks of a session: how long each is, which of them stand still, and what the idle clock does half-way.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use super::life::Life;
use crate::api::event::{EventType, Stalled};
use crate::api::session::SessionKind;
use crate::session::machine::{Input, Rung, Timer};
use crate::telemetry::time::now_ms;

/// The clocks that judge the agent by what it prints: they stand still while nobody reads it.
const JUDGE_OUTPUT: [Timer; 5] = [Timer::Start, Timer::Idle, Timer::Leave, Timer::Background, Timer::Answer];
/// The agent answers a control request at once, whatever it does; one that has not answered after this never will.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(10);
/// A clock that rings so much later than it should tells that the whole node stood still (paused, or without a
/// processor), and so perhaps the agent.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// The clock that rings next, and when.
pub(super) fn next_timer(timers: &BTreeMap<Timer, Instant>, held_back: bool) -> Option<(Timer, Instant)> {
    let counts = |(timer, _): &(&Timer, &Instant)| !(held_back && JUDGE_OUTPUT.contains(timer));
    timers.iter().filter(counts).min_by_key(|(_, at)| **at).map(|(timer, at)| (*timer, *at))
}

impl Supervisor {
    /// While the agent is held back its silence is not its own. Afterwards it gets its whole time again, for
    /// what it has printed meanwhile is still to be read.
    pub(super) fn hold_back(&self, life: &mut Life, hold: bool) {
        let was_held = std::mem::replace(&mut life.held_back, hold);
        if was_held != hold {
            life.rarely.changed();
        }
        if was_held && !hold {
            self.judge_anew(life);
        }
    }

    /// A clock has rung that was set for `at`. One that judges the agent is believed when it rings for the second time:
    /// what has been printed by then is read first, for who was late may be the gateway.
    pub(super) async fn ring(&mut self, life: &mut Life, timer: Timer, at: Instant) {
        if JUDGE_OUTPUT.contains(&timer) {
            let late = at.elapsed();
            if late >= STOOD_STILL {
                let late_seconds = late.as_secs_f64();
                tracing::warn!(session_id = %self.plan.id, late_seconds, "a clock rang late; it begins anew");
                self.judge_anew(life);
                return;
            }
            if life.rang.replace((timer, at)) != Some((timer, at)) {
                // The runtime looks at the pipes meanwhile, and the next wait at the output first.
                tokio::task::yield_now().await;
                return;
            }
        }
        life.timers.remove(&timer);
        match timer {
            Timer::Idle => self.idle(life).await,
            Timer::Permission => self.deny_unanswered(life).await,
            Timer::Answer => self.give_up_late_changes(life),
            timer => self.apply(life, Input::Elapsed(timer)).await,
        }
    }

    /// What the agent was silent for was not its own doing: it gets its whole time again, for what it has printed
    /// meanwhile is still to be read.
    fn judge_anew(&self, life: &mut Life) {
        let now = Instant::now();
        life.last_output = now;
        life.stalled = false;
        for timer in JUDGE_OUTPUT {
            if let (Some(_), Some(after)) = (life.timers.remove(&timer), self.length(timer, life)) {
                life.timers.insert(timer, now + after);
            }
        }
    }

    /// The idle clock: counted on raw bytes. Half-way it warns; at the end it acts.
    pub(super) async fn idle(&mut self, life: &mut Life) {
        let Some(limit) = self.plan.idle_timeout else { return };
        if !life.requests.is_empty() {
            // It waits for the client of a raw session.
            life.last_output = Instant::now();
        }
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

    /// Starts a clock. What the agent has kept silent for before does not count.
    pub(super) fn arm(&self, timer: Timer, life: &mut Life) {
        if let Some(after) = self.length(timer, life) {
            if timer == Timer::Idle {
                life.last_output = Instant::now();
                life.stalled = false;
            }
            life.timers.insert(timer, Instant::now() + after);
        }
    }

    pub(super) fn length(&self, timer: Timer, life: &Life) -> Option<Duration> {
        let settings = &self.settings;
        match timer {
            Timer::Queue => Some(self.plan.queue_timeout),
            Timer::Start => Some(settings.start_timeout_seconds.duration()),
            Timer::Wall => self.plan.timeout.map(|limit| self.left_of(limit)),
            Timer::Idle => self.plan.idle_timeout.map(|limit| limit / 2),
            Timer::Rest => Some(settings.idle_process_seconds.duration()).filter(|rest| !rest.is_zero()),
            Timer::Background if life.machine.in_background() > 0 => Some(settings.background_grace_seconds.duration()),
            // What has ended in the background mostly begins a turn of its own; it gets the time for it.
            Timer::Background => Some(settings.result_grace_seconds.duration()),
            // The dialect has no word for coming back.
            Timer::Disconnect if self.plan.kind == SessionKind::Command => Some(Duration::ZERO),
            Timer::Disconnect => Some(settings.disconnect_grace_seconds.duration()),
            Timer::Leave => Some(settings.result_grace_seconds.duration()),
            Timer::Answer => Some(ANSWER_TIME),
            Timer::Permission => None,
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

    /// What is left of a limit for the whole session. One that was put away has used up some of it.
    fn left_of(&self, limit: Duration) -> Duration {
        let used = self.plan.began_at_ms.map_or(0, |began| now_ms().saturating_sub(began));
        limit.saturating_sub(Duration::from_millis(used))
    }
}
