//! Looks over all keys: do the indexes agree with the records, is there what belongs to nothing?
//!
//! Reads only, beside gateways that write. What spans keys is written in steps, so whatever looks wrong is looked at
//! again a moment later, and told only if it is still so. It must not look into logs: [`crate::store::check`] does.

use std::time::Duration;

use fred::interfaces::{ClientLike, HashesInterface, KeysInterface, SortedSetsInterface};
use futures_util::{Stream, TryStreamExt};
use uuid::Uuid;

use super::keys::parse_member;
use super::record::Record;
use super::{RedisStore, fault, keys};
use crate::api::event::SessionState;
use crate::store::{Finding, StoreError};

/// Entries that are looked at between two questions for more.
const STEP: u32 = 256;
/// How long an entry that looks wrong is left alone before it is looked at again.
const AGAIN: Duration = Duration::from_millis(500);
/// Keys that Redis looks at in one step of a walk over all.
const SCANNED: u32 = 512;

/// What looked wrong: enough to look again.
enum Doubt {
    /// A member of an index.
    Member { index: String, member: String },
    /// A session that an index may lack.
    Session(Uuid),
    /// A log.
    Log(Uuid),
    /// An idempotency key, by its digest.
    Key(String),
}

impl RedisStore {
    /// See [`crate::store::Store::examine`].
    pub(super) async fn examine_all(&self) -> Result<Vec<Finding>, StoreError> {
        let mut doubts = Vec::new();
        for index in [self.keys.newest(), self.keys.alive(), self.keys.put_away(), self.keys.ended()] {
            self.look_along(index, &mut doubts).await?;
        }
        self.look_over_keys(&mut doubts).await?;
        let mut findings = Vec::new();
        if !doubts.is_empty() {
            tokio::time::sleep(AGAIN).await;
        }
        for doubt in &doubts {
            findings.extend(self.doubted(doubt).await?);
        }
        findings.sort();
        findings.dedup();
        Ok(findings)
    }

    /// Notes each member of an index that looks wrong.
    async fn look_along(&self, index: String, doubts: &mut Vec<Doubt>) -> Result<(), StoreError> {
        let mut after: Option<String> = None;
        loop {
            let members = self.members_after(&index, after.as_deref(), STEP).await?;
            for member in &members {
                let doubt = Doubt::Member { index: index.clone(), member: member.clone() };
                if !self.doubted(&doubt).await?.is_empty() {
                    doubts.push(doubt);
                }
            }
            if members.len() < STEP as usize {
                return Ok(());
            }
            after = members.into_iter().next_back();
        }
    }

    /// Notes what looks wrong of all keys, in whatever order Redis gives them.
    async fn look_over_keys(&self, doubts: &mut Vec<Doubt>) -> Result<(), StoreError> {
        let mut keys = self.all_keys()?;
        let by = self.keys.index("by:");
        while let Some(key) = keys.try_next().await.map_err(|error| fault::told("examine", &error))? {
            let doubt = match self.keys.parse(&key) {
                _ if key.starts_with(&by) => {
                    self.look_along(key, doubts).await?;
                    continue;
                }
                Some((tag, "session")) => tag.parse().ok().map(Doubt::Session),
                Some((tag, "log")) => tag.parse().ok().map(Doubt::Log),
                Some((tag, "key")) => Some(Doubt::Key(tag.to_owned())),
                _ => None,
            };
            if let Some(doubt) = doubt
                && !self.doubted(&doubt).await?.is_empty()
            {
                doubts.push(doubt);
            }
        }
        Ok(())
    }

    /// The name of every key with the prefix, from all servers of a cluster.
    fn all_keys(&self) -> Result<impl Stream<Item = Result<String, fred::error::Error>> + Send + Unpin, StoreError> {
        let client = self.link.commands()?;
        let (pattern, count) = (self.keys.pattern(), Some(SCANNED));
        let found = if client.is_clustered() {
            Box::pin(client.scan_cluster_buffered(pattern, count, None))
                as std::pin::Pin<Box<dyn Stream<Item = Result<fred::types::Key, _>> + Send>>
        } else {
            Box::pin(client.scan_buffered(pattern, count, None))
        };
        // A name that is no text is not ours.
        Ok(Box::pin(found.try_filter_map(|key| async move { Ok(key.into_string()) })))
    }

    /// What is wrong, if it is.
    async fn doubted(&self, doubt: &Doubt) -> Result<Vec<Finding>, StoreError> {
        match doubt {
            Doubt::Member { index, member } => Ok(self.look_at_member(index, member).await?.into_iter().collect()),
            Doubt::Session(id) => self.look_at_session(*id).await,
            Doubt::Log(id) => {
                let known: bool = self
                    .link
                    .commands()?
                    .exists(self.keys.record(*id))
                    .await
                    .map_err(|error| fault::told("examine", &error))?;
                Ok(if known { Vec::new() } else { vec![Finding::leftover(Some(*id), "a log belongs to no session")] })
            }
            Doubt::Key(digest) => {
                let Some(holder) = self.key_held_by(digest).await? else { return Ok(Vec::new()) };
                let holds = self.readable(holder).await?.is_none_or(|found| found.is_some_and(|it| it.key == *digest));
                let told = Finding::leftover(Some(holder), "an idempotency key belongs to no session");
                Ok(if holds { Vec::new() } else { vec![told] })
            }
        }
    }

    /// What is wrong with a member of an index that still has it.
    async fn look_at_member(&self, index: &str, member: &str) -> Result<Option<Finding>, StoreError> {
        let Some((at_ms, id)) = parse_member(member) else {
            return Ok(Some(Finding::fault(None, "an index holds what is no session")));
        };
        let Some(found) = self.readable(id).await? else { return Ok(None) };
        let right = match &found {
            None => false,
            Some(found) if index == self.keys.put_away() => found.row.put_away_at_ms == Some(at_ms),
            Some(found) if index == self.keys.ended() => {
                has_ended(found) && found.row.ended_at_ms.unwrap_or_default() == at_ms
            }
            Some(found) if index == self.keys.alive() => !has_ended(found) && found.row.created_at_ms == at_ms,
            Some(found) => {
                found.row.created_at_ms == at_ms && self.indexes_of(&found.row).iter().any(|name| name == index)
            }
        };
        if right || !self.has(index, member).await? {
            return Ok(None);
        }
        let what = match found {
            None => "an index leads to a session that is not there",
            Some(_) => "an index says of the session what its record does not",
        };
        Ok(Some(Finding::leftover(Some(id), what)))
    }

    /// What is wrong with what tells of a session.
    async fn look_at_session(&self, id: Uuid) -> Result<Vec<Finding>, StoreError> {
        // One that can't be read is told by whoever reads the records, one that waits is not to be seen yet.
        let Some(Some(found)) = self.readable(id).await? else { return Ok(Vec::new()) };
        if found.waits {
            return Ok(Vec::new());
        }
        let mut wanted: Vec<(String, String)> = Vec::new();
        let created = keys::member(found.row.created_at_ms, id);
        for index in self.indexes_of(&found.row) {
            if index != self.keys.alive() || !has_ended(&found) {
                wanted.push((index, created.clone()));
            }
        }
        if let Some(at_ms) = found.row.put_away_at_ms {
            wanted.push((self.keys.put_away(), keys::member(at_ms, id)));
        }
        if has_ended(&found) {
            wanted.push((self.keys.ended(), keys::member(found.row.ended_at_ms.unwrap_or_default(), id)));
        }
        let mut findings = Vec::new();
        for (index, member) in &wanted {
            if !self.has(index, member).await? {
                findings.push(Finding::fault(Some(id), "an index does not know the session: it is not found by it"));
            }
        }
        if has_ended(&found) {
            let [kept, _] = self.keys.kept();
            let counted: Option<String> = self
                .link
                .commands()?
                .hget(kept, id.to_string())
                .await
                .map_err(|error| fault::told("examine", &error))?;
            if counted != Some(found.log.bytes.to_string()) {
                findings.push(Finding::fault(Some(id), "its bytes are not in the sum of what is kept"));
            }
        }
        if !found.key.is_empty() && self.key_held_by(&found.key).await?.is_none() {
            findings.push(Finding::fault(Some(id), "its idempotency key is not there: it could be used again"));
        }
        Ok(findings)
    }

    /// The record of that id, or that there is none; `None` if there is one that can't be read.
    async fn readable(&self, id: Uuid) -> Result<Option<Option<Record>>, StoreError> {
        match self.record(id).await {
            Ok(found) => Ok(Some(found)),
            Err(StoreError::Damaged(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn has(&self, index: &str, member: &str) -> Result<bool, StoreError> {
        let score: Option<f64> =
            self.link.commands()?.zscore(index, member).await.map_err(|error| fault::told("examine", &error))?;
        Ok(score.is_some())
    }
}

fn has_ended(found: &Record) -> bool {
    found.row.state == SessionState::Ended
}
