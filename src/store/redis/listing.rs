//! The indexes of sessions, and the lists that come from them.
//!
//! Invariants: an index only says where to look; the record says what is so. An entry comes before its record (or
//! before the record says what the entry does) and goes after it, so nothing is ever left out; what leads to nothing
//! is passed over. Such leftovers of whoever died in between are deleted by those who walk past, once they are so
//! old ([`LEFTOVER_MS`]) that nobody can still be on the way from the entry to the record.
//!
//! A page costs what its own rows cost, but for the filters that have no index of their own: `ended` passes over the
//! few that have not ended; another state walks what is alive; an owner and a label together have one.

use fred::interfaces::{KeysInterface, SortedSetsInterface};
use fred::types::Value;
use futures_util::future::join_all;
use uuid::Uuid;

use super::record::Record;
use super::{RedisStore, fault, keys, scripts};
use crate::api::event::SessionState;
use crate::store::{EndedQuery, EndedRow, ListQuery, Page, PutAwayQuery, SessionRow, StoreError};
use crate::telemetry::time::now_ms;

/// From when on an entry that leads to nothing is a leftover, in milliseconds.
const LEFTOVER_MS: u64 = 3_600_000;
/// Entries that are looked at together.
const STEP: usize = 64;

/// Which way an index is walked.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    OldestFirst,
    NewestFirst,
}

/// A walk along an index, entry by entry.
struct Walk<'a> {
    store: &'a RedisStore,
    index: String,
    way: Way,
    /// The last entry that was seen, or where to begin, as Redis takes it.
    from: String,
    to: String,
    done: bool,
}

impl Walk<'_> {
    /// The next entries with their records, if those can be read and are to be seen.
    async fn step(&mut self, most: usize) -> Result<Vec<(String, u64, Option<Record>)>, StoreError> {
        let client = self.store.link.commands()?;
        let limit = Some((0, i64::try_from(most).unwrap_or(i64::MAX)));
        let (from, to) = (self.from.as_str(), self.to.as_str());
        let found: Result<Vec<String>, _> = match self.way {
            Way::OldestFirst => client.zrangebylex(&self.index, from, to, limit).await,
            Way::NewestFirst => client.zrevrangebylex(&self.index, from, to, limit).await,
        };
        let members = found.map_err(|error| fault::told("list", &error))?;
        self.done = members.len() < most;
        if let Some(last) = members.last() {
            self.from = format!("({last}");
        }
        let known: Vec<_> =
            members.into_iter().filter_map(|member| Some((keys::parse_member(&member)?, member))).collect();
        let records = join_all(known.iter().map(|((_, id), _)| self.store.seen(*id))).await;
        let mut entries = Vec::with_capacity(known.len());
        for (((at_ms, _), member), record) in known.into_iter().zip(records) {
            match record {
                Ok(record) => entries.push((member, at_ms, record)),
                // Logged where it was read: one damaged record must not keep the others.
                Err(StoreError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    /// Passes over an entry that leads to nothing, and deletes it if it is a leftover.
    async fn pass(&self, member: &str, at_ms: u64) {
        if at_ms.saturating_add(LEFTOVER_MS) < now_ms() {
            self.store.unindex(&self.index, member).await;
        }
    }
}

impl RedisStore {
    fn walk(&self, index: String, way: Way, from: String, to: String) -> Walk<'_> {
        Walk { store: self, index, way, from, to, done: false }
    }

    /// See [`crate::store::Store::list_sessions`].
    pub(super) async fn page(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let alive = query.state.is_some_and(|state| state != SessionState::Ended);
        let label = query.label.as_ref().map(|(name, value)| (name.as_str(), value.as_deref()));
        let index = match (alive, query.owner.as_deref(), label) {
            (true, ..) => self.keys.alive(),
            (false, None, None) => self.keys.newest(),
            (false, owner, label) => self.keys.found_by(owner, label),
        };
        let from = query.before.map_or_else(|| "+".to_owned(), |(at_ms, id)| format!("({}", keys::member(at_ms, id)));
        let mut walk = self.walk(index, Way::NewestFirst, from, "-".to_owned());
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let mut rows = Vec::new();
        // One row more than asked for tells whether there are more.
        while rows.len() <= limit && !walk.done {
            let most = (limit - rows.len()).saturating_add(1).min(STEP);
            for (member, at_ms, found) in walk.step(most).await? {
                match found {
                    Some(found) if found.row.created_at_ms == at_ms => {
                        if matches(&found.row, query) {
                            rows.push(found.row);
                        }
                    }
                    _ => walk.pass(&member, at_ms).await,
                }
            }
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(Page { rows, more })
    }

    /// See [`crate::store::Store::session_ids`].
    pub(super) async fn ids_page(
        &self,
        after: Option<(u64, Uuid)>,
        limit: u32,
    ) -> Result<Vec<(u64, Uuid)>, StoreError> {
        let after = after.map(|(at_ms, id)| keys::member(at_ms, id));
        let members = self.members_after(&self.keys.newest(), after.as_deref(), limit).await?;
        let unreadable = || fault::damaged("an index holds what is no session");
        members.iter().map(|member| keys::parse_member(member).ok_or_else(unreadable)).collect()
    }

    /// Members of an index in their order, those after `after`.
    pub(super) async fn members_after(
        &self,
        index: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let from = after.map_or_else(|| "-".to_owned(), |member| format!("({member}"));
        let found = self.link.commands()?.zrangebylex(index, from, "+", Some((0, i64::from(limit)))).await;
        found.map_err(|error| fault::told("list", &error))
    }

    /// See [`crate::store::Store::unfinished_sessions`].
    pub(super) async fn unfinished(&self, node: Option<&str>) -> Result<Vec<SessionRow>, StoreError> {
        let mut rows = Vec::new();
        self.each_alive(|found| {
            if found.row.put_away_at_ms.is_none() && node.is_none_or(|node| found.row.node == node) {
                rows.push(found.row);
            }
        })
        .await?;
        Ok(rows)
    }

    /// See [`crate::store::Store::kept_bytes`]: what ended sessions keep is counted, what the others do is summed.
    pub(super) async fn sum_of_kept(&self) -> Result<u64, StoreError> {
        let [_, total] = self.keys.kept();
        let mut sum = 0_u64;
        self.each_alive(|found| sum = sum.saturating_add(found.log.bytes)).await?;
        let ended: Option<u64> =
            self.link.commands()?.get(total).await.map_err(|error| fault::told("kept_bytes", &error))?;
        Ok(sum.saturating_add(ended.unwrap_or_default()))
    }

    /// Every session that has not ended, oldest first. Makes up for an end that was not noted.
    async fn each_alive(&self, mut each: impl FnMut(Record) + Send) -> Result<(), StoreError> {
        let mut walk = self.walk(self.keys.alive(), Way::OldestFirst, "-".to_owned(), "+".to_owned());
        while !walk.done {
            for (member, at_ms, found) in walk.step(STEP).await? {
                match found {
                    Some(found) if found.row.created_at_ms != at_ms => walk.pass(&member, at_ms).await,
                    Some(found) if found.row.state == SessionState::Ended => {
                        self.settle(found.row.id, at_ms, found.log.bytes, None).await;
                    }
                    Some(found) => each(found),
                    None => walk.pass(&member, at_ms).await,
                }
            }
        }
        Ok(())
    }

    /// See [`crate::store::Store::put_away_sessions`].
    pub(super) async fn put_away_page(&self, query: &PutAwayQuery) -> Result<Vec<SessionRow>, StoreError> {
        let from = query.after.map_or_else(|| "-".to_owned(), |(at_ms, id)| format!("({}", keys::member(at_ms, id)));
        let to = query.before_ms.map_or_else(|| "+".to_owned(), |at_ms| format!("({}", keys::moment(at_ms)));
        let mut walk = self.walk(self.keys.put_away(), Way::OldestFirst, from, to);
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let mut rows = Vec::new();
        while rows.len() < limit && !walk.done {
            for (member, at_ms, found) in walk.step((limit - rows.len()).min(STEP)).await? {
                match found {
                    Some(found) if found.row.put_away_at_ms == Some(at_ms) => rows.push(found.row),
                    _ => walk.pass(&member, at_ms).await,
                }
            }
        }
        Ok(rows)
    }

    /// See [`crate::store::Store::ended_sessions`].
    pub(super) async fn ended_page(&self, query: &EndedQuery) -> Result<Vec<EndedRow>, StoreError> {
        let from = query.after.map_or_else(|| "-".to_owned(), |(at_ms, id)| format!("({}", keys::member(at_ms, id)));
        let mut walk = self.walk(self.keys.ended(), Way::OldestFirst, from, "+".to_owned());
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let kept = |row: &SessionRow| {
            let label = query.without_label.as_ref().and_then(|name| row.labels.get(name));
            label.is_some_and(|value| value != "false")
        };
        let mut rows = Vec::new();
        while rows.len() < limit && !walk.done {
            for (member, at_ms, found) in walk.step((limit - rows.len()).min(STEP)).await? {
                let Some(found) = found.filter(|found| {
                    found.row.state == SessionState::Ended && found.row.ended_at_ms.unwrap_or_default() == at_ms
                }) else {
                    walk.pass(&member, at_ms).await;
                    continue;
                };
                if !kept(&found.row) {
                    let (id, bytes, workspace) = (found.row.id, found.log.bytes, found.row.workspace);
                    rows.push(EndedRow { id, ended_at_ms: at_ms, bytes, workspace });
                }
            }
        }
        Ok(rows)
    }

    /// Every index that tells of a session by when it was created.
    pub(super) fn indexes_of(&self, row: &SessionRow) -> Vec<String> {
        let owner = Some(row.owner.as_str());
        let mut indexes = vec![self.keys.newest(), self.keys.alive(), self.keys.found_by(owner, None)];
        for (name, value) in &row.labels {
            for owner in [None, owner] {
                for value in [None, Some(value.as_str())] {
                    indexes.push(self.keys.found_by(owner, Some((name, value))));
                }
            }
        }
        indexes
    }

    /// Announces a session whose record comes next.
    pub(super) async fn index(&self, row: &SessionRow) -> Result<(), StoreError> {
        let member = keys::member(row.created_at_ms, row.id);
        let indexes = self.indexes_of(row);
        if let Some(at_ms) = row.put_away_at_ms {
            self.index_put_away(at_ms, row.id).await?;
        }
        if let (SessionState::Ended, at_ms) = (row.state, row.ended_at_ms.unwrap_or_default()) {
            self.index_ended(at_ms, row.id).await?;
        }
        self.link.run("index", &scripts::INDEX, indexes, vec![member.into()]).await
    }

    pub(super) async fn index_put_away(&self, at_ms: u64, id: Uuid) -> Result<(), StoreError> {
        let member = keys::member(at_ms, id);
        self.link.run("index", &scripts::INDEX, vec![self.keys.put_away()], vec![member.into()]).await
    }

    pub(super) async fn index_ended(&self, at_ms: u64, id: Uuid) -> Result<(), StoreError> {
        let member = keys::member(at_ms, id);
        self.link.run("index", &scripts::INDEX, vec![self.keys.ended()], vec![member.into()]).await
    }

    pub(super) async fn unindex_put_away(&self, at_ms: u64, id: Uuid) {
        self.unindex(&self.keys.put_away(), &keys::member(at_ms, id)).await;
    }

    /// Deletes an entry that leads to nothing. Should it fail, the entry goes another time.
    async fn unindex(&self, index: &str, member: &str) {
        let Ok(client) = self.link.commands() else { return };
        let removed: Result<i64, _> = client.zrem(index, member).await;
        if let Err(error) = removed {
            fault::told("unindex", &error);
        }
    }

    /// Notes that a session has ended and what it keeps. Should it fail, whoever walks what is alive does it.
    pub(super) async fn settle(&self, id: Uuid, created_at_ms: u64, bytes: u64, put_away_at_ms: Option<u64>) {
        let [kept, total] = self.keys.kept();
        let names = vec![self.keys.alive(), kept, total, self.keys.put_away()];
        let put_away = put_away_at_ms.map(|at_ms| keys::member(at_ms, id)).unwrap_or_default();
        let member = keys::member(created_at_ms, id);
        let arguments = vec![Value::from(member), id.to_string().into(), bytes.to_string().into(), put_away.into()];
        // It is logged where it fails.
        drop(self.link.run::<i64>("settle", &scripts::SETTLE, names, arguments).await);
    }

    /// Counts the bytes of an ended session anew.
    pub(super) async fn recount(&self, id: Uuid, bytes: u64) -> Result<(), StoreError> {
        let names = self.keys.kept().to_vec();
        self.link.run("recount", &scripts::RECOUNT, names, vec![id.to_string().into(), bytes.to_string().into()]).await
    }

    /// Forgets a session that was removed or never shown. Should it fail, what is left leads to nothing.
    pub(super) async fn forget(&self, row: &SessionRow) {
        let [kept, total] = self.keys.kept();
        let mut names = vec![kept, total, self.keys.ended()];
        names.extend(self.indexes_of(row));
        let arguments = vec![
            Value::from(row.id.to_string()),
            keys::member(row.ended_at_ms.unwrap_or_default(), row.id).into(),
            keys::member(row.created_at_ms, row.id).into(),
        ];
        // It is logged where it fails.
        drop(self.link.run::<i64>("forget", &scripts::FORGET, names, arguments).await);
    }
}

fn matches(row: &SessionRow, query: &ListQuery) -> bool {
    let label = query.label.as_ref().is_none_or(|(name, value)| {
        row.labels.get(name).is_some_and(|has| value.as_ref().is_none_or(|wanted| wanted == has))
    });
    label
        && query.owner.as_ref().is_none_or(|owner| *owner == row.owner)
        && query.state.is_none_or(|state| state == row.state)
}
