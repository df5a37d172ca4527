//! Copies everything that outlives gateways from one store into another, whichever they are: sessions with their logs
//! and idempotency keys, accounts, notes, the spend ledger and the audit log. Not slots, the line and nodes, which are of
//! processes that run.
//!
//! Invariants:
//! - What is there already and the same is a success, what differs is refused and left as it is: a copy that was
//!   broken off is simply made again.
//! - The target is marked from the first write to the last, and no gateway serves a marked one.
//! - A session that is on its way is put away, so that nobody has to account for it; it ends with its last batch.
//!
//! It must not know how events are encoded.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use super::{
    Account, AuditEntry, AuditQuery, Batch, Created, LogBounds, NewSession, Note, NoteKind, SessionPatch, SessionRow,
    SharedStore, StoreError,
};
use crate::api::event::SessionState;
use crate::api::selector::TypeSet;

/// What is asked for at once, in entries.
const PAGE: u32 = 256;
/// Payload that is read at once, in bytes.
const READ_BYTES: usize = 4 * 1024 * 1024;
/// The key and the value of the note that marks a target.
const MARK: &str = "into";

/// What has been copied, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Accounts.
    pub accounts: u64,
    /// Notes: API keys, invitations, revocations and other facts with an end.
    pub notes: u64,
    /// Entries of the audit log.
    pub audit_entries: u64,
    /// Entries of the spend ledger.
    pub spend_entries: u64,
    /// Sessions.
    pub sessions: u64,
    /// Of these, the ones that were in the target already.
    pub sessions_there: u64,
    /// Bytes of payload in their logs.
    pub bytes: u64,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is copied from.
    From,
    /// What is copied into.
    To,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::From => "the store to copy from",
            Self::To => "the store to copy to",
        })
    }
}

/// Why a copy was not made, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// A store failed.
    #[error("{0}: {1}")]
    Store(Side, StoreError),
    /// A gateway runs.
    #[error("a gateway runs on {0}: stop all gateways there, then repeat the copy")]
    Gateway(Side),
    /// The source is the target of another copy.
    #[error("a copy into the store to copy from is not complete: repeat that one first")]
    Incomplete,
    /// Sessions have neither ended nor been put away.
    #[error(
        "{1} sessions in {0} have neither ended nor been put away: a gateway must account for them; start one there, \
         stop it, then repeat the copy"
    )]
    Unfinished(Side, usize),
    /// Something is there already, and is not the same.
    #[error("{0} is in both stores, but not the same; it was left as it is")]
    Differs(String),
    /// The source contradicts itself.
    #[error("session {0} can't be copied: {1}; `cc-gateway store check` tells more")]
    Damaged(Uuid, &'static str),
}

fn from(error: StoreError) -> CopyError {
    CopyError::Store(Side::From, error)
}

fn to(error: StoreError) -> CopyError {
    CopyError::Store(Side::To, error)
}

/// Is a copy into that store under way, or was one broken off?
///
/// # Errors
/// As [`super::Store::note`].
pub async fn is_under_way(store: &SharedStore) -> Result<bool, StoreError> {
    Ok(store.note(NoteKind::Copy, MARK).await?.is_some())
}

/// Marks the target.
pub(super) async fn begin(store: &SharedStore) -> Result<(), StoreError> {
    let mark = Note { kind: NoteKind::Copy, key: MARK.to_owned(), value: MARK.to_owned(), expires_at_ms: None };
    store.put_note(mark).await.map(drop)
}

/// A page of the audit log: the entries older than that one, the newest first.
pub(super) async fn page_of_audit(store: &SharedStore, before: Option<Uuid>) -> Result<Vec<AuditEntry>, StoreError> {
    store.audit(AuditQuery { before, limit: PAGE, ..AuditQuery::default() }).await
}

/// May `source` be copied into `target`, as far as can be said without looking at what is there?
async fn may(source: &SharedStore, target: Option<&SharedStore>) -> Result<(), CopyError> {
    nobody_runs(source, target).await?;
    if is_under_way(source).await.map_err(from)? {
        return Err(CopyError::Incomplete);
    }
    for (side, store) in sides(source, target) {
        let unfinished = store.unfinished_sessions(None).await.map_err(|error| CopyError::Store(side, error))?;
        if !unfinished.is_empty() {
            return Err(CopyError::Unfinished(side, unfinished.len()));
        }
    }
    Ok(())
}

fn sides<'a>(
    source: &'a SharedStore,
    target: Option<&'a SharedStore>,
) -> impl Iterator<Item = (Side, &'a SharedStore)> + Send {
    [(Side::From, source)].into_iter().chain(target.map(|target| (Side::To, target)))
}

async fn nobody_runs(source: &SharedStore, target: Option<&SharedStore>) -> Result<(), CopyError> {
    for (side, store) in sides(source, target) {
        let nodes = store.nodes().await.map_err(|error| CopyError::Store(side, error))?;
        if nodes.iter().any(|node| node.lease_left_ms > 0) {
            return Err(CopyError::Gateway(side));
        }
    }
    Ok(())
}

/// Tells what [`copy`] would copy, or why it would not, as far as records tell. A target that is not there (`None`) is
/// an empty one. Changes nothing.
///
/// # Errors
/// [`CopyError`].
pub async fn rehearse(source: &SharedStore, target: Option<&SharedStore>) -> Result<Copied, CopyError> {
    may(source, target).await?;
    let mut copier = Copier { source, target, writes: false, copied: Copied::default() };
    copier.all(&|_| {}).await?;
    Ok(copier.copied)
}

/// Copies everything of `source` into `target`. `progress` is told now and then how far it has come.
///
/// # Errors
/// [`CopyError`]. What differs by its record is told before anything is written; after that, what has been copied
/// stays, and the target is marked.
pub async fn copy(
    source: &SharedStore,
    target: &SharedStore,
    progress: &(dyn Fn(&Copied) + Send + Sync),
) -> Result<Copied, CopyError> {
    rehearse(source, Some(target)).await?;
    begin(target).await.map_err(to)?;
    let mut copier = Copier { source, target: Some(target), writes: true, copied: Copied::default() };
    copier.all(progress).await?;
    // One that was started meanwhile may have changed what was copied before.
    nobody_runs(source, Some(target)).await?;
    target.change_note(NoteKind::Copy, MARK, MARK, None, None).await.map_err(to)?;
    Ok(copier.copied)
}

struct Copier<'a> {
    source: &'a SharedStore,
    target: Option<&'a SharedStore>,
    /// Is the target written to? Else what is there is compared only.
    writes: bool,
    copied: Copied,
}

impl Copier<'_> {
    async fn all(&mut self, progress: &(dyn Fn(&Copied) + Send + Sync)) -> Result<(), CopyError> {
        self.accounts().await?;
        self.notes().await?;
        self.audit().await?;
        self.spend().await?;
        progress(&self.copied);
        self.sessions(progress).await
    }

    async fn accounts(&mut self) -> Result<(), CopyError> {
        for account in self.source.accounts().await.map_err(from)? {
            if let Some(target) = self.target {
                let name = account.username.clone();
                self.account(target, account).await.map_err(|error| match error {
                    StoreError::Exists => CopyError::Differs(format!("the account `{name}`")),
                    error => to(error),
                })?;
            }
            self.copied.accounts += 1;
        }
        Ok(())
    }

    async fn account(&self, target: &SharedStore, account: Account) -> Result<(), StoreError> {
        if self.writes {
            return target.create_account(account).await;
        }
        let there = [target.account(&account.subject).await?, target.account_by_name(&account.username).await?];
        let differs = there.iter().flatten().any(|other| *other != account);
        if differs { Err(StoreError::Exists) } else { Ok(()) }
    }

    async fn note(&self, target: &SharedStore, note: Note) -> Result<bool, StoreError> {
        if self.writes {
            return target.put_note(note).await;
        }
        Ok(target.note(note.kind, &note.key).await?.is_none_or(|there| there == note))
    }

    async fn notes(&mut self) -> Result<(), CopyError> {
        for kind in NoteKind::ALL.into_iter().filter(|kind| *kind != NoteKind::Copy) {
            let mut after = String::new();
            loop {
                let page = self.source.notes(kind, &after, PAGE).await.map_err(from)?;
                let Some(last) = page.last() else { break };
                after.clone_from(&last.key);
                for note in page {
                    if let Some(target) = self.target
                        && !self.note(target, note).await.map_err(to)?
                    {
                        return Err(CopyError::Differs(format!("a note of the kind {}", kind.as_str())));
                    }
                    self.copied.notes += 1;
                }
            }
        }
        Ok(())
    }

    async fn audit(&mut self) -> Result<(), CopyError> {
        let mut before = None;
        loop {
            let page = page_of_audit(self.source, before).await.map_err(from)?;
            let Some(last) = page.last() else { return Ok(()) };
            before = Some(last.id);
            self.copied.audit_entries += page.len() as u64;
            if let Some(target) = self.target.filter(|_| self.writes) {
                target.append_audit(page).await.map_err(to)?;
            }
        }
    }

    async fn spend(&mut self) -> Result<(), CopyError> {
        let mut after = None;
        loop {
            let page = self.source.spent(after, PAGE).await.map_err(from)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            self.copied.spend_entries += page.len() as u64;
            if let Some(target) = self.target.filter(|_| self.writes) {
                for entry in page {
                    target.add_spend(entry).await.map_err(to)?;
                }
            }
        }
    }

    async fn sessions(&mut self, progress: &(dyn Fn(&Copied) + Send + Sync)) -> Result<(), CopyError> {
        let mut after = None;
        loop {
            let page = self.source.session_ids(after, PAGE).await.map_err(from)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(*last);
            for (_, id) in page {
                // Listed, but gone or never shown.
                let Some(row) = self.source.session(id).await.map_err(from)? else { continue };
                let bounds = self.source.bounds(id).await.map_err(from)?;
                if let Some(target) = self.target {
                    self.copied.sessions_there += u64::from(self.session(target, &row, bounds).await?);
                }
                self.copied.sessions += 1;
                self.copied.bytes += bounds.bytes;
                progress(&self.copied);
            }
        }
    }

    /// Copies a session with its log; `true` if it was there as it is.
    async fn session(&self, target: &SharedStore, row: &SessionRow, bounds: LogBounds) -> Result<bool, CopyError> {
        let id = row.id;
        let differs = || CopyError::Differs(format!("session {id}"));
        let begun = as_it_begins(row, bounds);
        let there = stored(target, id).await?;
        let is_same = there.as_ref().is_some_and(|(there, its)| there == row && *its == bounds);
        if let Some((there, its)) = &there {
            let is_part =
                SessionRow { last_seq: begun.last_seq, ..there.clone() } == begun && its.first == bounds.first;
            if !is_same && !is_part {
                return Err(differs());
            }
        }
        if !self.writes {
            return Ok(is_same);
        }
        let idempotency = self.source.key_of_session(id).await.map_err(from)?;
        match target.create_session(NewSession { row: begun, idempotency, fresh: false }).await {
            Ok(Created::New) => {}
            Ok(Created::Existing(_) | Created::KeyReused) | Err(StoreError::Exists) => return Err(differs()),
            Err(error) => return Err(to(error)),
        }
        self.log(target, row, bounds).await.map_err(|error| match error {
            CopyError::Store(Side::To, StoreError::Gap { .. } | StoreError::NotOwner) => differs(),
            error => error,
        })?;
        if stored(target, id).await? != Some((row.clone(), bounds)) {
            return Err(differs());
        }
        Ok(is_same)
    }

    /// Appends every batch, also those that are there: the same again is a success, another is refused.
    async fn log(&self, target: &SharedStore, row: &SessionRow, bounds: LogBounds) -> Result<(), CopyError> {
        let (mut after, mut has_ended) = (bounds.first.saturating_sub(1), false);
        while after < bounds.head {
            let batches = self.source.read(row.id, after, TypeSet::ALL, READ_BYTES).await.map_err(from)?;
            if batches.first().is_none_or(|batch| batch.first_seq != after + 1) {
                return Err(CopyError::Damaged(row.id, "its log has a hole"));
            }
            for batch in batches {
                after = batch.last_seq;
                if row.state == SessionState::Ended && after == bounds.head {
                    has_ended = true;
                    end(target, row, batch).await?;
                } else {
                    target.append(row.id, row.epoch, batch).await.map_err(to)?;
                }
            }
        }
        if row.state == SessionState::Ended && !has_ended {
            return Err(CopyError::Damaged(row.id, "it has ended, but its log is empty"));
        }
        Ok(())
    }
}

async fn end(target: &SharedStore, row: &SessionRow, batch: Batch) -> Result<(), CopyError> {
    let patch = SessionPatch {
        state: Some(SessionState::Ended),
        ended_at_ms: row.ended_at_ms,
        ended: row.ended.clone(),
        ..SessionPatch::default()
    };
    target.end_session(row.id, row.epoch, batch, patch).await.map_err(to)
}

/// The record before its log is there: it has not ended yet, and nobody has to account for it.
fn as_it_begins(row: &SessionRow, bounds: LogBounds) -> SessionRow {
    let mut begun = SessionRow { last_seq: bounds.first.saturating_sub(1), ..row.clone() };
    if row.state == SessionState::Ended {
        begun.state = SessionState::Idle;
        begun.put_away_at_ms = Some(row.created_at_ms);
        (begun.ended_at_ms, begun.ended) = (None, None);
    }
    begun
}

async fn stored(store: &SharedStore, id: Uuid) -> Result<Option<(SessionRow, LogBounds)>, CopyError> {
    let Some(row) = store.session(id).await.map_err(to)? else { return Ok(None) };
    let bounds = store.bounds(id).await.map_err(to)?;
    Ok(Some((row, bounds)))
}
