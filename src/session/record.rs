//! Keeps a live session's stored record level with its state, without making the session wait.
//!
//! Only the newest state matters: states that were passed while a write was under way are skipped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::api::event::SessionState;
use crate::store::{SessionPatch, SharedStore};

const RETRY: Duration = Duration::from_millis(250);

/// Writes one session's state to its record. Owned by its supervisor.
pub(super) struct RecordWriter {
    session: Uuid,
    epoch: u64,
    store: SharedStore,
    wanted: Option<SessionState>,
    under_way: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl RecordWriter {
    pub(super) fn new(session: Uuid, epoch: u64, store: SharedStore) -> Self {
        Self { session, epoch, store, wanted: None, under_way: None }
    }

    /// The state is now this one.
    pub(super) fn set(&mut self, state: SessionState) {
        self.wanted = Some(state);
    }

    /// Is there anything to write?
    pub(super) fn is_busy(&self) -> bool {
        self.wanted.is_some() || self.under_way.is_some()
    }

    /// Goes one step. Cancel-safe: a write under way goes on at the next call.
    pub(super) async fn advance(&mut self) {
        if self.under_way.is_none() {
            let Some(state) = self.wanted.take() else { return };
            let (store, session, epoch) = (Arc::clone(&self.store), self.session, self.epoch);
            self.under_way = Some(Box::pin(async move {
                let patch = SessionPatch { state: Some(state), ..SessionPatch::default() };
                while let Err(error) = store.update_session(session, epoch, patch.clone()).await {
                    if !error.retryable() {
                        // The log writer meets the same refusal and acts on it.
                        tracing::warn!(session_id = %session, %error, "a session's record could not be changed");
                        return;
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }));
        }
        if let Some(write) = &mut self.under_way {
            write.await;
            self.under_way = None;
        }
    }

    /// Waits until the record is level.
    pub(super) async fn flush(&mut self) {
        while self.is_busy() {
            self.advance().await;
        }
    }
}
