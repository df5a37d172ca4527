//! Looks over the whole file: is it sound, do its indexes agree with the records, is there what belongs to nothing?
//!
//! Reads only, in one view. It must not look into records and logs: [`crate::store::check`] does.

use rusqlite::{Connection, ErrorCode, Row};
use uuid::Uuid;

use super::fault::Fault;
use crate::store::Finding;

/// Findings of one kind that are told one by one; how many more there are is told too.
const MOST: usize = 20;

/// A query that finds something in each row, and what that is. The first column is a session's id, or NULL.
struct Question {
    sql: &'static str,
    finding: fn(Option<Uuid>, &'static str) -> Finding,
    what: &'static str,
}

const fn fault(what: &'static str, sql: &'static str) -> Question {
    Question { sql, finding: |session, what| Finding::fault(session, what), what }
}

const fn leftover(what: &'static str, sql: &'static str) -> Question {
    Question { sql, finding: |session, what| Finding::leftover(session, what), what }
}

const QUESTIONS: [Question; 9] = [
    fault(
        "a label is missing in the list of labels: the session is not found by it",
        "SELECT s.id FROM sessions AS s JOIN session_details AS d ON d.key = s.key, \
         json_each(CASE WHEN json_valid(d.about) THEN d.about ELSE '{}' END, '$.labels') AS has \
         WHERE NOT EXISTS (SELECT 1 FROM labels AS l WHERE l.name = has.key AND l.created_at_ms = s.created_at_ms \
         AND l.id = s.id AND l.value = has.value AND l.owner = s.owner)",
    ),
    fault(
        "the list of labels has one that the session does not carry",
        "SELECT l.id FROM labels AS l JOIN sessions AS s ON s.id = l.id JOIN session_details AS d ON d.key = s.key \
         WHERE NOT EXISTS (SELECT 1 FROM \
         json_each(CASE WHEN json_valid(d.about) THEN d.about ELSE '{}' END, '$.labels') AS has \
         WHERE has.key = l.name AND has.value = l.value AND l.owner = s.owner AND l.created_at_ms = s.created_at_ms)",
    ),
    fault(
        "an idempotency key is another owner's than the session",
        "SELECT s.id FROM idempotency_keys AS k JOIN sessions AS s ON s.id = k.id WHERE s.owner <> k.owner",
    ),
    fault(
        "the session is there although its log waits to be deleted",
        "SELECT s.id FROM removals AS r JOIN sessions AS s ON s.key = r.key",
    ),
    leftover(
        "a label belongs to no session",
        "SELECT id FROM labels AS l WHERE NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.id = l.id)",
    ),
    leftover(
        "an idempotency key belongs to no session",
        "SELECT id FROM idempotency_keys AS k WHERE NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.id = k.id)",
    ),
    leftover(
        "details belong to no session",
        "SELECT NULL FROM session_details AS d WHERE NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.key = d.key)",
    ),
    leftover(
        "a log belongs to no session",
        "SELECT DISTINCT NULL, session FROM batches AS b WHERE NOT EXISTS (SELECT 1 FROM sessions AS s \
         WHERE s.key = b.session) AND NOT EXISTS (SELECT 1 FROM removals AS r WHERE r.key = b.session)",
    ),
    fault(
        "an entry of the audit log is not what it is found by",
        "SELECT NULL FROM audit WHERE NOT json_valid(entry) OR json_extract(entry, '$.action') IS NOT action \
         OR json_extract(entry, '$.subject') IS NOT subject",
    ),
];

/// See [`crate::store::Store::examine`].
pub(super) fn all(connection: &Connection) -> Result<Vec<Finding>, Fault> {
    let mut findings = Vec::new();
    if let Err(fault) = within(connection, &mut findings) {
        match &fault {
            // The file is what is examined: that it can't be read is a finding.
            Fault::Sqlite(error)
                if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) =>
            {
                tracing::warn!(store = "sqlite", %error, "the file can't be examined to its end");
                findings.push(Finding::fault(None, "the file can't be read to its end"));
            }
            _ => return Err(fault),
        }
    }
    Ok(findings)
}

fn within(connection: &Connection, findings: &mut Vec<Finding>) -> Result<(), Fault> {
    let view = connection.unchecked_transaction()?;
    let mut sound = view.prepare("PRAGMA integrity_check(20)")?;
    for line in sound.query_map([], |row| row.get::<_, String>(0))? {
        let line = line?;
        if line != "ok" {
            // Names of tables and numbers of pages and rows.
            findings.push(Finding::fault(None, format!("SQLite: {line}")));
        }
    }
    let mut references = view.prepare("PRAGMA foreign_key_check")?;
    let broken = references.query_map([], |_| Ok(()))?.count();
    if broken > 0 {
        findings.push(Finding::fault(None, format!("{broken} rows refer to rows that are not there")));
    }
    for question in &QUESTIONS {
        ask(&view, question, findings)?;
    }
    Ok(())
}

fn ask(view: &Connection, question: &Question, findings: &mut Vec<Finding>) -> Result<(), Fault> {
    let mut statement = view.prepare(question.sql)?;
    let mut found = statement.query([])?;
    let mut count = 0_usize;
    while let Some(row) = found.next()? {
        count += 1;
        if count <= MOST {
            findings.push((question.finding)(session(row), question.what));
        }
    }
    if count > MOST {
        let mut more = (question.finding)(None, question.what);
        more.what = format!("{}: {} more", question.what, count - MOST);
        findings.push(more);
    }
    Ok(())
}

fn session(row: &Row<'_>) -> Option<Uuid> {
    row.get_ref(0).ok()?.as_blob().ok().and_then(|bytes| Uuid::from_slice(bytes).ok())
}
