//! A store that is locked by another program, or whose disk is full: new sessions are refused, running agents
//! are held back, and nothing that was taken in is lost.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::support::event::Event;
use crate::support::gateway::Builder;
use crate::support::{Client, DEADLINE, Gateway, eventually, http, proc, soak};

/// What waits for the store at most, and the least that an agent has printed by then.
const PENDING: usize = 1 << 20;
const PRINTED: u64 = 400_000;

/// Another program that writes to the store's file, until it is dropped.
struct Lock(rusqlite::Connection);

impl Lock {
    fn take(gateway: &Gateway) -> Self {
        let connection = rusqlite::Connection::open(gateway.path("data").join("gateway.db")).unwrap();
        connection.busy_timeout(DEADLINE).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(connection)
    }

    fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

/// A file that takes what is left of the gateway's disk.
struct Filler(PathBuf);

impl Filler {
    fn fill(gateway: &Gateway) -> Self {
        let path = gateway.own_path("data").join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [1 << 20, 4_096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Self(path)
    }

    fn free(self) {
        std::fs::remove_file(self.0).unwrap();
    }
}

pub(crate) fn small_queue() -> Builder {
    Gateway::builder().setting("pending_events_bytes", PENDING)
}

/// A session whose agent has said `ready` and goes on with `then` once the file `go` is there.
pub(crate) async fn ready(gateway: &Gateway, client: &mut Client, then: &str) -> (Uuid, PathBuf) {
    let go = gateway.path(&format!("go-{}", Uuid::new_v4()));
    let prompt = format!("crc; say ready; await {}; {then}", go.display());
    let session = client.start(json!({"prompt": prompt})).await;
    client.until_event(session, |event| event.data.get().contains("ready")).await;
    (session, go)
}

/// The agent's process.
fn agent(client: &Client, session: Uuid) -> u32 {
    let events = client.events(session);
    let started = events.iter().find(|event| event.kind == "session.started").unwrap();
    started.data()["pid"].as_u64().and_then(|pid| pid.try_into().ok()).unwrap()
}

pub(crate) async fn assert_refused(client: &mut Client) {
    let error = client.error("session.start", json!({"prompt": "say never"})).await;
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32007), &json!("store_away")), "{error}");
    assert_eq!(error["data"]["retryable"], true, "{error}");
    assert!(error["data"]["retry_after_ms"].as_u64().is_some(), "{error}");
}

/// Asks several at once, each on a connection of its own, where calls keep their order: each waits two seconds for a
/// locked store before it is refused.
async fn assert_all_refused(clients: &mut [Client]) {
    join_all(clients.iter_mut().map(assert_refused)).await;
}

pub(crate) async fn assert_not_ready(gateway: &Gateway) {
    let readiness = http::get(gateway.http, "/readyz").await;
    assert_eq!((readiness.status.as_u16(), readiness.json()["reasons"].clone()), (503, json!(["store"])));
    assert_eq!(http::get(gateway.http, "/livez").await.status.as_u16(), 200);
}

/// Asks for the gateway's readiness until it knows of the trouble: up to then it may still take a new session.
async fn until_noticed(gateway: &Gateway) {
    until_readiness(gateway, 503).await;
}

pub(crate) async fn until_ready(gateway: &Gateway) {
    until_readiness(gateway, 200).await;
}

async fn until_readiness(gateway: &Gateway, status: u16) {
    let deadline = std::time::Instant::now() + DEADLINE;
    while http::get(gateway.http, "/readyz").await.status.as_u16() != status {
        assert!(std::time::Instant::now() < deadline, "the readiness never became {status}");
    }
}

/// Waits until no session holds a slot. One that was asked for in vain is given back in the background.
pub(crate) async fn until_idle(gateway: &Gateway) {
    let deadline = std::time::Instant::now() + DEADLINE;
    while http::get(gateway.ws, "/health").await.json()["active_sessions"] != 0 {
        assert!(std::time::Instant::now() < deadline, "a slot was never given back");
    }
}

/// Every line that the agent counted is there, byte for byte, and the end came once.
pub(crate) fn assert_whole(events: &[Event]) -> Value {
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    assert!(!events.iter().any(|event| event.kind == "session.stalled"), "the silence was not the agent's");
    assert_eq!(events.iter().filter(|event| event.kind == "session.ended").count(), 1);
    let (mut digest, mut lines) = (Sha256::new(), 0);
    for event in events.iter().filter(|event| event.kind == "claude") {
        let kind = event.claude_type().unwrap_or_default();
        if !kind.starts_with("control_") && !kind.contains("command_lifecycle") && !kind.starts_with("result/") {
            digest.update(event.data.get().as_bytes());
            digest.update(b"\n");
            lines += 1;
        }
    }
    let result = events.iter().find(|event| event.claude_type().as_deref() == Some("result/success")).unwrap();
    let printed = result.data()["scripted"].clone();
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&printed["lines"], &printed["sha256"]), (&json!(lines), &json!(hex)));
    let end = events.last().unwrap().data();
    assert_eq!((&end["reason"], end.get("forced_exit")), (&json!("completed"), None), "{end}");
    end
}

/// Lets an agent print far more than may wait while the store is away, from `take_away` until `give_back`.
pub(crate) async fn hold_an_agent_back<T>(gateway: &Gateway, take_away: impl FnOnce() -> T, give_back: impl FnOnce(T)) {
    let mut client = gateway.client().await;
    let mut refused = [gateway.client().await, gateway.client().await];
    let before = client.start(json!({"prompt": "crc; lines 100 300; say before"})).await;
    let acknowledged = client.until_ended(before).await;
    let count = soak::count(3_000, 30_000);
    let printed = gateway.path("printed");
    let then = format!("lines {count} 8000; touch {}; say done", printed.display());
    let (session, go) = ready(gateway, &mut client, &then).await;
    let (pid, rss) = (agent(&client, session), proc::rss_kib(gateway.pid()));

    let trouble = take_away();
    until_noticed(gateway).await;
    File::create(go).unwrap();
    eventually("the agent to have printed", || (proc::written_bytes(pid) >= PRINTED).then_some(())).await;
    tokio::join!(assert_not_ready(gateway), assert_all_refused(&mut refused));
    let (written, all) = (proc::written_bytes(pid), count as u64 * 8_000);
    assert!(written < all / 4, "the agent has printed {written} of {all} bytes");
    assert!(!printed.exists(), "the agent should have been held back");
    let grown = proc::peak_rss_kib(gateway.pid()).saturating_sub(rss);
    assert!(grown < all / 1_024 / 2, "{grown} KiB more");
    let mut reader = gateway.client().await;
    reader.ok("session.attach", json!({"session_id": before})).await;
    let numbers = |events: &[Event]| events.iter().map(|event| (event.seq, event.at.clone())).collect::<Vec<_>>();
    assert_eq!(numbers(&reader.until_ended(before).await), numbers(&acknowledged), "it can still be read");

    give_back(trouble);
    assert_whole(&client.until_ended(session).await);
    assert!(printed.exists());
    assert_eq!(gateway.started_agents(), 2, "what was refused has started nothing");
    until_ready(gateway).await;
    let after = client.start(json!({"prompt": "crc; say after"})).await;
    assert_whole(&client.until_ended(after).await);
    assert_eq!(numbers(&client.events(before)), numbers(&acknowledged));
    // From the store, not from memory.
    reader.ok("session.attach", json!({"session_id": session})).await;
    assert_whole(&reader.until_ended(session).await);
}

#[tokio::test]
async fn a_locked_store_refuses_new_sessions_and_holds_agents_back_without_losing_a_line() {
    let mut gateway = small_queue().start().await;
    hold_an_agent_back(&gateway, || Lock::take(&gateway), Lock::release).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_new_sessions_and_holds_agents_back_without_losing_a_line() {
    let mib = u32::try_from(soak::count(128, 1_024)).unwrap();
    let mut gateway = small_queue().small_disk(mib).start().await;
    hold_an_agent_back(&gateway, || Filler::fill(&gateway), Filler::free).await;
    gateway.stop().await;
}

/// Ends an agent while the store is away.
async fn end_an_agent<T>(gateway: &Gateway, script: &str, take_away: impl FnOnce() -> T, give_back: impl FnOnce(T)) {
    let mut client = gateway.client().await;
    let mut refused = [gateway.client().await, gateway.client().await, gateway.client().await];
    let (session, go) = ready(gateway, &mut client, script).await;
    let trouble = take_away();
    until_noticed(gateway).await;
    File::create(go).unwrap();
    eventually("the agent to have gone", || (gateway.running_agents() == 0).then_some(())).await;
    assert_all_refused(&mut refused).await;
    let events = client.events(session);
    assert!(!events.iter().any(|event| event.kind == "session.ended"), "an end that nobody has acknowledged");
    let shown = client.ok("session.get", json!({"session_id": session})).await;
    assert_ne!(shown["state"], "ended", "{shown}");

    give_back(trouble);
    assert_whole(&client.until_ended(session).await);
    until_idle(gateway).await;
    let shown = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(shown["state"], "ended", "{shown}");
}

#[tokio::test]
async fn an_agent_that_ends_while_the_store_is_locked_gets_its_one_terminal_event_afterwards() {
    let mut gateway = Gateway::builder().start().await;
    end_an_agent(&gateway, "lines 20 300; say done", || Lock::take(&gateway), Lock::release).await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_agent_that_ends_while_the_disk_is_full_gets_its_one_terminal_event_afterwards() {
    let mut gateway = Gateway::builder().small_disk(16).start().await;
    end_an_agent(&gateway, "lines 20 300; say done", || Filler::fill(&gateway), Filler::free).await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_grace_after_a_result_does_not_run_while_the_agents_exit_can_not_be_read() {
    let builder = Gateway::builder().setting("pending_events_bytes", 1_024).setting("result_grace_seconds", 1);
    let mut gateway = builder.start().await;
    // It exits by itself: its result may still lie in its pipe, and then nobody closes its stdin.
    end_an_agent(&gateway, "lines 20 300; say done; result ok; exit 0", || Lock::take(&gateway), Lock::release).await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_held_back_longer_than_its_idle_limit_is_neither_stalled_nor_ended() {
    let mut gateway = Gateway::builder().setting("pending_events_bytes", 1_024).start().await;
    let mut client = gateway.client().await;
    // It counts as stalled after half of that: enough for a machine that stands still before the store is locked.
    let params = json!({"prompt": "crc; rate 100 3s 8000; say done", "idle_timeout_seconds": 8});
    let session = client.start(params).await;
    client.until_event(session, |event| event.kind == "claude" && event.data.get().len() >= 8_000).await;
    let lock = Lock::take(&gateway);
    until_noticed(&gateway).await;
    // Each of them waits two seconds for the lock: together longer than the limit.
    for _ in 0..5 {
        assert_refused(&mut client).await;
    }
    lock.release();
    assert_whole(&client.until_ended(session).await);
    gateway.stop().await;
}
