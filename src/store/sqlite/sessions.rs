//! Sessions: creating them, changing their records, finding one.
//!
//! Every function that writes checks first and writes then, so that a refusal has written nothing.

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::fault::{Fault, from_stored, moment, to_stored};
use super::rows::{self, About, COLUMNS};
use super::writer::{After, Done};
use crate::api::event::SessionState;
use crate::store::{Created, NewSession, SessionPatch, SessionRow, StoreError};

/// See [`crate::store::Store::create_session`]. A session that was not there before has a log that can be followed.
pub(super) fn create(connection: &Connection, session: &NewSession) -> Result<Done<Created>, Fault> {
    let row = &session.row;
    if let Some((key, fingerprint)) = &session.idempotency
        && let Some((used_by, its_fingerprint)) = key_user(connection, &row.owner, key)?
    {
        if its_fingerprint != *fingerprint {
            return Ok(Created::KeyReused.into());
        }
        if used_by != row.id
            && let Some(older) = find(connection, used_by)?
        {
            return Ok(Created::Existing(Box::new(older)).into());
        }
    }
    if let Some(stored) = find(connection, row.id)? {
        return if stored.same_start(row) { Ok(Created::New.into()) } else { Err(StoreError::Exists.into()) };
    }
    insert(connection, session)?;
    let follow = After::Follow { session: row.id, epoch: row.epoch, head: row.last_seq };
    let after = if row.state == SessionState::Ended { After::Nothing } else { follow };
    Ok(Done { answer: Created::New, after })
}

/// See [`crate::store::Store::key_of_session`].
pub(super) fn key_of(connection: &Connection, id: Uuid) -> Result<Option<(String, String)>, Fault> {
    let mut statement = connection.prepare_cached("SELECT key, fingerprint FROM idempotency_keys WHERE id = ?1")?;
    Ok(statement.query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// The session that `owner` created with that key, and the fingerprint it came with.
pub(super) fn find_by_key(
    connection: &Connection,
    owner: &str,
    key: &str,
) -> Result<Option<(SessionRow, String)>, Fault> {
    let Some((id, fingerprint)) = key_user(connection, owner, key)? else { return Ok(None) };
    Ok(find(connection, id)?.map(|row| (row, fingerprint)))
}

fn key_user(connection: &Connection, owner: &str, key: &str) -> Result<Option<(Uuid, String)>, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT id, fingerprint FROM idempotency_keys WHERE owner = ?1 AND key = ?2")?;
    let mut found = statement.query(params![owner, key])?;
    found.next()?.map(|row| Ok((rows::uuid(row, 0)?, row.get(1)?))).transpose()
}

fn insert(connection: &Connection, session: &NewSession) -> Result<(), Fault> {
    let row = &session.row;
    let about = rows::to_json(&About::from(row))?;
    let ended = row.ended.as_ref().map(rows::to_json).transpose()?;
    let (epoch, created_at) = (to_stored(row.epoch)?, to_stored(row.created_at_ms)?);
    let ended_at = row.ended_at_ms.map(to_stored).transpose()?;
    let messages = rows::to_json(&row.messages)?;
    connection
        .prepare_cached(
            "INSERT INTO sessions (id, owner, state, node, epoch, last_seq, created_at_ms, ended_at_ms, ended, \
             put_away_at_ms, messages, total_cost_usd) VALUES (?1, ?2, ?3, ?4, ?5, ?12, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            row.id.as_bytes(),
            row.owner,
            row.state.as_str(),
            row.node,
            epoch,
            created_at,
            ended_at,
            ended,
            row.put_away_at_ms.map(moment),
            messages,
            row.total_cost_usd,
            to_stored(row.last_seq)?
        ])?;
    connection
        .prepare_cached("INSERT INTO session_details (key, about, params) VALUES (?1, ?2, ?3)")?
        .execute(params![connection.last_insert_rowid(), about, row.params])?;
    let mut label = connection
        .prepare_cached("INSERT INTO labels (name, value, owner, created_at_ms, id) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (name, value) in &row.labels {
        label.execute(params![name, value, row.owner, created_at, row.id.as_bytes()])?;
    }
    if let Some((key, fingerprint)) = &session.idempotency {
        // Replaces only a key whose session is no longer kept.
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO idempotency_keys (owner, key, fingerprint, id) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![row.owner, key, fingerprint, row.id.as_bytes()])?;
    }
    Ok(())
}

/// The part of a session's record that every write looks at first.
pub(super) struct Head {
    /// Its number in the other tables.
    pub(super) key: i64,
    pub(super) node: String,
    pub(super) epoch: u64,
    pub(super) last_seq: u64,
    pub(super) has_ended: bool,
    /// What its kept payloads have together.
    pub(super) bytes: u64,
}

/// That part, or [`StoreError::Missing`].
pub(super) fn head(connection: &Connection, id: Uuid) -> Result<Head, Fault> {
    let mut statement = connection
        .prepare_cached("SELECT key, node, epoch, last_seq, state = 'ended', bytes FROM sessions WHERE id = ?1")?;
    let mut found = statement.query([id.as_bytes()])?;
    let row = found.next()?.ok_or(StoreError::Missing)?;
    Ok(Head {
        key: row.get(0)?,
        node: row.get(1)?,
        epoch: from_stored(row.get(2)?)?,
        last_seq: from_stored(row.get(3)?)?,
        has_ended: row.get(4)?,
        bytes: from_stored(row.get(5)?)?,
    })
}

/// See [`crate::store::Store::update_session`].
pub(super) fn update(connection: &Connection, id: Uuid, epoch: u64, patch: &SessionPatch) -> Result<(), Fault> {
    let head = head(connection, id)?;
    if let Some((node, new_epoch)) = &patch.owner
        && *new_epoch > epoch
        && (head.epoch, &head.node) == (*new_epoch, node)
        && !head.has_ended
    {
        // The same take-over again: its first answer was lost.
        return Ok(());
    }
    if head.epoch != epoch || head.has_ended {
        return Err(StoreError::NotOwner.into());
    }
    if patch.state == Some(SessionState::Ended) || patch.ended.is_some() || patch.ended_at_ms.is_some() {
        tracing::error!(session = %id, "a patch tried to end a session without its last event; this is a bug");
        return Err(StoreError::NotOwner.into());
    }
    let (node, new_epoch) = match &patch.owner {
        Some((_, new_epoch)) if *new_epoch <= epoch => return Err(StoreError::NotOwner.into()),
        Some((node, new_epoch)) => (Some(node), Some(to_stored(*new_epoch)?)),
        None => (None, None),
    };
    let messages = patch.messages.as_ref().map(rows::to_json).transpose()?;
    connection
        .prepare_cached(
            "UPDATE sessions SET state = coalesce(?2, state), node = coalesce(?3, node), epoch = coalesce(?4, epoch), \
             put_away_at_ms = CASE WHEN ?5 THEN ?6 ELSE put_away_at_ms END, messages = coalesce(?7, messages), \
             total_cost_usd = coalesce(?8, total_cost_usd) WHERE key = ?1",
        )?
        .execute(params![
            head.key,
            patch.state.map(SessionState::as_str),
            node,
            new_epoch,
            patch.put_away_at_ms.is_some(),
            patch.put_away_at_ms.flatten().map(moment),
            messages,
            patch.total_cost_usd
        ])?;
    update_details(connection, head.key, patch)
}

/// The long part of the record: rewritten only if it changes.
fn update_details(connection: &Connection, key: i64, patch: &SessionPatch) -> Result<(), Fault> {
    if let Some(model) = &patch.model {
        // Only the one field: what a later version has added beside it stays.
        connection
            .prepare_cached("UPDATE session_details SET about = json_set(about, '$.model', ?2) WHERE key = ?1")?
            .execute(params![key, model])?;
    }
    if let Some(text) = &patch.params {
        connection
            .prepare_cached("UPDATE session_details SET params = ?2 WHERE key = ?1")?
            .execute(params![key, text])?;
    }
    Ok(())
}

/// Marks a session ended, with `patch.ended` as JSON; the caller has checked that it may be and has written
/// its last event.
pub(super) fn mark_ended(
    connection: &Connection,
    key: i64,
    patch: &SessionPatch,
    ended: Option<&str>,
) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "UPDATE sessions SET state = 'ended', ended_at_ms = ?2, ended = ?3, put_away_at_ms = NULL, \
             messages = '[]', total_cost_usd = coalesce(?4, total_cost_usd) WHERE key = ?1",
        )?
        .execute(params![key, patch.ended_at_ms.map(moment), ended, patch.total_cost_usd])?;
    Ok(())
}

/// See [`crate::store::Store::session`].
pub(super) fn find(connection: &Connection, id: Uuid) -> Result<Option<SessionRow>, Fault> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM sessions AS s LEFT JOIN session_details AS d ON d.key = s.key WHERE s.id = ?1"
    ))?;
    let mut found = statement.query([id.as_bytes()])?;
    found.next()?.map(rows::decode).transpose()
}

/// Makes the write that [`crate::store::Store::check`] is about.
pub(super) fn probe(connection: &Connection, now_ms: u64) -> Result<(), Fault> {
    connection
        .prepare_cached("INSERT INTO probe (one, at_ms) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET at_ms = ?1")?
        .execute([moment(now_ms)])?;
    Ok(())
}
