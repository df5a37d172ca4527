//! Sessions: creating them, changing their records, finding one.
//!
//! A start spans several slots of a cluster, so it is several steps. A record is written first such that nobody sees
//! it, then the idempotency key is claimed for it, then it is shown. Whoever dies in between leaves a record that
//! is not to be seen and goes by itself, and perhaps a key that holds its id: whoever comes with the key next
//! shows that record (the start has happened, and only its answer was lost) or, if it is gone, takes the key.
//! Entries of indexes come before what they lead to, and lead to nothing until then.

use std::collections::HashMap;

use fred::interfaces::{HashesInterface, KeysInterface};
use fred::types::Value;
use uuid::Uuid;

use super::record::{self, Record};
use super::{RedisStore, fault, keys, scripts};
use crate::api::event::SessionState;
use crate::store::{Created, NewSession, SessionPatch, SessionRow, StoreError};

/// How long a record that is not seen yet waits to be shown, in milliseconds.
const UNSEEN_MS: u64 = 3_600_000;

/// What an idempotency key holds.
struct Holder {
    id: Uuid,
    fingerprint: String,
    /// As it is stored.
    value: String,
}

impl RedisStore {
    /// The record of that id, also one that is not to be seen yet.
    pub(super) async fn record(&self, id: Uuid) -> Result<Option<Record>, StoreError> {
        let hash: HashMap<String, String> = self
            .link
            .commands()?
            .hgetall(self.keys.record(id))
            .await
            .map_err(|error| fault::told("session", &error))?;
        record::decode(id, &hash)
    }

    /// The record of that id, if it is to be seen.
    pub(super) async fn seen(&self, id: Uuid) -> Result<Option<Record>, StoreError> {
        Ok(self.record(id).await?.filter(|record| !record.waits))
    }

    /// See [`crate::store::Store::create_session`].
    pub(super) async fn create(&self, session: &NewSession) -> Result<Created, StoreError> {
        let row = &session.row;
        let Some((key, fingerprint)) = &session.idempotency else {
            return self.create_without_key(row).await;
        };
        let digest = keys::digest(&row.owner, key);
        let value = format!("{}:{fingerprint}", row.id);
        let held = self.holder(&digest).await?;
        let stale = match &held {
            Some(holder) if holder.id != row.id || holder.fingerprint != *fingerprint => {
                match self.other_than(holder, &digest, fingerprint).await? {
                    Some(created) => return Ok(created),
                    None => holder.value.clone(),
                }
            }
            _ => String::new(),
        };
        match self.record(row.id).await? {
            Some(stored) if !stored.row.same_start(row) => return Err(StoreError::Exists),
            Some(stored) if !stored.waits => return Ok(Created::New),
            Some(_) => {}
            None => {
                self.index(row).await?;
                if !self.begin(row, &digest, key, true).await? {
                    return Err(StoreError::Away("two calls have started one session".to_owned()));
                }
            }
        }
        self.claim(row, &digest, &value, stale, fingerprint).await
    }

    async fn create_without_key(&self, row: &SessionRow) -> Result<Created, StoreError> {
        // Once more if somebody else has written it between the look and the attempt.
        for _ in 0..2 {
            if let Some(stored) = self.record(row.id).await? {
                return if stored.row.same_start(row) { Ok(Created::New) } else { Err(StoreError::Exists) };
            }
            self.index(row).await?;
            if self.begin(row, "", "", false).await? {
                return Ok(Created::New);
            }
        }
        Err(StoreError::Away("two calls have started one session".to_owned()))
    }

    /// Writes the record; `false` if there is one.
    async fn begin(&self, row: &SessionRow, digest: &str, key: &str, waits: bool) -> Result<bool, StoreError> {
        let life = if waits { UNSEEN_MS.to_string() } else { String::new() };
        let mut arguments = vec![Value::from(life)];
        arguments.extend(record::encode(row, digest, key, waits)?);
        self.link.run("create_session", &scripts::BEGIN, vec![self.keys.record(row.id)], arguments).await
    }

    /// Claims the key for a record that waits, and shows the record; or withdraws it for the one that has the key.
    async fn claim(
        &self,
        row: &SessionRow,
        digest: &str,
        value: &str,
        mut stale: String,
        fingerprint: &str,
    ) -> Result<Created, StoreError> {
        // Each round somebody else's session has come and gone.
        for _ in 0..8 {
            let arguments = vec![Value::from(value), Value::from(stale.as_str())];
            let key = vec![self.keys.idempotency(digest)];
            let held: String = self.link.run("create_session", &scripts::CLAIM, key, arguments).await?;
            if held == value {
                return if self.publish(row.id).await? {
                    Ok(Created::New)
                } else {
                    Err(StoreError::Away("a start took too long".to_owned()))
                };
            }
            let holder = parse_holder(held)?;
            if let Some(created) = self.other_than(&holder, digest, fingerprint).await? {
                let key = vec![self.keys.record(row.id)];
                let _: i64 = self.link.run("create_session", &scripts::WITHDRAW, key, Vec::new()).await?;
                self.forget(row).await;
                return Ok(created);
            }
            stale = holder.value;
        }
        Err(StoreError::Away("too many calls with one key".to_owned()))
    }

    async fn publish(&self, id: Uuid) -> Result<bool, StoreError> {
        self.link.run("create_session", &scripts::PUBLISH, vec![self.keys.record(id)], Vec::new()).await
    }

    /// What a call gets whose key another session holds, or came with another fingerprint; `None` if that session is
    /// no longer there.
    async fn other_than(
        &self,
        holder: &Holder,
        digest: &str,
        fingerprint: &str,
    ) -> Result<Option<Created>, StoreError> {
        let Some(stored) = self.record(holder.id).await?.filter(|stored| stored.key == digest) else {
            return Ok(None);
        };
        if stored.waits && !self.publish(holder.id).await? {
            return Ok(None);
        }
        if holder.fingerprint == fingerprint {
            return Ok(Some(Created::Existing(Box::new(stored.row))));
        }
        Ok(Some(Created::KeyReused))
    }

    async fn holder(&self, digest: &str) -> Result<Option<Holder>, StoreError> {
        let held: Option<String> = self
            .link
            .commands()?
            .get(self.keys.idempotency(digest))
            .await
            .map_err(|error| fault::told("session_by_key", &error))?;
        held.map(parse_holder).transpose()
    }

    /// See [`crate::store::Store::session_by_key`].
    pub(super) async fn by_key(&self, owner: &str, key: &str) -> Result<Option<(SessionRow, String)>, StoreError> {
        let digest = keys::digest(owner, key);
        let Some(holder) = self.holder(&digest).await? else { return Ok(None) };
        let found = self.seen(holder.id).await?.filter(|found| found.key == digest);
        Ok(found.map(|found| (found.row, holder.fingerprint)))
    }

    /// See [`crate::store::Store::key_of_session`].
    pub(super) async fn key_given_for(&self, id: Uuid) -> Result<Option<(String, String)>, StoreError> {
        let Some(found) = self.seen(id).await?.filter(|found| !found.key.is_empty()) else { return Ok(None) };
        let Some(holder) = self.holder(&found.key).await?.filter(|holder| holder.id == id) else { return Ok(None) };
        if found.given_key.is_empty() {
            return Err(record::unreadable(id, "its idempotency key was not kept"));
        }
        Ok(Some((found.given_key, holder.fingerprint)))
    }

    /// The session that holds the idempotency key of that digest; `None` if it is free.
    pub(super) async fn key_held_by(&self, digest: &str) -> Result<Option<Uuid>, StoreError> {
        Ok(self.holder(digest).await?.map(|holder| holder.id))
    }

    /// Gives back the key that a removed session came with.
    pub(super) async fn unclaim(&self, removed: &Record) -> Result<(), StoreError> {
        if removed.key.is_empty() {
            return Ok(());
        }
        let Some(holder) = self.holder(&removed.key).await?.filter(|holder| holder.id == removed.row.id) else {
            return Ok(());
        };
        let key = vec![self.keys.idempotency(&removed.key)];
        self.link.run("remove_session", &scripts::UNCLAIM, key, vec![Value::from(holder.value)]).await
    }

    /// See [`crate::store::Store::update_session`].
    pub(super) async fn update(&self, id: Uuid, epoch: u64, patch: &SessionPatch) -> Result<(), StoreError> {
        let ends = patch.state == Some(SessionState::Ended) || patch.ended.is_some() || patch.ended_at_ms.is_some();
        if ends {
            tracing::error!(session_id = %id, "a patch tried to end a session without its last event; this is a bug");
        }
        let put_away = patch.put_away_at_ms.flatten();
        if let Some(at_ms) = put_away {
            self.index_put_away(at_ms, id).await?;
        }
        let (node, new_epoch) = patch.owner.clone().map_or_else(Default::default, |(node, to)| (node, to.to_string()));
        let refused = ends || patch.owner.as_ref().is_some_and(|(_, to)| *to <= epoch);
        let mut arguments =
            vec![epoch.to_string().into(), node.into(), new_epoch.into(), if refused { "1" } else { "" }.into()];
        arguments.extend(record::changes(patch)?);
        let key = vec![self.keys.record(id)];
        let answer: Vec<String> = self.link.run("update_session", &scripts::UPDATE, key, arguments).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["ok", before] if patch.put_away_at_ms.is_some() && !before.is_empty() => {
                let before = record::number(id, before)?;
                if put_away != Some(before) {
                    self.unindex_put_away(before, id).await;
                }
                Ok(())
            }
            ["ok", _] | ["same"] => Ok(()),
            ["missing"] => Err(StoreError::Missing),
            ["not_owner"] => Err(StoreError::NotOwner),
            _ => Err(fault::damaged("it gave an unknown answer")),
        }
    }
}

fn parse_holder(value: String) -> Result<Holder, StoreError> {
    let parsed = value.split_once(':').and_then(|(id, fingerprint)| Some((id.parse().ok()?, fingerprint.to_owned())));
    let (id, fingerprint) = parsed.ok_or_else(|| fault::damaged("an idempotency key has not the expected form"))?;
    Ok(Holder { id, fingerprint, value })
}
