//! Long random histories of sessions and their logs, against a model that a person can check by reading.
//!
//! The histories come from fixed seeds: a failure repeats. The message names the seed and the step.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Outcome, sample};
use crate::api::event::SessionState;
use crate::api::selector::TypeSet;
use crate::store::faulty::Seeded;
use crate::store::{Batch, Created, ListQuery, NewSession, SessionPatch, SessionRow, SharedStore, StoreError};

const SESSIONS: u64 = 6;
const STEPS: usize = 300;

/// The store, as plain values.
#[derive(Default)]
struct Model {
    sessions: BTreeMap<Uuid, (SessionRow, Vec<Batch>)>,
}

impl Model {
    fn owned(&mut self, id: Uuid, epoch: u64) -> Result<&mut (SessionRow, Vec<Batch>), StoreError> {
        let session = self.sessions.get_mut(&id).ok_or(StoreError::Missing)?;
        if session.0.epoch == epoch { Ok(session) } else { Err(StoreError::NotOwner) }
    }

    fn append(&mut self, id: Uuid, epoch: u64, batch: &Batch) -> Outcome {
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

    fn end(&mut self, id: Uuid, epoch: u64, batch: &Batch, patch: &SessionPatch) -> Outcome {
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
        Ok(())
    }

    fn update(&mut self, id: Uuid, epoch: u64, patch: &SessionPatch) -> Outcome {
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
        row.state = patch.state.unwrap_or(row.state);
        if let Some((node, new)) = &patch.owner {
            (row.node, row.epoch) = (node.clone(), *new);
        }
        Ok(())
    }

    fn head(&self, id: Uuid) -> u64 {
        self.sessions.get(&id).map_or(0, |(row, _)| row.last_seq)
    }

    fn read(&self, id: Uuid, after: u64) -> Result<Vec<Batch>, StoreError> {
        let (_, log) = self.sessions.get(&id).ok_or(StoreError::Missing)?;
        Ok(log.iter().filter(|batch| batch.last_seq > after).cloned().collect())
    }

    fn newest_first(&self) -> Vec<SessionRow> {
        let mut rows: Vec<_> = self.sessions.values().map(|(row, _)| row.clone()).collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.created_at_ms, row.id)));
        rows
    }
}

/// Every answer of the store is the model's, step by step, and so is what it holds at the end.
pub async fn long_random_histories_agree_with_a_simple_model(store: SharedStore) -> Outcome {
    for seed in 0..3 {
        let numbers = Seeded::new(seed);
        let mut model = Model::default();
        for step in 0..STEPS {
            // Sessions of their own for each seed.
            let n = 1 + seed * 100 + numbers.below(SESSIONS);
            let at = format!("seed {seed}, step {step}, session {n}");
            one_step(&store, &mut model, &numbers, n, &at).await?;
        }
        for (id, (row, log)) in &model.sessions {
            assert_eq!(store.session(*id).await?.as_ref(), Some(row), "seed {seed}");
            assert_eq!(store.read(*id, 0, TypeSet::ALL, usize::MAX).await?, *log, "seed {seed}");
            assert_eq!(store.bounds(*id).await?.head, row.last_seq, "seed {seed}");
        }
        let query = ListQuery { limit: u32::try_from(SESSIONS).unwrap_or(u32::MAX), ..ListQuery::default() };
        let mut listed = store.list_sessions(query).await?.rows;
        listed.retain(|row| model.sessions.contains_key(&row.id));
        assert_eq!(listed, model.newest_first(), "seed {seed}");
    }
    Ok(())
}

async fn one_step(store: &SharedStore, model: &mut Model, numbers: &Seeded, n: u64, at: &str) -> Outcome {
    let id = sample::id(n);
    let head = model.head(id);
    let epoch = model.sessions.get(&id).map_or(1, |(row, _)| row.epoch);
    // Mostly the owner, now and then somebody else.
    let epoch = if numbers.below(8) == 0 { numbers.below(4) } else { epoch };
    // Mostly what follows, now and then a gap, an overlap or a repeat.
    let first = if numbers.below(4) == 0 { (head + numbers.below(4)).saturating_sub(1) } else { head + 1 };
    let batch = match model.sessions.get(&id).and_then(|(_, log)| log.last()) {
        Some(newest) if numbers.below(6) == 0 => newest.clone(),
        _ => sample::batch(first, first + numbers.below(5)),
    };
    match numbers.below(10) {
        0 | 1 => {
            let new = NewSession { ..sample::session(n) };
            let answer = store.create_session(new.clone()).await;
            assert_eq!(answer, Ok(Created::New), "{at}");
            model.sessions.entry(id).or_insert_with(|| (new.row, Vec::new()));
        }
        2..=5 => assert_eq!(store.append(id, epoch, batch.clone()).await, model.append(id, epoch, &batch), "{at}"),
        6 => {
            let state = SessionState::ALL[usize::try_from(numbers.below(7)).unwrap_or_default()];
            let mut patch = sample::state_patch(state);
            if numbers.below(3) == 0 {
                patch.owner = Some((format!("node-{}", numbers.below(2)), numbers.below(5)));
            }
            let answer = store.update_session(id, epoch, patch.clone()).await;
            assert_eq!(answer, model.update(id, epoch, &patch), "{at}: {patch:?}");
        }
        7 if numbers.below(4) == 0 => {
            let patch = sample::end_patch();
            let answer = store.end_session(id, epoch, batch.clone(), patch.clone()).await;
            assert_eq!(answer, model.end(id, epoch, &batch, &patch), "{at}");
        }
        7 => assert_eq!(store.session(id).await?.as_ref(), model.sessions.get(&id).map(|(row, _)| row), "{at}"),
        _ => {
            let after = numbers.below(head + 2);
            assert_eq!(
                store.read(id, after, TypeSet::ALL, usize::MAX).await,
                model.read(id, after),
                "{at} after {after}"
            );
        }
    }
    Ok(())
}
