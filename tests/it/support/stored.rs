//! What a gateway has left in its store: each session must have come to exactly one end.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// The bit of the terminal event in a batch's types.
const ENDED: i64 = 1 << 9;

/// Every session in the store of a gateway that has ended, and what is wrong with it, if something is: one that has
/// ended has one terminal event, and only one that is put away may have none.
pub(crate) fn wrong_ends(file: &Path) -> Vec<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let store = Connection::open_with_flags(file, flags).expect("the store of a gateway that has ended");
    let mut rows = store
        .prepare(
            "SELECT hex(s.id), s.state, s.put_away_at_ms IS NOT NULL,
                    (SELECT count(*) FROM batches AS b WHERE b.session = s.key AND b.types & ?1)
             FROM sessions AS s",
        )
        .expect("sessions and their batches");
    let told = rows.query_map([ENDED], |row| {
        let (id, state): (String, String) = (row.get(0)?, row.get(1)?);
        let (put_away, ends): (bool, i64) = (row.get(2)?, row.get(3)?);
        let right = if put_away { state == "idle" && ends == 0 } else { state == "ended" && ends == 1 };
        Ok((!right).then(|| format!("{id}: {state}, put away: {put_away}, {ends} terminal events")))
    });
    told.expect("sessions").filter_map(|row| row.expect("a session")).collect()
}
