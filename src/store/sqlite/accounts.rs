//! Accounts. Names are compared as given, byte for byte.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::{Fault, from_stored, to_stored};
use super::rows::damaged;
use crate::api::Scope;
use crate::store::{Account, StoreError};

const COLUMNS: &str = "subject, username, role, password_hash, disabled, created_at_ms, scopes, \
     password_changed_at_ms, revision";

/// See [`crate::store::Store::create_account`].
pub(super) fn create(connection: &Connection, account: &Account) -> Result<(), Fault> {
    if let Some(stored) = by_subject(connection, &account.subject)? {
        return if stored == *account { Ok(()) } else { Err(StoreError::Exists.into()) };
    }
    if by_name(connection, &account.username)?.is_some() {
        return Err(StoreError::Exists.into());
    }
    write(connection, &format!("INSERT INTO accounts ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"), account)
}

/// See [`crate::store::Store::update_account`].
pub(super) fn update(connection: &Connection, account: &Account) -> Result<bool, Fault> {
    let stored = by_subject(connection, &account.subject)?.ok_or(StoreError::Missing)?;
    let changed = Account { revision: account.revision + 1, ..account.clone() };
    if stored == changed {
        return Ok(true);
    }
    if stored.revision != account.revision {
        return Ok(false);
    }
    if by_name(connection, &account.username)?.is_some_and(|other| other.subject != account.subject) {
        return Err(StoreError::Exists.into());
    }
    let sql = "UPDATE accounts SET username = ?2, role = ?3, password_hash = ?4, disabled = ?5, created_at_ms = ?6, \
               scopes = ?7, password_changed_at_ms = ?8, revision = ?9 WHERE subject = ?1";
    write(connection, sql, &changed)?;
    Ok(true)
}

/// Runs `sql` with the account's fields, in the order of [`COLUMNS`].
fn write(connection: &Connection, sql: &str, account: &Account) -> Result<(), Fault> {
    let created_at = to_stored(account.created_at_ms)?;
    connection.prepare_cached(sql)?.execute(params![
        account.subject,
        account.username,
        account.role.as_str(),
        account.password_hash,
        account.disabled,
        created_at,
        account.scopes.as_ref().map(write_scopes),
        to_stored(account.password_changed_at_ms)?,
        to_stored(account.revision)?,
    ])?;
    Ok(())
}

/// See [`crate::store::Store::account`].
pub(super) fn by_subject(connection: &Connection, subject: &str) -> Result<Option<Account>, Fault> {
    one(connection, &format!("SELECT {COLUMNS} FROM accounts WHERE subject = ?1"), subject)
}

/// See [`crate::store::Store::account_by_name`].
pub(super) fn by_name(connection: &Connection, username: &str) -> Result<Option<Account>, Fault> {
    one(connection, &format!("SELECT {COLUMNS} FROM accounts WHERE username = ?1"), username)
}

/// See [`crate::store::Store::accounts`].
pub(super) fn all(connection: &Connection) -> Result<Vec<Account>, Fault> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM accounts ORDER BY username"))?;
    let mut found = statement.query([])?;
    let mut accounts = Vec::new();
    while let Some(row) = found.next()? {
        accounts.push(decode(row)?);
    }
    Ok(accounts)
}

fn one(connection: &Connection, sql: &str, value: &str) -> Result<Option<Account>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row([value], |row| Ok(decode(row))).optional()?.transpose()
}

fn decode(row: &Row<'_>) -> Result<Account, Fault> {
    let role: String = row.get(2)?;
    Ok(Account {
        subject: row.get(0)?,
        username: row.get(1)?,
        role: role.parse().map_err(|_| damaged("an account's role is an unknown word"))?,
        password_hash: row.get(3)?,
        disabled: row.get(4)?,
        created_at_ms: from_stored(row.get(5)?)?,
        scopes: row.get::<_, Option<String>>(6)?.map(|text| read_scopes(&text)),
        password_changed_at_ms: from_stored(row.get(7)?)?,
        revision: from_stored(row.get(8)?)?,
    })
}

fn write_scopes(scopes: &BTreeSet<Scope>) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
}

/// Unknown words grant nothing: a newer gateway may have written them.
fn read_scopes(text: &str) -> BTreeSet<Scope> {
    text.split(' ').filter_map(|word| word.parse().ok()).collect()
}
