//! Sessions that are put away: nobody's, told by how long they wait, woken by one taker.

use uuid::Uuid;

use super::{Outcome, sample, there};
use crate::api::event::SessionState;
use crate::store::{Created, EndedQuery, ListQuery, PutAwayQuery, SessionPatch, SessionRow, SharedStore, StoreError};

/// When the sessions here are put away, more or less.
const MOMENT: u64 = 1_700_000_200_000;

/// Session number `n`, put away at that moment.
async fn put_away(store: &SharedStore, n: u64, at_ms: u64) -> Outcome {
    store.create_session(sample::session(n)).await?;
    store.update_session(sample::id(n), 1, sample::put_away_patch(at_ms)).await
}

/// A patch that takes a put-away session over and starts a process again.
fn wake_patch(node: &str, epoch: u64) -> SessionPatch {
    SessionPatch {
        state: Some(SessionState::Starting),
        put_away_at_ms: Some(None),
        messages: Some(vec![sample::id(77)]),
        ..sample::takeover_patch(node, epoch)
    }
}

fn ids(rows: &[SessionRow]) -> Vec<Uuid> {
    rows.iter().map(|row| row.id).collect()
}

/// Walks page by page to the end.
async fn walk(store: &SharedStore, mut query: PutAwayQuery) -> Result<Vec<Uuid>, StoreError> {
    let mut found = Vec::new();
    loop {
        let page = store.put_away_sessions(query.clone()).await?;
        assert!(page.len() <= query.limit as usize);
        let Some(last) = page.last() else { return Ok(found) };
        query.after = Some((there(last.put_away_at_ms)?, last.id));
        found.extend(ids(&page));
    }
}

/// A gateway that starts must not account for it, and everybody else still sees it.
pub async fn a_put_away_session_is_nobodys_but_still_there(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    store.create_session(sample::session(1)).await?;
    store.create_session(sample::session(2)).await?;
    store.append(id, 1, sample::batch(1, 3)).await?;
    for _ in 0..2 {
        store.update_session(id, 1, sample::put_away_patch(MOMENT)).await?;
        let row = there(store.session(id).await?)?;
        assert_eq!((row.state, row.put_away_at_ms, row.epoch), (SessionState::Idle, Some(MOMENT), 1));
        for node in [None, Some("node-1")] {
            assert_eq!(ids(&store.unfinished_sessions(node).await?), [sample::id(2)], "{node:?}");
        }
        let query = PutAwayQuery { limit: 5, ..PutAwayQuery::default() };
        assert_eq!(store.put_away_sessions(query).await?, std::slice::from_ref(&row));
        for state in [None, Some(SessionState::Idle)] {
            let listed = store.list_sessions(ListQuery { state, limit: 5, ..ListQuery::default() }).await?;
            assert!(listed.rows.contains(&row), "{state:?}");
        }
        assert_eq!(store.ended_sessions(EndedQuery { limit: 5, ..EndedQuery::default() }).await?, []);
        assert_eq!((store.bounds(id).await?.head, store.kept_bytes().await?), (3, 64));
        assert_eq!(store.remove_session(id).await, Err(StoreError::NotOwner));
    }
    Ok(())
}

/// By the moment, then by id; what runs, was woken or has ended is left out.
pub async fn put_away_sessions_come_the_longest_put_away_first(store: SharedStore) -> Outcome {
    let mut waiting = Vec::new();
    for n in 1..=9 {
        // Later ones were put away earlier, two at a time.
        let at_ms = MOMENT - n / 2;
        put_away(&store, n, at_ms).await?;
        match n {
            3 => store.update_session(sample::id(n), 1, wake_patch("node-2", 2)).await?,
            6 => store.end_session(sample::id(n), 1, sample::last_batch(1), sample::end_patch()).await?,
            _ => waiting.push((at_ms, sample::id(n))),
        }
    }
    store.create_session(sample::session(10)).await?;
    store.update_session(sample::id(10), 1, sample::state_patch(SessionState::Idle)).await?;
    waiting.sort_unstable();
    for before_ms in [None, Some(0), Some(MOMENT - 4), Some(MOMENT - 1), Some(MOMENT), Some(u64::MAX)] {
        let wanted: Vec<_> = waiting
            .iter()
            .filter(|(at_ms, _)| before_ms.is_none_or(|before_ms| *at_ms < before_ms))
            .map(|(_, id)| *id)
            .collect();
        for limit in [1, 2, 3, 100] {
            let found = walk(&store, PutAwayQuery { before_ms, after: None, limit }).await?;
            assert_eq!(found, wanted, "limit {limit}, before {before_ms:?}");
        }
    }
    assert_eq!(store.put_away_sessions(PutAwayQuery::default()).await?, [], "a page of none");
    Ok(())
}

/// Neither what was woken or ended nor what was put away since moves the next page.
pub async fn pages_of_put_away_sessions_stay_stable_while_sessions_come_and_go(store: SharedStore) -> Outcome {
    for n in 1..=9 {
        put_away(&store, n, MOMENT + n).await?;
    }
    let query = PutAwayQuery { limit: 4, ..PutAwayQuery::default() };
    let first = store.put_away_sessions(query.clone()).await?;
    assert_eq!(ids(&first), [1, 2, 3, 4].map(sample::id));
    store.end_session(sample::id(1), 1, sample::last_batch(1), sample::end_patch()).await?;
    for n in [4, 6] {
        store.update_session(sample::id(n), 1, wake_patch("node-2", 2)).await?;
    }
    // Woken and put away again: it waits anew, behind all others.
    store.update_session(sample::id(6), 2, sample::put_away_patch(MOMENT + 20)).await?;
    put_away(&store, 10, MOMENT).await?;
    let last = there(first.last())?;
    let after = Some((MOMENT + 4, last.id));
    let second = store.put_away_sessions(PutAwayQuery { after, ..query }).await?;
    assert_eq!(ids(&second), [5, 7, 8, 9].map(sample::id));
    let all = walk(&store, PutAwayQuery { limit: 3, ..PutAwayQuery::default() }).await?;
    assert_eq!(all, [10, 2, 3, 5, 7, 8, 9, 6].map(sample::id));
    Ok(())
}

/// Two nodes get a message for it at once: one wakes it, and whoever put it away is shut out.
pub async fn a_put_away_session_is_woken_by_one_taker(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    put_away(&store, 1, MOMENT).await?;
    let (second, third) = tokio::join!(
        store.update_session(id, 1, wake_patch("node-2", 2)),
        store.update_session(id, 1, wake_patch("node-3", 2)),
    );
    let row = there(store.session(id).await?)?;
    let (won, lost) = if row.node == "node-2" { (second, third) } else { (third, second) };
    assert_eq!((won, lost), (Ok(()), Err(StoreError::NotOwner)), "{}", row.node);
    assert_eq!((row.state, row.put_away_at_ms, row.epoch), (SessionState::Starting, None, 2));
    assert_eq!(row.messages, [sample::id(77)]);
    assert_eq!(ids(&store.unfinished_sessions(Some(&row.node)).await?), [id]);
    assert_eq!(store.unfinished_sessions(Some("node-1")).await?, []);
    let query = PutAwayQuery { limit: 5, ..PutAwayQuery::default() };
    assert_eq!(store.put_away_sessions(query.clone()).await?, []);

    // A late repeat of the putting away changes nothing, nor does one of the wake.
    assert_eq!(store.update_session(id, 1, sample::put_away_patch(MOMENT)).await, Err(StoreError::NotOwner));
    store.update_session(id, 2, sample::put_away_patch(MOMENT + 9)).await?;
    store.update_session(id, 1, wake_patch(&row.node, 2)).await?;
    assert_eq!(ids(&store.put_away_sessions(query).await?), [id]);
    Ok(())
}

/// Each field alone; the others stay.
pub async fn what_a_session_learns_in_its_life_is_kept_field_by_field(store: SharedStore) -> Outcome {
    let session = sample::session(1);
    let id = session.row.id;
    store.create_session(session.clone()).await?;
    let mut expected = session.row.clone();
    let odd = "opus \"[1m]\" \\ ☃ \u{0} é".to_owned();
    let patch = SessionPatch::default;
    let patches = [
        SessionPatch { messages: Some(vec![sample::id(7), sample::id(5)]), ..patch() },
        SessionPatch { total_cost_usd: Some(0.1 + 0.2), ..patch() },
        SessionPatch { model: Some(Some(odd.clone())), ..patch() },
        SessionPatch { params: Some(r#"{"prompt":"☃ \u0000"}"#.to_owned()), ..patch() },
        SessionPatch { put_away_at_ms: Some(Some(MOMENT)), ..patch() },
        SessionPatch { messages: Some(Vec::new()), ..patch() },
        SessionPatch { total_cost_usd: Some(0.0), ..patch() },
        SessionPatch { model: Some(None), ..patch() },
        SessionPatch { params: Some(String::new()), ..patch() },
        SessionPatch { put_away_at_ms: Some(None), ..patch() },
        SessionPatch { model: Some(Some("haiku".to_owned())), messages: Some(vec![sample::id(9)]), ..patch() },
    ];
    for change in patches {
        let refused = store.update_session(id, 2, change.clone()).await;
        assert_eq!(refused, Err(StoreError::NotOwner), "{change:?}");
        assert_eq!(store.session(id).await?.as_ref(), Some(&expected), "refused: {change:?}");
        store.update_session(id, 1, change.clone()).await?;
        sample::apply(&mut expected, &change);
        assert_eq!(store.session(id).await?.as_ref(), Some(&expected), "{change:?}");
        store.update_session(id, 1, patch()).await?;
        let listed = store.list_sessions(ListQuery { limit: 5, ..ListQuery::default() }).await?;
        assert_eq!(listed.rows, [expected.clone()], "{change:?}");
        // The call that created it, again: it is still the same session.
        assert_eq!(store.create_session(session.clone()).await?, Created::New, "{change:?}");
    }
    Ok(())
}

/// Nothing waits in a session that is over; its cost is what was said last.
pub async fn an_end_clears_what_waits_and_keeps_the_cost(store: SharedStore) -> Outcome {
    for (n, told, kept) in [(1, None, Some(0.5)), (2, Some(0.75), Some(0.75))] {
        let id = sample::id(n);
        put_away(&store, n, MOMENT).await?;
        let change = SessionPatch {
            messages: Some(vec![sample::id(7)]),
            total_cost_usd: Some(0.5),
            model: Some(Some("haiku".to_owned())),
            ..SessionPatch::default()
        };
        store.update_session(id, 1, change).await?;
        let end = SessionPatch {
            total_cost_usd: told,
            // An end does not say these.
            model: Some(None),
            params: Some(String::new()),
            put_away_at_ms: Some(Some(MOMENT)),
            messages: Some(vec![sample::id(8)]),
            ..sample::end_patch()
        };
        for _ in 0..2 {
            store.end_session(id, 1, sample::last_batch(1), end.clone()).await?;
            let row = there(store.session(id).await?)?;
            assert_eq!((row.state, row.put_away_at_ms, row.messages.len()), (SessionState::Ended, None, 0));
            assert_eq!((row.total_cost_usd, row.model.as_deref()), (kept, Some("haiku")));
            assert_eq!(row.params, sample::session(n).row.params);
        }
    }
    assert_eq!(store.put_away_sessions(PutAwayQuery { limit: 5, ..PutAwayQuery::default() }).await?, []);
    assert_eq!(store.ended_sessions(EndedQuery { limit: 5, ..EndedQuery::default() }).await?.len(), 2);
    assert_eq!(store.kept_bytes().await?, 128);
    Ok(())
}
