//! How a supervisor's work ends: with the session's terminal event, with a session that is put away, or because
//! the session is no longer this node's.

use super::life::{Life, Over};
use super::{Left, Right, Supervisor};
use crate::api::event::SessionState;
use crate::process::Signal;
use crate::session::machine::Outcome;
use crate::store::{SessionPatch, StoreError};
use crate::telemetry::metrics;
use crate::telemetry::time::now_ms;

impl Supervisor {
    pub(super) async fn finish(self, life: Life) -> Left {
        match life.over {
            Some(Over::Ended(outcome)) => self.end(*outcome, life.started, life.cost).await,
            Some(Over::Disowned) => self.abandon(life, &StoreError::NotOwner).await,
            Some(Over::LetGo) | None => self.let_go(life).await,
        }
    }

    /// Writes the terminal event, waits until it is acknowledged, and only then shows the end, everywhere at once.
    async fn end(mut self, outcome: Outcome, started: bool, cost: f64) -> Left {
        let reason = outcome.reason;
        let now = now_ms();
        let resumable = self.plan.resumable && started;
        let ended = outcome.told(now.saturating_sub(self.created_at_ms), resumable);
        let mut patch = SessionPatch {
            state: Some(SessionState::Ended),
            ended_at_ms: Some(now),
            ended: Some(ended.clone()),
            total_cost_usd: (cost > 0.0).then_some(cost),
            ..SessionPatch::default()
        };
        self.record.flush_before(&mut patch).await;
        let before = *self.state.borrow();
        let show = || {
            self.state.send_replace(SessionState::Ended);
        };
        let written = self.log.end(&ended, patch, show).await;
        metrics::session_moved(Some(before), None);
        if let Err(error) = written {
            // Whose it is now tells how it ended.
            tracing::error!(session_id = %self.plan.id, %error, "the end of a session could not be written");
            show();
            return Left::Abandoned;
        }
        metrics::session_ended(reason);
        tracing::info!(session_id = %self.plan.id, reason = reason.as_str(), duration_ms = ended.duration_ms, "session ended");
        Left::Ended
    }

    /// The session rests without a process, and nobody runs it from now on: the record says so.
    async fn let_go(mut self, mut life: Life) -> Left {
        // Who asks from now on is sent away, and asks again once the record is written.
        self.commands.close();
        while let Ok(refused) = self.commands.try_recv() {
            drop(refused);
        }
        self.record.change(SessionPatch {
            state: Some(SessionState::Idle),
            put_away_at_ms: Some(Some(now_ms())),
            messages: Some(Vec::new()),
            ..SessionPatch::default()
        });
        if let Err(error) = self.log.flush().await {
            life.over = None;
            return self.abandon(life, &error).await;
        }
        self.record.flush().await;
        self.log.rest();
        metrics::session_moved(Some(SessionState::Idle), None);
        tracing::info!(session_id = %self.plan.id, "session put away");
        Left::PutAway
    }

    /// The store says that the session is no longer this node's: its process goes, and nothing more is written.
    pub(super) async fn abandon(mut self, mut life: Life, error: &StoreError) -> Left {
        tracing::error!(session_id = %self.plan.id, %error, "a session's log can't be written any more; it is given up");
        if let Some(control) = life.control.take() {
            let _ = control.signal(Signal::Kill);
        }
        self.launcher.sweep(self.plan.id).await;
        if let Right::Slot(slot) = std::mem::replace(&mut self.right, Right::None) {
            slot.release().await;
        }
        let before = self.state.send_replace(SessionState::Ended);
        metrics::session_moved(Some(before), None);
        Left::Abandoned
    }
}
