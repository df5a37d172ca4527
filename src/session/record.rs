//! Keeps a live session's stored record level with what it has come to, without making the session wait.
//!
//! Only the newest values matter: what was passed while a write was under way is skipped. What was spent is
//! written entry by entry.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::store::{SessionPatch, SharedStore, Spend};

const RETRY: Duration = Duration::from_millis(250);

/// Writes one session's changes to its record. Owned by its supervisor.
pub(super) struct RecordWriter {
    session: Uuid,
    epoch: u64,
    store: SharedStore,
    wanted: Option<SessionPatch>,
    spent: VecDeque<Spend>,
    under_way: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// To be called once what is wanted now has been written.
    after_wanted: Vec<Then>,
    /// To be called once what is under way has been written.
    after_under_way: Vec<Then>,
}

/// What waits for a write.
type Then = Box<dyn FnOnce() + Send>;

impl RecordWriter {
    pub(super) fn new(session: Uuid, epoch: u64, store: SharedStore) -> Self {
        Self {
            session,
            epoch,
            store,
            wanted: None,
            spent: VecDeque::new(),
            under_way: None,
            after_wanted: Vec::new(),
            after_under_way: Vec::new(),
        }
    }

    /// The record is to be changed so; what `patch` does not name stays.
    pub(super) fn change(&mut self, patch: SessionPatch) {
        let before = self.wanted.take().unwrap_or_default();
        self.wanted = Some(SessionPatch {
            state: patch.state.or(before.state),
            messages: patch.messages.or(before.messages),
            total_cost_usd: patch.total_cost_usd.or(before.total_cost_usd),
            model: patch.model.or(before.model),
            params: patch.params.or(before.params),
            put_away_at_ms: patch.put_away_at_ms.or(before.put_away_at_ms),
            ..SessionPatch::default()
        });
    }

    /// The same, and `then` once it has been written (or can't be any more).
    pub(super) fn change_then(&mut self, patch: SessionPatch, then: impl FnOnce() + Send + 'static) {
        self.change(patch);
        self.after_wanted.push(Box::new(then));
    }

    /// So much was spent.
    pub(super) fn spend(&mut self, spend: Spend) {
        self.spent.push_back(spend);
    }

    /// Is there anything to write?
    pub(super) fn is_busy(&self) -> bool {
        self.wanted.is_some() || !self.spent.is_empty() || self.under_way.is_some()
    }

    /// Goes one step. Cancel-safe: a write under way goes on at the next call.
    pub(super) async fn advance(&mut self) {
        if self.under_way.is_none() {
            let (store, session, epoch) = (Arc::clone(&self.store), self.session, self.epoch);
            if let Some(patch) = self.wanted.take() {
                self.after_under_way = std::mem::take(&mut self.after_wanted);
                self.under_way = Some(Box::pin(async move {
                    while let Err(error) = store.update_session(session, epoch, patch.clone()).await {
                        if !error.retryable() {
                            // The log writer meets the same refusal and acts on it.
                            tracing::warn!(session_id = %session, %error, "a session's record could not be changed");
                            return;
                        }
                        tokio::time::sleep(RETRY).await;
                    }
                }));
            } else if let Some(spend) = self.spent.pop_front() {
                self.under_way = Some(Box::pin(async move {
                    while let Err(error) = store.add_spend(spend.clone()).await {
                        if !error.retryable() {
                            tracing::warn!(session_id = %session, %error, "what a session has cost could not be noted");
                            return;
                        }
                        tokio::time::sleep(RETRY).await;
                    }
                }));
            }
        }
        if let Some(write) = &mut self.under_way {
            write.await;
            self.under_way = None;
            self.after_under_way.drain(..).for_each(|then| then());
        }
    }

    /// Waits until the record is level.
    pub(super) async fn flush(&mut self) {
        while self.is_busy() {
            self.advance().await;
        }
    }
}
