//! What passes through a store. Plain data; times are milliseconds since the Unix epoch.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api::event::{Ended, SessionState};
use crate::api::principal::{Role, Scope};
use crate::api::selector::TypeSet;
use crate::api::session::{OnDisconnect, OnLost, SessionKind};

/// The events appended together, as one record: the unit of storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Number of the first event in it.
    pub first_seq: u64,
    /// Number of the last event in it; with the session's id the record's key.
    pub last_seq: u64,
    /// Which types are in it, so that a filtered reader can skip it without decoding.
    pub types: TypeSet,
    /// The events, encoded by `session::log`. Opaque to the store.
    pub payload: Bytes,
}

/// A session's log, from its first kept number to its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogBounds {
    /// The oldest number still kept; 1 unless a head was cut. `head + 1` for an empty log.
    pub first: u64,
    /// The newest number; 0 for an empty log.
    pub head: u64,
    /// What the kept payloads have together.
    pub bytes: u64,
}

/// A session as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Its id.
    pub id: Uuid,
    /// The subject of the account that started it.
    pub owner: String,
    /// That account's name, for people.
    pub owner_name: String,
    /// What kind.
    pub kind: SessionKind,
    /// Where it is.
    pub state: SessionState,
    /// The node that runs it.
    pub node: String,
    /// The fencing number: grows each time a node takes the session over.
    pub epoch: u64,
    /// When it was started.
    pub created_at_ms: u64,
    /// When it ended.
    pub ended_at_ms: Option<u64>,
    /// The directory it works in.
    pub workspace: String,
    /// The model asked for.
    pub model: Option<String>,
    /// Stays for more messages.
    pub interactive: bool,
    /// What becomes of it when its connection goes.
    pub on_disconnect: OnDisconnect,
    /// What becomes of it when its node dies.
    pub on_lost: OnLost,
    /// The caller's words.
    pub labels: BTreeMap<String, String>,
    /// The conversation it continues.
    pub resumed_from: Option<Uuid>,
    /// The newest event's number.
    pub last_seq: u64,
    /// Its end.
    pub ended: Option<Ended>,
    /// `session.start`'s parameters as JSON, for a later resume. Never logged.
    pub params: String,
    /// Since when nobody runs it, if it was put away: it has no process, no slot and no supervisor, and waits
    /// to be taken over and woken.
    #[serde(default)]
    pub put_away_at_ms: Option<u64>,
    /// The messages that were taken in and whose turn is not over, the running one first.
    #[serde(default)]
    pub messages: Vec<Uuid>,
    /// What Claude said last that the conversation has cost, in US dollars; `None`: there is no conversation yet.
    #[serde(default)]
    pub total_cost_usd: Option<f64>,
}

impl SessionRow {
    /// Were the two started by the same call? What changes in a session's life is left out.
    #[must_use]
    pub fn same_start(&self, new: &Self) -> bool {
        let as_it_began = Self {
            state: new.state,
            node: new.node.clone(),
            epoch: new.epoch,
            last_seq: new.last_seq,
            ended_at_ms: new.ended_at_ms,
            ended: new.ended.clone(),
            put_away_at_ms: new.put_away_at_ms,
            messages: new.messages.clone(),
            total_cost_usd: new.total_cost_usd,
            model: new.model.clone(),
            params: new.params.clone(),
            ..self.clone()
        };
        as_it_began == *new
    }
}

/// A session to create.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSession {
    /// The record to write; its `last_seq` is 0, but for a copy of a session whose log has lost its head.
    pub row: SessionRow,
    /// The owner's idempotency key and the fingerprint of the parameters it came with.
    pub idempotency: Option<(String, String)>,
    /// Its id was made for this very call, so that no record can have it. Never for a second attempt.
    pub fresh: bool,
}

/// What [`super::Store::create_session`] did.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// The session is new.
    New,
    /// The key was used with the same parameters: this is the session.
    Existing(Box<SessionRow>),
    /// The key was used with other parameters.
    KeyReused,
}

/// What to change in a session's record; `None` leaves a field alone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionPatch {
    /// The new state.
    pub state: Option<SessionState>,
    /// When it ended.
    pub ended_at_ms: Option<u64>,
    /// Its end.
    pub ended: Option<Ended>,
    /// Take over: the new node and epoch.
    pub owner: Option<(String, u64)>,
    /// Put away at that moment, or (`Some(None)`) woken.
    pub put_away_at_ms: Option<Option<u64>>,
    /// The messages whose turn is not over, all of them.
    pub messages: Option<Vec<Uuid>>,
    /// What the conversation has cost, in US dollars.
    pub total_cost_usd: Option<f64>,
    /// The model asked for, or (`Some(None)`) none.
    pub model: Option<Option<String>>,
    /// The parameters for a later resume, as JSON.
    pub params: Option<String>,
}

/// Which sessions to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Only this subject's.
    pub owner: Option<String>,
    /// Only in this state.
    pub state: Option<SessionState>,
    /// Only with this label, and that value if one is given.
    pub label: Option<(String, Option<String>)>,
    /// Only older than this row: its `created_at_ms` and id.
    pub before: Option<(u64, Uuid)>,
    /// At most so many.
    pub limit: u32,
}

/// A page of sessions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// Newest first.
    pub rows: Vec<SessionRow>,
    /// Are there older ones?
    pub more: bool,
}

/// Which ended sessions to tell, the longest ended first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndedQuery {
    /// Only those that come after this row: its `ended_at_ms` and id.
    pub after: Option<(u64, Uuid)>,
    /// None that carry a label of this name, unless its value is `false`.
    pub without_label: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// An ended session, as far as it matters for how long it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedRow {
    /// Its id.
    pub id: Uuid,
    /// When it ended.
    pub ended_at_ms: u64,
    /// How many bytes of payload its log keeps.
    pub bytes: u64,
    /// The directory it worked in.
    pub workspace: String,
}

/// Which put-away sessions to tell, the longest put away first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutAwayQuery {
    /// Only those put away before this moment.
    pub before_ms: Option<u64>,
    /// Only those that come after this row: its `put_away_at_ms` and id.
    pub after: Option<(u64, Uuid)>,
    /// At most so many.
    pub limit: u32,
}

/// Millionths of a US dollar in one: what is spent is counted in them.
pub const MICRO_USD: f64 = 1_000_000.0;

/// An entry of the spend ledger: what one event of a session told that was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spend {
    /// The subject of the account that pays.
    pub owner: String,
    /// The session; with `seq` the entry's key.
    pub session: Uuid,
    /// The number of the event that told it.
    pub seq: u64,
    /// When it was spent.
    pub at_ms: u64,
    /// How much, in millionths of a US dollar: at most 2^53 - 1, nine thousand million dollars.
    pub micro_usd: u64,
}

/// An account as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id, for ever; a UUID as text.
    pub subject: String,
    /// Its name at login.
    pub username: String,
    /// Its role.
    pub role: Role,
    /// The password's hash: argon2id in PHC form, or as a system keeps it, where it was imported. Never logged, never sent.
    pub password_hash: String,
    /// May it not log in?
    pub disabled: bool,
    /// When it was made.
    pub created_at_ms: u64,
    /// What it may do, if that is less than its role allows; `None`: all that.
    #[serde(default)]
    pub scopes: Option<BTreeSet<Scope>>,
    /// When its password was last changed: logins that began then or before count no more. 0: never since it was made.
    #[serde(default)]
    pub password_changed_at_ms: u64,
    /// Grows by one with every change: who changes an account names the one it has seen.
    #[serde(default)]
    pub revision: u64,
}

impl Account {
    /// Can it manage accounts?
    #[must_use]
    pub fn can_manage(&self) -> bool {
        !self.disabled && self.allowed().contains(&Scope::Admin)
    }

    /// What it may do: never more than its role allows.
    #[must_use]
    pub fn allowed(&self) -> BTreeSet<Scope> {
        let mut allowed = self.role.scopes();
        if let Some(scopes) = &self.scopes {
            allowed.retain(|scope| scopes.contains(scope));
        }
        allowed
    }
}

/// What the store knows of the nodes that share it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodesSeen {
    /// Did it know the node that asks? Not at its first call, and not when somebody has had it forgotten since: then
    /// its sessions may be another node's.
    pub known: bool,
    /// All of them, by name; the one that asks, too.
    pub nodes: Vec<NodeSeen>,
}

/// One node, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSeen {
    /// Its name.
    pub node: String,
    /// What it said of itself.
    pub about: String,
    /// How long its lease still lasts, in milliseconds; 0: it has run out.
    pub lease_left_ms: u64,
}

impl NodeSeen {
    /// Does it still count as alive?
    #[must_use]
    pub fn lives(&self) -> bool {
        self.lease_left_ms > 0
    }
}
