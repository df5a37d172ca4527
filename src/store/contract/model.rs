//! A store of sessions and their logs as plain values, that a person can check by reading.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Outcome, sample};
use crate::api::event::SessionState;
use crate::store::{Batch, LogBounds, SessionPatch, SessionRow, StoreError};

/// The sessions, each with its record and the batches that are kept of its log.
#[derive(Default)]
pub(super) struct Model {
    pub(super) sessions: BTreeMap<Uuid, (SessionRow, Vec<Batch>)>,
}

impl Model {
    fn owned(&mut self, id: Uuid, epoch: u64) -> Result<&mut (SessionRow, Vec<Batch>), StoreError> {
        let session = self.sessions.get_mut(&id).ok_or(StoreError::Missing)?;
        if session.0.epoch == epoch { Ok(session) } else { Err(StoreError::NotOwner) }
    }

    pub(super) fn append(&mut self, id: Uuid, epoch: u64, batch: &Batch) -> Outcome {
        let (row, log) = self.owned(id, epoch)?;
        if log.contains(batch) {
            return Ok(());
        }
        if row.state == SessionState::Ended {
            return Err(StoreError::NotOwner);
        }
        if batch.first_seq != row.last_seq + 1 || batch.last_seq < batch.first_seq {
            return Err(StoreError::Gap { expected: row.last_seq + 1, found: batch.first_seq });
        }
        row.last_seq = batch.last_seq;
        log.push(batch.clone());
        Ok(())
    }

    pub(super) fn end(&mut self, id: Uuid, epoch: u64, batch: &Batch, patch: &SessionPatch) -> Outcome {
        let (row, log) = self.owned(id, epoch)?;
        if row.state == SessionState::Ended {
            return if log.last() == Some(batch) { Ok(()) } else { Err(StoreError::NotOwner) };
        }
        if log.contains(batch) {
            return Err(StoreError::Gap { expected: row.last_seq + 1, found: batch.first_seq });
        }
        self.append(id, epoch, batch)?;
        let (row, _) = self.owned(id, epoch)?;
        row.state = SessionState::Ended;
        row.ended_at_ms = patch.ended_at_ms;
        row.ended.clone_from(&patch.ended);
        row.put_away_at_ms = None;
        row.messages.clear();
        row.total_cost_usd = patch.total_cost_usd.or(row.total_cost_usd);
        Ok(())
    }

    pub(super) fn update(&mut self, id: Uuid, epoch: u64, patch: &SessionPatch) -> Outcome {
        let (row, _) = self.sessions.get_mut(&id).ok_or(StoreError::Missing)?;
        let ended = row.state == SessionState::Ended;
        if let Some((node, new)) = &patch.owner
            && *new > epoch
            && row.epoch == *new
            && row.node == *node
            && !ended
        {
            return Ok(());
        }
        if ended || row.epoch != epoch || patch.owner.as_ref().is_some_and(|(_, new)| *new <= epoch) {
            return Err(StoreError::NotOwner);
        }
        sample::apply(row, patch);
        Ok(())
    }

    pub(super) fn cut_head(&mut self, id: Uuid, epoch: u64, keep: u64, most: usize) -> Result<LogBounds, StoreError> {
        let (_, log) = self.owned(id, epoch)?;
        let mut cut = 0;
        while cut < most && cut + 1 < log.len() && bytes(&log[cut..]) > keep {
            cut += 1;
        }
        log.drain(..cut);
        self.bounds(id)
    }

    pub(super) fn remove(&mut self, id: Uuid) -> Result<bool, StoreError> {
        match self.sessions.get(&id) {
            None => Ok(false),
            Some((row, _)) if row.state != SessionState::Ended => Err(StoreError::NotOwner),
            Some(_) => Ok(self.sessions.remove(&id).is_some()),
        }
    }

    pub(super) fn bounds(&self, id: Uuid) -> Result<LogBounds, StoreError> {
        let (row, log) = self.sessions.get(&id).ok_or(StoreError::Missing)?;
        let first = log.first().map_or(row.last_seq + 1, |batch| batch.first_seq);
        Ok(LogBounds { first, head: row.last_seq, bytes: bytes(log) })
    }

    pub(super) fn head(&self, id: Uuid) -> u64 {
        self.sessions.get(&id).map_or(0, |(row, _)| row.last_seq)
    }

    pub(super) fn read(&self, id: Uuid, after: u64) -> Result<Vec<Batch>, StoreError> {
        let (_, log) = self.sessions.get(&id).ok_or(StoreError::Missing)?;
        Ok(log.iter().filter(|batch| batch.last_seq > after).cloned().collect())
    }

    pub(super) fn newest_first(&self) -> Vec<SessionRow> {
        let mut rows: Vec<_> = self.sessions.values().map(|(row, _)| row.clone()).collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.created_at_ms, row.id)));
        rows
    }

    /// Those that somebody must account for, the oldest first.
    pub(super) fn unfinished(&self, node: Option<&str>) -> Vec<SessionRow> {
        let mut rows = self.newest_first();
        rows.reverse();
        rows.retain(|row| row.state != SessionState::Ended && row.put_away_at_ms.is_none());
        rows.retain(|row| node.is_none_or(|node| row.node == node));
        rows
    }

    /// The longest put away first.
    pub(super) fn put_away(&self) -> Vec<SessionRow> {
        let mut rows = self.newest_first();
        rows.retain(|row| row.put_away_at_ms.is_some());
        rows.sort_by_key(|row| (row.put_away_at_ms, row.id));
        rows
    }
}

fn bytes(log: &[Batch]) -> u64 {
    log.iter().map(|batch| batch.payload.len() as u64).sum()
}
