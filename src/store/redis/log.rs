//! Event logs: appending batches, ending a session, reading on, cutting.
//!
//! Invariants: an append is one script that checks the owner and the head, writes the entry and moves the head, so
//! `last_seq` is the last entry's id; `bytes` is the sum of the payloads; nothing follows a session's last event.

use fred::interfaces::HashesInterface;
use fred::types::Value;
use uuid::Uuid;

use super::fault::damaged;
use super::record::{self, Fields};
use super::{RedisStore, fault, keys, scripts};
use crate::api::selector::TypeSet;
use crate::store::{Batch, LogBounds, READ_BATCHES, SessionPatch, StoreError};

/// What the append script gives when the batch is in the log.
struct Appended {
    bytes: u64,
    put_away_at_ms: Option<u64>,
    created_at_ms: u64,
}

impl RedisStore {
    /// See [`crate::store::Store::append`].
    pub(super) async fn append_batch(&self, id: Uuid, epoch: u64, batch: &Batch) -> Result<(), StoreError> {
        self.push("append", id, epoch, batch, None).await.map(drop)
    }

    /// See [`crate::store::Store::end_session`]. The index of ended sessions comes first, and leads to nothing
    /// until the record says so; that the session is alive no more, and what it keeps, is noted last. Should that
    /// not be reached, whoever walks the sessions that are alive makes up for it.
    pub(super) async fn end(
        &self,
        id: Uuid,
        epoch: u64,
        batch: &Batch,
        patch: &SessionPatch,
    ) -> Result<(), StoreError> {
        self.index_ended(patch.ended_at_ms.unwrap_or_default(), id).await?;
        let appended = self.push("end_session", id, epoch, batch, Some(record::end(patch)?)).await?;
        self.settle(id, appended.created_at_ms, appended.bytes, appended.put_away_at_ms).await;
        Ok(())
    }

    async fn push(
        &self,
        doing: &'static str,
        id: Uuid,
        epoch: u64,
        batch: &Batch,
        end: Option<Fields>,
    ) -> Result<Appended, StoreError> {
        let follows = batch.first_seq.checked_sub(1).map(|head| head.to_string()).unwrap_or_default();
        let backwards = batch.last_seq < batch.first_seq;
        let flag = |set: bool| if set { "1" } else { "" };
        let mut arguments: Vec<Value> = vec![
            epoch.to_string().into(),
            follows.into(),
            batch.last_seq.to_string().into(),
            batch.first_seq.to_string().into(),
            batch.types.0.to_string().into(),
            Value::Bytes(batch.payload.clone()),
            keys::payload_hash(&batch.payload).into(),
            batch.payload.len().to_string().into(),
            flag(backwards).into(),
            flag(end.is_some()).into(),
        ];
        arguments.extend(end.unwrap_or_default());
        let names = vec![self.keys.record(id), self.keys.log(id), self.keys.grown(id)];
        let answer: Vec<String> = self.link.run(doing, &scripts::APPEND, names, arguments).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["ok", _, bytes, put_away, created_at_ms] => Ok(Appended {
                bytes: record::number(id, bytes)?,
                put_away_at_ms: if put_away.is_empty() { None } else { Some(record::number(id, put_away)?) },
                created_at_ms: record::number(id, created_at_ms)?,
            }),
            ["missing"] => Err(StoreError::Missing),
            ["not_owner"] => Err(StoreError::NotOwner),
            ["gap", head] => {
                let head: u64 = record::number(id, head)?;
                Err(StoreError::Gap { expected: head.saturating_add(1), found: batch.first_seq })
            }
            _ => Err(damaged("it gave an unknown answer")),
        }
    }

    /// See [`crate::store::Store::read`].
    pub(super) async fn read_log(
        &self,
        id: Uuid,
        after_seq: u64,
        wanted: TypeSet,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, StoreError> {
        let names = vec![self.keys.record(id), self.keys.log(id)];
        let arguments = vec![
            after_seq.to_string().into(),
            wanted.0.to_string().into(),
            max_bytes.to_string().into(),
            READ_BATCHES.to_string().into(),
        ];
        let mut answer: Vec<Value> = self.link.run_bulk("read", &scripts::READ, names, arguments).await?;
        let Some(Value::Array(entries)) = answer.pop() else { return Err(StoreError::Missing) };
        let head: u64 = answer.pop().map_or_else(|| Err(damaged("it gave an unknown answer")), number)?;
        let mut batches = Vec::<Batch>::with_capacity(entries.len());
        for entry in entries {
            let batch = decode(entry)?;
            let follows = batches.last().is_none_or(|before| before.last_seq.checked_add(1) == Some(batch.first_seq));
            if batch.first_seq > batch.last_seq || !follows {
                return Err(torn(id, "a batch of the log is missing"));
            }
            batches.push(batch);
        }
        if batches.is_empty() && after_seq < head {
            return Err(torn(id, "the end of the log is missing"));
        }
        Ok(batches)
    }

    /// See [`crate::store::Store::bounds`].
    pub(super) async fn log_bounds(&self, id: Uuid) -> Result<LogBounds, StoreError> {
        let fields = vec!["state", "first", "last_seq", "bytes"];
        let found: Vec<Option<String>> = self
            .link
            .commands()?
            .hmget(self.keys.record(id), fields)
            .await
            .map_err(|error| fault::told("bounds", &error))?;
        match &found[..] {
            [Some(_), Some(first), Some(head), Some(bytes)] => bounds(id, first, head, bytes),
            [None, ..] => Err(StoreError::Missing),
            _ => Err(record::unreadable(id, "a field is missing")),
        }
    }

    /// See [`crate::store::Store::cut_head`].
    pub(super) async fn cut(
        &self,
        id: Uuid,
        epoch: u64,
        keep_bytes: u64,
        max_batches: u32,
    ) -> Result<LogBounds, StoreError> {
        let names = vec![self.keys.record(id), self.keys.log(id)];
        let arguments = vec![epoch.to_string().into(), keep_bytes.to_string().into(), max_batches.to_string().into()];
        let answer: Vec<String> = self.link.run("cut_head", &scripts::CUT, names, arguments).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["ok", first, head, bytes, state] => {
                let bounds = bounds(id, first, head, bytes)?;
                if state == crate::api::event::SessionState::Ended.as_str() {
                    self.recount(id, bounds.bytes).await?;
                }
                Ok(bounds)
            }
            ["missing"] => Err(StoreError::Missing),
            ["not_owner"] => Err(StoreError::NotOwner),
            _ => Err(damaged("it gave an unknown answer")),
        }
    }
}

/// A list of last number, first number, types and payload.
fn decode(entry: Value) -> Result<Batch, StoreError> {
    let Value::Array(parts) = entry else { return Err(damaged("a batch has not the expected form")) };
    let Ok([last, first, types, payload]) = <[Value; 4]>::try_from(parts) else {
        return Err(damaged("a batch has not the expected form"));
    };
    let last = last.into_string().unwrap_or_default();
    Ok(Batch {
        first_seq: number(first)?,
        last_seq: number(Value::from(last.strip_suffix("-0").unwrap_or_default()))?,
        types: TypeSet(number(types)?),
        payload: payload.into_bytes().ok_or_else(|| damaged("a batch is not of bytes"))?,
    })
}

fn number<T: std::str::FromStr>(value: Value) -> Result<T, StoreError> {
    let text = value.into_string().unwrap_or_default();
    text.parse().map_err(|_| damaged("a batch's number is not one"))
}

fn torn(id: Uuid, what: &'static str) -> StoreError {
    tracing::error!(store = "redis", session_id = %id, what, "a session's log is damaged");
    damaged(what)
}

fn bounds(id: Uuid, first: &str, head: &str, bytes: &str) -> Result<LogBounds, StoreError> {
    Ok(LogBounds {
        first: record::number(id, first)?,
        head: record::number(id, head)?,
        bytes: record::number(id, bytes)?,
    })
}
