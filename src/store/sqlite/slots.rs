//! Slots: how many sessions may have a live process, as rows with a lease.
//!
//! Invariant: fewer than `cap` leases that have not run out are there when a new one is given. All changes
//! go through the writing thread, so counting and taking are one step.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::fault::{Fault, from_stored, moment};
use crate::store::SlotOutcome;

/// See [`crate::store::Store::take_slot`].
pub(super) fn take(
    connection: &Connection,
    id: Uuid,
    node: &str,
    cap: u32,
    lease_ms: u64,
    now_ms: u64,
) -> Result<SlotOutcome, Fault> {
    connection.prepare_cached("DELETE FROM slots WHERE expires_at_ms <= ?1")?.execute([moment(now_ms)])?;
    let expires = moment(now_ms.saturating_add(lease_ms));
    let held = connection
        .prepare_cached("UPDATE slots SET node = ?2, expires_at_ms = ?3 WHERE id = ?1")?
        .execute(params![id.as_bytes(), node, expires])?;
    let taken = taken(connection, now_ms)?;
    if held > 0 {
        return Ok(SlotOutcome::Taken { taken });
    }
    if taken >= u64::from(cap) {
        let next: Option<i64> =
            connection.prepare_cached("SELECT min(expires_at_ms) FROM slots")?.query_row([], |row| row.get(0))?;
        let next = next.map(from_stored).transpose()?.unwrap_or(now_ms);
        return Ok(SlotOutcome::Full { taken, next_expiry_ms: next.saturating_sub(now_ms) });
    }
    connection.prepare_cached("INSERT INTO slots (id, node, expires_at_ms) VALUES (?1, ?2, ?3)")?.execute(params![
        id.as_bytes(),
        node,
        expires
    ])?;
    Ok(SlotOutcome::Taken { taken: taken + 1 })
}

/// See [`crate::store::Store::renew_slots`].
pub(super) fn renew(connection: &Connection, node: &str, lease_ms: u64, now_ms: u64) -> Result<(), Fault> {
    connection
        .prepare_cached("UPDATE slots SET expires_at_ms = ?2 WHERE node = ?1")?
        .execute(params![node, moment(now_ms.saturating_add(lease_ms))])?;
    Ok(())
}

/// See [`crate::store::Store::release_slot`].
pub(super) fn release(connection: &Connection, id: Uuid) -> Result<(), Fault> {
    connection.prepare_cached("DELETE FROM slots WHERE id = ?1")?.execute([id.as_bytes()])?;
    Ok(())
}

/// See [`crate::store::Store::release_node_slots`].
pub(super) fn release_node(connection: &Connection, node: &str) -> Result<u64, Fault> {
    let released = connection.prepare_cached("DELETE FROM slots WHERE node = ?1")?.execute([node])?;
    Ok(released as u64)
}

/// See [`crate::store::Store::slots_taken`].
pub(super) fn taken(connection: &Connection, now_ms: u64) -> Result<u64, Fault> {
    let taken: i64 = connection
        .prepare_cached("SELECT count(*) FROM slots WHERE expires_at_ms > ?1")?
        .query_row([moment(now_ms)], |row| row.get(0))?;
    Ok(from_stored(taken)?)
}
