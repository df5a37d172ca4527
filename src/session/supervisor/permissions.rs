//! Permission questions: told as events, answered by the first caller, denied when nobody answers in time.

use super::Supervisor;
use super::life::Life;
use crate::api::event::{EventType, PermissionResolved, SessionState};
use crate::api::session::RespondParams;
use crate::claude::PermissionQuestion;
use crate::session::error::SessionError;
use crate::session::machine::{Input, Timer};
use crate::session::questions::{answer_line, answered, denial_line, taken_back, timed_out};
use crate::telemetry::time::{now_ms, rfc3339_ms};

impl Supervisor {
    /// Claude asks.
    pub(super) async fn ask(&mut self, life: &mut Life, question: PermissionQuestion) {
        let time = self.settings.permission_timeout_seconds.duration();
        life.questions.ask(&question.request_id, time);
        let expires_at_ms = now_ms().saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let question = PermissionQuestion { expires_at: Some(rfc3339_ms(expires_at_ms)), ..question };
        self.log.push(EventType::PermissionRequested, &question);
        self.arm_questions(life);
        self.apply(life, Input::PermissionAsked).await;
    }

    /// A caller answers: the first answer wins.
    pub(super) async fn respond(
        &mut self,
        life: &mut Life,
        answer: &RespondParams,
        username: &str,
    ) -> Result<SessionState, SessionError> {
        if !life.questions.close(&answer.request_id) {
            let state = life.machine.state();
            return Err(SessionError::wrong_state(state, "that question is not open (any more)"));
        }
        life.say(answer_line(answer, self.plan.reads_workspace()));
        self.resolve(life, &answered(answer, username)).await;
        Ok(life.machine.state())
    }

    /// Claude takes a question or a request back.
    pub(super) async fn take_back(&mut self, life: &mut Life, request_id: String) {
        life.requests.retain(|open| *open != request_id);
        if life.questions.close(&request_id) {
            self.resolve(life, &taken_back(request_id)).await;
        }
    }

    /// The turn or the process is over: no question of it needs an answer.
    pub(super) async fn close_questions(&mut self, life: &mut Life) {
        for request_id in life.questions.close_all() {
            self.resolve(life, &taken_back(request_id)).await;
        }
    }

    /// Time is over for some.
    pub(super) async fn deny_unanswered(&mut self, life: &mut Life) {
        for request_id in life.questions.close_due() {
            life.say(denial_line(&request_id));
            self.resolve(life, &timed_out(request_id)).await;
        }
        self.arm_questions(life);
    }

    async fn resolve(&mut self, life: &mut Life, resolved: &PermissionResolved) {
        self.log.push(EventType::PermissionResolved, resolved);
        self.arm_questions(life);
        self.apply(life, Input::PermissionResolved).await;
    }

    fn arm_questions(&self, life: &mut Life) {
        match life.questions.deadline() {
            Some(deadline) => life.timers.insert(Timer::Permission, deadline),
            None => life.timers.remove(&Timer::Permission),
        };
    }
}
