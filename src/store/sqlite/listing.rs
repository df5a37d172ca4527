//! Lists of sessions: pages for callers, and what has not ended for a gateway that starts.
//!
//! Invariant: a page costs what its own rows cost, however many sessions there are. So each form of the
//! query names the index that it walks, in the listing's order:
//!
//! | filter | walks | bounded by |
//! |---|---|---|
//! | a state other than `ended` | what has not ended | the sessions in that state |
//! | a label | its owner's or everybody's labels | the page |
//! | an owner | the owner's sessions | the page |
//! | none, or `ended` | all, newest first | the page and the few that have not ended |

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};
use uuid::Uuid;

use super::fault::{Fault, from_stored, moment};
use super::rows::{self, COLUMNS};
use crate::api::event::SessionState;
use crate::store::{ListQuery, Page, SessionRow};

/// See [`crate::store::Store::list_sessions`].
pub(super) fn page(connection: &Connection, query: &ListQuery) -> Result<Page, Fault> {
    let (sql, values) = statement(query);
    let mut rows = collect(connection, &sql, values)?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok(Page { rows, more })
}

const IDS: &str = "SELECT created_at_ms, id FROM sessions INDEXED BY sessions_newest \
     WHERE (created_at_ms, id) > (?1, ?2) ORDER BY created_at_ms, id LIMIT ?3";

/// See [`crate::store::Store::session_ids`].
pub(super) fn ids(connection: &Connection, after: Option<(u64, Uuid)>, limit: u32) -> Result<Vec<(u64, Uuid)>, Fault> {
    let (at_ms, id) = after.map_or((-1, Uuid::nil()), |(at_ms, id)| (moment(at_ms), id));
    let mut statement = connection.prepare_cached(IDS)?;
    let mut found = statement.query(params![at_ms, id.as_bytes(), limit])?;
    let mut page = Vec::new();
    while let Some(row) = found.next()? {
        page.push((from_stored(row.get(0)?)?, rows::uuid(row, 1)?));
    }
    Ok(page)
}

/// See [`crate::store::Store::unfinished_sessions`].
pub(super) fn unfinished(connection: &Connection, node: Option<&str>) -> Result<Vec<SessionRow>, Fault> {
    let of_node = if node.is_some() { "AND s.node = ?" } else { "" };
    let sql = format!(
        "SELECT {COLUMNS} FROM sessions AS s INDEXED BY sessions_run \
         LEFT JOIN session_details AS d ON d.key = s.key \
         WHERE s.state <> 'ended' AND s.put_away_at_ms IS NULL {of_node} ORDER BY s.created_at_ms, s.id"
    );
    collect(connection, &sql, node.map(|node| Value::from(node.to_owned())).into_iter().collect())
}

fn collect(connection: &Connection, sql: &str, values: Vec<Value>) -> Result<Vec<SessionRow>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params_from_iter(values))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        rows.push(rows::decode(row)?);
    }
    Ok(rows)
}

/// The query in SQL with its values. Only words of this file get into the SQL.
fn statement(query: &ListQuery) -> (String, Vec<Value>) {
    let alive = query.state.filter(|state| *state != SessionState::Ended);
    let by_label = query.label.is_some() && alive.is_none();
    let mut conditions: Vec<&str> = Vec::new();
    let mut values: Vec<Value> = Vec::new();

    // The table that is walked: it has the order's columns, and the owner's.
    let (walked, source) = match (&query.label, &query.owner) {
        _ if alive.is_some() => ("s", "sessions AS s INDEXED BY sessions_unfinished"),
        (Some((_, None)), None) => ("l", "labels AS l CROSS JOIN sessions AS s ON s.id = l.id"),
        (Some((_, Some(_))), None) => {
            ("l", "labels AS l INDEXED BY labels_by_value CROSS JOIN sessions AS s ON s.id = l.id")
        }
        (Some((_, None)), Some(_)) => {
            ("l", "labels AS l INDEXED BY labels_by_owner CROSS JOIN sessions AS s ON s.id = l.id")
        }
        (Some((_, Some(_))), Some(_)) => {
            ("l", "labels AS l INDEXED BY labels_by_owner_value CROSS JOIN sessions AS s ON s.id = l.id")
        }
        (None, Some(_)) => ("s", "sessions AS s INDEXED BY sessions_by_owner"),
        (None, None) => ("s", "sessions AS s INDEXED BY sessions_newest"),
    };
    match query.state {
        Some(SessionState::Ended) => conditions.push("s.state = 'ended'"),
        Some(state) => {
            conditions.push("s.state <> 'ended' AND s.state = ?");
            values.push(state.as_str().to_owned().into());
        }
        None => {}
    }
    if let Some((name, value)) = &query.label {
        conditions.push(match (by_label, value.is_some()) {
            (true, false) => "l.name = ?",
            (true, true) => "l.name = ? AND l.value = ?",
            (false, false) => {
                "EXISTS (SELECT 1 FROM labels AS l WHERE l.name = ? AND l.created_at_ms = s.created_at_ms AND l.id = s.id)"
            }
            (false, true) => {
                "EXISTS (SELECT 1 FROM labels AS l WHERE l.name = ? AND l.value = ? \
                 AND l.created_at_ms = s.created_at_ms AND l.id = s.id)"
            }
        });
        values.push(name.clone().into());
        values.extend(value.clone().map(Value::from));
    }
    if let Some(owner) = &query.owner {
        conditions.push(if by_label { "l.owner = ?" } else { "s.owner = ?" });
        values.push(owner.clone().into());
    }
    if let Some((created_at_ms, id)) = query.before {
        conditions.push(if by_label { "(l.created_at_ms, l.id) < (?, ?)" } else { "(s.created_at_ms, s.id) < (?, ?)" });
        values.push(moment(created_at_ms).into());
        values.push(id.as_bytes().to_vec().into());
    }
    let filter = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    // One row more than asked for tells whether there are more.
    values.push((i64::from(query.limit) + 1).into());
    let sql = format!(
        "SELECT {COLUMNS} FROM {source} LEFT JOIN session_details AS d ON d.key = s.key {filter} \
         ORDER BY {walked}.created_at_ms DESC, {walked}.id DESC LIMIT ?"
    );
    (sql, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::tests::{connection, plan};

    #[test]
    fn every_form_of_the_query_walks_an_index_in_the_listings_order() {
        let (_directory, connection) = connection();
        let owners = [None, Some("o".to_owned())];
        let states = [None, Some(SessionState::Ended), Some(SessionState::Running)];
        let labels = [None, Some(("n".to_owned(), None)), Some(("n".to_owned(), Some("v".to_owned())))];
        let cursors = [None, Some((7, Uuid::nil()))];
        for (owner, state) in owners.iter().flat_map(|owner| states.map(|state| (owner, state))) {
            for (label, before) in labels.iter().flat_map(|label| cursors.map(|before| (label, before))) {
                let query = ListQuery { owner: owner.clone(), state, label: label.clone(), before, limit: 10 };
                let (sql, values) = statement(&query);
                let plan = plan(&connection, &sql, values);
                assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "sorts: {plan:?} for {query:?}");
                let whole = plan.iter().filter(|step| step.starts_with("SCAN")).collect::<Vec<_>>();
                let newest_first = ["SCAN s USING INDEX sessions_newest".to_owned()];
                let unfiltered = owner.is_none() && label.is_none() && before.is_none() && alive(state).is_none();
                assert_eq!(whole, if unfiltered { newest_first.iter().collect() } else { vec![] }, "{query:?}");
                if before.is_some() {
                    assert!(plan[0].contains("created_at_ms,id)<(?,?)"), "cursor filters: {plan:?} for {query:?}");
                }
            }
        }
    }

    fn alive(state: Option<SessionState>) -> Option<SessionState> {
        state.filter(|state| *state != SessionState::Ended)
    }
}
