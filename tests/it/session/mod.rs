//! Sessions of the scripted agent: their events, their ends, their processes, and who may start them.

mod agent_start;
mod agent_user;
mod calls;
mod cap;
mod configuring;
pub(crate) mod conversation;
mod crash;
mod drain;
mod ends;
mod filters;
mod idempotency;
mod isolation;
mod limits;
mod line;
mod line_shares;
mod lost;
mod pausing;
mod permissions;
mod races;
mod raw;
mod refusals;
mod resources;
mod resting;
mod spending;
mod stopping;
mod stream;
mod terminal;
mod timeouts;
mod turn_clocks;
mod turn_drain;
mod turn_races;
mod turns;
mod warm;
mod watching;

use std::path::PathBuf;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::event::Event;
use crate::support::{Client, Gateway};

/// The data of the terminal event.
pub(crate) fn ended(events: &[Event]) -> Value {
    let last = events.last().expect("a terminal event");
    assert_eq!(last.kind, "session.ended");
    last.data()
}

/// Runs a script to its end; all its events.
pub(crate) async fn run(client: &mut Client, script: &str) -> Vec<Event> {
    let session = client.start(json!({"prompt": script})).await;
    client.until_ended(session).await
}

/// Where a session works that has named no workspace.
pub(crate) fn workspace(gateway: &Gateway, session: Uuid) -> PathBuf {
    gateway.path("workspaces").join(session.to_string())
}

/// Waits until the agent has made that file.
pub(crate) async fn until_file(gateway: &Gateway, session: Uuid, name: &str) -> PathBuf {
    let path = workspace(gateway, session).join(name);
    crate::support::eventually(&format!("the file {name}"), || path.exists().then_some(())).await;
    path
}

/// When an event was taken in, in milliseconds since the epoch.
pub(crate) fn milliseconds(event: &Event) -> u64 {
    let at = humantime::parse_rfc3339(&event.at).expect("a moment");
    u64::try_from(at.duration_since(std::time::UNIX_EPOCH).expect("a moment of ours").as_millis())
        .expect("milliseconds")
}

/// How many slots are taken, by the gateway's own account.
async fn slots_taken(gateway: &Gateway) -> u64 {
    let health = crate::support::http::get(gateway.ws, "/health").await.json();
    health["active_sessions"].as_u64().expect("a number of sessions")
}
