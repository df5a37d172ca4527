//! Put-away sessions: those that wait, idle, without anybody who runs them, the longest waiting first.
//!
//! Invariant: a page costs what its own rows cost, however many wait: it walks `sessions_put_away`.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::fault::{Fault, moment};
use super::rows::{self, COLUMNS};
use crate::store::{PutAwayQuery, SessionRow};

/// See [`crate::store::Store::put_away_sessions`].
pub(super) fn page(connection: &Connection, query: &PutAwayQuery) -> Result<Vec<SessionRow>, Fault> {
    let (sql, values) = statement(query);
    rows::readable(connection, &sql, values, query.limit, rows::decode)
}

fn statement(query: &PutAwayQuery) -> (String, Vec<Value>) {
    let mut values: Vec<Value> = Vec::new();
    let mut conditions = String::new();
    if let Some(before_ms) = query.before_ms {
        conditions.push_str(" AND s.put_away_at_ms < ?");
        values.push(moment(before_ms).into());
    }
    if let Some((put_away_at_ms, id)) = query.after {
        conditions.push_str(" AND (s.put_away_at_ms, s.id) > (?, ?)");
        values.push(moment(put_away_at_ms).into());
        values.push(id.as_bytes().to_vec().into());
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM sessions AS s INDEXED BY sessions_put_away \
         LEFT JOIN session_details AS d ON d.key = s.key \
         WHERE s.put_away_at_ms IS NOT NULL{conditions} ORDER BY s.put_away_at_ms, s.id"
    );
    (sql, values)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::sqlite::tests::{connection, plan};

    #[test]
    fn every_form_of_the_query_walks_its_index_in_order_and_begins_at_the_cursor() {
        let (_directory, connection) = connection();
        for before_ms in [None, Some(9)] {
            for after in [None, Some((7, Uuid::nil()))] {
                let (sql, values) = statement(&PutAwayQuery { before_ms, after, limit: 10 });
                let steps = plan(&connection, &sql, values);
                assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "sorts: {steps:?}");
                assert!(steps[0].contains("sessions_put_away"), "{steps:?}");
                let bounded = steps[0].contains("(put_away_at_ms,id)>(?,?)");
                assert_eq!(bounded, after.is_some(), "{before_ms:?}, {after:?}: {steps:?}");
                assert!(!steps.iter().skip(1).any(|step| step.starts_with("SCAN")), "{steps:?}");
            }
        }
    }
}
