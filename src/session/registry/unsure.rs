//! Starts and take-overs of which the store has not said whether they landed. They may, and then nobody would run the
//! session: as soon as the store answers, what was begun is undone.

use std::sync::Arc;

use super::Sessions;
use crate::api::event::{EndReason, EventType, SessionState};
use crate::session::backoff::Backoff;
use crate::session::log::Encoder;
use crate::session::one_at_a_time::Turn;
use crate::session::recovery;
use crate::store::{Batch, Created, NewSession, SessionPatch, SessionRow, StoreError};
use crate::telemetry::tasks;
use crate::telemetry::time::now_ms;

impl Sessions {
    /// The caller was told that its start has failed: it must not have happened. Until that is so, nobody starts
    /// another session with its idempotency key.
    pub(super) fn unmake(self: &Arc<Self>, session: NewSession, turn: Option<Turn>) {
        let sessions = Arc::clone(self);
        tasks::spawn("unmake-session", async move {
            let _turn = turn;
            let session = NewSession { fresh: false, ..session };
            let id = session.row.id;
            match until_answered(|| sessions.store.create_session(session.clone())).await {
                Ok(Created::New) => {}
                // It was never made.
                Ok(Created::Existing(_) | Created::KeyReused) | Err(_) => return,
            }
            // Only what has ended can be removed. Nobody counts it: it was never there.
            let Some((batch, patch)) = end_of_nothing(&session.row) else { return };
            let end = || sessions.store.end_session(id, session.row.epoch, batch.clone(), patch.clone());
            if let Err(error) = until_answered(end).await {
                tracing::error!(session_id = %id, %error, "a session that was not started could not be ended");
                return;
            }
            if let Err(error) = until_answered(|| sessions.store.remove_session(id)).await {
                tracing::warn!(session_id = %id, %error, "a session that was not started stays in the list");
            }
        });
    }

    /// A session at rest may have been taken over, and nobody runs it here: it is put away again.
    pub(super) fn put_back(self: &Arc<Self>, row: &SessionRow, taken: SessionPatch) {
        let sessions = Arc::clone(self);
        let (id, before) = (row.id, row.epoch);
        tasks::spawn("put-back-session", async move {
            let epoch = before + 1;
            if until_answered(|| sessions.store.update_session(id, before, taken.clone())).await.is_err() {
                // Somebody else has it.
                return;
            }
            let rest = SessionPatch {
                state: Some(SessionState::Idle),
                put_away_at_ms: Some(Some(now_ms())),
                messages: Some(Vec::new()),
                ..SessionPatch::default()
            };
            if let Err(error) = until_answered(|| sessions.store.update_session(id, epoch, rest.clone())).await {
                tracing::error!(session_id = %id, %error, "a session at rest could not be put away again");
            }
        });
    }
}

/// The end of a session that nobody has seen.
fn end_of_nothing(row: &SessionRow) -> Option<(Batch, SessionPatch)> {
    let ended = recovery::ended(row, EndReason::SpawnFailed, Some("the store did not answer".to_owned()));
    let mut encoder = Encoder::new(row.id, 1);
    encoder.push(EventType::Ended, now_ms(), &serde_json::to_vec(&ended).ok()?);
    let patch = SessionPatch {
        state: Some(SessionState::Ended),
        ended_at_ms: Some(now_ms()),
        ended: Some(ended),
        ..SessionPatch::default()
    };
    Some((encoder.take()?, patch))
}

/// Repeats a call until the store says what came of it.
pub(super) async fn until_answered<T, F>(call: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = Backoff::default();
    loop {
        match call().await {
            Err(error) if error.retryable() => backoff.pause().await,
            answer => return answer,
        }
    }
}
