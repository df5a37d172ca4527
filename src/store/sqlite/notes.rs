//! Notes: small facts that live for a while.
//!
//! Invariant: a note whose end is past is neither read nor in anybody's way; its row goes with [`sweep`] or with the
//! next note of its key.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::{Fault, from_stored, moment};
use crate::store::{Note, NoteKind};

const COLUMNS: &str = "key, value, expires_at_ms";

/// See [`crate::store::Store::put_note`].
pub(super) fn put(connection: &Connection, note: &Note, now_ms: u64) -> Result<bool, Fault> {
    if let Some(found) = find(connection, note.kind, &note.key, now_ms)? {
        return Ok(found == *note);
    }
    if note.expires_at_ms.is_some_and(|end| end <= now_ms) {
        return Ok(true);
    }
    connection
        .prepare_cached(
            "INSERT INTO notes (kind, key, value, expires_at_ms) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value, expires_at_ms = excluded.expires_at_ms",
        )?
        .execute(params![note.kind.as_str(), note.key, note.value, note.expires_at_ms.map(moment)])?;
    Ok(true)
}

/// See [`crate::store::Store::change_note`].
pub(super) fn change(
    connection: &Connection,
    kind: NoteKind,
    key: &str,
    from: &str,
    to: Option<&str>,
    expires_at_ms: Option<u64>,
    now_ms: u64,
) -> Result<bool, Fault> {
    let Some(found) = find(connection, kind, key, now_ms)? else { return Ok(false) };
    let is_changed = to == Some(found.value.as_str()) && expires_at_ms == found.expires_at_ms;
    if found.value != from {
        return Ok(is_changed);
    }
    match to {
        None => {
            let sql = "DELETE FROM notes WHERE kind = ?1 AND key = ?2";
            connection.prepare_cached(sql)?.execute([kind.as_str(), key])?;
        }
        Some(to) => {
            let sql = "UPDATE notes SET value = ?3, expires_at_ms = ?4 WHERE kind = ?1 AND key = ?2";
            connection.prepare_cached(sql)?.execute(params![kind.as_str(), key, to, expires_at_ms.map(moment)])?;
        }
    }
    Ok(true)
}

/// See [`crate::store::Store::note`].
pub(super) fn find(connection: &Connection, kind: NoteKind, key: &str, now_ms: u64) -> Result<Option<Note>, Fault> {
    let sql = format!(
        "SELECT {COLUMNS} FROM notes WHERE kind = ?1 AND key = ?2 AND (expires_at_ms IS NULL OR expires_at_ms > ?3)"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_row(params![kind.as_str(), key, moment(now_ms)], |row| Ok(decode(kind, row)));
    found.optional()?.transpose()
}

/// See [`crate::store::Store::notes`].
pub(super) fn page(
    connection: &Connection,
    kind: NoteKind,
    after_key: &str,
    limit: u32,
    now_ms: u64,
) -> Result<Vec<Note>, Fault> {
    let sql = format!(
        "SELECT {COLUMNS} FROM notes WHERE kind = ?1 AND key > ?2 AND (expires_at_ms IS NULL OR expires_at_ms > ?3) \
         ORDER BY key LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![kind.as_str(), after_key, moment(now_ms), limit])?;
    let mut notes = Vec::new();
    while let Some(row) = found.next()? {
        notes.push(decode(kind, row)?);
    }
    Ok(notes)
}

const SWEEP: &str = "DELETE FROM notes WHERE (kind, key) IN \
     (SELECT kind, key FROM notes INDEXED BY notes_by_end WHERE expires_at_ms <= ?1 LIMIT ?2)";

/// Deletes at most `max` notes that have ended; `true` if more may be there.
pub(super) fn sweep(connection: &Connection, max: u32, now_ms: u64) -> Result<bool, Fault> {
    let deleted = connection.prepare_cached(SWEEP)?.execute(params![moment(now_ms), max])?;
    Ok(deleted > 0 && deleted >= max as usize)
}

fn decode(kind: NoteKind, row: &Row<'_>) -> Result<Note, Fault> {
    let expires_at_ms = row.get::<_, Option<i64>>(2)?.map(from_stored).transpose()?;
    Ok(Note { kind, key: row.get(0)?, value: row.get(1)?, expires_at_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::tests::{connection, plan};

    #[test]
    fn what_has_ended_is_found_by_its_index() {
        let (_directory, connection) = connection();
        let steps = plan(&connection, SWEEP, vec![7.into(), 10.into()]);
        assert!(steps.iter().any(|step| step.contains("notes_by_end (expires_at_ms<?)")), "{steps:?}");
        assert!(!steps.iter().any(|step| step.starts_with("SCAN notes")), "{steps:?}");
    }
}
