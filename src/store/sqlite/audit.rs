//! The audit log. Entries are JSON; what they are looked for by stands beside it.
//!
//! Invariant: an entry is never changed, and goes only by [`crate::store::Store::forget_audit`].

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::fault::Fault;
use super::rows::damaged;
use crate::store::audit::first_id;
use crate::store::{AuditEntry, AuditQuery};

const FORGET: &str = "DELETE FROM audit WHERE id < ?1";

/// See [`crate::store::Store::append_audit`].
pub(super) fn append(connection: &Connection, entries: &[AuditEntry]) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO audit (id, subject, action, session, entry) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (id) DO NOTHING",
    )?;
    for entry in entries {
        let text = serde_json::to_string(entry).map_err(|_| damaged("an audit entry can't be written as JSON"))?;
        let session = entry.session.map(|session| *session.as_bytes());
        statement.execute(params![entry.id.as_bytes(), entry.subject, entry.action, session, text])?;
    }
    Ok(())
}

/// See [`crate::store::Store::audit`].
pub(super) fn page(connection: &Connection, query: &AuditQuery) -> Result<Vec<AuditEntry>, Fault> {
    let (sql, values) = select(query);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(values))?;
    let mut page = Vec::new();
    while let Some(row) = found.next()? {
        let text: String = row.get(0)?;
        page.push(serde_json::from_str(&text).map_err(|_| damaged("an audit entry is not the JSON it should be"))?);
    }
    Ok(page)
}

/// See [`crate::store::Store::forget_audit`].
pub(super) fn forget(connection: &Connection, before_ms: u64) -> Result<(), Fault> {
    connection.prepare_cached(FORGET)?.execute([first_id(before_ms).as_bytes()])?;
    Ok(())
}

/// The statement for those filters, and its values.
fn select(query: &AuditQuery) -> (String, Vec<Value>) {
    let blob = |id: uuid::Uuid| Value::Blob(id.as_bytes().to_vec());
    let filters = [
        ("session = ?", query.session.map(blob)),
        ("subject = ?", query.subject.clone().map(Value::Text)),
        ("action = ?", query.action.clone().map(Value::Text)),
        ("id < ?", query.before.map(blob)),
        ("id > ?", query.after.map(blob)),
    ];
    let (mut sql, mut values) = ("SELECT entry FROM audit".to_owned(), Vec::new());
    for (filter, value) in filters {
        if let Some(value) = value {
            sql.push_str(if values.is_empty() { " WHERE " } else { " AND " });
            sql.push_str(filter);
            values.push(value);
        }
    }
    sql.push_str(" ORDER BY id DESC LIMIT ?");
    values.push(Value::Integer(query.limit.into()));
    (sql, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::tests::{connection, plan};

    #[test]
    fn every_filter_of_the_audit_log_has_an_index_that_ends_in_its_order() {
        let (_directory, connection) = connection();
        let some = || Some("x".to_owned());
        let id = Some(uuid::Uuid::nil());
        let none = AuditQuery::default;
        for query in [
            none(),
            AuditQuery { subject: some(), ..none() },
            AuditQuery { action: some(), ..none() },
            AuditQuery { session: id, ..none() },
            AuditQuery { subject: some(), before: id, after: id, ..none() },
            AuditQuery { before: id, ..none() },
        ] {
            let (sql, values) = select(&query);
            let steps = plan(&connection, &sql, values);
            let filters = query.subject.is_some() || query.action.is_some() || query.session.is_some();
            let searches = steps.len() == 1 && (!filters || steps[0].starts_with("SEARCH audit USING"));
            assert!(searches, "{query:?}: {steps:?}");
        }
        let forget = plan(&connection, FORGET, vec![Value::Blob(vec![0; 16])]);
        assert!(forget[0].starts_with("SEARCH audit USING PRIMARY KEY (id<?)"), "{forget:?}");
    }
}
