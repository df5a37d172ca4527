//! A session's record between its hash and [`SessionRow`].
//!
//! What a script looks at or changes is a field of the hash, as text; the rest is one JSON text, `about`, to which a
//! later version can add fields. No field is ever missing but `state`, without which a record is not to be seen yet.

use std::collections::{BTreeMap, HashMap};

use fred::types::Value;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fault::damaged;
use crate::api::event::SessionState;
use crate::api::session::{OnDisconnect, OnLost, SessionKind};
use crate::store::{LogBounds, SessionPatch, SessionRow, StoreError};

/// What of a session is not searched for and never changes.
#[derive(Serialize, Deserialize)]
struct About {
    owner_name: String,
    kind: SessionKind,
    workspace: String,
    interactive: bool,
    on_disconnect: OnDisconnect,
    on_lost: OnLost,
    labels: BTreeMap<String, String>,
    resumed_from: Option<Uuid>,
}

/// A record as it is stored, with what is not the session's own.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) row: SessionRow,
    /// What is kept of its log.
    pub(super) log: LogBounds,
    /// Which idempotency key it came with, if any: its digest.
    pub(super) key: String,
    /// That key as the caller gave it.
    pub(super) given_key: String,
    /// It is not to be seen yet.
    pub(super) waits: bool,
}

/// Fields and values for a script, in turn.
pub(super) type Fields = Vec<Value>;

pub(super) fn put(fields: &mut Fields, name: &'static str, value: impl Into<Value>) {
    fields.push(Value::from_static_str(name));
    fields.push(value.into());
}

/// A new record that came with an idempotency key (its digest and itself, both empty for none): to be seen at once, or (`waits`) once it has been published.
pub(super) fn encode(row: &SessionRow, key: &str, given_key: &str, waits: bool) -> Result<Fields, StoreError> {
    let about = About {
        owner_name: row.owner_name.clone(),
        kind: row.kind,
        workspace: row.workspace.clone(),
        interactive: row.interactive,
        on_disconnect: row.on_disconnect,
        on_lost: row.on_lost,
        labels: row.labels.clone(),
        resumed_from: row.resumed_from,
    };
    let ended = row.ended.as_ref().map_or(Ok(String::new()), to_json)?;
    let mut fields = Fields::new();
    put(&mut fields, if waits { "starts_as" } else { "state" }, row.state.as_str());
    put(&mut fields, "owner", row.owner.as_str());
    put(&mut fields, "node", row.node.as_str());
    put(&mut fields, "epoch", row.epoch.to_string());
    put(&mut fields, "created_at_ms", row.created_at_ms.to_string());
    put(&mut fields, "last_seq", row.last_seq.to_string());
    put(&mut fields, "first", row.last_seq.saturating_add(1).to_string());
    put(&mut fields, "bytes", "0");
    put(&mut fields, "about", to_json(&about)?);
    put(&mut fields, "key", key);
    put(&mut fields, "given_key", given_key);
    put(&mut fields, "ended_at_ms", optional(row.ended_at_ms));
    put(&mut fields, "ended", ended);
    put(&mut fields, "put_away_at_ms", optional(row.put_away_at_ms));
    put(&mut fields, "messages", to_json(&row.messages)?);
    put(&mut fields, "total_cost_usd", optional(row.total_cost_usd));
    put(&mut fields, "model", to_json(&row.model)?);
    put(&mut fields, "params", row.params.as_str());
    Ok(fields)
}

/// The fields that a patch changes; what would end the session is left out.
pub(super) fn changes(patch: &SessionPatch) -> Result<Fields, StoreError> {
    let mut fields = Fields::new();
    if let Some(state) = patch.state {
        put(&mut fields, "state", state.as_str());
    }
    if let Some((node, epoch)) = &patch.owner {
        put(&mut fields, "node", node.as_str());
        put(&mut fields, "epoch", epoch.to_string());
    }
    if let Some(put_away) = patch.put_away_at_ms {
        put(&mut fields, "put_away_at_ms", optional(put_away));
    }
    if let Some(messages) = &patch.messages {
        put(&mut fields, "messages", to_json(messages)?);
    }
    if let Some(cost) = patch.total_cost_usd {
        put(&mut fields, "total_cost_usd", cost.to_string());
    }
    if let Some(model) = &patch.model {
        put(&mut fields, "model", to_json(model)?);
    }
    if let Some(params) = &patch.params {
        put(&mut fields, "params", params.as_str());
    }
    Ok(fields)
}

/// The fields that an end changes.
pub(super) fn end(patch: &SessionPatch) -> Result<Fields, StoreError> {
    let mut fields = Fields::new();
    put(&mut fields, "state", SessionState::Ended.as_str());
    put(&mut fields, "ended_at_ms", optional(patch.ended_at_ms));
    put(&mut fields, "ended", patch.ended.as_ref().map_or(Ok(String::new()), to_json)?);
    put(&mut fields, "put_away_at_ms", "");
    put(&mut fields, "messages", "[]");
    if let Some(cost) = patch.total_cost_usd {
        put(&mut fields, "total_cost_usd", cost.to_string());
    }
    Ok(fields)
}

/// The record in a hash; `None` if there is none.
pub(super) fn decode(id: Uuid, hash: &HashMap<String, String>) -> Result<Option<Record>, StoreError> {
    if hash.is_empty() {
        return Ok(None);
    }
    let text = |name: &str| hash.get(name).map(String::as_str).ok_or_else(|| unreadable(id, "a field is missing"));
    let waits = !hash.contains_key("state");
    let about: About = from_json(id, text("about")?)?;
    let state = text(if waits { "starts_as" } else { "state" })?;
    let last_seq = number(id, text("last_seq")?)?;
    let ended = text("ended")?;
    let row = SessionRow {
        id,
        owner: text("owner")?.to_owned(),
        owner_name: about.owner_name,
        kind: about.kind,
        state: SessionState::from_word(state).ok_or_else(|| unreadable(id, "the state is an unknown word"))?,
        node: text("node")?.to_owned(),
        epoch: number(id, text("epoch")?)?,
        created_at_ms: number(id, text("created_at_ms")?)?,
        ended_at_ms: optional_number(id, text("ended_at_ms")?)?,
        workspace: about.workspace,
        model: from_json(id, text("model")?)?,
        interactive: about.interactive,
        on_disconnect: about.on_disconnect,
        on_lost: about.on_lost,
        labels: about.labels,
        resumed_from: about.resumed_from,
        last_seq,
        ended: if ended.is_empty() { None } else { Some(from_json(id, ended)?) },
        params: text("params")?.to_owned(),
        put_away_at_ms: optional_number(id, text("put_away_at_ms")?)?,
        messages: from_json(id, text("messages")?)?,
        total_cost_usd: optional_number(id, text("total_cost_usd")?)?,
    };
    let log = LogBounds { first: number(id, text("first")?)?, head: last_seq, bytes: number(id, text("bytes")?)? };
    Ok(Some(Record {
        row,
        log,
        key: text("key")?.to_owned(),
        given_key: hash.get("given_key").cloned().unwrap_or_default(),
        waits,
    }))
}

/// A number in a field.
pub(super) fn number<T: std::str::FromStr>(id: Uuid, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| unreadable(id, "a number is not one"))
}

fn optional_number<T: std::str::FromStr>(id: Uuid, text: &str) -> Result<Option<T>, StoreError> {
    if text.is_empty() { Ok(None) } else { number(id, text).map(Some) }
}

fn optional(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| damaged("a record can't be written as JSON"))
}

fn from_json<T: for<'a> Deserialize<'a>>(id: Uuid, text: &str) -> Result<T, StoreError> {
    // Not the error: it may hold a caller's words.
    serde_json::from_str(text).map_err(|_| unreadable(id, "a field is not the JSON it should be"))
}

/// The error for a record that no version of ours wrote.
pub(super) fn unreadable(id: Uuid, what: &'static str) -> StoreError {
    tracing::warn!(store = "redis", session_id = %id, what, "a session's record can't be read");
    damaged("a session's record has not the expected form")
}
