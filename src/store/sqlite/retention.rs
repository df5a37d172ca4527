//! What is no longer kept: cutting logs at their head, removing ended sessions, counting what is left.
//!
//! Invariants: `sessions.bytes` is the sum of the session's payloads (every write that touches both is one
//! transaction). A removed session is invisible at once; its batches wait in `removals` to be deleted in
//! small steps, so that no call holds the writing thread up for long. Numbers of sessions are never used
//! again, so what waits belongs to nobody.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::batches::{self, Stored};
use super::fault::{Fault, from_stored, moment, to_stored};
use super::rows::{self, damaged};
use super::{log, sessions};
use crate::store::{EndedQuery, EndedRow, LogBounds, StoreError};

/// See [`crate::store::Store::cut_head`].
pub(super) fn cut_head(
    connection: &Connection,
    id: Uuid,
    epoch: u64,
    keep_bytes: u64,
    max_batches: u32,
) -> Result<LogBounds, Fault> {
    let head = log::owned(connection, id, epoch)?;
    let mut bounds = LogBounds { first: head.last_seq.saturating_add(1), head: head.last_seq, bytes: head.bytes };
    // Before the first write: the number that the cut ends with, the row of which only a part goes, and what is kept then.
    let (mut cut_to, mut in_part) = (None, None);
    {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {}, length(payload), rowid FROM batches WHERE session = ?1 ORDER BY last_seq",
            batches::COLUMNS
        ))?;
        let mut found = statement.query([head.key])?;
        let mut left = max_batches;
        'rows: while let Some(row) = found.next()? {
            let stored = Stored::from_row(row)?;
            let mut first = stored.first_seq;
            for (last, length) in stored.lengths(from_stored(row.get(4)?)?) {
                if left == 0 || bounds.bytes <= keep_bytes || last == head.last_seq {
                    bounds.first = first;
                    if first > stored.first_seq {
                        in_part = Some((row.get::<_, i64>(5)?, stored));
                    }
                    break 'rows;
                }
                bounds.bytes =
                    bounds.bytes.checked_sub(length).ok_or_else(|| damaged("a log is longer than counted"))?;
                cut_to = Some(last);
                first = last.saturating_add(1);
                left -= 1;
            }
        }
    }
    let Some(cut_to) = cut_to else { return Ok(bounds) };
    if bounds.first > bounds.head {
        return Err(damaged("the end of the log is missing").into());
    }
    connection
        .prepare_cached("DELETE FROM batches WHERE session = ?1 AND last_seq <= ?2")?
        .execute(params![head.key, to_stored(cut_to)?])?;
    if let Some((row_id, stored)) = in_part {
        batches::behead(connection, row_id, &stored, cut_to)?;
    }
    let bytes = to_stored(bounds.bytes)?;
    connection.prepare_cached("UPDATE sessions SET bytes = ?2 WHERE key = ?1")?.execute(params![head.key, bytes])?;
    Ok(bounds)
}

/// See [`crate::store::Store::ended_sessions`].
pub(super) fn ended(connection: &Connection, query: &EndedQuery) -> Result<Vec<EndedRow>, Fault> {
    let (sql, values) = ended_statement(query);
    rows::readable(connection, &sql, values, query.limit, |row| {
        Ok(EndedRow {
            id: rows::uuid(row, 0)?,
            ended_at_ms: row.get::<_, Option<i64>>(1)?.map_or(Ok(0), from_stored)?,
            bytes: from_stored(row.get(2)?)?,
            workspace: rows::workspace(&row.get::<_, String>(3)?)?,
        })
    })
}

fn ended_statement(query: &EndedQuery) -> (String, Vec<Value>) {
    let mut values: Vec<Value> = Vec::new();
    let mut conditions = String::new();
    if let Some((ended_at_ms, id)) = query.after {
        conditions.push_str(" AND (s.ended_at_ms, s.id) > (?, ?)");
        values.push(moment(ended_at_ms).into());
        values.push(id.as_bytes().to_vec().into());
    }
    if let Some(label) = &query.without_label {
        conditions.push_str(
            " AND NOT EXISTS (SELECT 1 FROM labels AS l WHERE l.name = ? AND l.created_at_ms = s.created_at_ms \
             AND l.id = s.id AND l.value <> 'false')",
        );
        values.push(label.clone().into());
    }
    let sql = format!(
        "SELECT s.id, s.ended_at_ms, s.bytes, d.about FROM sessions AS s INDEXED BY sessions_ended \
         LEFT JOIN session_details AS d ON d.key = s.key \
         WHERE s.state = 'ended'{conditions} ORDER BY s.ended_at_ms, s.id"
    );
    (sql, values)
}

/// The sum of all sessions' bytes. Those of ended and put-away ones are in their indexes: they are many, and
/// their rows can be long.
const KEPT_BYTES: &str = "SELECT \
     (SELECT coalesce(sum(bytes), 0) FROM sessions INDEXED BY sessions_ended WHERE state = 'ended') + \
     (SELECT coalesce(sum(bytes), 0) FROM sessions INDEXED BY sessions_put_away \
         WHERE put_away_at_ms IS NOT NULL) + \
     (SELECT coalesce(sum(bytes), 0) FROM sessions INDEXED BY sessions_run \
         WHERE state <> 'ended' AND put_away_at_ms IS NULL)";

/// See [`crate::store::Store::kept_bytes`].
pub(super) fn kept_bytes(connection: &Connection) -> Result<u64, Fault> {
    let bytes: i64 = connection.prepare_cached(KEPT_BYTES)?.query_row([], |row| row.get(0))?;
    Ok(from_stored(bytes)?)
}

/// See [`crate::store::Store::remove_session`].
pub(super) fn remove(connection: &Connection, id: Uuid) -> Result<bool, Fault> {
    let Some(row) = sessions::find(connection, id)? else { return Ok(false) };
    let head = sessions::head(connection, id)?;
    if !head.has_ended {
        return Err(StoreError::NotOwner.into());
    }
    let created_at = to_stored(row.created_at_ms)?;
    // By name: the labels' index begins with it.
    let mut label =
        connection.prepare_cached("DELETE FROM labels WHERE name = ?1 AND created_at_ms = ?2 AND id = ?3")?;
    for name in row.labels.keys() {
        label.execute(params![name, created_at, id.as_bytes()])?;
    }
    connection.prepare_cached("DELETE FROM idempotency_keys WHERE id = ?1")?.execute([id.as_bytes()])?;
    connection.prepare_cached("DELETE FROM session_details WHERE key = ?1")?.execute([head.key])?;
    connection.prepare_cached("DELETE FROM sessions WHERE key = ?1")?.execute([head.key])?;
    connection.prepare_cached("INSERT INTO removals (key) VALUES (?1)")?.execute([head.key])?;
    Ok(true)
}

/// See [`crate::store::Store::purge`].
pub(super) fn purge(connection: &Connection, max_batches: u32) -> Result<bool, Fault> {
    let mut next = connection.prepare_cached("SELECT key FROM removals ORDER BY key LIMIT 1")?;
    let mut rows = connection.prepare_cached(
        "DELETE FROM batches WHERE rowid IN (SELECT rowid FROM batches WHERE session = ?1 ORDER BY last_seq LIMIT ?2)",
    )?;
    let mut done = connection.prepare_cached(
        "DELETE FROM removals WHERE key = ?1 AND NOT EXISTS (SELECT 1 FROM batches WHERE session = ?1)",
    )?;
    let mut left = i64::from(max_batches);
    loop {
        let key: Option<i64> = next.query_row([], |row| row.get(0)).optional()?;
        let Some(key) = key else { return Ok(false) };
        if left <= 0 {
            return Ok(true);
        }
        let deleted = rows.execute([key, left])?;
        done.execute([key])?;
        // A session without batches counts too: each step of this loop costs something.
        left = left.saturating_sub(i64::try_from(deleted.max(1)).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::tests::{connection, plan};

    #[test]
    fn ended_sessions_are_walked_by_their_index_and_their_bytes_summed_from_it() {
        let (_directory, connection) = connection();
        for (after, without_label) in [(None, None), (Some((7, Uuid::nil())), Some("keep".to_owned()))] {
            let (sql, values) = ended_statement(&EndedQuery { after, without_label, limit: 10 });
            let steps = plan(&connection, &sql, values);
            assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "sorts: {steps:?}");
            let bounded = !steps[0].starts_with("SCAN") && steps[0].contains("(ended_at_ms,id)>(?,?)");
            assert!(steps[0].contains("sessions_ended") && (bounded || after.is_none()), "{steps:?}");
            assert!(!steps.iter().skip(1).any(|step| step.starts_with("SCAN")), "{steps:?}");
        }
        let steps = plan(&connection, KEPT_BYTES, Vec::new());
        for index in ["sessions_ended", "sessions_put_away"] {
            let covering = format!("USING COVERING INDEX {index}");
            assert!(steps.iter().any(|step| step.contains(&covering)), "{index}: {steps:?}");
        }
    }
}
