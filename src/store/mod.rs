//! Where facts are kept: the [`Store`] trait and the types that pass through it.
//!
//! A store keeps sessions, their event logs, slots, what was spent, accounts, an audit log, notes and idempotency keys. It knows
//! nothing of processes, of Claude or of sockets. Every implementation passes the one suite in `contract`.
//!
//! Invariants:
//! - An acknowledged append is durable against `kill -9` and is returned by every later read.
//! - A session's log is gapless: a batch is taken only if it begins right after the log's head and comes
//!   from the current owner (`epoch`, the fencing number).
//! - A session ends once: [`Store::end_session`] appends the terminal event and marks the record in one step.

mod audit;
mod bus;
pub mod check;
pub mod copy;
mod error;
mod finding;
pub mod metered;
mod note;
mod open;
pub mod redis;
pub mod slots;
pub mod sqlite;
pub mod types;

#[cfg(any(test, feature = "test-support"))]
pub mod contract;
#[cfg(any(test, feature = "test-support"))]
pub mod faulty;

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

pub use audit::{AuditEntry, AuditQuery};
pub use bus::{Asker, Bus, CallError, Incoming, SharedBus, Topic, Watch};
pub use error::StoreError;
pub use finding::{Finding, Severity};
pub use note::{NOTE_BYTES, Note, NoteKind};
pub use open::{open, open_as_it_is, open_when_there};
pub use slots::{LineLimits, LineOutcome, NodeSlots, SlotAsked, SlotCounts, SlotLimits, SlotOutcome};
pub use types::{
    Account, Batch, Created, EndedQuery, EndedRow, ListQuery, LogBounds, NewSession, NodeSeen, NodesSeen, Page,
    PutAwayQuery, SessionPatch, SessionRow, Spend,
};

use crate::api::selector::TypeSet;

/// A shared handle to whichever store the settings chose.
pub type SharedStore = Arc<dyn Store>;

/// The most batches that one [`Store::read`] gives: what is not wanted has no bytes that would bound it.
pub const READ_BATCHES: usize = 1_024;

/// The facts every gateway needs, wherever they are kept.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// The store's name for people and metrics: `sqlite`, `redis`.
    fn kind(&self) -> &'static str;

    /// What about the store puts data at risk although it works, in words for an operator. Asks nobody: what was
    /// found when the store was opened.
    fn concerns(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// How the nodes that share this store reach each other; `None` where there can be only one.
    fn bus(&self) -> Option<SharedBus> {
        None
    }

    /// Answers when the store can take a write; the reason when it can't.
    async fn check(&self) -> Result<(), StoreError>;

    // --- sessions ---------------------------------------------------------------------------------

    /// Creates a session. With an idempotency key that the same owner has used before, nothing is created
    /// and the older session comes back: [`Created::Existing`] if the fingerprints agree, else
    /// [`Created::KeyReused`]. The very same session again (the first answer was lost) is [`Created::New`],
    /// with or without a key; another session under a known id is [`StoreError::Exists`]. The log begins after the
    /// row's `last_seq`: 0, but for a copy of a session whose log has lost its head.
    async fn create_session(&self, session: NewSession) -> Result<Created, StoreError>;

    /// Changes what the patch names. [`StoreError::NotOwner`] if `epoch` is not the session's current one, if
    /// the session has ended, if a take-over does not raise the epoch, and for a patch that would end the
    /// session: only [`Store::end_session`] does that. The same take-over again is a success.
    async fn update_session(&self, id: Uuid, epoch: u64, patch: SessionPatch) -> Result<(), StoreError>;

    /// One session, or `None`.
    async fn session(&self, id: Uuid) -> Result<Option<SessionRow>, StoreError>;

    /// A page of sessions, newest first. Pages stay stable while sessions come and go: the cursor is the
    /// last row's id (ids are time-ordered for listing by `created_at_ms`, then id).
    async fn list_sessions(&self, query: ListQuery) -> Result<Page, StoreError>;

    /// The session that `owner` created with that idempotency key, and the fingerprint it came with.
    async fn session_by_key(&self, owner: &str, key: &str) -> Result<Option<(SessionRow, String)>, StoreError>;

    /// The idempotency key that this session was created with, and the fingerprint it came with.
    async fn key_of_session(&self, id: Uuid) -> Result<Option<(String, String)>, StoreError>;

    /// A page of what is listed as a session, oldest first: moment and id of those after `after`, at most `limit`.
    /// Fewer than `limit` are the last page. Their records are not looked at: one may be damaged, or gone.
    async fn session_ids(&self, after: Option<(u64, Uuid)>, limit: u32) -> Result<Vec<(u64, Uuid)>, StoreError>;

    /// Every session that has not ended, is not put away and belongs to `node` (or to any node, if `None`),
    /// oldest first: what a gateway must account for when it starts.
    async fn unfinished_sessions(&self, node: Option<&str>) -> Result<Vec<SessionRow>, StoreError>;

    /// Put-away sessions, the longest put away first (by `put_away_at_ms`, then id). Pages stay stable while
    /// sessions come and go: the cursor is the last row's moment and id. A record that can't be read is left
    /// out and logged.
    async fn put_away_sessions(&self, query: PutAwayQuery) -> Result<Vec<SessionRow>, StoreError>;

    // --- event logs -------------------------------------------------------------------------------

    /// Appends a batch. Idempotent: the very same batch (same bounds, types and bytes) again is a success,
    /// also after the session's end. [`StoreError::NotOwner`] for an old `epoch` and for anything new after
    /// the session's end, [`StoreError::Gap`] if it does not begin at head + 1 or ends before it begins. A
    /// batch that has been cut off is no longer known as the same.
    async fn append(&self, id: Uuid, epoch: u64, batch: Batch) -> Result<(), StoreError>;

    /// The same where it takes no waiting, as a write to a journal does. `false`: nothing was done, and [`Store::append`]
    /// has to.
    fn append_at_once(&self, _id: Uuid, _epoch: u64, _batch: &Batch) -> bool {
        false
    }

    /// Appends the batch that holds the terminal event and marks the session ended (whatever state the patch
    /// names), in one step: it is put away no more and no message waits. The patch gives `ended_at_ms`, `ended`
    /// and, if known, `total_cost_usd`; the rest of it is ignored. Idempotent: the very same batch again is a
    /// success and changes nothing. [`StoreError::NotOwner`] for an old `epoch`
    /// and for any other batch once the session has ended; [`StoreError::Gap`] as in [`Store::append`], also
    /// for a batch that is in the log already without having ended the session.
    async fn end_session(&self, id: Uuid, epoch: u64, batch: Batch, patch: SessionPatch) -> Result<(), StoreError>;

    /// Batches that hold events after `after_seq`, in order: at least one if there is any, then more until
    /// `max_bytes` of payload or [`READ_BATCHES`] are reached. The first may begin before `after_seq + 1`:
    /// readers filter inside it. None if `after_seq` is the head or beyond it.
    ///
    /// A batch that has no type in common with `wanted` comes with an empty payload, which the store need
    /// not load and which counts nothing; its bounds and types are true, so that no number is missed.
    async fn read(&self, id: Uuid, after_seq: u64, wanted: TypeSet, max_bytes: usize)
    -> Result<Vec<Batch>, StoreError>;

    /// The first number that is still kept, the last one written, and how much is kept.
    async fn bounds(&self, id: Uuid) -> Result<LogBounds, StoreError>;

    // --- retention --------------------------------------------------------------------------------

    /// Removes the oldest batches of a log, whole ones, while more than `keep_bytes` of payload are kept: at
    /// most `max_batches` in one call, and never the newest. The bounds after it tell whether to call again.
    /// Also for a session that has ended. [`StoreError::NotOwner`] for an `epoch` that is not the current one.
    async fn cut_head(&self, id: Uuid, epoch: u64, keep_bytes: u64, max_batches: u32) -> Result<LogBounds, StoreError>;

    /// Ended sessions, the longest ended first (by `ended_at_ms`, then id). Pages stay stable while sessions
    /// come and go: the cursor is the last row's moment and id. A record that can't be read is left out and
    /// logged, so that it does not keep the others.
    async fn ended_sessions(&self, query: EndedQuery) -> Result<Vec<EndedRow>, StoreError>;

    /// The payload bytes that all sessions keep together; removed sessions count no more.
    async fn kept_bytes(&self) -> Result<u64, StoreError>;

    /// Removes an ended session: at once it is unknown everywhere, with its log, labels and idempotency key.
    /// Its batches are deleted by [`Store::purge`]. `false` if there is none, so also for the same call again;
    /// [`StoreError::NotOwner`] if it has not ended.
    async fn remove_session(&self, id: Uuid) -> Result<bool, StoreError>;

    /// Deletes at most `max_batches` batches of removed sessions (those that the store keeps as one count as one), and
    /// as many notes that have expired; `true` if more remain. What a gateway that died has left is deleted too.
    async fn purge(&self, max_batches: u32) -> Result<bool, StoreError>;

    // --- slots and the line: the rules stand in `slots` --------------------------------------------

    /// Takes a slot at once, unless that passes the line, the principal's limit or the number of slots. Taking it
    /// again is a success and changes nothing.
    async fn take_slot(&self, asked: SlotAsked, limits: SlotLimits) -> Result<SlotOutcome, StoreError>;

    /// Passes the slot with that id on to the principal that asks, unless that passes the line or the principal's
    /// limit. No slot comes free meanwhile. Again: a success. One that is not taken can't be passed on: `Full`.
    async fn pass_slot_on(&self, asked: SlotAsked, limits: SlotLimits) -> Result<SlotOutcome, StoreError>;

    /// Takes a slot if there is one for it now, else the last place in the line. Again for one that has a slot or a
    /// place already: it is told what it has.
    async fn join_line(
        &self,
        asked: SlotAsked,
        limits: SlotLimits,
        line: LineLimits,
    ) -> Result<LineOutcome, StoreError>;

    /// Holds the line of that node for so long (0: no longer), lets in who may go, on all nodes, and tells what the
    /// node has. Positions cost more, the more wait.
    async fn line_of(
        &self,
        node: &str,
        limits: SlotLimits,
        held_for_ms: u64,
        positions: bool,
    ) -> Result<NodeSlots, StoreError>;

    /// Gives a slot back, or a place in the line, whatever it is by now; then lets in who may go. One that is
    /// neither is no error.
    async fn release_slot(&self, id: Uuid, limits: SlotLimits) -> Result<(), StoreError>;

    /// That node has these slots (ids and owners): those that are not known are taken, also above the limits, and
    /// are returned. One that waits in the line waits no more. What else the node has stays as it is.
    async fn restate_slots(&self, node: &str, slots: Vec<(Uuid, String)>) -> Result<Vec<Uuid>, StoreError>;

    /// That node is no more: its slots come free, its places go, its line is not held. Returns how many slots.
    /// Others who wait are let in by the next call of their nodes.
    async fn forget_node_slots(&self, node: &str) -> Result<u64, StoreError>;

    /// How many slots are taken and how many wait, over all nodes.
    async fn slots(&self) -> Result<SlotCounts, StoreError>;

    // --- nodes ------------------------------------------------------------------------------------

    /// Says that `node` lives, for `lease_ms` from now by the store's clock, and with `about` (JSON, for other
    /// nodes) what it is; tells what the store knows of all nodes.
    async fn keep_node(&self, node: &str, about: &str, lease_ms: u64) -> Result<NodesSeen, StoreError>;

    /// Forgets a node that has shut down, or whose sessions have all been accounted for.
    async fn forget_node(&self, node: &str) -> Result<(), StoreError>;

    /// All nodes, by name. Changes nothing.
    async fn nodes(&self) -> Result<Vec<NodeSeen>, StoreError>;

    // --- spend ------------------------------------------------------------------------------------

    /// Writes down what was spent. Idempotent by session and number: of two entries with the same, the first
    /// counts. The session need not be there, and its removal leaves its entries.
    async fn add_spend(&self, spend: Spend) -> Result<(), StoreError>;

    /// What that owner has spent after `since_ms` (not at that moment itself), in millionths of a US dollar.
    async fn spent_since(&self, owner: &str, since_ms: u64) -> Result<u64, StoreError>;

    /// A page of the ledger: the entries after `after`, at most `limit`, by moment and then in an order of the store's
    /// own. Fewer than `limit` are the last page.
    async fn spent(&self, after: Option<Spend>, limit: u32) -> Result<Vec<Spend>, StoreError>;

    /// Forgets what was spent before `before_ms`, by all owners.
    async fn forget_spend(&self, before_ms: u64) -> Result<(), StoreError>;

    // --- accounts ---------------------------------------------------------------------------------

    /// Creates an account. [`StoreError::Exists`] if the name (compared as given) or the subject is taken; the
    /// very same account again is a success.
    async fn create_account(&self, account: Account) -> Result<(), StoreError>;

    /// Replaces an account of the same subject and raises its `revision`, if that is still the one given: `false`
    /// if somebody has changed it since, and then nothing is done. The very same call again is a success.
    /// [`StoreError::Missing`] if there is none, [`StoreError::Exists`] if the new name is another one's.
    async fn update_account(&self, account: Account) -> Result<bool, StoreError>;

    /// The account of that name.
    async fn account_by_name(&self, username: &str) -> Result<Option<Account>, StoreError>;

    /// The account of that subject.
    async fn account(&self, subject: &str) -> Result<Option<Account>, StoreError>;

    /// Every account, by name.
    async fn accounts(&self) -> Result<Vec<Account>, StoreError>;

    // --- audit ------------------------------------------------------------------------------------

    /// Writes entries of the audit log. One whose id is there already is left as it is, so the same again is a
    /// success.
    async fn append_audit(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError>;

    /// Entries of the audit log, the newest first.
    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, StoreError>;

    /// Forgets what was done before `before_ms`, as the entries' ids tell it.
    async fn forget_audit(&self, before_ms: u64) -> Result<(), StoreError>;

    // --- notes ------------------------------------------------------------------------------------
    //
    // Whether a note has expired is judged by the store's clock, as a slot's lease is: gateways that share a store
    // agree about what is over, whatever their own clocks say. (The embedded store's clock is its gateway's.)

    /// Writes a note down if there is none of its kind and key: `false` if there is one. The very same note again
    /// (the first answer was lost) is `true`. One that has expired already is `true` and kept for nobody.
    async fn put_note(&self, note: Note) -> Result<bool, StoreError>;

    /// Changes the note of that kind and key if its value is `from`, else `false`: `to` becomes its value and
    /// `expires_at_ms` its end; `to: None` removes it, and then one caller only reads `true`. A note that has the
    /// new value and end already is `true`, so that a change whose answer was lost can be made again. So where one
    /// of several may win, each must come with a `to` of its own.
    async fn change_note(
        &self,
        kind: NoteKind,
        key: &str,
        from: &str,
        to: Option<String>,
        expires_at_ms: Option<u64>,
    ) -> Result<bool, StoreError>;

    /// The note of that kind and key.
    async fn note(&self, kind: NoteKind, key: &str) -> Result<Option<Note>, StoreError>;

    /// A page of a kind's notes, in the order of the keys' bytes: those after `after_key` (`""`: from the first), at
    /// most `limit`. Fewer than `limit` are the last page.
    async fn notes(&self, kind: NoteKind, after_key: &str, limit: u32) -> Result<Vec<Note>, StoreError>;

    // --- examination ------------------------------------------------------------------------------

    /// What is wrong beside the sessions' own records and logs: the store's form, its indexes, what belongs to nothing.
    /// Costs a walk over everything, and changes nothing.
    async fn examine(&self) -> Result<Vec<Finding>, StoreError>;

    // --- end --------------------------------------------------------------------------------------

    /// Flushes and closes; later calls fail with [`StoreError::Away`].
    async fn close(&self);
}
