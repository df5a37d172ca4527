//! The shared store: Redis or Valkey, 7 or newer; one server, one behind sentinels, or a cluster.
//!
//! # Keys
//!
//! All begin with the prefix (the setting `redis_key_prefix`). The part in braces is the hash tag: keys that share it
//! share a slot of a cluster, and a script touches keys of one tag only. *Goes* says who deletes a key; Redis itself
//! deletes only what has a time to live.
//!
//! | key | type | holds | goes |
//! |---|---|---|---|
//! | `{<id>}:session` | hash | a session's record; not to be seen while it has no `state` | with the session (`remove_session`); an unseen one after an hour |
//! | `{<id>}:log` | stream | its event log: an entry a batch, of the id `<last seq>-0`, with `first_seq types payload epoch hash` | with the session; its oldest entries by `cut_head` |
//! | `{<id>}:removed:<nonce>` | stream | the log of a session that was removed | `purge`; by itself after a week |
//! | `{<digest>}:key` | string | `<id>:<fingerprint>`: the session of an idempotency key (its owner and it, hashed) | with the session |
//! | `{sessions}:newest`, `:alive`, `:by:<words>` | sorted set | `<created>:<id>`: all; what has not ended; by owner, label, value | with the session; `alive` at its end |
//! | `{sessions}:put_away`, `:ended` | sorted set | `<moment>:<id>` | once woken or ended; with the session |
//! | `{sessions}:removals` | sorted set | `<id>:<nonce>` of logs to purge | `purge` |
//! | `{sessions}:kept`, `:kept_total` | hash, string | the bytes that each ended session keeps, and their sum | its fields with the session; never |
//! | `{sessions}:form`, `:probe` | string | the version of all this; when somebody last asked whether a write works | never; by itself |
//! | `{slots}:taken`, `:owners` | hash | `<owner>:<node>` of each slot; how many slots each owner (hashed) has | given back, or with its node (`forget_node_slots`) |
//! | `{slots}:line`, `:places` | sorted set, hash | `<owner>:<arrival>:<slot>:<node>`: who waits; the member of each slot's id | the same |
//! | `{slots}:turn` | sorted set | owners that wait, by when they came or were served last | with the owner's last place |
//! | `{slots}:held` | sorted set | nodes whose places are passed over, by when that ends, by Redis's clock | told by the node, or with it |
//! | `{slots}:arrivals` | string | counts arrivals and turns | never |
//! | `{nodes}:leases`, `:abouts` | sorted set, hash | until when each node counts as alive, by Redis's clock; what it says of itself | with the node: when it shuts down, or once its sessions are accounted for |
//! | `{<id>}:grown`, `{<digest>}:calls` | channel | tells that a log has grown; what a node (its name hashed) is asked and answered | |
//! | `{spend}:seen`, `:moments`, `:of:<owner>` | hash, sorted sets | which entries are there; all of them; an owner's | `forget_spend` |
//! | `{accounts}:by_subject`, `:names` | hash | accounts as JSON; the subject of each name | never |
//! | `{audit}:texts`, `:all`, `:<what>:<value>` | hash, sorted sets | the audit log: entries as JSON by id; the ids, all and by session, subject, action | `forget_audit` |
//! | `{notes}:<kind>:is:<key>` | hash | a note: `value`, and `expires` if it ends | by itself; once taken back |
//! | `{notes}:<kind>:keys`, `:ends` | sorted set | the keys of a kind's notes; those that end, by when | with the note, or by `purge` once it has ended |
//!
//! Sorted sets but `turn`, `held` and `ends` have one score for all: their members begin with what they are ordered by (a moment
//! in hexadecimal digits; in the line the owner and a number; those of `{notes}` are keys), and a page begins right behind the last one's end.
//!
//! The shard channel `{slots}:moved` tells, in a message without contents, that a slot has come free or that somebody
//! who waited has got one.
//!
//! # Invariants
//!
//! - A record is changed by scripts only, which check its owner (`epoch`) in the same step.
//! - What spans tags is in steps, ordered such that whoever dies in between leaves nothing visible that is wrong: the
//!   record says what is so, indexes only where to look (`listing`, `sessions`, `retention`).
//! - Whatever is written can be written again with the same result: a command whose answer was lost may have landed,
//!   or may land yet (`link`).
//!
//! Only this module names the Redis client.

mod accounts;
mod audit;
mod bus;
mod connect;
mod examine;
mod fault;
mod keys;
mod link;
mod listing;
mod log;
mod nodes;
mod notes;
mod record;
mod retention;
mod scripts;
mod sessions;
mod slots;
mod spend;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use fred::interfaces::KeysInterface;
use fred::types::Expiration;
use parking_lot::Mutex;
use uuid::Uuid;

use self::bus::RedisBus;
use self::keys::Keys;
use self::link::Link;
use super::{
    Account, AuditEntry, AuditQuery, Batch, Created, EndedQuery, EndedRow, Finding, LineLimits, LineOutcome, ListQuery,
    LogBounds, NewSession, NodeSeen, NodeSlots, NodesSeen, Note, NoteKind, Page, PutAwayQuery, SessionPatch,
    SessionRow, SharedBus, SlotAsked, SlotCounts, SlotLimits, SlotOutcome, Spend, Store, StoreError, note,
};
use crate::api::selector::TypeSet;
use crate::telemetry::time::now_ms;

/// The shared store.
pub struct RedisStore {
    link: Arc<Link>,
    bus: Arc<RedisBus>,
    keys: Keys,
    /// What puts data at risk, as it was when the server was last looked at. Held only to copy or to set it.
    concerns: Mutex<Vec<&'static str>>,
    /// The server of a store that only a test uses: goes when the store goes.
    #[cfg(test)]
    server: Option<tests::Server>,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisStore")
    }
}

impl RedisStore {
    /// A store on the Redis of that URL, which need not be there yet: [`RedisStore::prepare`] tells. Must be called
    /// on a runtime.
    ///
    /// # Errors
    /// [`StoreError::Away`] if the URL can't be read.
    pub fn open(url: &str, prefix: &str) -> Result<Self, StoreError> {
        let link = Arc::new(Link::open(connect::config(url)?)?);
        let keys = Keys::new(prefix);
        Ok(Self {
            bus: RedisBus::start(Arc::clone(&link), keys.clone()),
            link,
            keys,
            concerns: Mutex::new(Vec::new()),
            #[cfg(test)]
            server: None,
        })
    }
}

#[async_trait]
impl Store for RedisStore {
    fn kind(&self) -> &'static str {
        "redis"
    }

    fn bus(&self) -> Option<SharedBus> {
        Some(Arc::clone(&self.bus) as SharedBus)
    }

    async fn check(&self) -> Result<(), StoreError> {
        let key = self.keys.index("probe");
        let life = Some(Expiration::EX(3_600));
        let done = self.link.commands()?.set(key, now_ms().to_string(), life, None, false).await;
        done.map_err(|error| fault::told("check", &error))
    }

    async fn create_session(&self, session: NewSession) -> Result<Created, StoreError> {
        self.create(&session).await
    }

    async fn update_session(&self, id: Uuid, epoch: u64, patch: SessionPatch) -> Result<(), StoreError> {
        self.update(id, epoch, &patch).await
    }

    async fn session(&self, id: Uuid) -> Result<Option<SessionRow>, StoreError> {
        Ok(self.seen(id).await?.map(|found| found.row))
    }

    async fn list_sessions(&self, query: ListQuery) -> Result<Page, StoreError> {
        self.page(&query).await
    }

    async fn session_by_key(&self, owner: &str, key: &str) -> Result<Option<(SessionRow, String)>, StoreError> {
        self.by_key(owner, key).await
    }

    async fn key_of_session(&self, id: Uuid) -> Result<Option<(String, String)>, StoreError> {
        self.key_given_for(id).await
    }

    async fn session_ids(&self, after: Option<(u64, Uuid)>, limit: u32) -> Result<Vec<(u64, Uuid)>, StoreError> {
        self.ids_page(after, limit).await
    }

    async fn unfinished_sessions(&self, node: Option<&str>) -> Result<Vec<SessionRow>, StoreError> {
        self.unfinished(node).await
    }

    async fn put_away_sessions(&self, query: PutAwayQuery) -> Result<Vec<SessionRow>, StoreError> {
        self.put_away_page(&query).await
    }

    async fn append(&self, id: Uuid, epoch: u64, batch: Batch) -> Result<(), StoreError> {
        self.append_batch(id, epoch, &batch).await
    }

    async fn end_session(&self, id: Uuid, epoch: u64, batch: Batch, patch: SessionPatch) -> Result<(), StoreError> {
        self.end(id, epoch, &batch, &patch).await
    }

    async fn read(
        &self,
        id: Uuid,
        after_seq: u64,
        wanted: TypeSet,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, StoreError> {
        self.read_log(id, after_seq, wanted, max_bytes).await
    }

    async fn bounds(&self, id: Uuid) -> Result<LogBounds, StoreError> {
        self.log_bounds(id).await
    }

    async fn cut_head(&self, id: Uuid, epoch: u64, keep_bytes: u64, max_batches: u32) -> Result<LogBounds, StoreError> {
        self.cut(id, epoch, keep_bytes, max_batches).await
    }

    async fn ended_sessions(&self, query: EndedQuery) -> Result<Vec<EndedRow>, StoreError> {
        self.ended_page(&query).await
    }

    async fn kept_bytes(&self) -> Result<u64, StoreError> {
        self.sum_of_kept().await
    }

    async fn remove_session(&self, id: Uuid) -> Result<bool, StoreError> {
        self.remove(id).await
    }

    async fn purge(&self, max_batches: u32) -> Result<bool, StoreError> {
        let batches = self.purge_removed(max_batches).await?;
        Ok(self.sweep_notes(max_batches).await? || batches)
    }

    async fn take_slot(&self, asked: SlotAsked, limits: SlotLimits) -> Result<SlotOutcome, StoreError> {
        self.take(&asked, limits).await
    }

    async fn pass_slot_on(&self, asked: SlotAsked, limits: SlotLimits) -> Result<SlotOutcome, StoreError> {
        self.pass_on(&asked, limits).await
    }

    async fn join_line(
        &self,
        asked: SlotAsked,
        limits: SlotLimits,
        line: LineLimits,
    ) -> Result<LineOutcome, StoreError> {
        self.join(&asked, limits, line).await
    }

    async fn line_of(
        &self,
        node: &str,
        limits: SlotLimits,
        held_for_ms: u64,
        positions: bool,
    ) -> Result<NodeSlots, StoreError> {
        self.look(node, limits, held_for_ms, positions).await
    }

    async fn release_slot(&self, id: Uuid, limits: SlotLimits) -> Result<(), StoreError> {
        self.release(id, limits).await
    }

    async fn restate_slots(&self, node: &str, slots: Vec<(Uuid, String)>) -> Result<Vec<Uuid>, StoreError> {
        self.restate(node, &slots).await
    }

    async fn forget_node_slots(&self, node: &str) -> Result<u64, StoreError> {
        self.forget_slots_of(node).await
    }

    async fn slots(&self) -> Result<SlotCounts, StoreError> {
        self.counts().await
    }

    async fn keep_node(&self, node: &str, about: &str, lease_ms: u64) -> Result<NodesSeen, StoreError> {
        self.keep(node, about, lease_ms).await
    }

    async fn forget_node(&self, node: &str) -> Result<(), StoreError> {
        self.forget_node_named(node).await
    }

    async fn nodes(&self) -> Result<Vec<NodeSeen>, StoreError> {
        self.all_nodes().await
    }

    async fn add_spend(&self, spend: Spend) -> Result<(), StoreError> {
        self.add_to_ledger(&spend).await
    }

    async fn spent_since(&self, owner: &str, since_ms: u64) -> Result<u64, StoreError> {
        self.sum_of_spent(owner, since_ms).await
    }

    async fn spent(&self, after: Option<Spend>, limit: u32) -> Result<Vec<Spend>, StoreError> {
        self.page_of_spent(after.as_ref(), limit).await
    }

    async fn forget_spend(&self, before_ms: u64) -> Result<(), StoreError> {
        self.forget_spent(before_ms).await
    }

    async fn create_account(&self, account: Account) -> Result<(), StoreError> {
        self.add_account(&account).await
    }

    async fn update_account(&self, account: Account) -> Result<bool, StoreError> {
        self.replace_account(&account).await
    }

    async fn account_by_name(&self, username: &str) -> Result<Option<Account>, StoreError> {
        self.account_named(username).await
    }

    async fn account(&self, subject: &str) -> Result<Option<Account>, StoreError> {
        self.account_of(subject).await
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.all_accounts().await
    }

    async fn append_audit(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
        self.add_to_audit(&entries).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        self.page_of_audit(&query).await
    }

    async fn forget_audit(&self, before_ms: u64) -> Result<(), StoreError> {
        self.forget_audited(before_ms).await
    }

    async fn put_note(&self, note: Note) -> Result<bool, StoreError> {
        note::check_size(&note.value)?;
        self.add_note(&note).await
    }

    async fn change_note(
        &self,
        kind: NoteKind,
        key: &str,
        from: &str,
        to: Option<String>,
        expires_at_ms: Option<u64>,
    ) -> Result<bool, StoreError> {
        to.as_deref().map_or(Ok(()), note::check_size)?;
        self.replace_note(kind, key, from, to, expires_at_ms).await
    }

    async fn note(&self, kind: NoteKind, key: &str) -> Result<Option<Note>, StoreError> {
        self.note_of(kind, key).await
    }

    async fn notes(&self, kind: NoteKind, after_key: &str, limit: u32) -> Result<Vec<Note>, StoreError> {
        self.page_of_notes(kind, after_key, limit).await
    }

    fn concerns(&self) -> Vec<&'static str> {
        self.concerns.lock().clone()
    }

    async fn examine(&self) -> Result<Vec<Finding>, StoreError> {
        self.examine_all().await
    }

    async fn close(&self) {
        self.link.close().await;
    }
}
