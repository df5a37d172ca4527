//! The embedded store: one SQLite file, one thread that writes, one that makes its checkpoints, a few connections that
//! read.
//!
//! Invariants: one gateway a file (`file`); what is acknowledged is committed (`writer`) or in the journal beside the
//! file (`journal`), and survives `kill -9` with `synchronous = NORMAL` and the loss of power with `FULL`; whoever reads
//! gets what was acknowledged before; nothing costs more because the file is large (each query has its index). Only this
//! module names SQLite.

mod accounts;
mod audit;
mod batches;
mod checkpoint;
mod examine;
mod fault;
mod file;
mod journal;
mod line;
mod listing;
mod log;
mod nodes;
mod notes;
mod put_away;
mod readers;
mod record;
mod recovery;
mod retention;
mod rows;
mod schema;
mod sessions;
mod settler;
mod slots;
mod spend;
#[cfg(test)]
mod tests;
mod waiting;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::Connection;
use uuid::Uuid;

use self::fault::Fault;
use self::journal::{Journal, Taken};
use self::nodes::Nodes;
use self::readers::Readers;
use self::slots::Slots;
use self::writer::{After, Concern, Done, Writer};
use super::{
    Account, AuditEntry, AuditQuery, Batch, Created, EndedQuery, EndedRow, Finding, LineLimits, LineOutcome, ListQuery,
    LogBounds, NewSession, NodeSeen, NodeSlots, NodesSeen, Note, NoteKind, Page, PutAwayQuery, SessionPatch,
    SessionRow, SlotAsked, SlotCounts, SlotLimits, SlotOutcome, Spend, Store, StoreError, note,
};
use crate::api::selector::TypeSet;
use crate::config::settings::SqliteSynchronous;
use crate::telemetry::time::now_ms;

/// What a closed store answers.
fn closed() -> StoreError {
    StoreError::Away("it is closed".to_owned())
}

/// The embedded store. Dropping it waits until every write that has begun is committed.
pub struct SqliteStore {
    /// `None` once closed. Held only to clone or to take it.
    writer: Mutex<Option<Writer>>,
    /// Shared with the writing thread.
    journal: Arc<Journal>,
    readers: Arc<Readers>,
    slots: Slots,
    nodes: Nodes,
    /// The writing thread, until somebody waits for its end.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The directory of a store that only a test uses: goes when the store goes.
    #[cfg(test)]
    directory: Option<tempfile::TempDir>,
}

/// A fresh, empty store in a directory of its own that goes with it.
#[cfg(test)]
pub(crate) fn test_store() -> super::SharedStore {
    let directory = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&directory.path().join("gateway.db"), SqliteSynchronous::Normal).unwrap();
    store.directory = Some(directory);
    Arc::new(store)
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteStore")
    }
}

impl SqliteStore {
    /// Opens the file, or makes it (mode 0600; its directory must be there). Blocks for a moment.
    ///
    /// # Errors
    /// [`StoreError::Away`] if another gateway has the file open, or if it can't be opened;
    /// [`StoreError::Damaged`] if it is not a store, or one of a newer version.
    pub fn open(path: &Path, synchronous: SqliteSynchronous) -> Result<Self, StoreError> {
        let lock = file::lock(path)?;
        file::prepare(path, &lock)?;
        let mut connection =
            schema::connect_writer(path, synchronous).map_err(|fault| fault.into_store_error("open"))?;
        let journal = Arc::new(recovery::journal(path, synchronous, &mut connection)?);
        let (writer, thread) = Writer::start(path.to_owned(), synchronous, connection, lock, Arc::clone(&journal))?;
        let readers = Arc::new(Readers::new(path.to_owned()));
        Ok(Self {
            writer: Mutex::new(Some(writer)),
            journal,
            readers,
            slots: Slots::new(),
            nodes: Nodes::default(),
            thread: Mutex::new(Some(thread)),
            #[cfg(test)]
            directory: None,
        })
    }

    fn writer(&self) -> Result<Writer, StoreError> {
        self.writer.lock().clone().ok_or_else(closed)
    }

    async fn write<T, W>(&self, name: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.write_after(name, Concern::Nothing, work).await
    }

    /// A write that sees what was acknowledged before of what it concerns.
    async fn write_after<T, W>(&self, name: &'static str, concern: Concern, mut work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.writer()?.write(name, concern, move |connection| work(connection).map(Done::from)).await
    }

    async fn read_with<T, W>(&self, name: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.readers.read(name, work).await
    }

    /// A read that is to see what was acknowledged before: of that session, or of all.
    async fn read_settled<T, W>(&self, name: &'static str, session: Option<Uuid>, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        if self.journal.is_ahead(session) {
            self.write_after("settled", session.map_or(Concern::All, Concern::Log), |_| Ok(())).await?;
        }
        self.read_with(name, work).await
    }
}

/// Does the journal keep it? If so much waits there, some of it goes into the database now.
fn is_kept(taken: Taken, writer: &Writer) -> bool {
    if taken == Taken::Much {
        writer.settle();
    }
    taken != Taken::No
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.readers.close();
        drop(self.writer.get_mut().take());
        if let Some(thread) = self.thread.get_mut().take() {
            drop(thread.join());
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.write("check", |connection| sessions::probe(connection, now_ms())).await
    }

    async fn create_session(&self, session: NewSession) -> Result<Created, StoreError> {
        let writer = self.writer()?;
        let row = &session.row;
        if session.fresh && session.idempotency.is_none() && row.last_seq == 0 && row.ended.is_none() {
            let about = rows::to_json(row).map_err(|fault| fault.into_store_error("create_session"))?;
            if is_kept(self.journal.begin(row.id, row.epoch, about.into_bytes()), &writer) {
                return Ok(Created::New);
            }
        }
        let concern = Concern::Log(row.id);
        let work = move |connection: &Connection| sessions::create(connection, &session);
        match writer.write("create_session", concern, work).await? {
            // Its log may have gone on in the journal.
            Created::Existing(older) => {
                let newer = self.session(older.id).await?;
                Ok(Created::Existing(newer.map_or(older, Box::new)))
            }
            created => Ok(created),
        }
    }

    async fn update_session(&self, id: Uuid, epoch: u64, patch: SessionPatch) -> Result<(), StoreError> {
        let concern = if patch.owner.is_some() { Concern::Change(id) } else { Concern::Log(id) };
        self.write_after("update_session", concern, move |connection| sessions::update(connection, id, epoch, &patch))
            .await
    }

    async fn session(&self, id: Uuid) -> Result<Option<SessionRow>, StoreError> {
        self.read_settled("session", Some(id), move |connection| sessions::find(connection, id)).await
    }

    async fn list_sessions(&self, query: ListQuery) -> Result<Page, StoreError> {
        self.read_settled("list_sessions", None, move |connection| listing::page(connection, &query)).await
    }

    async fn session_by_key(&self, owner: &str, key: &str) -> Result<Option<(SessionRow, String)>, StoreError> {
        let (owner, key) = (owner.to_owned(), key.to_owned());
        self.read_settled("session_by_key", None, move |connection| sessions::find_by_key(connection, &owner, &key))
            .await
    }

    async fn key_of_session(&self, id: Uuid) -> Result<Option<(String, String)>, StoreError> {
        self.read_with("key_of_session", move |connection| sessions::key_of(connection, id)).await
    }

    async fn session_ids(&self, after: Option<(u64, Uuid)>, limit: u32) -> Result<Vec<(u64, Uuid)>, StoreError> {
        self.read_settled("session_ids", None, move |connection| listing::ids(connection, after, limit)).await
    }

    async fn unfinished_sessions(&self, node: Option<&str>) -> Result<Vec<SessionRow>, StoreError> {
        let node = node.map(str::to_owned);
        self.read_settled("unfinished_sessions", None, move |connection| {
            listing::unfinished(connection, node.as_deref())
        })
        .await
    }

    async fn put_away_sessions(&self, query: PutAwayQuery) -> Result<Vec<SessionRow>, StoreError> {
        self.read_settled("put_away_sessions", None, move |connection| put_away::page(connection, &query)).await
    }

    fn append_at_once(&self, id: Uuid, epoch: u64, batch: &Batch) -> bool {
        self.writer().is_ok_and(|writer| is_kept(self.journal.append(id, epoch, batch), &writer))
    }

    async fn append(&self, id: Uuid, epoch: u64, batch: Batch) -> Result<(), StoreError> {
        if self.append_at_once(id, epoch, &batch) {
            return Ok(());
        }
        let writer = self.writer()?;
        let work = move |connection: &Connection| {
            let is_new = log::append(connection, id, epoch, &batch)?;
            let after =
                if is_new { After::Follow { session: id, epoch, head: batch.last_seq } } else { After::Nothing };
            Ok(Done { answer: (), after })
        };
        writer.write("append", Concern::Log(id), work).await
    }

    async fn end_session(&self, id: Uuid, epoch: u64, batch: Batch, patch: SessionPatch) -> Result<(), StoreError> {
        self.write_after("end_session", Concern::Change(id), move |connection| {
            log::end(connection, id, epoch, &batch, &patch)
        })
        .await
    }

    async fn read(
        &self,
        id: Uuid,
        after_seq: u64,
        wanted: TypeSet,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, StoreError> {
        // Before the database: what is put there meanwhile is in both.
        let tail = self.journal.tail(id, after_seq);
        if tail.first().is_some_and(|batch| batch.first_seq <= after_seq + 1) {
            return Ok(log::page(tail.into_iter(), wanted, max_bytes));
        }
        let work = move |connection: &Connection| log::read(connection, id, after_seq, wanted, max_bytes);
        if tail.is_empty() {
            return self.read_settled("read", Some(id), work).await;
        }
        // The database holds what is before it.
        let stored = self.read_with("read", work).await?;
        let reached = stored.last().map_or(after_seq, |batch| batch.last_seq);
        let rest = tail.into_iter().skip_while(|batch| batch.last_seq <= reached);
        Ok(log::page(stored.into_iter().chain(rest), wanted, max_bytes))
    }

    async fn bounds(&self, id: Uuid) -> Result<LogBounds, StoreError> {
        self.read_settled("bounds", Some(id), move |connection| log::bounds(connection, id)).await
    }

    async fn cut_head(&self, id: Uuid, epoch: u64, keep_bytes: u64, max_batches: u32) -> Result<LogBounds, StoreError> {
        self.write_after("cut_head", Concern::Log(id), move |connection| {
            retention::cut_head(connection, id, epoch, keep_bytes, max_batches)
        })
        .await
    }

    async fn ended_sessions(&self, query: EndedQuery) -> Result<Vec<EndedRow>, StoreError> {
        self.read_settled("ended_sessions", None, move |connection| retention::ended(connection, &query)).await
    }

    async fn kept_bytes(&self) -> Result<u64, StoreError> {
        self.read_settled("kept_bytes", None, retention::kept_bytes).await
    }

    async fn remove_session(&self, id: Uuid) -> Result<bool, StoreError> {
        self.write_after("remove_session", Concern::Change(id), move |connection| retention::remove(connection, id))
            .await
    }

    async fn purge(&self, max_batches: u32) -> Result<bool, StoreError> {
        let work = move |connection: &Connection| {
            let batches = retention::purge(connection, max_batches)?;
            Ok(notes::sweep(connection, max_batches, now_ms())? || batches)
        };
        self.write("purge", work).await
    }

    async fn take_slot(&self, asked: SlotAsked, limits: SlotLimits) -> Result<SlotOutcome, StoreError> {
        self.slots.change(|line| line.take(&asked, limits, now_ms())).await
    }

    async fn pass_slot_on(&self, asked: SlotAsked, limits: SlotLimits) -> Result<SlotOutcome, StoreError> {
        self.slots.change(|line| line.pass_on(&asked, limits, now_ms())).await
    }

    async fn join_line(
        &self,
        asked: SlotAsked,
        limits: SlotLimits,
        places: LineLimits,
    ) -> Result<LineOutcome, StoreError> {
        self.slots.change(|line| line.join(&asked, limits, places, now_ms())).await
    }

    async fn line_of(
        &self,
        node: &str,
        limits: SlotLimits,
        held_for_ms: u64,
        positions: bool,
    ) -> Result<NodeSlots, StoreError> {
        self.slots.change(|line| line.look(node, limits, held_for_ms, positions, now_ms())).await
    }

    async fn release_slot(&self, id: Uuid, limits: SlotLimits) -> Result<(), StoreError> {
        self.slots.change(|line| line.release(id, limits, now_ms())).await
    }

    async fn restate_slots(&self, node: &str, slots: Vec<(Uuid, String)>) -> Result<Vec<Uuid>, StoreError> {
        self.slots.change(|line| line.restate(node, &slots)).await
    }

    async fn forget_node_slots(&self, node: &str) -> Result<u64, StoreError> {
        self.slots.change(|line| line.forget_node(node)).await
    }

    async fn slots(&self) -> Result<SlotCounts, StoreError> {
        self.slots.change(|line| line.counts()).await
    }

    async fn keep_node(&self, node: &str, about: &str, lease_ms: u64) -> Result<NodesSeen, StoreError> {
        Ok(self.nodes.keep(node, about, lease_ms))
    }

    async fn forget_node(&self, node: &str) -> Result<(), StoreError> {
        self.nodes.forget(node);
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<NodeSeen>, StoreError> {
        Ok(self.nodes.all())
    }

    async fn add_spend(&self, spend: Spend) -> Result<(), StoreError> {
        self.write("add_spend", move |connection| spend::add(connection, &spend)).await
    }

    async fn spent_since(&self, owner: &str, since_ms: u64) -> Result<u64, StoreError> {
        let owner = owner.to_owned();
        self.read_with("spent_since", move |connection| spend::since(connection, &owner, since_ms)).await
    }

    async fn spent(&self, after: Option<Spend>, limit: u32) -> Result<Vec<Spend>, StoreError> {
        self.read_with("spent", move |connection| spend::page(connection, after.as_ref(), limit)).await
    }

    async fn forget_spend(&self, before_ms: u64) -> Result<(), StoreError> {
        self.write("forget_spend", move |connection| spend::forget(connection, before_ms)).await
    }

    async fn create_account(&self, account: Account) -> Result<(), StoreError> {
        self.write("create_account", move |connection| accounts::create(connection, &account)).await
    }

    async fn update_account(&self, account: Account) -> Result<bool, StoreError> {
        self.write("update_account", move |connection| accounts::update(connection, &account)).await
    }

    async fn account_by_name(&self, username: &str) -> Result<Option<Account>, StoreError> {
        let username = username.to_owned();
        self.read_with("account_by_name", move |connection| accounts::by_name(connection, &username)).await
    }

    async fn account(&self, subject: &str) -> Result<Option<Account>, StoreError> {
        let subject = subject.to_owned();
        self.read_with("account", move |connection| accounts::by_subject(connection, &subject)).await
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.read_with("accounts", accounts::all).await
    }

    async fn append_audit(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
        self.write("append_audit", move |connection| audit::append(connection, &entries)).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        self.read_with("audit", move |connection| audit::page(connection, &query)).await
    }

    async fn forget_audit(&self, before_ms: u64) -> Result<(), StoreError> {
        self.write("forget_audit", move |connection| audit::forget(connection, before_ms)).await
    }

    async fn put_note(&self, note: Note) -> Result<bool, StoreError> {
        note::check_size(&note.value)?;
        self.write("put_note", move |connection| notes::put(connection, &note, now_ms())).await
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
        let (key, from) = (key.to_owned(), from.to_owned());
        let work = move |connection: &Connection| {
            notes::change(connection, kind, &key, &from, to.as_deref(), expires_at_ms, now_ms())
        };
        self.write("change_note", work).await
    }

    async fn note(&self, kind: NoteKind, key: &str) -> Result<Option<Note>, StoreError> {
        let key = key.to_owned();
        self.read_with("note", move |connection| notes::find(connection, kind, &key, now_ms())).await
    }

    async fn notes(&self, kind: NoteKind, after_key: &str, limit: u32) -> Result<Vec<Note>, StoreError> {
        let after_key = after_key.to_owned();
        self.read_with("notes", move |connection| notes::page(connection, kind, &after_key, limit, now_ms())).await
    }

    async fn examine(&self) -> Result<Vec<Finding>, StoreError> {
        self.read_settled("examine", None, examine::all).await
    }

    async fn close(&self) {
        self.readers.close();
        self.slots.close();
        let writer = self.writer.lock().take();
        drop(writer);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // Joining blocks until the queue is done, so it must not happen on the runtime's own threads.
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
    }
}
