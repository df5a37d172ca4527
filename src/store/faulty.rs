//! A store that fails on purpose, for tests: a chosen share of the calls to another one end with
//! [`StoreError::Away`].
//!
//! Half of the failing writes land all the same, as they do when an answer is lost on its way; failing reads
//! reach nothing. A write is under way for a moment before it lands and after it, so that whoever asks can go away
//! meanwhile. Which calls fail comes from a seed: the same calls in the same order fail the same way.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    Account, AuditEntry, AuditQuery, Batch, Created, EndedQuery, EndedRow, Finding, LineLimits, LineOutcome, ListQuery,
    LogBounds, NewSession, NodeSeen, NodeSlots, NodesSeen, Note, NoteKind, Page, PutAwayQuery, SessionPatch,
    SessionRow, SharedBus, SharedStore, SlotAsked, SlotCounts, SlotLimits, SlotOutcome, Spend, Store, StoreError,
};

use crate::api::selector::TypeSet;

/// A small generator of numbers (SplitMix64): the same seed, the same numbers.
#[derive(Debug)]
pub struct Seeded(AtomicU64);

impl Seeded {
    /// Begins at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next number, below `bound` (above 0).
    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// The failing store.
#[derive(Debug)]
pub struct Faulty {
    inner: SharedStore,
    numbers: Seeded,
    /// A call fails if its number's upper half is below this.
    threshold: u64,
    failing: AtomicBool,
    failed: AtomicU64,
    landed: AtomicU64,
    /// Sessions that can't be removed. Held for a look only.
    damaged: Mutex<BTreeSet<Uuid>>,
}

/// What becomes of one call.
enum Fate {
    Passes,
    Fails,
    LandsAndFails,
}

impl Faulty {
    /// Fails a `share` (0.0 to 1.0) of the calls to `inner`, from now on.
    #[must_use]
    pub fn new(inner: SharedStore, seed: u64, share: f64) -> Arc<Self> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0.0..=2^32")]
        let threshold = (share.clamp(0.0, 1.0) * 4_294_967_296.0) as u64;
        Arc::new(Self {
            inner,
            numbers: Seeded::new(seed),
            threshold,
            failing: AtomicBool::new(true),
            failed: AtomicU64::new(0),
            landed: AtomicU64::new(0),
            damaged: Mutex::default(),
        })
    }

    /// Switches failing on and off. Calls that run go on as they began.
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// Removing that session ends with [`StoreError::Damaged`] from now on, whether failing is on or off.
    pub fn damage(&self, session: Uuid) {
        self.damaged.lock().insert(session);
    }

    /// How many calls have failed so far, those that landed included.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    /// How many of the failed calls reached the store all the same.
    #[must_use]
    pub fn landed(&self) -> u64 {
        self.landed.load(Ordering::SeqCst)
    }

    fn fate(&self) -> Fate {
        if !self.failing.load(Ordering::SeqCst) {
            return Fate::Passes;
        }
        let number = self.numbers.next();
        match (number >> 32 < self.threshold, number & 1 == 0) {
            (false, _) => Fate::Passes,
            (true, false) => Fate::Fails,
            (true, true) => Fate::LandsAndFails,
        }
    }

    fn away(&self) -> StoreError {
        self.failed.fetch_add(1, Ordering::SeqCst);
        StoreError::Away("it fails on purpose".to_owned())
    }

    async fn reads<T>(&self, call: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        match self.fate() {
            Fate::Passes => call.await,
            Fate::Fails | Fate::LandsAndFails => Err(self.away()),
        }
    }

    async fn writes<T: Send>(&self, call: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        let fate = self.fate();
        tokio::task::yield_now().await;
        match fate {
            Fate::Passes => {
                let answer = call.await;
                tokio::task::yield_now().await;
                answer
            }
            Fate::Fails => Err(self.away()),
            Fate::LandsAndFails => {
                if call.await.is_ok() {
                    self.landed.fetch_add(1, Ordering::SeqCst);
                }
                Err(self.away())
            }
        }
    }
}

#[async_trait]
impl Store for Faulty {
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
        self.writes(self.inner.check()).await
    }

    async fn create_session(&self, session: NewSession) -> Result<Created, StoreError> {
        self.writes(self.inner.create_session(session)).await
    }

    async fn update_session(&self, id: Uuid, epoch: u64, patch: SessionPatch) -> Result<(), StoreError> {
        self.writes(self.inner.update_session(id, epoch, patch)).await
    }

    async fn session(&self, id: Uuid) -> Result<Option<SessionRow>, StoreError> {
        self.reads(self.inner.session(id)).await
    }

    async fn list_sessions(&self, query: ListQuery) -> Result<Page, StoreError> {
        self.reads(self.inner.list_sessions(query)).await
    }

    async fn session_by_key(&self, owner: &str, key: &str) -> Result<Option<(SessionRow, String)>, StoreError> {
        self.reads(self.inner.session_by_key(owner, key)).await
    }

    async fn key_of_session(&self, id: Uuid) -> Result<Option<(String, String)>, StoreError> {
        self.reads(self.inner.key_of_session(id)).await
    }

    async fn session_ids(&self, after: Option<(u64, Uuid)>, limit: u32) -> Result<Vec<(u64, Uuid)>, StoreError> {
        self.reads(self.inner.session_ids(after, limit)).await
    }

    async fn unfinished_sessions(&self, node: Option<&str>) -> Result<Vec<SessionRow>, StoreError> {
        self.reads(self.inner.unfinished_sessions(node)).await
    }

    async fn put_away_sessions(&self, query: PutAwayQuery) -> Result<Vec<SessionRow>, StoreError> {
        self.reads(self.inner.put_away_sessions(query)).await
    }

    async fn append(&self, id: Uuid, epoch: u64, batch: Batch) -> Result<(), StoreError> {
        self.writes(self.inner.append(id, epoch, batch)).await
    }

    async fn end_session(&self, id: Uuid, epoch: u64, batch: Batch, patch: SessionPatch) -> Result<(), StoreError> {
        self.writes(self.inner.end_session(id, epoch, batch, patch)).await
    }

    async fn read(
        &self,
        id: Uuid,
        after_seq: u64,
        wanted: TypeSet,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, StoreError> {
        self.reads(self.inner.read(id, after_seq, wanted, max_bytes)).await
    }

    async fn bounds(&self, id: Uuid) -> Result<LogBounds, StoreError> {
        self.reads(self.inner.bounds(id)).await
    }

    async fn cut_head(&self, id: Uuid, epoch: u64, keep_bytes: u64, max_batches: u32) -> Result<LogBounds, StoreError> {
        self.writes(self.inner.cut_head(id, epoch, keep_bytes, max_batches)).await
    }

    async fn ended_sessions(&self, query: EndedQuery) -> Result<Vec<EndedRow>, StoreError> {
        self.reads(self.inner.ended_sessions(query)).await
    }

    async fn kept_bytes(&self) -> Result<u64, StoreError> {
        self.reads(self.inner.kept_bytes()).await
    }

    async fn remove_session(&self, id: Uuid) -> Result<bool, StoreError> {
        if self.damaged.lock().contains(&id) {
            return Err(StoreError::Damaged("it is damaged on purpose".to_owned()));
        }
        self.writes(self.inner.remove_session(id)).await
    }

    async fn purge(&self, max_batches: u32) -> Result<bool, StoreError> {
        self.writes(self.inner.purge(max_batches)).await
    }

    async fn take_slot(&self, asked: SlotAsked, limits: SlotLimits) -> Result<SlotOutcome, StoreError> {
        self.writes(self.inner.take_slot(asked, limits)).await
    }

    async fn pass_slot_on(&self, asked: SlotAsked, limits: SlotLimits) -> Result<SlotOutcome, StoreError> {
        self.writes(self.inner.pass_slot_on(asked, limits)).await
    }

    async fn join_line(
        &self,
        asked: SlotAsked,
        limits: SlotLimits,
        line: LineLimits,
    ) -> Result<LineOutcome, StoreError> {
        self.writes(self.inner.join_line(asked, limits, line)).await
    }

    async fn line_of(
        &self,
        node: &str,
        limits: SlotLimits,
        held_for_ms: u64,
        positions: bool,
    ) -> Result<NodeSlots, StoreError> {
        self.writes(self.inner.line_of(node, limits, held_for_ms, positions)).await
    }

    async fn release_slot(&self, id: Uuid, limits: SlotLimits) -> Result<(), StoreError> {
        self.writes(self.inner.release_slot(id, limits)).await
    }

    async fn restate_slots(&self, node: &str, slots: Vec<(Uuid, String)>) -> Result<Vec<Uuid>, StoreError> {
        self.writes(self.inner.restate_slots(node, slots)).await
    }

    async fn forget_node_slots(&self, node: &str) -> Result<u64, StoreError> {
        self.writes(self.inner.forget_node_slots(node)).await
    }

    async fn slots(&self) -> Result<SlotCounts, StoreError> {
        self.reads(self.inner.slots()).await
    }

    async fn keep_node(&self, node: &str, about: &str, lease_ms: u64) -> Result<NodesSeen, StoreError> {
        self.writes(self.inner.keep_node(node, about, lease_ms)).await
    }

    async fn forget_node(&self, node: &str) -> Result<(), StoreError> {
        self.writes(self.inner.forget_node(node)).await
    }

    async fn nodes(&self) -> Result<Vec<NodeSeen>, StoreError> {
        self.reads(self.inner.nodes()).await
    }

    async fn add_spend(&self, spend: Spend) -> Result<(), StoreError> {
        self.writes(self.inner.add_spend(spend)).await
    }

    async fn spent_since(&self, owner: &str, since_ms: u64) -> Result<u64, StoreError> {
        self.reads(self.inner.spent_since(owner, since_ms)).await
    }

    async fn spent(&self, after: Option<Spend>, limit: u32) -> Result<Vec<Spend>, StoreError> {
        self.reads(self.inner.spent(after, limit)).await
    }

    async fn forget_spend(&self, before_ms: u64) -> Result<(), StoreError> {
        self.writes(self.inner.forget_spend(before_ms)).await
    }

    async fn create_account(&self, account: Account) -> Result<(), StoreError> {
        self.writes(self.inner.create_account(account)).await
    }

    async fn update_account(&self, account: Account) -> Result<bool, StoreError> {
        self.writes(self.inner.update_account(account)).await
    }

    async fn account_by_name(&self, username: &str) -> Result<Option<Account>, StoreError> {
        self.reads(self.inner.account_by_name(username)).await
    }

    async fn account(&self, subject: &str) -> Result<Option<Account>, StoreError> {
        self.reads(self.inner.account(subject)).await
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.reads(self.inner.accounts()).await
    }

    async fn append_audit(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
        self.writes(self.inner.append_audit(entries)).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        self.reads(self.inner.audit(query)).await
    }

    async fn forget_audit(&self, before_ms: u64) -> Result<(), StoreError> {
        self.writes(self.inner.forget_audit(before_ms)).await
    }

    async fn put_note(&self, note: Note) -> Result<bool, StoreError> {
        self.writes(self.inner.put_note(note)).await
    }

    async fn change_note(
        &self,
        kind: NoteKind,
        key: &str,
        from: &str,
        to: Option<String>,
        expires_at_ms: Option<u64>,
    ) -> Result<bool, StoreError> {
        self.writes(self.inner.change_note(kind, key, from, to, expires_at_ms)).await
    }

    async fn note(&self, kind: NoteKind, key: &str) -> Result<Option<Note>, StoreError> {
        self.reads(self.inner.note(kind, key)).await
    }

    async fn notes(&self, kind: NoteKind, after_key: &str, limit: u32) -> Result<Vec<Note>, StoreError> {
        self.reads(self.inner.notes(kind, after_key, limit)).await
    }

    async fn examine(&self) -> Result<Vec<Finding>, StoreError> {
        self.reads(self.inner.examine()).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::sample;
    use crate::store::sqlite::test_store;

    async fn outcomes(seed: u64) -> Vec<bool> {
        let store = Faulty::new(test_store(), seed, 0.3);
        let mut outcomes = Vec::new();
        for _ in 0..200 {
            outcomes.push(store.check().await.is_ok());
        }
        outcomes
    }

    #[tokio::test]
    async fn about_the_chosen_share_fails_and_the_same_seed_fails_the_same_way() {
        let first = outcomes(7).await;
        let failed = first.iter().filter(|passed| !**passed).count();
        assert!((30..=90).contains(&failed), "{failed} of 200");
        assert_eq!(first, outcomes(7).await);
        assert_ne!(first, outcomes(8).await);
    }

    #[tokio::test]
    async fn some_failed_appends_land_and_repeating_them_succeeds_without_doubling() {
        let store = Faulty::new(test_store(), 3, 0.5);
        let session = sample::session(1);
        let id = session.row.id;
        while store.create_session(session.clone()).await.is_err() {}
        for seq in 1..=50 {
            while let Err(error) = store.append(id, 1, sample::batch(seq, seq)).await {
                assert!(error.retryable(), "{error}");
            }
        }
        assert!(store.landed() > 0 && store.landed() < store.failed());
        store.set_failing(false);
        let read = store.read(id, 0, TypeSet::ALL, usize::MAX).await.unwrap();
        assert_eq!(read, (1..=50).map(|seq| sample::batch(seq, seq)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn switched_off_nothing_fails() {
        let store = Faulty::new(test_store(), 5, 1.0);
        store.check().await.unwrap_err();
        store.set_failing(false);
        for _ in 0..50 {
            store.check().await.unwrap();
        }
        assert_eq!(store.failed(), 1);
    }
}
