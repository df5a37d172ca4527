//! What a gateway does at its start with the sessions of its dead predecessor: their processes are swept,
//! and each gets its one terminal event, unless it is to survive its node. Put-away sessions are left alone.

use std::sync::Arc;

use super::answers;
use super::backoff::Backoff;
use super::feed::Feed;
use super::writer::LogWriter;
use crate::api::event::{EndReason, Ended, SessionState};
use crate::api::session::{OnLost, SessionKind};
use crate::process::{self, RunAs};
use crate::store::{SessionPatch, SessionRow, SharedStore, StoreError};
use crate::telemetry::metrics;
use crate::telemetry::time::now_ms;

/// What an older instance has left.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Sessions that were ended as lost.
    pub lost: usize,
    /// Sessions that are to be started again.
    pub to_resume: Vec<SessionRow>,
}

/// Sweeps and ends what an older instance of `node` left behind.
///
/// # Errors
/// The store's.
pub async fn recover(store: &SharedStore, node: &str, user: Option<&RunAs>) -> Result<Recovered, StoreError> {
    let swept = process::sweep_instance(node, user).await;
    if swept.killed > 0 {
        tracing::warn!(killed = swept.killed, "processes of an older instance were still there");
        metrics::processes_swept(swept.killed);
    }
    store.forget_node_slots(node).await?;
    let unfinished = store.unfinished_sessions(Some(node)).await?;
    let (to_resume, lost): (Vec<_>, Vec<_>) =
        unfinished.into_iter().partition(|row| row.on_lost == OnLost::Resume && row.kind == SessionKind::Claude);
    for row in &lost {
        end_lost(store, node, row).await?;
    }
    Ok(Recovered { lost: lost.len(), to_resume })
}

/// Ends a session whose node died, however long the store stays away.
///
/// # Errors
/// The store's; [`StoreError::NotOwner`] if somebody else has done it.
pub async fn end_lost(store: &SharedStore, node: &str, row: &SessionRow) -> Result<(), StoreError> {
    let message = Some("the gateway that ran the session died".to_owned());
    let mut backoff = Backoff::default();
    loop {
        let feed = Arc::new(Feed::new(row.last_seq, 0));
        match end_without_process(store, node, row, EndReason::Lost, message.clone(), feed).await {
            // It may be this node's by now, and so it is this node that has to end it.
            Err(error) if error.retryable() => backoff.pause().await,
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    tracing::warn!(session_id = %row.id, "a session of a dead gateway is lost");
    Ok(())
}

/// Ends a session that has no process and no supervisor; readers of `feed` get to see it.
///
/// # Errors
/// The store's; [`StoreError::NotOwner`] if somebody else has taken the session over.
pub async fn end_without_process(
    store: &SharedStore,
    node: &str,
    row: &SessionRow,
    reason: EndReason,
    message: Option<String>,
    feed: Arc<Feed>,
) -> Result<(), StoreError> {
    let epoch = row.epoch + 1;
    let take_over = SessionPatch { owner: Some((node.to_owned(), epoch)), ..SessionPatch::default() };
    store.update_session(row.id, row.epoch, take_over).await?;
    // An owner that was only taken for dead may have written until this moment.
    let mut row = store.session(row.id).await?.ok_or(StoreError::Missing)?;
    // The record may be stale: it is written behind the log.
    if answers::is_before_ready(row.state) && answers::has_been_ready(store, row.id).await? {
        row.state = SessionState::Idle;
    }
    let row = &row;
    let now = now_ms();
    let ended = ended(row, reason, message);
    let patch = SessionPatch {
        state: Some(SessionState::Ended),
        ended_at_ms: Some(now),
        ended: Some(ended.clone()),
        ..SessionPatch::default()
    };
    feed.catch_up(row.last_seq);
    let mut log = LogWriter::new(row.id, epoch, Arc::clone(store), feed, usize::MAX);
    log.end(&ended, patch, || {}).await?;
    metrics::session_ended(reason);
    Ok(())
}

/// The end of a session that has no process, at this moment.
pub(super) fn ended(row: &SessionRow, reason: EndReason, message: Option<String>) -> Ended {
    Ended {
        reason,
        exit_code: None,
        signal: None,
        // Ending a session at rest breaks nothing off.
        is_error: reason != EndReason::Cancelled,
        message,
        result: None,
        structured_output: None,
        total_cost_usd: row.total_cost_usd,
        usage: None,
        num_turns: None,
        duration_ms: now_ms().saturating_sub(row.created_at_ms),
        resumable: row.kind == SessionKind::Claude && !answers::is_before_ready(row.state),
        resets_at: None,
        forced_exit: false,
    }
}
