//! What the agent prints: each line becomes one event, and what it means for the session's life is fed to the
//! state machine.

use super::Supervisor;
use super::life::{Applied, Life};
use crate::api::session::SessionKind;
use crate::claude::line::{RateLimit, RateLimitStatus};
use crate::claude::{ClaudeLine, control};
use crate::process::Line;
use crate::session::agent::{Heard, Then, record};
use crate::session::machine::{Input, Verdict};
use crate::store::types::MICRO_USD;
use crate::store::{SessionPatch, Spend};
use crate::telemetry::time::now_ms;

impl Supervisor {
    /// Takes one line in.
    pub(super) async fn take_line(&mut self, life: &mut Life, line: &Line) {
        let parsed = life.ears.parse(line);
        let kind = parsed.as_ref().map(ClaudeLine::event_kind);
        let heard = match &parsed {
            Some(parsed) => {
                parsed.kind_word().clone_into(life.ears.last_type.get_or_insert_default());
                if self.plan.kind == SessionKind::Claude { life.ears.listen(parsed) } else { Heard::default() }
            }
            None => Heard::default(),
        };
        if heard.initialized || heard.then.is_some() {
            life.rarely.changed();
        }
        if heard.initialized {
            self.apply(life, Input::Initialized).await;
        }
        record(line, kind, &mut self.log);
        if let Some(then) = heard.then {
            self.follow(life, then).await;
        }
    }

    async fn follow(&mut self, life: &mut Life, then: Then) {
        match then {
            Then::TurnBegan => {
                // Whatever comes of the turn, there is a conversation now.
                self.plan.go_on_with_conversation();
                self.note_conversation(life);
                self.apply(life, Input::TurnBegan).await;
            }
            Then::Result { verdict, answers, began_by_itself } => {
                self.count_cost(life, &verdict);
                let more = life.messages.answered(&answers, began_by_itself);
                self.close_questions(life).await;
                self.apply(life, Input::Result { verdict, more }).await;
                self.record.change(life.open_messages());
            }
            Then::Background(tasks) => self.apply(life, Input::Background(tasks)).await,
            // Another process must not fall back into the mode that the session was started with.
            Then::ModeChanged(mode) => self.note(Applied::Mode(mode)),
            Then::RateLimit(limit) => self.account_limit(&limit),
            Then::Question(question) if !self.plan.raw => self.ask(life, *question).await,
            Then::Question(question) => life.requests.push(question.request_id),
            Then::Request(id) if self.plan.raw => life.requests.push(id),
            Then::Request(id) => {
                life.say(control::refuse(&id, "this gateway does not answer such requests"));
            }
            Then::TakenBack(id) => self.take_back(life, id).await,
            Then::Answer(id, outcome) => self.changed(life, &id, outcome),
        }
    }

    /// A record with a cost is one with a conversation: whoever brings the session back goes on with it, also if its
    /// first turn has never come to a result.
    fn note_conversation(&mut self, life: &Life) {
        if self.cost.borrow().is_none() {
            self.cost.send_replace(Some(life.cost));
            self.record.change(SessionPatch { total_cost_usd: Some(life.cost), ..SessionPatch::default() });
        }
    }

    /// Claude says what the whole conversation has cost, resumed ones included: only the difference is new.
    fn count_cost(&mut self, life: &mut Life, verdict: &Verdict) {
        let Some(cost) = verdict.total_cost_usd.filter(|cost| cost.is_finite() && *cost >= 0.0) else { return };
        // It falls when the conversation is cleared: from then on Claude counts anew.
        let spent = if cost >= life.cost { cost - life.cost } else { cost };
        life.cost = cost;
        self.plan.spent(spent);
        self.cost.send_replace(Some(cost));
        self.record.change(SessionPatch { total_cost_usd: Some(cost), ..SessionPatch::default() });
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "finite, not below zero, and saturating"
        )]
        let micro_usd = (spent * MICRO_USD).round() as u64;
        if micro_usd > 0 {
            self.record.spend(Spend {
                owner: self.owner.clone(),
                session: self.plan.id,
                seq: self.log.last_seq(),
                at_ms: now_ms(),
                micro_usd,
            });
        }
    }

    /// The account's usage limit holds for all sessions: while work is refused, the line stands still.
    fn account_limit(&self, limit: &RateLimit) {
        let until = match limit.status {
            RateLimitStatus::Rejected => limit.resets_at.map(|seconds| seconds.saturating_mul(1_000)),
            RateLimitStatus::Allowed | RateLimitStatus::AllowedWarning => None,
            RateLimitStatus::Unknown => return,
        };
        self.admission.account_limited(until);
    }
}
