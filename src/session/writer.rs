//! The writing end of one session's log: events in, batches to the store, acknowledged frames to the feed.
//!
//! At most one append is under way; what comes meanwhile waits here and goes with the next one, so that
//! batches grow with the load. An append that fails for a passing reason is tried again with the same bytes
//! (appends are idempotent) until it lands: nothing taken in is dropped, and the session's supervisor holds
//! the agent back while [`LogWriter::is_full`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use serde::Serialize;
use uuid::Uuid;

use super::backoff::Backoff;
use super::feed::Feed;
use super::log::{Encoder, decode};
use super::packing;
use super::recent::Recent;
use crate::api::event::EventType;
use crate::api::selector::EventKind;
use crate::store::{Batch, SessionPatch, SharedStore, Store, StoreError};
use crate::telemetry::metrics::{self, EventCounters};
use crate::telemetry::time::now_ms;

/// Batches that one cut removes at most, so that no other writer waits for long.
const CUT_BATCHES: u32 = 32;

/// As much as is stored at once: a few lines of somebody who types, and not a burst.
const SHORT: usize = 4 * 1024;

/// What an append came to: the bytes kept, if the log's head was cut after it.
type Append = Pin<Box<dyn Future<Output = Result<Option<u64>, StoreError>> + Send>>;

/// The writing end of one session's log. Owned by its supervisor.
pub struct LogWriter {
    session: Uuid,
    epoch: u64,
    store: SharedStore,
    feed: Arc<Feed>,
    encoder: Encoder,
    /// The append under way and its batch, kept for the frames and for another try.
    under_way: Option<(Append, Batch)>,
    /// The record's change that goes with the terminal event, once that has been pushed.
    end: Option<SessionPatch>,
    full_at: usize,
    /// The bytes that the log keeps, and beyond which its head is cut; 0: never.
    kept: u64,
    limit: u64,
    counters: EventCounters,
    /// What a store that others share may have to be told again. Shared with the append under way.
    recent: Option<Arc<Recent>>,
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter").field("session", &self.session).finish_non_exhaustive()
    }
}

impl LogWriter {
    /// A writer for the log of `session` that goes on after the feed's head and counts as full at `full_at`
    /// waiting bytes.
    #[must_use]
    pub fn new(session: Uuid, epoch: u64, store: SharedStore, feed: Arc<Feed>, full_at: usize) -> Self {
        let encoder = Encoder::new(session, feed.head() + 1);
        let recent = store.bus().map(|_| Arc::default());
        Self {
            session,
            epoch,
            store,
            feed,
            encoder,
            under_way: None,
            end: None,
            full_at,
            kept: 0,
            limit: 0,
            counters: EventCounters::new(),
            recent,
        }
    }

    /// Beyond `limit` bytes (0: never) the log's oldest batches are cut off. A log that grows is cut by an eighth at a
    /// time, so that not every append is followed by a cut.
    #[must_use]
    pub fn limited_to(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// The number of the newest event taken in.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.encoder.last_seq()
    }

    /// Nothing more will be written for a while: what readers need from now on they read from the store.
    pub fn rest(&self) {
        self.feed.forget();
    }

    /// Takes an event whose data is a type of ours.
    pub fn push<T: Serialize>(&mut self, event_type: EventType, data: &T) {
        match serde_json::to_vec(data) {
            Ok(data) => self.push_json(event_type, &data),
            // Our own types always serialise; a failure is a bug that must not take the session down.
            Err(error) => tracing::error!(session_id = %self.session, %error, "an event could not be encoded"),
        }
    }

    /// Takes an event whose data is already one valid JSON text.
    pub fn push_json(&mut self, kind: impl Into<EventKind>, data: &[u8]) {
        let kind = kind.into();
        if let Some(event_type) = kind.event_type() {
            self.counters.taken_in(event_type, data.len());
        }
        self.encoder.push(kind, now_ms(), data);
    }

    /// Must the agent be held back?
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.encoder.pending_bytes() >= self.full_at
    }

    /// Is there anything that [`LogWriter::advance`] would wait for?
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.under_way.is_some() || self.encoder.pending_bytes() > 0
    }

    /// Goes one step: starts an append if none is under way and waits for it, then publishes. Cancel-safe:
    /// an append under way goes on at the next call.
    ///
    /// # Errors
    /// What trying again can't cure: another node owns the session, or its log is damaged.
    pub async fn advance(&mut self) -> Result<(), StoreError> {
        if self.under_way.is_none() {
            let Some(batch) = self.next_batch() else { return Ok(()) };
            self.under_way = Some((self.start_append(&batch), batch));
        }
        let Some((append, _)) = &mut self.under_way else { return Ok(()) };
        let outcome = append.await;
        let Some((_, batch)) = self.under_way.take() else { return Ok(()) };
        if let Some(kept) = outcome? {
            self.kept = kept;
        }
        self.publish(&batch)
    }

    /// The same where it takes no waiting, as a write to a journal does not; `None` where it does, and where so much
    /// waits that what comes next had better go with it.
    ///
    /// # Errors
    /// See [`LogWriter::advance`].
    pub fn advance_at_once(&mut self) -> Option<Result<(), StoreError>> {
        if self.encoder.pending_bytes() > SHORT {
            return None;
        }
        if self.under_way.is_none() {
            let Some(batch) = self.next_batch() else { return Some(Ok(())) };
            if self.appends_only(&batch) && self.store.append_at_once(self.session, self.epoch, &batch) {
                self.kept += batch.payload.len() as u64;
                return Some(self.publish(&batch));
            }
            self.under_way = Some((self.start_append(&batch), batch));
        }
        self.advance().now_or_never()
    }

    fn next_batch(&mut self) -> Option<Batch> {
        let batch = self.encoder.take()?;
        self.counters.tell();
        Some(batch)
    }

    /// Is an append all that there is to do about that batch?
    fn appends_only(&self, batch: &Batch) -> bool {
        let is_cut = self.limit > 0 && self.kept + batch.payload.len() as u64 > self.limit;
        self.end.is_none() && self.recent.is_none() && !is_cut
    }

    /// Shows readers what the store has acknowledged.
    fn publish(&self, batch: &Batch) -> Result<(), StoreError> {
        self.feed.publish(decode(batch)?);
        Ok(())
    }

    /// Waits until everything taken in is acknowledged.
    ///
    /// # Errors
    /// See [`LogWriter::advance`].
    pub async fn flush(&mut self) -> Result<(), StoreError> {
        while self.is_busy() {
            self.advance().await?;
        }
        Ok(())
    }

    /// Writes everything taken in, then the terminal event together with the change of the record. Once that is
    /// acknowledged `acknowledged` is called, and only then readers get to see the event: whoever has seen it and
    /// asks finds an ended session.
    ///
    /// # Errors
    /// See [`LogWriter::advance`]; then `acknowledged` may not have been called.
    pub async fn end<T: Serialize>(
        &mut self,
        data: &T,
        patch: SessionPatch,
        acknowledged: impl FnOnce(),
    ) -> Result<(), StoreError> {
        // What was printed before goes first, so that the terminal event's batch holds nothing else to retry.
        let flushed = self.flush().await;
        self.push(EventType::Ended, data);
        self.end = Some(patch);
        let Some(batch) = self.next_batch() else { return flushed };
        self.start_append(&batch).await?;
        acknowledged();
        self.publish(&batch)?;
        flushed
    }

    fn start_append(&mut self, batch: &Batch) -> Append {
        let batch = packing::packed(batch);
        let (store, session, epoch) = (Arc::clone(&self.store), self.session, self.epoch);
        self.kept += batch.payload.len() as u64;
        let (kept, limit) = (self.kept, self.limit);
        let recent = self.recent.clone();
        // The terminal event is the last one pushed, so it is in the batch after which nothing waits.
        let end = if self.encoder.pending_bytes() == 0 { self.end.take() } else { None };
        Box::pin(async move {
            let mut backoff = Backoff::default();
            loop {
                let outcome = match &end {
                    Some(patch) => store.end_session(session, epoch, batch.clone(), patch.clone()).await,
                    None => store.append(session, epoch, batch.clone()).await,
                };
                match outcome {
                    Err(StoreError::Gap { expected, found }) => {
                        let lost = recent.as_ref().and_then(|recent| recent.between(expected, found));
                        let Some(lost) = lost else { return Err(StoreError::Gap { expected, found }) };
                        tracing::warn!(
                            session_id = %session, from = expected, to = found - 1,
                            "the store has lost events that it had acknowledged; it is told them again"
                        );
                        tell_again(&*store, session, epoch, lost).await?;
                    }
                    Err(error) if error.retryable() => {
                        tracing::warn!(session_id = %session, %error, "the store did not take events; trying again");
                        backoff.pause().await;
                    }
                    Err(error) => return Err(error),
                    Ok(()) => break,
                }
            }
            if let Some(recent) = recent {
                recent.keep(&batch);
            }
            if end.is_none() && limit > 0 && kept > limit {
                return Ok(cut(&*store, session, epoch, kept, limit).await);
            }
            Ok(None)
        })
    }
}

/// Tells a store what it had acknowledged and then lost.
async fn tell_again(store: &dyn Store, session: Uuid, epoch: u64, lost: Vec<Batch>) -> Result<(), StoreError> {
    let mut backoff = Backoff::default();
    for batch in lost {
        while let Err(error) = store.append(session, epoch, batch.clone()).await {
            if !error.retryable() {
                return Err(error);
            }
            backoff.pause().await;
        }
    }
    Ok(())
}

/// Cuts the log's head; the bytes kept then. A cut that fails is made up for after the next append.
async fn cut(store: &dyn Store, session: Uuid, epoch: u64, kept: u64, limit: u64) -> Option<u64> {
    match store.cut_head(session, epoch, limit - limit / 8, CUT_BATCHES).await {
        Ok(bounds) => {
            metrics::log_cut(kept.saturating_sub(bounds.bytes));
            tracing::debug!(session_id = %session, oldest_seq = bounds.first, "the head of a long log was cut off");
            Some(bounds.bytes)
        }
        Err(error) => {
            tracing::warn!(session_id = %session, %error, "the head of a long log could not be cut off");
            None
        }
    }
}
