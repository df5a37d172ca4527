//! What a gateway does at its start with the sessions of its dead predecessor: their processes are swept,
//! and each gets its one terminal event.

use std::sync::Arc;

use super::feed::Feed;
use super::writer::LogWriter;
use crate::api::event::{EndReason, Ended, SessionState};
use crate::api::session::SessionKind;
use crate::process::{self, RunAs};
use crate::store::{SessionPatch, SharedStore, StoreError};
use crate::telemetry::metrics;
use crate::telemetry::time::now_ms;

/// Ends what an older instance of `node` left behind; returns how many sessions.
///
/// # Errors
/// The store's.
pub async fn recover(store: &SharedStore, node: &str, user: Option<&RunAs>) -> Result<usize, StoreError> {
    let swept = process::sweep_instance(node, user).await;
    if swept.killed > 0 {
        tracing::warn!(killed = swept.killed, "processes of an older instance were still there");
        metrics::processes_swept(swept.killed);
    }
    store.release_node_slots(node).await?;
    let lost = store.unfinished_sessions(Some(node)).await?;
    for row in &lost {
        let epoch = row.epoch + 1;
        let take_over = SessionPatch { owner: Some((node.to_owned(), epoch)), ..SessionPatch::default() };
        store.update_session(row.id, row.epoch, take_over).await?;
        let now = now_ms();
        let ended = Ended {
            reason: EndReason::Lost,
            exit_code: None,
            signal: None,
            is_error: true,
            message: Some("the gateway that ran the session died".to_owned()),
            result: None,
            structured_output: None,
            total_cost_usd: None,
            usage: None,
            num_turns: None,
            duration_ms: now.saturating_sub(row.created_at_ms),
            resumable: row.kind == SessionKind::Claude && row.state != SessionState::Starting,
            forced_exit: false,
        };
        let patch = SessionPatch {
            state: Some(SessionState::Ended),
            ended_at_ms: Some(now),
            ended: Some(ended.clone()),
            ..SessionPatch::default()
        };
        let feed = Arc::new(Feed::new(row.last_seq, 0));
        let mut log = LogWriter::new(row.id, epoch, Arc::clone(store), feed, usize::MAX);
        log.end(&ended, patch, || {}).await?;
        metrics::session_ended(EndReason::Lost);
        tracing::warn!(session_id = %row.id, "a session of an older instance is lost");
    }
    Ok(lost.len())
}
