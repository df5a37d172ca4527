//! The file's form: its tables, its versions, and how a connection to it is set up.
//!
//! Invariants: `user_version` is the number of steps of [`STEPS`] that the file has had; a step is never
//! changed once released, only new ones are added. A file of a newer version, or of another program, is
//! refused and left as it is.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::fault::Fault;
use crate::config::settings::SqliteSynchronous;
use crate::store::StoreError;

/// Marks the file as ours (`PRAGMA application_id`): "ccgw".
const APPLICATION_ID: i32 = 0x6363_6777;

/// How long a connection waits for a lock that another program (a person's `sqlite3`, a backup) holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The size of a new file's pages, in bytes. A page is written with two calls to the write-ahead log, and read and written
/// once more at a checkpoint, whatever its size, which is for long payloads; but a session's record touches ten of them,
/// when it is made and when it is looked up, which is for short ones.
pub(super) const PAGE: u32 = 8 * 1024;

/// The write-ahead log is cut to this size after a checkpoint.
const LOG_SIZE_LIMIT: i64 = 128 * 1024 * 1024;

/// Statements kept prepared by each connection: all there are, with the forms of a listing.
const STATEMENTS: usize = 64;

/// What brings an empty file up to date, one step a version.
///
/// - What changes often (`sessions`) is apart from what is long and never changes (`session_details`), so
///   that an append rewrites a short row.
/// - `batches` is an ordinary table with an index, not `WITHOUT ROWID`: measured with batches of 0.4 to
///   30 KB, appends cost 0.6 to 0.8 of it, because they go to the table's end and long payloads stay out of
///   the index.
/// - Every filter of a listing has an index that ends in the listing's order (`created_at_ms`, `id`).
///   `labels` repeats owner and order for that reason. States are no filter of an index, but for one:
///   whatever has not ended is little.
pub(super) const STEPS: [&str; 7] =
    [FIRST_FORM, RETENTION, PUT_AWAY_AND_SPEND, SLOTS_IN_MEMORY, NOTES, ACCESS_AND_AUDIT, BATCHES_TOGETHER];

const FIRST_FORM: &str = "
    CREATE TABLE sessions (
        key           INTEGER PRIMARY KEY AUTOINCREMENT,
        id            BLOB    NOT NULL UNIQUE,
        owner         TEXT    NOT NULL,
        state         TEXT    NOT NULL,
        node          TEXT    NOT NULL,
        epoch         INTEGER NOT NULL,
        last_seq      INTEGER NOT NULL,
        created_at_ms INTEGER NOT NULL,
        ended_at_ms   INTEGER,
        ended         TEXT
    ) STRICT;
    CREATE INDEX sessions_newest     ON sessions (created_at_ms, id);
    CREATE INDEX sessions_by_owner   ON sessions (owner, created_at_ms, id);
    CREATE INDEX sessions_unfinished ON sessions (state, created_at_ms, id) WHERE state <> 'ended';

    CREATE TABLE session_details (
        key    INTEGER PRIMARY KEY,
        about  TEXT NOT NULL,
        params TEXT NOT NULL
    ) STRICT;

    CREATE TABLE labels (
        name          TEXT    NOT NULL,
        value         TEXT    NOT NULL,
        owner         TEXT    NOT NULL,
        created_at_ms INTEGER NOT NULL,
        id            BLOB    NOT NULL,
        PRIMARY KEY (name, created_at_ms, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX labels_by_value       ON labels (name, value, created_at_ms, id);
    CREATE INDEX labels_by_owner       ON labels (owner, name, created_at_ms, id);
    CREATE INDEX labels_by_owner_value ON labels (owner, name, value, created_at_ms, id);

    CREATE TABLE idempotency_keys (
        owner       TEXT NOT NULL,
        key         TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        id          BLOB NOT NULL,
        PRIMARY KEY (owner, key)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE batches (
        session   INTEGER NOT NULL,
        last_seq  INTEGER NOT NULL,
        first_seq INTEGER NOT NULL,
        types     INTEGER NOT NULL,
        payload   BLOB    NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX batches_in_order ON batches (session, last_seq);

    CREATE TABLE slots (
        id            BLOB    NOT NULL PRIMARY KEY,
        node          TEXT    NOT NULL,
        expires_at_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE accounts (
        subject       TEXT    NOT NULL PRIMARY KEY,
        username      TEXT    NOT NULL UNIQUE,
        role          TEXT    NOT NULL,
        password_hash TEXT    NOT NULL,
        disabled      INTEGER NOT NULL,
        created_at_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE probe (
        one   INTEGER PRIMARY KEY CHECK (one = 1),
        at_ms INTEGER NOT NULL
    ) STRICT;
";

/// Counts what each session keeps, and finds what need not be kept.
///
/// - `sessions_ended` holds the bytes too: they are summed without the rows, in which `ended` can be long.
/// - `removals` has the keys of removed sessions whose batches are still to be deleted.
const RETENTION: &str = "
    ALTER TABLE sessions ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    UPDATE sessions
        SET bytes = (SELECT coalesce(sum(length(payload)), 0) FROM batches WHERE session = sessions.key);
    CREATE INDEX sessions_ended ON sessions (ended_at_ms, id, bytes) WHERE state = 'ended';
    CREATE INDEX idempotency_keys_by_session ON idempotency_keys (id);

    CREATE TABLE removals (
        key INTEGER PRIMARY KEY
    ) STRICT;
";

/// Sessions that wait without a process, and what all of them have spent.
///
/// - What has not ended falls into two: `sessions_put_away`, which can be many, and `sessions_run`, which a
///   gateway must account for. The first holds the bytes, as `sessions_ended` does; the second does not,
///   because each append would rewrite it. An end clears `put_away_at_ms`.
/// - `messages` is a JSON list of ids. It and the cost change with every turn, so they are here and not in
///   `session_details`.
/// - `spend` names sessions by their id: it outlives them. `spend_by_owner` holds the amounts, which are
///   summed from it.
const PUT_AWAY_AND_SPEND: &str = "
    ALTER TABLE sessions ADD COLUMN put_away_at_ms INTEGER;
    ALTER TABLE sessions ADD COLUMN messages TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE sessions ADD COLUMN total_cost_usd REAL;
    CREATE INDEX sessions_put_away ON sessions (put_away_at_ms, id, bytes) WHERE put_away_at_ms IS NOT NULL;
    CREATE INDEX sessions_run ON sessions (node, created_at_ms, id)
        WHERE state <> 'ended' AND put_away_at_ms IS NULL;

    CREATE TABLE spend (
        session   BLOB    NOT NULL,
        seq       INTEGER NOT NULL,
        owner     TEXT    NOT NULL,
        at_ms     INTEGER NOT NULL,
        micro_usd INTEGER NOT NULL,
        PRIMARY KEY (session, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX spend_by_owner  ON spend (owner, at_ms, micro_usd);
    CREATE INDEX spend_by_moment ON spend (at_ms);
";

/// Slots are kept in memory: they are of processes, which end with the gateway that has the file.
const SLOTS_IN_MEMORY: &str = "
    DROP TABLE slots;
";

/// Small facts that live for a while.
const NOTES: &str = "
    CREATE TABLE notes (
        kind          TEXT    NOT NULL,
        key           TEXT    NOT NULL,
        value         TEXT    NOT NULL,
        expires_at_ms INTEGER,
        PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX notes_by_end ON notes (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
";

/// What an account may do, when its password was last changed, and the audit log.
///
/// - `scopes` has words divided by blanks; NULL is all that the role allows.
/// - Ids in `audit` are in the order of time. Every filter of it has an index that ends in the listing's order (`id`,
///   which an index of a table without row ids ends in by itself).
const ACCESS_AND_AUDIT: &str = "
    ALTER TABLE accounts ADD COLUMN scopes TEXT;
    ALTER TABLE accounts ADD COLUMN password_changed_at_ms INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE accounts ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;

    CREATE TABLE audit (
        id      BLOB NOT NULL PRIMARY KEY,
        subject TEXT,
        action  TEXT NOT NULL,
        session BLOB,
        entry   TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX audit_by_subject ON audit (subject, id) WHERE subject IS NOT NULL;
    CREATE INDEX audit_by_session ON audit (session, id) WHERE session IS NOT NULL;
    CREATE INDEX audit_by_action  ON audit (action, id);
";

/// Several batches in one row, see `batches`.
const BATCHES_TOGETHER: &str = "
    ALTER TABLE batches ADD COLUMN parts BLOB;
";

/// A connection that may write. The file must be there.
pub(super) fn connect_writer(file: &Path, synchronous: SqliteSynchronous) -> Result<Connection, Fault> {
    let mut connection = connect(file)?;
    check_identity(&connection)?;
    // Heard before the first table is made; later it says nothing.
    connection.pragma_update(None, "page_size", PAGE)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(
            StoreError::Away("its disk can't hold it; put the data directory on a local disk".to_owned()).into()
        );
    }
    let synchronous = match synchronous {
        SqliteSynchronous::Normal => "NORMAL",
        SqliteSynchronous::Full => "FULL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // `checkpoint` sees to that.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_SIZE_LIMIT, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    bring_up_to_date(&mut connection)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn connect_reader(file: &Path) -> Result<Connection, Fault> {
    let connection = connect(file)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -2_048)?;
    Ok(connection)
}

fn connect(file: &Path) -> Result<Connection, Fault> {
    // No CREATE: a file that was taken away under a running gateway must not come back empty. No mutex:
    // a connection is used by one thread at a time.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// Refuses a file of another program or of a newer version, before anything is written to it.
fn check_identity(connection: &Connection) -> Result<(), Fault> {
    let application: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || tables != 0) {
        return Err(StoreError::Damaged("the file belongs to another program".to_owned()).into());
    }
    let found = version(connection)?;
    if found > STEPS.len() {
        let text = format!("a newer version wrote the file (form {found}; this version knows {})", STEPS.len());
        return Err(StoreError::Damaged(text).into());
    }
    Ok(())
}

fn version(connection: &Connection) -> Result<usize, Fault> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version).map_err(|_| StoreError::Damaged("the file's version is below zero".to_owned()))?)
}

fn bring_up_to_date(connection: &mut Connection) -> Result<(), Fault> {
    let done = version(connection)?;
    if done == STEPS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    for step in STEPS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", i64::try_from(STEPS.len()).unwrap_or(i64::MAX))?;
    transaction.commit()?;
    tracing::info!(store = "sqlite", from = done, to = STEPS.len(), "the store's file was brought up to date");
    Ok(())
}
