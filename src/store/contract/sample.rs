//! Records to test with: valid, different by number, the same every time.

use bytes::Bytes;
use uuid::Uuid;

use crate::api::event::{EndReason, Ended, EventType, SessionState};
use crate::api::principal::Role;
use crate::api::selector::TypeSet;
use crate::api::session::{OnDisconnect, OnLost, SessionKind};
use crate::store::{Account, Batch, LineLimits, NewSession, SessionPatch, SessionRow, SlotAsked, SlotLimits};

/// Session number `n` of owner `owner-1` on node `node-1` with epoch 1; a higher number is a newer one.
#[must_use]
pub fn session(n: u64) -> NewSession {
    let row = SessionRow {
        id: id(n),
        owner: "owner-1".to_owned(),
        owner_name: "Zoë".to_owned(),
        kind: SessionKind::Claude,
        state: SessionState::Starting,
        node: "node-1".to_owned(),
        epoch: 1,
        created_at_ms: 1_700_000_000_000 + n,
        ended_at_ms: None,
        workspace: format!("/work/{n}"),
        model: Some("opus".to_owned()),
        interactive: n.is_multiple_of(2),
        on_disconnect: OnDisconnect::Stop,
        on_lost: OnLost::Resume,
        labels: [("team".to_owned(), format!("t{}", n % 2))].into(),
        resumed_from: Some(id(n + 1_000_000)),
        last_seq: 0,
        ended: None,
        params: r#"{"prompt":"say \"hi\" \u0000 ☃"}"#.to_owned(),
        put_away_at_ms: None,
        messages: Vec::new(),
        total_cost_usd: None,
    };
    NewSession { row, idempotency: None, fresh: true }
}

/// The id of session number `n`. Ids do not grow with the numbers.
#[must_use]
pub fn id(n: u64) -> Uuid {
    Uuid::from_u64_pair(n.wrapping_mul(0x9E37_79B9_7F4A_7C15), n)
}

/// The number of the session of that id.
#[must_use]
pub fn number(id: Uuid) -> u64 {
    id.as_u64_pair().1
}

/// A line with room for all of a test.
pub const LINE: LineLimits = LineLimits { max_queue: 1_000, max_queued_per_principal: 1_000 };

/// So many slots, without a limit for each principal.
#[must_use]
pub fn slots(max_sessions: u32) -> SlotLimits {
    slots_each(max_sessions, 0)
}

/// So many slots, and so many for each principal.
#[must_use]
pub fn slots_each(max_sessions: u32, max_sessions_per_principal: u32) -> SlotLimits {
    SlotLimits { max_sessions, max_sessions_per_principal }
}

/// Slot number `n` is asked for on a node whose line is not held.
#[must_use]
pub fn asked(n: u64, owner: &str, node: &str) -> SlotAsked {
    SlotAsked { id: id(n), owner: owner.to_owned(), node: node.to_owned(), held_for_ms: 0 }
}

/// A batch of the events `first_seq` to `last_seq`, 64 bytes long.
#[must_use]
pub fn batch(first_seq: u64, last_seq: u64) -> Batch {
    let payload = format!("{first_seq:>31}-{last_seq:<32}");
    let types = TypeSet::default().with(EventType::Claude);
    Batch { first_seq, last_seq, types, payload: Bytes::from(payload) }
}

/// A batch of one event that ends a session.
#[must_use]
pub fn last_batch(seq: u64) -> Batch {
    Batch { types: TypeSet::default().with(EventType::Ended), ..batch(seq, seq) }
}

/// What marks a session ended.
#[must_use]
pub fn end_patch() -> SessionPatch {
    let ended = Ended {
        reason: EndReason::Completed,
        exit_code: Some(0),
        signal: None,
        is_error: false,
        message: None,
        result: Some("done ☃".to_owned()),
        structured_output: Some(serde_json::json!({"answer": [1, null, "two"]})),
        total_cost_usd: Some(0.25),
        usage: Some(serde_json::json!({"output_tokens": 17})),
        num_turns: Some(1),
        duration_ms: 1_234,
        resumable: true,
        resets_at: None,
        forced_exit: false,
    };
    SessionPatch {
        state: Some(SessionState::Ended),
        ended_at_ms: Some(1_700_000_009_999),
        ended: Some(ended),
        ..SessionPatch::default()
    }
}

/// A patch that only moves the state.
#[must_use]
pub fn state_patch(state: SessionState) -> SessionPatch {
    SessionPatch { state: Some(state), ..SessionPatch::default() }
}

/// A patch that takes a session over.
#[must_use]
pub fn takeover_patch(node: &str, epoch: u64) -> SessionPatch {
    SessionPatch { owner: Some((node.to_owned(), epoch)), ..SessionPatch::default() }
}

/// A patch that puts a session away at that moment.
#[must_use]
pub fn put_away_patch(at_ms: u64) -> SessionPatch {
    SessionPatch { put_away_at_ms: Some(Some(at_ms)), ..state_patch(SessionState::Idle) }
}

/// What the record is after an update with that patch that was not refused.
pub fn apply(row: &mut SessionRow, patch: &SessionPatch) {
    let patch = patch.clone();
    row.state = patch.state.unwrap_or(row.state);
    if let Some((node, epoch)) = patch.owner {
        (row.node, row.epoch) = (node, epoch);
    }
    row.put_away_at_ms = patch.put_away_at_ms.unwrap_or(row.put_away_at_ms);
    row.messages = patch.messages.unwrap_or_else(|| row.messages.clone());
    row.total_cost_usd = patch.total_cost_usd.or(row.total_cost_usd);
    row.model = patch.model.unwrap_or_else(|| row.model.clone());
    row.params = patch.params.unwrap_or_else(|| row.params.clone());
}

/// Account number `n`.
#[must_use]
pub fn account(n: u64) -> Account {
    Account {
        subject: id(n).to_string(),
        username: format!("user-{n:03}"),
        role: if n == 0 { Role::Admin } else { Role::User },
        password_hash: format!("$argon2id$v=19$m=1,t=1,p=1$salt{n}$hash"),
        disabled: false,
        created_at_ms: 1_700_000_000_000 + n,
        scopes: None,
        password_changed_at_ms: 0,
        revision: 0,
    }
}
