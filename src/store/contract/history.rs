//! Long random histories of sessions and their logs, against [`Model`].
//!
//! The histories come from fixed seeds: a failure repeats. The message names the seed and the step.

use super::model::Model;
use super::{Outcome, sample};
use crate::api::event::SessionState;
use crate::api::selector::TypeSet;
use crate::store::faulty::Seeded;
use crate::store::{Created, ListQuery, PutAwayQuery, SessionPatch, SharedStore};

const SESSIONS: u64 = 6;
const STEPS: usize = 400;

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
            assert_eq!(store.bounds(*id).await, model.bounds(*id), "seed {seed}");
        }
        let query = ListQuery { limit: u32::try_from(SESSIONS).unwrap_or(u32::MAX), ..ListQuery::default() };
        let mut listed = store.list_sessions(query).await?.rows;
        listed.retain(|row| model.sessions.contains_key(&row.id));
        assert_eq!(listed, model.newest_first(), "seed {seed}");
        same_lists(&store, &model, &format!("seed {seed}")).await?;
    }
    Ok(())
}

/// What waits and what somebody must account for, of this history's sessions.
async fn same_lists(store: &SharedStore, model: &Model, at: &str) -> Outcome {
    for node in [None, Some("node-0"), Some("node-1")] {
        let mut unfinished = store.unfinished_sessions(node).await?;
        unfinished.retain(|row| model.sessions.contains_key(&row.id));
        assert_eq!(unfinished, model.unfinished(node), "{at}, {node:?}");
    }
    let mut put_away = store.put_away_sessions(PutAwayQuery { limit: 1_000, ..PutAwayQuery::default() }).await?;
    put_away.retain(|row| model.sessions.contains_key(&row.id));
    assert_eq!(put_away, model.put_away(), "{at}");
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
    match numbers.below(14) {
        0 | 1 => {
            let new = sample::session(n);
            let answer = store.create_session(new.clone()).await;
            assert_eq!(answer, Ok(Created::New), "{at}");
            model.sessions.entry(id).or_insert_with(|| (new.row, Vec::new()));
        }
        2..=5 => assert_eq!(store.append(id, epoch, batch.clone()).await, model.append(id, epoch, &batch), "{at}"),
        6 | 7 => {
            let patch = any_patch(numbers);
            let answer = store.update_session(id, epoch, patch.clone()).await;
            assert_eq!(answer, model.update(id, epoch, &patch), "{at}: {patch:?}");
        }
        8 if numbers.below(4) == 0 => {
            let mut patch = sample::end_patch();
            patch.total_cost_usd = (numbers.below(2) == 0).then_some(1.5);
            let answer = store.end_session(id, epoch, batch.clone(), patch.clone()).await;
            assert_eq!(answer, model.end(id, epoch, &batch, &patch), "{at}");
        }
        8 => assert_eq!(store.session(id).await?.as_ref(), model.sessions.get(&id).map(|(row, _)| row), "{at}"),
        9 => {
            let (keep, most) = (numbers.below(6) * 64, numbers.below(4));
            let answer = store.cut_head(id, epoch, keep, u32::try_from(most).unwrap_or_default()).await;
            let expected = model.cut_head(id, epoch, keep, usize::try_from(most).unwrap_or_default());
            assert_eq!(answer, expected, "{at}: {most} at most, {keep} bytes");
        }
        10 => {
            assert_eq!(store.remove_session(id).await, model.remove(id), "{at}");
            // Some of what was removed waits while others come.
            store.purge(u32::try_from(numbers.below(3)).unwrap_or_default()).await?;
        }
        11 => same_lists(store, model, at).await?,
        _ => {
            let after = numbers.below(head + 2);
            let read = store.read(id, after, TypeSet::ALL, usize::MAX).await;
            assert_eq!(read, model.read(id, after), "{at} after {after}");
        }
    }
    Ok(())
}

/// Some fields, each now and then.
fn any_patch(numbers: &Seeded) -> SessionPatch {
    // All but `ended`, which stands last.
    let state = SessionState::ALL[usize::try_from(numbers.below(7)).unwrap_or_default()];
    let mut patch = sample::state_patch(state);
    if numbers.below(3) == 0 {
        patch.owner = Some((format!("node-{}", numbers.below(2)), numbers.below(5)));
    }
    patch.put_away_at_ms = match numbers.below(4) {
        0 => Some(None),
        1 => Some(Some(numbers.below(5))),
        _ => None,
    };
    patch.messages = (numbers.below(3) == 0).then(|| (0..numbers.below(4)).map(sample::id).collect());
    patch.total_cost_usd = (numbers.below(3) == 0).then_some(0.25);
    patch.model = match numbers.below(6) {
        0 => Some(None),
        1 => Some(Some(format!("model-{}", numbers.below(3)))),
        _ => None,
    };
    patch.params = (numbers.below(6) == 0).then(|| format!("{{\"n\":{}}}", numbers.below(9)));
    patch
}
