//! The dialect of cc_executor's clients: `execute`, `control`, `pong`, `hook_status` and their notifications.
//!
//! Shapes are those that cc_executor puts on the wire; its clients must work unchanged.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Parameters of `execute`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecuteParams {
    /// The command line, split into words as a shell would, but never given to a shell.
    pub command: String,
    /// Wall-clock limit in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// Taken and ignored, as cc_executor does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
    /// Taken and ignored: cc_executor's own command line sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Value>,
    /// Taken and ignored: cc_executor's own command line sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<Value>,
}

/// Result of `execute`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecuteResult {
    /// `started`.
    pub status: String,
    /// The process id.
    pub pid: u32,
    /// Its process group: the same number.
    pub pgid: u32,
    /// The session behind it.
    pub session_id: Uuid,
}

/// What `control` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ControlType {
    /// Stop the processes until `RESUME`.
    #[serde(rename = "PAUSE", alias = "pause")]
    Pause,
    /// Let them go on.
    #[serde(rename = "RESUME", alias = "resume")]
    Resume,
    /// End the command.
    #[serde(rename = "CANCEL", alias = "cancel")]
    Cancel,
}

/// Parameters of `control`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlParams {
    /// What to do.
    #[serde(rename = "type", alias = "action")]
    pub control: ControlType,
    /// Taken and ignored, as cc_executor does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
    /// Taken and ignored: cc_executor's manual names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Value>,
}

/// Result of `control`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlResult {
    /// `paused`, `resumed` or `canceled`.
    pub status: String,
}

/// Parameters that are taken and ignored.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AnyParams(pub BTreeMap<String, Value>);

/// Result of `pong`, for a client that sends it as a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PongResult {
    /// `ok`.
    pub status: String,
}

/// Result of `hook_status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookStatusResult {
    /// Always `false`.
    pub enabled: bool,
    /// Why.
    pub message: String,
}

/// `params` of `process.started`, `process.paused`, `process.resumed` and `process.canceled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessStatus {
    /// `started`, `paused`, `resumed` or `canceled`.
    pub status: String,
    /// The process id.
    pub pid: u32,
    /// Its process group.
    pub pgid: u32,
    /// Always null here.
    pub exit_code: Option<i32>,
    /// Always null here.
    pub error: Option<String>,
}

/// `params` of `process.output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessOutput {
    /// `stdout` or `stderr`.
    #[serde(rename = "type")]
    pub stream: String,
    /// A line with its ending, or a piece of at most 65,536 characters of a longer one.
    pub data: String,
    /// More of the same line follows.
    pub truncated: bool,
    /// Which piece, from 0, of a line that was cut.
    pub chunk_index: Option<u64>,
    /// How many pieces.
    pub total_chunks: Option<u64>,
}

/// `params` of `process.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessCompleted {
    /// `completed` (exit code 0) or `failed`.
    pub status: String,
    /// The process id.
    pub pid: u32,
    /// Its process group.
    pub pgid: u32,
    /// The exit code; minus the signal's number where one ended it.
    pub exit_code: Option<i32>,
    /// Always null.
    pub error: Option<String>,
    /// Seconds from start to end.
    pub execution_time: f64,
    /// Always false: output is never matched against phrases.
    pub early_completion_detected: bool,
    /// Always null.
    pub early_completion_time: Option<f64>,
    /// Always 0.
    pub time_saved: u32,
    /// Always null.
    pub completion_marker: Option<String>,
}

/// `params` of `ping`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ping {
    /// Seconds since the Unix epoch.
    pub timestamp: f64,
}
