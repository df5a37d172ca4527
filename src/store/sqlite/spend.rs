//! The spend ledger: what each event told that was spent, summed by owner.
//!
//! Invariants: one entry an event of a session. Entries outlive their session and go only by
//! [`crate::store::Store::forget_spend`].

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::fault::{Fault, from_stored, moment, to_stored};
use super::rows;
use crate::store::Spend;

/// The sum comes from the index alone.
const SPENT_SINCE: &str =
    "SELECT coalesce(sum(micro_usd), 0) FROM spend INDEXED BY spend_by_owner WHERE owner = ?1 AND at_ms > ?2";

/// From the index alone but for the owner; its end is the table's key.
const PAGE: &str = "SELECT session, seq, owner, at_ms, micro_usd FROM spend INDEXED BY spend_by_moment \
     WHERE (at_ms, session, seq) > (?1, ?2, ?3) ORDER BY at_ms, session, seq LIMIT ?4";

const FORGET: &str = "DELETE FROM spend INDEXED BY spend_by_moment WHERE at_ms < ?1";

/// See [`crate::store::Store::add_spend`].
pub(super) fn add(connection: &Connection, spend: &Spend) -> Result<(), Fault> {
    let (seq, micro_usd) = (to_stored(spend.seq)?, to_stored(spend.micro_usd)?);
    connection
        .prepare_cached(
            "INSERT INTO spend (session, seq, owner, at_ms, micro_usd) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (session, seq) DO NOTHING",
        )?
        .execute(params![spend.session.as_bytes(), seq, spend.owner, moment(spend.at_ms), micro_usd])?;
    Ok(())
}

/// See [`crate::store::Store::spent_since`].
pub(super) fn since(connection: &Connection, owner: &str, since_ms: u64) -> Result<u64, Fault> {
    let spent: i64 =
        connection.prepare_cached(SPENT_SINCE)?.query_row(params![owner, moment(since_ms)], |row| row.get(0))?;
    Ok(from_stored(spent)?)
}

/// See [`crate::store::Store::spent`].
pub(super) fn page(connection: &Connection, after: Option<&Spend>, limit: u32) -> Result<Vec<Spend>, Fault> {
    let (at_ms, session, seq) = match after {
        Some(entry) => (moment(entry.at_ms), entry.session, to_stored(entry.seq)?),
        None => (-1, Uuid::nil(), -1),
    };
    let mut statement = connection.prepare_cached(PAGE)?;
    let mut found = statement.query(params![at_ms, session.as_bytes(), seq, limit])?;
    let mut page = Vec::new();
    while let Some(row) = found.next()? {
        page.push(Spend {
            session: rows::uuid(row, 0)?,
            seq: from_stored(row.get(1)?)?,
            owner: row.get(2)?,
            at_ms: from_stored(row.get(3)?)?,
            micro_usd: from_stored(row.get(4)?)?,
        });
    }
    Ok(page)
}

/// See [`crate::store::Store::forget_spend`].
pub(super) fn forget(connection: &Connection, before_ms: u64) -> Result<(), Fault> {
    connection.prepare_cached(FORGET)?.execute([moment(before_ms)])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::tests::{connection, plan};

    #[test]
    fn sums_come_from_the_index_and_forgetting_looks_at_what_it_forgets_only() {
        let (_directory, connection) = connection();
        let sum = plan(&connection, SPENT_SINCE, vec!["owner".to_owned().into(), 7.into()]);
        assert_eq!(sum, ["SEARCH spend USING COVERING INDEX spend_by_owner (owner=? AND at_ms>?)"]);
        let page = plan(&connection, PAGE, vec![7.into(), vec![0; 16].into(), 1.into(), 10.into()]);
        assert!(page[0].contains("spend_by_moment ((at_ms,session,seq)>") && page.len() == 1, "{page:?}");
        let forget = plan(&connection, FORGET, vec![7.into()]);
        assert!(forget[0].starts_with("SEARCH spend USING") && forget[0].ends_with("(at_ms<?)"), "{forget:?}");
    }
}
