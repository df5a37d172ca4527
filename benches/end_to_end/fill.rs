//! A store with a past: ended sessions and their events, put there by the store's own code.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cc_gateway::api::EventType;
use cc_gateway::config::settings::SqliteSynchronous;
use cc_gateway::session::log::Encoder;
use cc_gateway::store::SharedStore;
use cc_gateway::store::contract::sample;
use cc_gateway::store::sqlite::SqliteStore;
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

/// So many are written at once.
const AT_ONCE: u64 = 200;

/// Makes the file, with sessions that have each printed so many lines, the newest last.
pub(crate) fn fill(file: &Path, sessions: u64, events: u64) {
    let directory = file.parent().expect("a file's directory");
    std::fs::create_dir_all(directory).expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let store: SharedStore = Arc::new(SqliteStore::open(file, SqliteSynchronous::Normal).expect("a store"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis();
    let now = u64::try_from(now).expect("a time before the year 500,000,000");
    for first in (1..=sessions).step_by(usize::try_from(AT_ONCE).expect("a small number")) {
        let last = sessions.min(first + AT_ONCE - 1);
        runtime.block_on(join_all((first..=last).map(|n| one(&store, n, now - 1_000_000 + n, events))));
    }
    runtime.block_on(store.close());
}

/// The id of the session number `n`.
pub(crate) fn session(n: u64) -> Uuid {
    sample::id(n)
}

async fn one(store: &SharedStore, n: u64, created_at_ms: u64, events: u64) {
    let mut session = sample::session(n);
    session.row.created_at_ms = created_at_ms;
    session.row.resumed_from = None;
    let id = session.row.id;
    store.create_session(session).await.expect("a session");
    let mut encoder = Encoder::new(id, 1);
    for number in 1..=events {
        let line = json!({"type": "stream_event", "text": format!("{number:012} {}", "x".repeat(200))}).to_string();
        encoder.push(EventType::Claude, created_at_ms, line.as_bytes());
    }
    store.append(id, 1, encoder.take().expect("events")).await.expect("an append");
    let mut patch = sample::end_patch();
    patch.ended_at_ms = Some(created_at_ms + 1_000);
    let ended = serde_json::to_vec(&patch.ended).expect("JSON");
    encoder.push(EventType::Ended, created_at_ms + 1_000, &ended);
    store.end_session(id, 1, encoder.take().expect("an end"), patch).await.expect("an end");
}
