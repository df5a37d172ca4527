//! A store that measures another one: latency and failures, by operation.
//!
//! It changes nothing of what it passes on. A refusal ([`StoreError::NotOwner`], [`StoreError::Gap`],
//! [`StoreError::Missing`], [`StoreError::Exists`]) is an answer; only [`StoreError::Away`] and
//! [`StoreError::Damaged`] count as errors.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use ::metrics::{Counter, Histogram};
use async_trait::async_trait;
use uuid::Uuid;

use super::{
    Account, AuditEntry, AuditQuery, Batch, Created, EndedQuery, EndedRow, Finding, LineLimits, LineOutcome, ListQuery,
    LogBounds, NewSession, NodeSeen, NodeSlots, NodesSeen, Note, NoteKind, Page, PutAwayQuery, SessionPatch,
    SessionRow, SharedBus, SharedStore, SlotAsked, SlotCounts, SlotLimits, SlotOutcome, Spend, Store, StoreError,
};
use crate::api::selector::TypeSet;
use crate::telemetry::metrics;

/// The metrics of one operation: kept, because looking one up costs more than counting.
struct Meter {
    seconds: Histogram,
    errors: Counter,
}

impl Meter {
    async fn measure<T>(&self, call: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        let began = Instant::now();
        let answer = call.await;
        self.seconds.record(began.elapsed().as_secs_f64());
        if matches!(answer, Err(StoreError::Away(_) | StoreError::Damaged(_))) {
            self.errors.increment(1);
        }
        answer
    }
}

macro_rules! meters {
    ($($operation:ident),+ $(,)?) => {
        /// One meter an operation, named like the trait's methods.
        struct Meters { $($operation: Meter),+ }

        impl Meters {
            fn new(store: &'static str) -> Self {
                Self { $($operation: Meter {
                    seconds: metrics::store_seconds(store, stringify!($operation)),
                    errors: metrics::store_errors(store, stringify!($operation)),
                }),+ }
            }
        }
    };
}

meters!(
    check,
    create_session,
    update_session,
    session,
    list_sessions,
    session_by_key,
    key_of_session,
    session_ids,
    unfinished_sessions,
    put_away_sessions,
    append,
    end_session,
    read,
    bounds,
    cut_head,
    ended_sessions,
    kept_bytes,
    remove_session,
    purge,
    take_slot,
    pass_slot_on,
    join_line,
    line_of,
    release_slot,
    restate_slots,
    forget_node_slots,
    slots,
    keep_node,
    forget_node,
    nodes,
    add_spend,
    spent_since,
    spent,
    forget_spend,
    create_account,
    update_account,
    account_by_name,
    account,
    accounts,
    append_audit,
    audit,
    forget_audit,
    put_note,
    change_note,
    note,
    notes,
    examine,
);

/// The measured store.
pub struct Metered {
    inner: SharedStore,
    meters: Meters,
}

impl std::fmt::Debug for Metered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Metered").field(&self.inner).finish()
    }
}

impl Metered {
    /// Measures `inner` from now on. The metrics' recorder must be installed before.
    #[must_use]
    pub fn new(inner: SharedStore) -> Arc<Self> {
        let meters = Meters::new(inner.kind());
        Arc::new(Self { inner, meters })
    }
}

#[async_trait]
impl Store for Metered {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn concerns(&self) -> Vec<&'static str> {
        self.inner.concerns()
    }

    fn bus(&self) -> Option<SharedBus> {
        self.inner.bus()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.meters.check.measure(self.inner.check()).await
    }

    async fn create_session(&self, session: NewSession) -> Result<Created, StoreError> {
        self.meters.create_session.measure(self.inner.create_session(session)).await
    }

    async fn update_session(&self, id: Uuid, epoch: u64, patch: SessionPatch) -> Result<(), StoreError> {
        self.meters.update_session.measure(self.inner.update_session(id, epoch, patch)).await
    }

    async fn session(&self, id: Uuid) -> Result<Option<SessionRow>, StoreError> {
        self.meters.session.measure(self.inner.session(id)).await
    }

    async fn list_sessions(&self, query: ListQuery) -> Result<Page, StoreError> {
        self.meters.list_sessions.measure(self.inner.list_sessions(query)).await
    }

    async fn session_by_key(&self, owner: &str, key: &str) -> Result<Option<(SessionRow, String)>, StoreError> {
        self.meters.session_by_key.measure(self.inner.session_by_key(owner, key)).await
    }

    async fn key_of_session(&self, id: Uuid) -> Result<Option<(String, String)>, StoreError> {
        self.meters.key_of_session.measure(self.inner.key_of_session(id)).await
    }

    async fn session_ids(&self, after: Option<(u64, Uuid)>, limit: u32) -> Result<Vec<(u64, Uuid)>, StoreError> {
        self.meters.session_ids.measure(self.inner.session_ids(after, limit)).await
    }

    async fn unfinished_sessions(&self, node: Option<&str>) -> Result<Vec<SessionRow>, StoreError> {
        self.meters.unfinished_sessions.measure(self.inner.unfinished_sessions(node)).await
    }

    async fn put_away_sessions(&self, query: PutAwayQuery) -> Result<Vec<SessionRow>, StoreError> {
        self.meters.put_away_sessions.measure(self.inner.put_away_sessions(query)).await
    }

    fn append_at_once(&self, id: Uuid, epoch: u64, batch: &Batch) -> bool {
        let began = Instant::now();
        let done = self.inner.append_at_once(id, epoch, batch);
        if done {
            self.meters.append.seconds.record(began.elapsed().as_secs_f64());
        }
        done
    }

    async fn append(&self, id: Uuid, epoch: u64, batch: Batch) -> Result<(), StoreError> {
        self.meters.append.measure(self.inner.append(id, epoch, batch)).await
    }

    async fn end_session(&self, id: Uuid, epoch: u64, batch: Batch, patch: SessionPatch) -> Result<(), StoreError> {
        self.meters.end_session.measure(self.inner.end_session(id, epoch, batch, patch)).await
    }

    async fn read(
        &self,
        id: Uuid,
        after_seq: u64,
        wanted: TypeSet,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, StoreError> {
        self.meters.read.measure(self.inner.read(id, after_seq, wanted, max_bytes)).await
    }

    async fn bounds(&self, id: Uuid) -> Result<LogBounds, StoreError> {
        self.meters.bounds.measure(self.inner.bounds(id)).await
    }

    async fn cut_head(&self, id: Uuid, epoch: u64, keep_bytes: u64, max_batches: u32) -> Result<LogBounds, StoreError> {
        self.meters.cut_head.measure(self.inner.cut_head(id, epoch, keep_bytes, max_batches)).await
    }

    async fn ended_sessions(&self, query: EndedQuery) -> Result<Vec<EndedRow>, StoreError> {
        self.meters.ended_sessions.measure(self.inner.ended_sessions(query)).await
    }

    async fn kept_bytes(&self) -> Result<u64, StoreError> {
        self.meters.kept_bytes.measure(self.inner.kept_bytes()).await
    }

    async fn remove_session(&self, id: Uuid) -> Result<bool, StoreError> {
        self.meters.remove_session.measure(self.inner.remove_session(id)).await
    }

    async fn purge(&self, max_batches: u32) -> Result<bool, StoreError> {
        self.meters.purge.measure(self.inner.purge(max_batches)).await
    }

    async fn take_slot(&self, asked: SlotAsked, limits: SlotLimits) -> Result<SlotOutcome, StoreError> {
        self.meters.take_slot.measure(self.inner.take_slot(asked, limits)).await
    }

    async fn pass_slot_on(&self, asked: SlotAsked, limits: SlotLimits) -> Result<SlotOutcome, StoreError> {
        self.meters.pass_slot_on.measure(self.inner.pass_slot_on(asked, limits)).await
    }

    async fn join_line(
        &self,
        asked: SlotAsked,
        limits: SlotLimits,
        line: LineLimits,
    ) -> Result<LineOutcome, StoreError> {
        self.meters.join_line.measure(self.inner.join_line(asked, limits, line)).await
    }

    async fn line_of(
        &self,
        node: &str,
        limits: SlotLimits,
        held_for_ms: u64,
        positions: bool,
    ) -> Result<NodeSlots, StoreError> {
        self.meters.line_of.measure(self.inner.line_of(node, limits, held_for_ms, positions)).await
    }

    async fn release_slot(&self, id: Uuid, limits: SlotLimits) -> Result<(), StoreError> {
        self.meters.release_slot.measure(self.inner.release_slot(id, limits)).await
    }

    async fn restate_slots(&self, node: &str, slots: Vec<(Uuid, String)>) -> Result<Vec<Uuid>, StoreError> {
        self.meters.restate_slots.measure(self.inner.restate_slots(node, slots)).await
    }

    async fn forget_node_slots(&self, node: &str) -> Result<u64, StoreError> {
        self.meters.forget_node_slots.measure(self.inner.forget_node_slots(node)).await
    }

    async fn slots(&self) -> Result<SlotCounts, StoreError> {
        self.meters.slots.measure(self.inner.slots()).await
    }

    async fn keep_node(&self, node: &str, about: &str, lease_ms: u64) -> Result<NodesSeen, StoreError> {
        self.meters.keep_node.measure(self.inner.keep_node(node, about, lease_ms)).await
    }

    async fn forget_node(&self, node: &str) -> Result<(), StoreError> {
        self.meters.forget_node.measure(self.inner.forget_node(node)).await
    }

    async fn nodes(&self) -> Result<Vec<NodeSeen>, StoreError> {
        self.meters.nodes.measure(self.inner.nodes()).await
    }

    async fn add_spend(&self, spend: Spend) -> Result<(), StoreError> {
        self.meters.add_spend.measure(self.inner.add_spend(spend)).await
    }

    async fn spent_since(&self, owner: &str, since_ms: u64) -> Result<u64, StoreError> {
        self.meters.spent_since.measure(self.inner.spent_since(owner, since_ms)).await
    }

    async fn spent(&self, after: Option<Spend>, limit: u32) -> Result<Vec<Spend>, StoreError> {
        self.meters.spent.measure(self.inner.spent(after, limit)).await
    }

    async fn forget_spend(&self, before_ms: u64) -> Result<(), StoreError> {
        self.meters.forget_spend.measure(self.inner.forget_spend(before_ms)).await
    }

    async fn create_account(&self, account: Account) -> Result<(), StoreError> {
        self.meters.create_account.measure(self.inner.create_account(account)).await
    }

    async fn update_account(&self, account: Account) -> Result<bool, StoreError> {
        self.meters.update_account.measure(self.inner.update_account(account)).await
    }

    async fn account_by_name(&self, username: &str) -> Result<Option<Account>, StoreError> {
        self.meters.account_by_name.measure(self.inner.account_by_name(username)).await
    }

    async fn account(&self, subject: &str) -> Result<Option<Account>, StoreError> {
        self.meters.account.measure(self.inner.account(subject)).await
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.meters.accounts.measure(self.inner.accounts()).await
    }

    async fn append_audit(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
        self.meters.append_audit.measure(self.inner.append_audit(entries)).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        self.meters.audit.measure(self.inner.audit(query)).await
    }

    async fn forget_audit(&self, before_ms: u64) -> Result<(), StoreError> {
        self.meters.forget_audit.measure(self.inner.forget_audit(before_ms)).await
    }

    async fn put_note(&self, note: Note) -> Result<bool, StoreError> {
        self.meters.put_note.measure(self.inner.put_note(note)).await
    }

    async fn change_note(
        &self,
        kind: NoteKind,
        key: &str,
        from: &str,
        to: Option<String>,
        expires_at_ms: Option<u64>,
    ) -> Result<bool, StoreError> {
        self.meters.change_note.measure(self.inner.change_note(kind, key, from, to, expires_at_ms)).await
    }

    async fn note(&self, kind: NoteKind, key: &str) -> Result<Option<Note>, StoreError> {
        self.meters.note.measure(self.inner.note(kind, key)).await
    }

    async fn notes(&self, kind: NoteKind, after_key: &str, limit: u32) -> Result<Vec<Note>, StoreError> {
        self.meters.notes.measure(self.inner.notes(kind, after_key, limit)).await
    }

    async fn examine(&self) -> Result<Vec<Finding>, StoreError> {
        self.meters.examine.measure(self.inner.examine()).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::store::contract::sample;
    use crate::store::faulty::Faulty;
    use crate::store::sqlite::test_store;

    #[tokio::test]
    async fn failures_are_counted_and_refusals_are_not() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let faulty = Faulty::new(test_store(), 1, 1.0);
        let store = ::metrics::with_local_recorder(&recorder, || Metered::new(Arc::clone(&faulty) as SharedStore));
        store.create_session(sample::session(1)).await.unwrap_err();
        faulty.set_failing(false);
        store.bounds(Uuid::nil()).await.unwrap_err();
        store.check().await.unwrap();

        let text = recorder.handle().render();
        let line = |name: &str, operation: &str| {
            text.lines()
                .find(|line| line.starts_with(name) && line.contains(&format!("operation=\"{operation}\"")))
                .map(|line| line.rsplit(' ').next().unwrap().to_owned())
        };
        assert_eq!(line("cc_gateway_store_errors_total", "create_session").as_deref(), Some("1"));
        assert_ne!(line("cc_gateway_store_errors_total", "bounds").as_deref(), Some("1"));
        for operation in ["create_session", "bounds", "check"] {
            assert_eq!(line("cc_gateway_store_seconds_count", operation).as_deref(), Some("1"), "{text}");
        }
    }
}
