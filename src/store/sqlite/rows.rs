//! A session's record between the tables and [`SessionRow`].
//!
//! What changes often and what is searched for are columns of `sessions`; the rest is one JSON text,
//! `session_details.about`, to which a later version can add fields.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fault::{Fault, from_stored};
use crate::api::event::SessionState;
use crate::api::session::{OnDisconnect, OnLost, SessionKind};
use crate::store::{SessionRow, StoreError};

/// The columns that [`decode`] reads, of `sessions AS s` and `session_details AS d`.
pub(super) const COLUMNS: &str = "s.id, s.owner, s.state, s.node, s.epoch, s.last_seq, s.created_at_ms, \
     s.ended_at_ms, s.ended, d.about, d.params, s.put_away_at_ms, s.messages, s.total_cost_usd";

/// What of a session is not searched for and never changes, but for the model, which seldom does.
#[derive(Serialize, Deserialize)]
pub(super) struct About {
    owner_name: String,
    kind: SessionKind,
    workspace: String,
    model: Option<String>,
    interactive: bool,
    on_disconnect: OnDisconnect,
    on_lost: OnLost,
    labels: BTreeMap<String, String>,
    resumed_from: Option<Uuid>,
}

impl From<&SessionRow> for About {
    fn from(row: &SessionRow) -> Self {
        Self {
            owner_name: row.owner_name.clone(),
            kind: row.kind,
            workspace: row.workspace.clone(),
            model: row.model.clone(),
            interactive: row.interactive,
            on_disconnect: row.on_disconnect,
            on_lost: row.on_lost,
            labels: row.labels.clone(),
            resumed_from: row.resumed_from,
        }
    }
}

/// A row of [`COLUMNS`] as a record.
pub(super) fn decode(row: &Row<'_>) -> Result<SessionRow, Fault> {
    let id = uuid(row, 0)?;
    let state: String = row.get(2)?;
    let ended: Option<String> = row.get(8)?;
    let about: About = from_json(&row.get::<_, String>(9)?)?;
    Ok(SessionRow {
        id,
        owner: row.get(1)?,
        owner_name: about.owner_name,
        kind: about.kind,
        state: SessionState::from_word(&state).ok_or_else(|| damaged("a session's state is an unknown word"))?,
        node: row.get(3)?,
        epoch: from_stored(row.get(4)?)?,
        created_at_ms: from_stored(row.get(6)?)?,
        ended_at_ms: row.get::<_, Option<i64>>(7)?.map(from_stored).transpose()?,
        workspace: about.workspace,
        model: about.model,
        interactive: about.interactive,
        on_disconnect: about.on_disconnect,
        on_lost: about.on_lost,
        labels: about.labels,
        resumed_from: about.resumed_from,
        last_seq: from_stored(row.get(5)?)?,
        ended: ended.map(|text| from_json(&text)).transpose()?,
        params: row.get(10)?,
        put_away_at_ms: row.get::<_, Option<i64>>(11)?.map(from_stored).transpose()?,
        messages: from_json(&row.get::<_, String>(12)?)?,
        total_cost_usd: row.get(13)?,
    })
}

/// What the query finds, up to `limit`, without what can't be read: one damaged record, in whose first column
/// its id is, must not keep the others.
pub(super) fn readable<T>(
    connection: &Connection,
    sql: &str,
    values: Vec<Value>,
    limit: u32,
    decode: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params_from_iter(values))?;
    let mut readable = Vec::new();
    while readable.len() < limit {
        let Some(row) = found.next()? else { break };
        match decode(row) {
            Ok(value) => readable.push(value),
            Err(fault) if fault.is_of_one_record() => {
                let session = uuid(row, 0).map_or_else(|_| "unknown".to_owned(), |id| id.to_string());
                tracing::warn!(store = "sqlite", session_id = %session, "a session's record is damaged; it is left out");
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(readable)
}

/// The workspace in a session's `about`.
pub(super) fn workspace(about: &str) -> Result<String, Fault> {
    Ok(from_json::<About>(about)?.workspace)
}

/// The UUID in that column.
pub(super) fn uuid(row: &Row<'_>, column: usize) -> Result<Uuid, Fault> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|_| damaged("a session's id is not of bytes"))?;
    Ok(Uuid::from_slice(bytes).map_err(|_| damaged("a session's id has not 16 bytes"))?)
}

/// JSON for a column.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, Fault> {
    Ok(serde_json::to_string(value).map_err(|_| damaged("a record can't be written as JSON"))?)
}

pub(super) fn from_json<T: for<'a> Deserialize<'a>>(text: impl AsRef<[u8]>) -> Result<T, Fault> {
    Ok(serde_json::from_slice(text.as_ref()).map_err(|error| {
        // The error's position, never the text: that may hold a caller's words.
        let (line, column) = (error.line(), error.column());
        tracing::warn!(store = "sqlite", line, column, "a session's record can't be read");
        damaged("a session's record is not the JSON it should be")
    })?)
}

/// An error for what is stored in a form that no version of ours wrote.
pub(super) fn damaged(text: &str) -> StoreError {
    StoreError::Damaged(text.to_owned())
}
