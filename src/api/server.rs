//! `server.info`, the `connected` frame and the notifications about the server itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// No parameters: `{}` or nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// `params` of the first frame, `connected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connected {
    /// The connection's id (cc_executor's clients know it by this name).
    pub session_id: Uuid,
    /// The protocol's version.
    pub version: String,
    /// What can be asked for.
    pub capabilities: Vec<String>,
}

/// `params` of `server.draining`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Draining {
    /// By when the gateway will be gone, RFC 3339.
    pub deadline: String,
}

/// Result of `server.info`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerInfo {
    /// `cc-gateway`.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// The protocol's version.
    pub protocol_version: String,
    /// This node's id.
    pub node: String,
    /// `sqlite` or `redis`.
    pub store: String,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Slots taken now, on all gateways that share the store.
    pub active_sessions: u64,
    /// Slots there are.
    pub max_sessions: u32,
    /// Sessions that wait for a slot, on all gateways that share the store.
    pub queued_sessions: u64,
    /// Open connections of this node.
    pub connections: u64,
    /// Agents of this node that are started ahead of sessions. They have slots too.
    #[serde(default)]
    pub warm: WarmInfo,
    /// Shutting down?
    pub draining: bool,
    /// The nodes that share the store and live, this one too.
    pub nodes: Vec<NodeInfo>,
    /// What a client must keep to.
    pub limits: Limits,
}

/// Agents that are started ahead of sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WarmInfo {
    /// How many there are to be, once sessions have been asked for and slots are free.
    pub wanted: u32,
    /// How many a session can have at once.
    pub ready: u32,
    /// How many are being started.
    pub starting: u32,
}

/// One of the nodes that share a store, as it said of itself last, some seconds ago.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NodeInfo {
    /// Its id.
    pub node: String,
    /// The program's version.
    pub version: String,
    /// When it was started, RFC 3339.
    pub started_at: String,
    /// Sessions that live there.
    pub sessions: u64,
    /// Shutting down?
    pub draining: bool,
}

/// What a client must keep to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Largest message a client may send, in bytes.
    pub max_message_bytes: usize,
    /// Largest answer, in bytes.
    pub max_response_bytes: usize,
    /// Calls in one batch.
    pub max_batch_calls: usize,
    /// Calls of one connection that run at once.
    pub max_calls_in_flight: usize,
    /// Sessions one connection can be attached to.
    pub max_attachments: usize,
    /// Longest line of an agent that is kept whole, in bytes.
    pub max_line_bytes: usize,
}
