//! Taking a session over from another node: the epoch is the fence.

use super::{Outcome, sample, there};
use crate::api::event::SessionState;
use crate::store::{SessionPatch, SharedStore, StoreError};

/// After a take-over only the new epoch writes.
pub async fn a_takeover_moves_node_and_epoch_and_shuts_the_old_owner_out(store: SharedStore) -> Outcome {
    let session = sample::session(1);
    let id = session.row.id;
    store.create_session(session).await?;
    store.append(id, 1, sample::batch(1, 1)).await?;
    let patch = SessionPatch { state: Some(SessionState::Idle), ..sample::takeover_patch("node-2", 2) };
    store.update_session(id, 1, patch).await?;
    let row = there(store.session(id).await?)?;
    assert_eq!((row.node.as_str(), row.epoch, row.state), ("node-2", 2, SessionState::Idle));

    let late = store.update_session(id, 1, sample::state_patch(SessionState::Running)).await;
    assert_eq!(late, Err(StoreError::NotOwner));
    assert_eq!(store.append(id, 1, sample::batch(2, 2)).await, Err(StoreError::NotOwner));
    // Also a repeat: whoever lost the session must not think that it still writes.
    assert_eq!(store.append(id, 1, sample::batch(1, 1)).await, Err(StoreError::NotOwner));
    let end = store.end_session(id, 1, sample::last_batch(2), sample::end_patch()).await;
    assert_eq!(end, Err(StoreError::NotOwner));
    assert_eq!(store.session(id).await?, Some(row));

    store.append(id, 2, sample::batch(2, 2)).await?;
    assert_eq!(store.bounds(id).await?.head, 2);
    assert_eq!(store.unfinished_sessions(Some("node-1")).await?, []);
    Ok(())
}

/// The taker whose answer was lost asks again.
pub async fn the_same_takeover_again_succeeds_and_undoes_nothing(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    store.create_session(sample::session(1)).await?;
    let patch = SessionPatch { state: Some(SessionState::Starting), ..sample::takeover_patch("node-2", 2) };
    store.update_session(id, 1, patch.clone()).await?;
    store.update_session(id, 2, sample::state_patch(SessionState::Running)).await?;
    store.update_session(id, 1, patch.clone()).await?;
    assert_eq!(there(store.session(id).await?)?.state, SessionState::Running);
    // Too late: there is nothing left to own.
    store.end_session(id, 2, sample::last_batch(1), sample::end_patch()).await?;
    assert_eq!(store.update_session(id, 1, patch).await, Err(StoreError::NotOwner));
    Ok(())
}

/// Both read epoch 1 and both try 2.
pub async fn of_two_takers_one_wins(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    store.create_session(sample::session(1)).await?;
    let (second, third) = tokio::join!(
        store.update_session(id, 1, sample::takeover_patch("node-2", 2)),
        store.update_session(id, 1, sample::takeover_patch("node-3", 2)),
    );
    let row = there(store.session(id).await?)?;
    assert_eq!(row.epoch, 2);
    match row.node.as_str() {
        "node-2" => assert_eq!((second, third), (Ok(()), Err(StoreError::NotOwner))),
        "node-3" => assert_eq!((second, third), (Err(StoreError::NotOwner), Ok(()))),
        other => assert_eq!(other, "node-2 or node-3"),
    }
    Ok(())
}

/// An epoch never returns.
pub async fn a_takeover_must_raise_the_epoch(store: SharedStore) -> Outcome {
    let session = sample::session(1);
    let id = session.row.id;
    store.create_session(session.clone()).await?;
    for epoch in [0, 1] {
        let refused = store.update_session(id, 1, sample::takeover_patch("node-2", epoch)).await;
        assert_eq!(refused, Err(StoreError::NotOwner), "to epoch {epoch}");
    }
    assert_eq!(store.session(id).await?, Some(session.row));
    Ok(())
}
