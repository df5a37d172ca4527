//! Readers here of a session that does not run here: somebody reads its log for all of them.
//!
//! Whoever appends tells that the log has grown (a hint that may be lost); what is there is read from the store once
//! and published into the feed, from where each reader takes it at its own pace. So a session that moves between nodes
//! has one unbroken log for its readers, wherever they are.
//!
//! Invariant: a feed has one follower, which ends with the last event, with the last reader, or when the log is gone.
//! While the session runs here its supervisor publishes, and the follower waits.

use std::sync::{Arc, Weak};
use std::time::Duration;

use uuid::Uuid;

use super::backoff::Backoff;
use super::feed::Feed;
use super::log::decode_stored;
use super::registry::Sessions;
use crate::api::selector::TypeSet;
use crate::store::{StoreError, Topic};
use crate::telemetry::tasks;

/// How often the log is looked at although nothing was told.
const LOOK: Duration = Duration::from_secs(1);
/// How much one look brings, in bytes.
const LOOK_BYTES: usize = 1024 * 1024;

/// What a look at the log has come to.
enum Looked {
    /// It is level with the store.
    Level,
    /// Nothing comes any more.
    Over,
}

impl Sessions {
    /// Follows the log of a session for the readers of `feed`, unless somebody does already.
    pub(super) fn follow(self: &Arc<Self>, session: Uuid, feed: &Arc<Feed>) {
        if feed.has_ended() || feed.is_forsaken() || !feed.claim_following() {
            return;
        }
        let (sessions, feed) = (Arc::clone(self), Arc::downgrade(feed));
        tasks::spawn("follow", async move { sessions.keep_following(session, feed).await });
    }

    async fn keep_following(self: Arc<Self>, session: Uuid, feed: Weak<Feed>) {
        let watch = self.nodes().bus().map(|bus| bus.watch(Topic::Log(session)));
        let mut backoff = Backoff::default();
        loop {
            if let Some(handle) = self.live(session) {
                drop(tokio::time::timeout(LOOK, handle.gone()).await);
                if feed.strong_count() == 0 {
                    return;
                }
                continue;
            }
            let Some(held) = feed.upgrade() else { return };
            match self.look(session, &held).await {
                Ok(Looked::Over) => return,
                Ok(Looked::Level) => backoff.reset(),
                Err(StoreError::Missing) => {
                    held.forsake();
                    return;
                }
                Err(error) if error.retryable() => {
                    drop(held);
                    backoff.pause().await;
                    continue;
                }
                Err(error) => {
                    tracing::error!(session_id = %session, %error, "a session's log can't be followed");
                    held.forsake();
                    return;
                }
            }
            drop(held);
            match &watch {
                Some(watch) => drop(tokio::time::timeout(LOOK, watch.moved.notified()).await),
                // Alone nobody else writes.
                None => return,
            }
        }
    }

    /// Publishes what the store has beyond the feed.
    async fn look(&self, session: Uuid, feed: &Feed) -> Result<Looked, StoreError> {
        loop {
            if feed.has_ended() {
                return Ok(Looked::Over);
            }
            let head = feed.head();
            let batches = self.store().read(session, head, TypeSet::ALL, LOOK_BYTES).await?;
            if batches.is_empty() {
                return Ok(Looked::Level);
            }
            for batch in batches {
                // Its head was cut off meanwhile: readers that are behind learn it from the store.
                feed.catch_up(batch.first_seq.saturating_sub(1));
                feed.publish(decode_stored(&batch)?);
            }
        }
    }
}
