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

use crate::api::event::SessionState;
use crate::store::{SessionPatch, SessionRow, SharedStore, Spend};

const RETRY: Duration = Duration::from_millis(250);

/// Writes one session's changes to its record. Owned by its supervisor.
pub(super) struct RecordWriter {
    session: Uuid,
    epoch: u64,
    store: SharedStore,
    /// What the record says of these two once all is written; `None`: nobody knows. What it says already is not written.
    said_state: Option<SessionState>,
    said_messages: Option<Vec<Uuid>>,
    wanted: Option<SessionPatch>,
    spent: VecDeque<Spend>,
    /// Is it an entry of those that is under way?
    notes_spend: bool,
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
            said_state: None,
            said_messages: None,
            wanted: None,
            spent: VecDeque::new(),
            notes_spend: false,
            under_way: None,
            after_wanted: Vec::new(),
            after_under_way: Vec::new(),
        }
    }

    /// Of a record that says what `row` says.
    pub(super) fn of(row: &SessionRow, store: SharedStore) -> Self {
        let said_messages = Some(row.messages.clone());
        Self { said_state: Some(row.state), said_messages, ..Self::new(row.id, row.epoch, store) }
    }

    /// The record is to be changed so; what `patch` does not name stays.
    pub(super) fn change(&mut self, mut patch: SessionPatch) {
        patch.state = patch.state.filter(|state| self.said_state.replace(*state) != Some(*state));
        patch.messages =
            patch.messages.filter(|messages| self.said_messages.replace(messages.clone()).as_ref() != Some(messages));
        if patch == SessionPatch::default() {
            return;
        }
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
        self.wanted.get_or_insert_default();
        self.after_wanted.push(Box::new(then));
    }

    /// So much was spent.
    pub(super) fn spend(&mut self, spend: Spend) {
        self.spent.push_back(spend);
    }

    /// Is something spent that the store does not know of?
    pub(super) fn owes(&self) -> bool {
        self.notes_spend || !self.spent.is_empty()
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
                self.notes_spend = true;
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
            self.notes_spend = false;
            self.after_under_way.drain(..).for_each(|then| then());
        }
    }

    /// Waits until the record is level but for what `patch` will say, which is about to end it.
    pub(super) async fn flush_before(&mut self, patch: &mut SessionPatch) {
        let is_superseded = |wanted: &mut SessionPatch| {
            wanted.model.is_none() && wanted.params.is_none() && self.after_wanted.is_empty()
        };
        if let Some(wanted) = self.wanted.take_if(is_superseded) {
            patch.total_cost_usd = patch.total_cost_usd.or(wanted.total_cost_usd);
        }
        self.flush().await;
    }

    /// Waits until the record is level.
    pub(super) async fn flush(&mut self) {
        while self.is_busy() {
            self.advance().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::store::contract::sample;
    use crate::store::sqlite::test_store;

    fn state(state: SessionState) -> SessionPatch {
        SessionPatch { state: Some(state), ..SessionPatch::default() }
    }

    #[tokio::test]
    async fn what_the_record_says_already_is_not_written() {
        let row = sample::session(1).row;
        let mut record = RecordWriter::of(&row, test_store());
        record.change(SessionPatch { messages: Some(row.messages.clone()), ..state(row.state) });
        assert!(!record.is_busy());
        record.change(state(SessionState::Idle));
        record.change(state(row.state));
        assert!(record.is_busy() && record.wanted == Some(state(row.state)), "back again, after a write perhaps");
    }

    #[tokio::test]
    async fn what_is_spent_is_owed_until_the_store_knows_of_it() {
        let (store, row) = (test_store(), sample::session(1).row);
        let mut record = RecordWriter::of(&row, Arc::clone(&store));
        let spend = Spend { owner: "ann".to_owned(), session: row.id, seq: 1, at_ms: 5, micro_usd: 7 };
        record.spend(spend.clone());
        record.spend(Spend { seq: 2, ..spend });
        record.advance().await;
        assert!(record.owes(), "the second");
        let noted = record.advance().now_or_never().is_some();
        assert_eq!(record.owes(), !noted, "it is under way, or the store's thread was faster than this one");
        record.flush().await;
        assert!(!record.owes());
        assert_eq!(store.spent_since("ann", 0).await.unwrap(), 14);
    }

    #[tokio::test]
    async fn who_waits_for_a_change_that_is_none_is_told_all_the_same() {
        let store = test_store();
        store.create_session(sample::session(1)).await.unwrap();
        let row = sample::session(1).row;
        let mut record = RecordWriter::of(&row, store);
        let (told, heard) = tokio::sync::oneshot::channel();
        record.change_then(state(row.state), || {
            let _heard = told.send(());
        });
        record.flush().await;
        heard.await.unwrap();
    }

    #[tokio::test]
    async fn the_end_says_what_was_still_to_be_written() {
        let store = test_store();
        store.create_session(sample::session(1)).await.unwrap();
        let mut record = RecordWriter::of(&sample::session(1).row, Arc::clone(&store));
        record.change(SessionPatch { total_cost_usd: Some(0.5), ..state(SessionState::Idle) });
        let mut patch = SessionPatch::default();
        record.flush_before(&mut patch).await;
        assert_eq!(patch.total_cost_usd, Some(0.5));
        assert_eq!(store.session(sample::id(1)).await.unwrap().unwrap().total_cost_usd, None);
        // What an end can not say is written before.
        let model = Some(Some("other".to_owned()));
        record.change(SessionPatch { model, ..state(SessionState::Running) });
        record.flush_before(&mut patch).await;
        let written = store.session(sample::id(1)).await.unwrap().unwrap();
        assert_eq!((written.model.as_deref(), written.state), (Some("other"), SessionState::Running));
    }
}
