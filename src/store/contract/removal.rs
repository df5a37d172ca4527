//! Sessions that are no longer kept: ended ones told in order, removed at once, purged in steps.

use uuid::Uuid;

use super::retention::purge_all;
use super::{Outcome, sample, there};
use crate::api::selector::TypeSet;
use crate::store::{
    Created, EndedQuery, EndedRow, ListQuery, LogBounds, NewSession, SessionPatch, SharedStore, StoreError,
};

/// When the sessions here end, more or less.
const MOMENT: u64 = 1_700_000_100_000;

/// Session number `n` with `batches` batches of 64 bytes, the last of which ended it at that moment.
async fn ended(store: &SharedStore, session: NewSession, batches: u64, ended_at_ms: u64) -> Result<Uuid, StoreError> {
    let id = session.row.id;
    store.create_session(session).await?;
    for seq in 1..batches {
        store.append(id, 1, sample::batch(seq, seq)).await?;
    }
    let patch = SessionPatch { ended_at_ms: Some(ended_at_ms), ..sample::end_patch() };
    store.end_session(id, 1, sample::last_batch(batches), patch).await?;
    Ok(id)
}

fn ids(rows: &[EndedRow]) -> Vec<Uuid> {
    rows.iter().map(|row| row.id).collect()
}

/// By the moment of the end, then by id; what is alive or labelled is left out.
pub async fn ended_sessions_come_the_longest_ended_first(store: SharedStore) -> Outcome {
    let labels = [None, Some("true"), Some("false"), Some(""), None, Some("false")];
    let mut expected = Vec::new();
    for (n, label) in (1..).zip(labels) {
        let mut session = sample::session(n);
        session.row.labels.extend(label.map(|value| ("keep".to_owned(), value.to_owned())));
        // Later ones ended earlier, two at a time.
        let ended_at_ms = MOMENT - n / 2;
        let id = ended(&store, session, n, ended_at_ms).await?;
        let row = EndedRow { id, ended_at_ms, bytes: 64 * n, workspace: format!("/work/{n}") };
        expected.push((row, label.is_none_or(|value| value == "false")));
    }
    store.create_session(sample::session(7)).await?;
    expected.sort_by_key(|(row, _)| (row.ended_at_ms, row.id));
    for without_label in [None, Some("keep".to_owned()), Some("other".to_owned())] {
        let filtered = without_label.as_deref() == Some("keep");
        let wanted: Vec<_> =
            expected.iter().filter(|(_, free)| *free || !filtered).map(|(row, _)| row.clone()).collect();
        for limit in [1, 2, 3, 100] {
            let mut query = EndedQuery { after: None, without_label: without_label.clone(), limit };
            let mut found = Vec::new();
            loop {
                let page = store.ended_sessions(query.clone()).await?;
                assert!(page.len() <= limit as usize);
                let Some(last) = page.last() else { break };
                query.after = Some((last.ended_at_ms, last.id));
                found.extend(page);
            }
            assert_eq!(found, wanted, "limit {limit}, without {without_label:?}");
        }
    }
    Ok(())
}

/// Neither what was removed nor what is new moves the next page.
pub async fn pages_of_ended_sessions_stay_stable_while_sessions_come_and_go(store: SharedStore) -> Outcome {
    for n in 1..=9 {
        ended(&store, sample::session(n), 1, MOMENT + n).await?;
    }
    let query = EndedQuery { limit: 4, ..EndedQuery::default() };
    let first = store.ended_sessions(query.clone()).await?;
    assert_eq!(ids(&first), [1, 2, 3, 4].map(sample::id));
    for n in [1, 4, 6] {
        assert!(store.remove_session(sample::id(n)).await?);
    }
    ended(&store, sample::session(10), 1, MOMENT + 10).await?;
    ended(&store, sample::session(11), 1, MOMENT).await?;
    store.create_session(sample::session(12)).await?;
    let after = first.last().map(|row| (row.ended_at_ms, row.id));
    let second = store.ended_sessions(EndedQuery { after, ..query }).await?;
    assert_eq!(ids(&second), [5, 7, 8, 9].map(sample::id));
    let newest_first = store.list_sessions(ListQuery { limit: 4, ..ListQuery::default() }).await?;
    assert_eq!(newest_first.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [12, 11, 10, 9].map(sample::id));
    Ok(())
}

/// The record, its labels, its log: nothing tells of it, before and after the purge.
pub async fn a_removed_session_is_gone_everywhere_at_once(store: SharedStore) -> Outcome {
    let key = Some(("key".to_owned(), "print".to_owned()));
    let id = ended(&store, NewSession { idempotency: key, ..sample::session(1) }, 3, MOMENT).await?;
    let neighbour = ended(&store, sample::session(3), 3, MOMENT).await?;
    assert!(store.remove_session(id).await?);
    for purged in [false, true] {
        assert_eq!(store.session(id).await?, None, "purged: {purged}");
        assert_eq!(store.bounds(id).await, Err(StoreError::Missing));
        assert_eq!(store.read(id, 0, TypeSet::ALL, 1_000).await, Err(StoreError::Missing));
        assert_eq!(store.append(id, 1, sample::batch(1, 1)).await, Err(StoreError::Missing));
        assert_eq!(store.cut_head(id, 1, 0, 10).await, Err(StoreError::Missing));
        let again = store.end_session(id, 1, sample::last_batch(3), sample::end_patch()).await;
        assert_eq!(again, Err(StoreError::Missing));
        assert_eq!(store.session_by_key("owner-1", "key").await?, None);
        assert_eq!(ids(&store.ended_sessions(EndedQuery { limit: 9, ..EndedQuery::default() }).await?), [neighbour]);
        for label in [None, Some(("team".to_owned(), None)), Some(("team".to_owned(), Some("t1".to_owned())))] {
            let page = store.list_sessions(ListQuery { label, limit: 9, ..ListQuery::default() }).await?;
            assert_eq!(page.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [neighbour]);
        }
        assert!(!store.remove_session(id).await?);
        assert_eq!(store.read(neighbour, 0, TypeSet::ALL, usize::MAX).await?.len(), 3);
        purge_all(&store, 2).await?;
    }
    Ok(())
}

/// What has not ended stays as it is.
pub async fn only_an_ended_session_can_be_removed(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    assert!(!store.remove_session(id).await?);
    store.create_session(sample::session(1)).await?;
    store.append(id, 1, sample::batch(1, 3)).await?;
    assert_eq!(store.remove_session(id).await, Err(StoreError::NotOwner));
    assert!(!store.purge(10).await?);
    assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await?, [sample::batch(1, 3)]);
    assert_eq!(store.list_sessions(ListQuery { limit: 9, ..ListQuery::default() }).await?.rows.len(), 1);
    store.append(id, 1, sample::batch(4, 4)).await
}

/// The key with other parameters, and even the id, before anything is purged.
pub async fn a_key_of_a_removed_session_starts_anew(store: SharedStore) -> Outcome {
    let with_key =
        |n, print: &str| NewSession { idempotency: Some(("key".to_owned(), print.to_owned())), ..sample::session(n) };
    let id = ended(&store, with_key(1, "print"), 3, MOMENT).await?;
    assert!(matches!(store.create_session(with_key(2, "print")).await?, Created::Existing(_)));
    assert_eq!(store.create_session(with_key(2, "other")).await?, Created::KeyReused);
    assert!(store.remove_session(id).await?);
    assert_eq!(store.create_session(with_key(2, "other")).await?, Created::New);
    assert_eq!(there(store.session_by_key("owner-1", "key").await?)?.0.id, sample::id(2));

    store.create_session(sample::session(1)).await?;
    assert_eq!(store.bounds(id).await?, LogBounds { first: 1, head: 0, bytes: 0 });
    store.append(id, 1, sample::batch(1, 1)).await?;
    purge_all(&store, 1).await?;
    assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await?, [sample::batch(1, 1)]);
    Ok(())
}

/// Small steps, and an end.
pub async fn a_purge_takes_so_many_batches_at_most_and_tells_whether_more_remain(store: SharedStore) -> Outcome {
    assert!(!store.purge(10).await?);
    for n in 1..=3 {
        let id = ended(&store, sample::session(n), 5, MOMENT + n).await?;
        if n < 3 {
            assert!(store.remove_session(id).await?);
        }
    }
    assert!(store.purge(0).await?);
    // Of two sessions' logs one batch is less than all, however they are kept.
    assert!(store.purge(1).await?);
    purge_all(&store, 3).await?;
    assert!(!store.purge(3).await?);
    assert_eq!(store.read(sample::id(3), 0, TypeSet::ALL, usize::MAX).await?.len(), 5);
    Ok(())
}
