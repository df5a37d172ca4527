//! Listing sessions: order, pages, filters.

use uuid::Uuid;

use super::{Outcome, sample, there};
use crate::api::event::SessionState;
use crate::store::{ListQuery, SessionRow, SharedStore, StoreError};

fn everything(limit: u32) -> ListQuery {
    ListQuery { limit, ..ListQuery::default() }
}

fn after(row: &SessionRow) -> Option<(u64, Uuid)> {
    Some((row.created_at_ms, row.id))
}

/// Walks page by page to the end.
async fn walk(store: &SharedStore, query: &ListQuery) -> Result<Vec<Uuid>, StoreError> {
    let mut query = query.clone();
    let mut ids = Vec::new();
    loop {
        let page = store.list_sessions(query.clone()).await?;
        assert!(page.rows.len() <= query.limit as usize);
        ids.extend(page.rows.iter().map(|row| row.id));
        if !page.more {
            return Ok(ids);
        }
        query.before = after(there(page.rows.last())?);
    }
}

/// Newest first; `more` is the truth, also on a page that is exactly full.
pub async fn pages_come_newest_first_and_say_whether_there_is_more(store: SharedStore) -> Outcome {
    for n in [2, 5, 1, 4, 3, 6] {
        store.create_session(sample::session(n)).await?;
    }
    for limit in [1, 2, 3, 4, 6, 7, 500] {
        let expected: Vec<_> = (1..=6).rev().map(sample::id).collect();
        assert_eq!(walk(&store, &everything(limit)).await?, expected, "limit {limit}");
        let first = store.list_sessions(everything(limit)).await?;
        assert_eq!(first.more, limit < 6, "limit {limit}");
    }
    Ok(())
}

/// The id decides where the clock does not.
pub async fn sessions_of_the_same_moment_are_ordered_by_id(store: SharedStore) -> Outcome {
    let mut ids = Vec::new();
    for n in 1..=9 {
        let mut session = sample::session(n);
        session.row.created_at_ms = 1_700_000_000_000;
        ids.push(session.row.id);
        store.create_session(session).await?;
    }
    ids.sort_unstable();
    ids.reverse();
    assert_eq!(walk(&store, &everything(2)).await?, ids);
    Ok(())
}

/// What is created or ended between two pages moves nothing.
pub async fn pages_stay_stable_while_sessions_come_and_go(store: SharedStore) -> Outcome {
    for n in 1..=9 {
        store.create_session(sample::session(n)).await?;
    }
    let first = store.list_sessions(everything(4)).await?;
    assert_eq!(first.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [9, 8, 7, 6].map(sample::id));
    store.create_session(sample::session(10)).await?;
    store.end_session(sample::id(6), 1, sample::last_batch(1), sample::end_patch()).await?;
    store.end_session(sample::id(4), 1, sample::last_batch(1), sample::end_patch()).await?;
    let second = ListQuery { before: after(&first.rows[3]), ..everything(4) };
    let second = store.list_sessions(second).await?;
    assert_eq!(second.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [5, 4, 3, 2].map(sample::id));
    assert!(second.more);
    Ok(())
}

/// Every combination of owner, state and label against a filter written by hand.
pub async fn filters_alone_and_together_find_exactly_what_matches(store: SharedStore) -> Outcome {
    let mut rows = Vec::new();
    for n in 1..=40 {
        let mut session = sample::session(n);
        session.row.owner = format!("owner-{}", n % 3);
        session.row.labels = match n % 4 {
            0 => [].into(),
            1 => [("team".to_owned(), "red".to_owned())].into(),
            2 => [("team".to_owned(), "blue".to_owned()), ("ticket".to_owned(), n.to_string())].into(),
            _ => [("team".to_owned(), String::new())].into(),
        };
        store.create_session(session.clone()).await?;
        if n % 5 == 0 {
            store.end_session(session.row.id, 1, sample::last_batch(1), sample::end_patch()).await?;
        } else if n % 2 == 0 {
            store.update_session(session.row.id, 1, sample::state_patch(SessionState::Running)).await?;
        }
        rows.insert(0, there(store.session(session.row.id).await?)?);
    }
    let owners = [None, Some("owner-1".to_owned()), Some("nobody".to_owned())];
    let states = [None, Some(SessionState::Ended), Some(SessionState::Running), Some(SessionState::Idle)];
    let label = |name: &str, value: Option<&str>| Some((name.to_owned(), value.map(str::to_owned)));
    let labels = [
        None,
        label("team", None),
        label("team", Some("red")),
        label("team", Some("")),
        label("team", Some("green")),
        label("ticket", None),
        label("ticket", Some("22")),
        label("%", None),
    ];
    for owner in &owners {
        for state in states {
            for label in &labels {
                let query = ListQuery { owner: owner.clone(), state, label: label.clone(), before: None, limit: 3 };
                let matching = rows.iter().filter(|row| matches(row, &query)).map(|row| row.id).collect::<Vec<_>>();
                assert_eq!(walk(&store, &query).await?, matching, "{query:?}");
            }
        }
    }
    Ok(())
}

fn matches(row: &SessionRow, query: &ListQuery) -> bool {
    let label = query.label.as_ref().is_none_or(|(name, value)| {
        row.labels.get(name).is_some_and(|has| value.as_ref().is_none_or(|wanted| wanted == has))
    });
    label
        && query.owner.as_ref().is_none_or(|owner| *owner == row.owner)
        && query.state.is_none_or(|state| state == row.state)
}

/// A list shows the same record as a single look.
pub async fn a_listed_session_is_told_as_it_is_now(store: SharedStore) -> Outcome {
    let id = sample::id(1);
    store.create_session(sample::session(1)).await?;
    store.append(id, 1, sample::batch(1, 5)).await?;
    store.end_session(id, 1, sample::last_batch(6), sample::end_patch()).await?;
    let row = there(store.session(id).await?)?;
    assert_eq!((row.last_seq, row.ended.is_some()), (6, true));
    assert_eq!(store.list_sessions(everything(5)).await?.rows, [row]);
    Ok(())
}
