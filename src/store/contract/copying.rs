//! What a copy needs: everything can be told page by page and written anew as it was, and a store that has lived holds
//! together.

use super::retention::purge_all;
use super::{Outcome, sample};
use crate::api::selector::TypeSet;
use crate::store::{Created, LogBounds, NewSession, NodeSeen, SharedStore, Spend, StoreError};

/// A log that has lost its head elsewhere goes on here from where it begins.
pub async fn a_log_may_begin_after_a_head_that_was_lost(store: SharedStore) -> Outcome {
    let mut session = sample::session(1);
    session.row.last_seq = 5;
    assert_eq!(store.create_session(session.clone()).await?, Created::New);
    let id = session.row.id;
    assert_eq!(store.bounds(id).await?, LogBounds { first: 6, head: 5, bytes: 0 });
    let early = store.append(id, 1, sample::batch(1, 1)).await;
    assert_eq!(early, Err(StoreError::Gap { expected: 6, found: 1 }));
    let kept = [sample::batch(6, 7), sample::batch(8, 8)];
    for batch in &kept {
        store.append(id, 1, batch.clone()).await?;
    }
    // The same call again, as after a lost answer, undoes nothing.
    assert_eq!(store.create_session(session).await?, Created::New);
    assert_eq!(store.bounds(id).await?, LogBounds { first: 6, head: 8, bytes: 128 });
    assert_eq!(store.read(id, 5, TypeSet::ALL, 1_000).await?, kept);
    store.end_session(id, 1, sample::last_batch(9), sample::end_patch()).await?;
    assert_eq!(store.cut_head(id, 1, 64, 10).await?, LogBounds { first: 9, head: 9, bytes: 64 });
    assert_eq!(store.kept_bytes().await?, 64);
    Ok(())
}

/// The key as the caller gave it, and only where there is one.
pub async fn a_session_tells_the_key_that_it_was_created_with(store: SharedStore) -> Outcome {
    let key = Some(("a key: of {mine}".to_owned(), "finger:print".to_owned()));
    store.create_session(NewSession { idempotency: key.clone(), ..sample::session(1) }).await?;
    store.create_session(sample::session(2)).await?;
    // The key is taken: this one is not created.
    let other = NewSession { idempotency: key.clone(), ..sample::session(3) };
    assert!(matches!(store.create_session(other).await?, Created::Existing(_)));
    assert_eq!(store.key_of_session(sample::id(1)).await?, key);
    for n in [2, 3] {
        assert_eq!(store.key_of_session(sample::id(n)).await?, None);
    }
    Ok(())
}

/// All of them, each once, whatever their state.
pub async fn ids_of_sessions_come_oldest_first_page_by_page(store: SharedStore) -> Outcome {
    for n in [3, 1, 5, 2, 4] {
        store.create_session(sample::session(n)).await?;
    }
    store.end_session(sample::id(2), 1, sample::last_batch(1), sample::end_patch()).await?;
    let expected: Vec<_> = (1..=5).map(|n| (sample::session(n).row.created_at_ms, sample::id(n))).collect();
    for limit in [1, 2, 5, 6] {
        let (mut told, mut after) = (Vec::new(), None);
        loop {
            let page = store.session_ids(after, limit).await?;
            told.extend_from_slice(&page);
            if page.len() < limit as usize {
                break;
            }
            after = page.last().copied();
        }
        assert_eq!(told, expected, "{limit} at once");
    }
    Ok(())
}

/// Each entry once, as it was written, in the order of its moment.
pub async fn the_spend_ledger_is_told_page_by_page(store: SharedStore) -> Outcome {
    let mut written = Vec::new();
    for (seq, at_ms) in [(9, 100), (10, 100), (11, 50), (2, 0), (100, 100)] {
        for owner in ["owner-1", "an:owner:of colons"] {
            let session = sample::id(seq + owner.len() as u64);
            written.push(Spend { owner: owner.to_owned(), session, seq, at_ms, micro_usd: seq * 7 });
        }
    }
    for entry in &written {
        store.add_spend(entry.clone()).await?;
    }
    let by_key = |entry: &Spend| (entry.at_ms, entry.session, entry.seq);
    written.sort_by_key(by_key);
    for limit in [1, 3, 10, 11] {
        let (mut told, mut after) = (Vec::new(), None);
        loop {
            let page = store.spent(after, limit).await?;
            let is_last = page.len() < limit as usize;
            told.extend(page);
            if is_last {
                break;
            }
            after = told.last().cloned();
        }
        assert!(told.is_sorted_by_key(|entry| entry.at_ms));
        told.sort_by_key(by_key);
        assert_eq!(told, written, "{limit} at once");
    }
    Ok(())
}

/// As [`crate::store::Store::keep_node`] tells them, without being one.
pub async fn all_nodes_are_told_to_who_is_none(store: SharedStore) -> Outcome {
    assert_eq!(store.nodes().await?, []);
    store.keep_node("node-2", "{}", 600_000).await?;
    store.keep_node("node-1", r#"{"n":1}"#, 0).await?;
    let told = store.nodes().await?;
    let names: Vec<_> = told.iter().map(|seen| (seen.node.as_str(), seen.about.as_str())).collect();
    assert_eq!(names, [("node-1", r#"{"n":1}"#), ("node-2", "{}")]);
    assert_eq!(told.iter().map(|seen| seen.lease_left_ms > 0).collect::<Vec<_>>(), [false, true]);
    store.forget_node("node-2").await?;
    assert_eq!(store.nodes().await?, [NodeSeen { lease_left_ms: 0, ..told[0].clone() }]);
    Ok(())
}

/// Sessions of every kind, removals and purges leave nothing wrong behind.
pub async fn nothing_is_wrong_in_a_store_that_has_lived(store: SharedStore) -> Outcome {
    assert_eq!(store.examine().await?, []);
    for n in 1..=6_u64 {
        let idempotency = n.is_multiple_of(2).then(|| (format!("key {n}"), "f".to_owned()));
        store.create_session(NewSession { idempotency, ..sample::session(n) }).await?;
        for seq in 1..=3 {
            store.append(sample::id(n), 1, sample::batch(seq, seq)).await?;
        }
    }
    for n in 1..=4 {
        store.end_session(sample::id(n), 1, sample::last_batch(4), sample::end_patch()).await?;
    }
    store.cut_head(sample::id(1), 1, 100, 10).await?;
    store.update_session(sample::id(5), 1, sample::put_away_patch(7)).await?;
    assert!(store.remove_session(sample::id(4)).await?);
    assert_eq!(store.examine().await?, [], "a removed log waits to be purged");
    purge_all(&store, 10).await?;
    assert_eq!(store.examine().await?, []);
    Ok(())
}
