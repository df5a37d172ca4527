//! A store in memory that keeps accounts and notes and nothing else, for tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::api::Role;
use crate::api::selector::TypeSet;
use crate::store::{
    Account, AuditEntry, AuditQuery, Batch, Created, EndedQuery, EndedRow, Finding, LineLimits, LineOutcome, ListQuery,
    LogBounds, NewSession, NodeSeen, NodeSlots, NodesSeen, Note, NoteKind, Page, PutAwayQuery, SessionPatch,
    SessionRow, SlotAsked, SlotCounts, SlotLimits, SlotOutcome, Spend, Store, StoreError,
};

/// Accounts by name. After [`Store::close`] it is away.
#[derive(Debug, Default)]
pub(crate) struct FakeStore {
    accounts: Mutex<BTreeMap<String, Account>>,
    audit: Mutex<Vec<AuditEntry>>,
    /// Notes; they never end.
    notes: Mutex<BTreeMap<(NoteKind, String), Note>>,
    away: AtomicBool,
}

/// An account with an id of its own and a password that fits nothing.
pub(crate) fn account(username: &str, role: Role) -> Account {
    Account {
        subject: Uuid::new_v4().to_string(),
        username: username.to_owned(),
        role,
        password_hash: "$none".to_owned(),
        disabled: false,
        created_at_ms: 1,
        scopes: None,
        password_changed_at_ms: 0,
        revision: 0,
    }
}

impl FakeStore {
    fn here(&self) -> Result<parking_lot::MutexGuard<'_, BTreeMap<String, Account>>, StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Away("closed".to_owned()));
        }
        Ok(self.accounts.lock())
    }
}

#[async_trait]
impl Store for FakeStore {
    fn kind(&self) -> &'static str {
        "fake"
    }
    async fn check(&self) -> Result<(), StoreError> {
        self.here().map(drop)
    }
    async fn create_session(&self, _session: NewSession) -> Result<Created, StoreError> {
        Err(StoreError::Missing)
    }
    async fn update_session(&self, _id: Uuid, _epoch: u64, _patch: SessionPatch) -> Result<(), StoreError> {
        Err(StoreError::Missing)
    }
    async fn session(&self, _id: Uuid) -> Result<Option<SessionRow>, StoreError> {
        Err(StoreError::Missing)
    }
    async fn list_sessions(&self, _query: ListQuery) -> Result<Page, StoreError> {
        Err(StoreError::Missing)
    }
    async fn session_by_key(&self, _owner: &str, _key: &str) -> Result<Option<(SessionRow, String)>, StoreError> {
        Err(StoreError::Missing)
    }

    async fn key_of_session(&self, _id: Uuid) -> Result<Option<(String, String)>, StoreError> {
        Err(StoreError::Missing)
    }

    async fn session_ids(&self, _after: Option<(u64, Uuid)>, _: u32) -> Result<Vec<(u64, Uuid)>, StoreError> {
        Err(StoreError::Missing)
    }
    async fn unfinished_sessions(&self, _node: Option<&str>) -> Result<Vec<SessionRow>, StoreError> {
        Err(StoreError::Missing)
    }
    async fn put_away_sessions(&self, _query: PutAwayQuery) -> Result<Vec<SessionRow>, StoreError> {
        Err(StoreError::Missing)
    }
    async fn append(&self, _id: Uuid, _epoch: u64, _batch: Batch) -> Result<(), StoreError> {
        Err(StoreError::Missing)
    }
    async fn end_session(&self, _id: Uuid, _: u64, _batch: Batch, _patch: SessionPatch) -> Result<(), StoreError> {
        Err(StoreError::Missing)
    }
    async fn read(&self, _id: Uuid, _after_seq: u64, _: TypeSet, _: usize) -> Result<Vec<Batch>, StoreError> {
        Err(StoreError::Missing)
    }
    async fn bounds(&self, _id: Uuid) -> Result<LogBounds, StoreError> {
        Err(StoreError::Missing)
    }
    async fn cut_head(
        &self,
        _id: Uuid,
        _epoch: u64,
        _keep_bytes: u64,
        _max_batches: u32,
    ) -> Result<LogBounds, StoreError> {
        Err(StoreError::Missing)
    }
    async fn ended_sessions(&self, _query: EndedQuery) -> Result<Vec<EndedRow>, StoreError> {
        Err(StoreError::Missing)
    }
    async fn kept_bytes(&self) -> Result<u64, StoreError> {
        Err(StoreError::Missing)
    }
    async fn remove_session(&self, _id: Uuid) -> Result<bool, StoreError> {
        Err(StoreError::Missing)
    }
    async fn purge(&self, _max_batches: u32) -> Result<bool, StoreError> {
        Err(StoreError::Missing)
    }
    async fn take_slot(&self, _asked: SlotAsked, _limits: SlotLimits) -> Result<SlotOutcome, StoreError> {
        Err(StoreError::Missing)
    }
    async fn pass_slot_on(&self, _asked: SlotAsked, _limits: SlotLimits) -> Result<SlotOutcome, StoreError> {
        Err(StoreError::Missing)
    }
    async fn join_line(
        &self,
        _asked: SlotAsked,
        _limits: SlotLimits,
        _line: LineLimits,
    ) -> Result<LineOutcome, StoreError> {
        Err(StoreError::Missing)
    }
    async fn line_of(
        &self,
        _node: &str,
        _limits: SlotLimits,
        _held_for_ms: u64,
        _positions: bool,
    ) -> Result<NodeSlots, StoreError> {
        Err(StoreError::Missing)
    }
    async fn release_slot(&self, _id: Uuid, _limits: SlotLimits) -> Result<(), StoreError> {
        Err(StoreError::Missing)
    }
    async fn restate_slots(&self, _node: &str, _slots: Vec<(Uuid, String)>) -> Result<Vec<Uuid>, StoreError> {
        Err(StoreError::Missing)
    }
    async fn forget_node_slots(&self, _node: &str) -> Result<u64, StoreError> {
        Err(StoreError::Missing)
    }
    async fn slots(&self) -> Result<SlotCounts, StoreError> {
        Err(StoreError::Missing)
    }
    async fn keep_node(&self, _node: &str, _about: &str, _lease_ms: u64) -> Result<NodesSeen, StoreError> {
        Err(StoreError::Missing)
    }
    async fn forget_node(&self, _node: &str) -> Result<(), StoreError> {
        Err(StoreError::Missing)
    }

    async fn nodes(&self) -> Result<Vec<NodeSeen>, StoreError> {
        Err(StoreError::Missing)
    }
    async fn add_spend(&self, _spend: Spend) -> Result<(), StoreError> {
        Err(StoreError::Missing)
    }
    async fn spent_since(&self, _owner: &str, _since_ms: u64) -> Result<u64, StoreError> {
        Err(StoreError::Missing)
    }

    async fn spent(&self, _after: Option<Spend>, _limit: u32) -> Result<Vec<Spend>, StoreError> {
        Err(StoreError::Missing)
    }
    async fn forget_spend(&self, _before_ms: u64) -> Result<(), StoreError> {
        Err(StoreError::Missing)
    }
    async fn create_account(&self, account: Account) -> Result<(), StoreError> {
        let mut accounts = self.here()?;
        if accounts.contains_key(&account.username) {
            return Err(StoreError::Exists);
        }
        accounts.insert(account.username.clone(), account);
        Ok(())
    }
    async fn update_account(&self, account: Account) -> Result<bool, StoreError> {
        let mut accounts = self.here()?;
        let old = accounts.values_mut().find(|one| one.subject == account.subject).ok_or(StoreError::Missing)?;
        *old = account;
        Ok(true)
    }
    async fn account_by_name(&self, username: &str) -> Result<Option<Account>, StoreError> {
        Ok(self.here()?.get(username).cloned())
    }
    async fn account(&self, subject: &str) -> Result<Option<Account>, StoreError> {
        Ok(self.here()?.values().find(|one| one.subject == subject).cloned())
    }
    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        Ok(self.here()?.values().cloned().collect())
    }
    async fn append_audit(&self, mut entries: Vec<AuditEntry>) -> Result<(), StoreError> {
        drop(self.here()?);
        self.audit.lock().append(&mut entries);
        Ok(())
    }
    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        drop(self.here()?);
        Ok(self.audit.lock().iter().rev().filter(|entry| query.wants(entry)).cloned().collect())
    }
    async fn forget_audit(&self, _before_ms: u64) -> Result<(), StoreError> {
        Err(StoreError::Missing)
    }
    async fn put_note(&self, note: Note) -> Result<bool, StoreError> {
        drop(self.here()?);
        let mut notes = self.notes.lock();
        Ok(*notes.entry((note.kind, note.key.clone())).or_insert_with(|| note.clone()) == note)
    }
    async fn change_note(
        &self,
        kind: NoteKind,
        key: &str,
        from: &str,
        to: Option<String>,
        expires_at_ms: Option<u64>,
    ) -> Result<bool, StoreError> {
        drop(self.here()?);
        let mut notes = self.notes.lock();
        let at = (kind, key.to_owned());
        match (notes.get_mut(&at), to) {
            (Some(note), Some(to)) if note.value == from => (note.value, note.expires_at_ms) = (to, expires_at_ms),
            (Some(note), None) if note.value == from => drop(notes.remove(&at)),
            _ => return Ok(false),
        }
        Ok(true)
    }
    async fn note(&self, kind: NoteKind, key: &str) -> Result<Option<Note>, StoreError> {
        drop(self.here()?);
        let note = self.notes.lock().get(&(kind, key.to_owned())).cloned();
        Ok(note.filter(|note| note.expires_at_ms.is_none_or(|ends| ends > crate::telemetry::time::now_ms())))
    }
    async fn notes(&self, kind: NoteKind, after_key: &str, limit: u32) -> Result<Vec<Note>, StoreError> {
        drop(self.here()?);
        let notes = self.notes.lock();
        let after = notes.values().filter(|note| note.kind == kind && note.key.as_str() > after_key);
        Ok(after.take(limit as usize).cloned().collect())
    }
    async fn examine(&self) -> Result<Vec<Finding>, StoreError> {
        Err(StoreError::Missing)
    }

    async fn close(&self) {
        self.away.store(true, Ordering::SeqCst);
    }
}
