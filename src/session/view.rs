//! A session's record as the protocol shows it; page cursors and fingerprints.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::error::SessionError;
use crate::api::session::{Session, StartParams};
use crate::store::SessionRow;
use crate::telemetry::time::rfc3339_ms;

/// The record as callers see it.
#[must_use]
pub(super) fn session_view(row: &SessionRow) -> Session {
    Session {
        session_id: row.id,
        kind: row.kind,
        state: row.state,
        owner: row.owner_name.clone(),
        created_at: rfc3339_ms(row.created_at_ms),
        ended_at: row.ended_at_ms.map(rfc3339_ms),
        workspace: row.workspace.clone(),
        model: row.model.clone(),
        interactive: row.interactive,
        on_disconnect: row.on_disconnect,
        on_lost: row.on_lost,
        labels: row.labels.clone(),
        resumed_from: row.resumed_from,
        last_seq: row.last_seq,
        total_cost_usd: row.total_cost_usd,
        ended: row.ended.clone(),
    }
}

/// Where the page that ends with `row` ends.
#[must_use]
pub(super) fn page_cursor(row: &SessionRow) -> String {
    format!("{}.{}", row.created_at_ms, row.id.simple())
}

/// The row that a page ended with.
///
/// # Errors
/// [`SessionError::InvalidParams`] for what [`page_cursor`] did not make.
pub(super) fn parse_cursor(cursor: &str) -> Result<(u64, Uuid), SessionError> {
    cursor
        .split_once('.')
        .and_then(|(at, id)| Some((at.parse().ok()?, Uuid::try_parse(id).ok()?)))
        .ok_or_else(|| SessionError::InvalidParams("`cursor` must be a `next_cursor` of this method".to_owned()))
}

/// A short text that is the same for the same parameters (the key itself left out). Only its hash is kept.
#[must_use]
pub(super) fn fingerprint(params: &StartParams) -> String {
    let params = StartParams { idempotency_key: None, ..params.clone() };
    let text = serde_json::to_vec(&params).unwrap_or_default();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_row_and_anything_else_is_refused() {
        let id = Uuid::new_v4();
        assert_eq!(parse_cursor(&format!("12.{}", id.simple())), Ok((12, id)));
        for bad in ["", "12", "x.y", "12.", ".12", "-1.0"] {
            assert!(parse_cursor(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_fingerprint_depends_on_the_parameters_and_not_on_the_key() {
        let one = StartParams { idempotency_key: Some("a".into()), ..StartParams::default() };
        let other = StartParams { idempotency_key: Some("b".into()), ..StartParams::default() };
        let different = StartParams { interactive: true, ..StartParams::default() };
        assert_eq!(fingerprint(&one), fingerprint(&other));
        assert_ne!(fingerprint(&one), fingerprint(&different));
    }
}
