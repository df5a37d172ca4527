//! Sessions: created once, changed by their owner only.

use futures_util::future::join_all;

use super::{Outcome, sample, there};
use crate::api::event::SessionState;
use crate::api::selector::TypeSet;
use crate::store::{Created, ListQuery, LogBounds, NewSession, SharedStore, SlotCounts, StoreError};
use crate::telemetry::tasks;

/// Every field comes back, odd characters included.
pub async fn a_created_session_is_read_back_as_it_was(store: SharedStore) -> Outcome {
    let mut full = sample::session(1);
    full.row.put_away_at_ms = Some(full.row.created_at_ms);
    full.row.messages = vec![sample::id(8), sample::id(7)];
    full.row.total_cost_usd = Some(1.0 / 3.0);
    let mut bare = sample::session(2);
    bare.row.model = None;
    bare.row.resumed_from = None;
    bare.row.labels.clear();
    bare.row.params = String::new();
    for session in [full, bare] {
        assert_eq!(store.create_session(session.clone()).await?, Created::New);
        assert_eq!(store.session(session.row.id).await?, Some(session.row.clone()));
        assert_eq!(store.bounds(session.row.id).await?, LogBounds { first: 1, head: 0, bytes: 0 });
    }
    store.check().await
}

/// Questions about nothing have an answer, changes of nothing are refused.
pub async fn what_is_not_there_is_none_or_missing(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    assert_eq!(store.session(id).await?, None);
    assert_eq!(store.list_sessions(ListQuery { limit: 10, ..ListQuery::default() }).await?.rows, []);
    assert_eq!(store.unfinished_sessions(None).await?, []);
    assert_eq!(store.update_session(id, 1, sample::state_patch(SessionState::Idle)).await, Err(StoreError::Missing));
    assert_eq!(store.append(id, 1, sample::batch(1, 1)).await, Err(StoreError::Missing));
    assert_eq!(store.end_session(id, 1, sample::batch(1, 1), sample::end_patch()).await, Err(StoreError::Missing));
    assert_eq!(store.read(id, 0, TypeSet::ALL, 1_000).await, Err(StoreError::Missing));
    assert_eq!(store.bounds(id).await, Err(StoreError::Missing));
    assert_eq!(store.slots().await?, SlotCounts::default());
    assert_eq!(store.forget_node_slots("node-1").await?, 0);
    store.release_slot(id, sample::slots(1)).await
}

/// A repeated call after a lost answer is a success, whatever has become of the session meanwhile.
pub async fn the_same_session_again_is_created_once(store: SharedStore) -> Outcome {
    let plain = sample::session(1);
    let keyed = NewSession { idempotency: Some(("key".into(), "print".into())), ..sample::session(2) };
    for session in [plain, keyed] {
        assert_eq!(store.create_session(session.clone()).await?, Created::New);
        store.append(session.row.id, 1, sample::batch(1, 3)).await?;
        assert_eq!(store.create_session(session.clone()).await?, Created::New);
        assert_eq!(there(store.session(session.row.id).await?)?.last_seq, 3);
    }
    assert_eq!(store.unfinished_sessions(None).await?.len(), 2);
    Ok(())
}

/// An id belongs to the first.
pub async fn another_session_under_a_known_id_is_refused(store: SharedStore) -> Outcome {
    let first = sample::session(1);
    store.create_session(first.clone()).await?;
    let mut second = first.clone();
    second.row.workspace = "/elsewhere".to_owned();
    assert_eq!(store.create_session(second.clone()).await, Err(StoreError::Exists));
    second.row = first.row.clone();
    second.row.owner = "owner-2".to_owned();
    assert_eq!(store.create_session(second).await, Err(StoreError::Exists));
    assert_eq!(store.session(first.row.id).await?, Some(first.row));
    Ok(())
}

/// The same key with the same parameters is the same session, also after its end.
pub async fn a_used_key_gives_the_older_session(store: SharedStore) -> Outcome {
    let key = Some(("key".to_owned(), "print".to_owned()));
    let older = NewSession { idempotency: key.clone(), ..sample::session(1) };
    let newer = NewSession { idempotency: key, ..sample::session(2) };
    store.create_session(older.clone()).await?;
    assert_eq!(store.create_session(newer.clone()).await?, Created::Existing(Box::new(older.row.clone())));
    store.end_session(older.row.id, 1, sample::last_batch(1), sample::end_patch()).await?;
    let ended = there(store.session(older.row.id).await?)?;
    assert_eq!(store.create_session(newer.clone()).await?, Created::Existing(Box::new(ended)));
    assert_eq!(store.session(newer.row.id).await?, None);
    Ok(())
}

/// A key says one thing only.
pub async fn a_used_key_with_other_parameters_is_refused(store: SharedStore) -> Outcome {
    let first = NewSession { idempotency: Some(("key".into(), "print".into())), ..sample::session(1) };
    let other = NewSession { idempotency: Some(("key".into(), "other".into())), ..sample::session(2) };
    store.create_session(first).await?;
    assert_eq!(store.create_session(other.clone()).await?, Created::KeyReused);
    assert_eq!(store.session(other.row.id).await?, None);
    Ok(())
}

/// A key is its owner's.
pub async fn keys_of_two_owners_do_not_meet(store: SharedStore) -> Outcome {
    let mine = NewSession { idempotency: Some(("key".into(), "print".into())), ..sample::session(1) };
    let mut yours = NewSession { idempotency: mine.idempotency.clone(), ..sample::session(2) };
    yours.row.owner = "owner-2".to_owned();
    assert_eq!(store.create_session(mine).await?, Created::New);
    assert_eq!(store.create_session(yours).await?, Created::New);
    Ok(())
}

/// Idempotency holds when the calls meet.
pub async fn fifty_starts_at_once_with_one_key_make_one_session(store: SharedStore) -> Outcome {
    let starts = (1..=50).map(|n| {
        let store = store.clone();
        let session = NewSession { idempotency: Some(("key".into(), "print".into())), ..sample::session(n) };
        tasks::spawn("starts", async move { store.create_session(session).await })
    });
    let mut made = 0;
    let mut others = Vec::new();
    for answer in join_all(starts).await {
        match there(answer.ok().flatten())?? {
            Created::New => made += 1,
            Created::Existing(row) => others.push(row.id),
            Created::KeyReused => others.push(uuid::Uuid::nil()),
        }
    }
    let kept = store.unfinished_sessions(None).await?;
    assert_eq!((made, kept.len(), others.len()), (1, 1, 49));
    assert!(others.iter().all(|id| *id == kept[0].id));
    Ok(())
}

/// `None` leaves a field alone.
pub async fn an_update_changes_only_what_it_names(store: SharedStore) -> Outcome {
    let session = sample::session(1);
    let id = session.row.id;
    store.create_session(session.clone()).await?;
    store.append(id, 1, sample::batch(1, 2)).await?;
    for state in SessionState::ALL.into_iter().filter(|state| *state != SessionState::Ended) {
        store.update_session(id, 1, sample::state_patch(state)).await?;
        let mut expected = session.row.clone();
        expected.state = state;
        expected.last_seq = 2;
        assert_eq!(there(store.session(id).await?)?, expected);
        store.update_session(id, 1, crate::store::SessionPatch::default()).await?;
        assert_eq!(there(store.session(id).await?)?, expected);
    }
    for epoch in [0, 2, u64::MAX] {
        let refused = store.update_session(id, epoch, sample::state_patch(SessionState::Idle)).await;
        assert_eq!(refused, Err(StoreError::NotOwner), "epoch {epoch}");
    }
    assert_eq!(there(store.session(id).await?)?.state, SessionState::Stopping);
    Ok(())
}

/// An end without its event would be an end that no reader hears of.
pub async fn an_update_cannot_end_a_session(store: SharedStore) -> Outcome {
    let session = sample::session(1);
    let id = session.row.id;
    store.create_session(session.clone()).await?;
    assert_eq!(store.update_session(id, 1, sample::end_patch()).await, Err(StoreError::NotOwner));
    assert_eq!(store.session(id).await?, Some(session.row));
    store.end_session(id, 1, sample::last_batch(1), sample::end_patch()).await?;
    let ended = store.session(id).await?;
    let refused = store.update_session(id, 1, sample::state_patch(SessionState::Idle)).await;
    assert_eq!(refused, Err(StoreError::NotOwner));
    assert_eq!(store.session(id).await?, ended);
    Ok(())
}

/// What a gateway must account for when it starts.
pub async fn unfinished_sessions_are_told_by_node_and_oldest_first(store: SharedStore) -> Outcome {
    for n in [3, 1, 4, 2, 5] {
        let mut session = sample::session(n);
        session.row.node = if n == 4 { "node-2" } else { "node-1" }.to_owned();
        store.create_session(session).await?;
    }
    store.end_session(sample::id(2), 1, sample::last_batch(1), sample::end_patch()).await?;
    let ids = |rows: Vec<crate::store::SessionRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    let expected = |numbers: &[u64]| numbers.iter().map(|n| sample::id(*n)).collect::<Vec<_>>();
    assert_eq!(ids(store.unfinished_sessions(Some("node-1")).await?), expected(&[1, 3, 5]));
    assert_eq!(ids(store.unfinished_sessions(Some("node-2")).await?), expected(&[4]));
    assert_eq!(ids(store.unfinished_sessions(Some("node-3")).await?), expected(&[]));
    assert_eq!(ids(store.unfinished_sessions(None).await?), expected(&[1, 3, 4, 5]));
    Ok(())
}

/// Closing is for good, and closing twice is harmless.
pub async fn a_closed_store_answers_nothing(store: SharedStore) -> Outcome {
    store.create_session(sample::session(1)).await?;
    store.close().await;
    store.close().await;
    assert!(matches!(store.slots().await, Err(StoreError::Away(_))));
    assert!(matches!(store.check().await, Err(StoreError::Away(_))));
    assert!(matches!(store.session(sample::id(1)).await, Err(StoreError::Away(_))));
    assert!(matches!(store.append(sample::id(1), 1, sample::batch(1, 1)).await, Err(StoreError::Away(_))));
    Ok(())
}
