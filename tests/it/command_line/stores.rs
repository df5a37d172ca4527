//! `store check` and `store copy`, as an operator runs them around gateways.

use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::session::conversation::{at_rest, lost_turns, send, until_answered, until_away};
use crate::support::event::Event;
use crate::support::program::{Finished, add_user, as_operator};
use crate::support::redis_server::Server;
use crate::support::{Client, Gateway, http};

/// A gateway on the embedded store, with an account of its own and sessions of every kind, once it has stopped.
struct Lived {
    gateway: Gateway,
    /// Ended, with a label and an idempotency key.
    ended: Uuid,
    /// Put away after one message.
    away: Uuid,
    /// Ended, without its oldest events.
    cut: Uuid,
    /// What `session.list` told.
    listed: Value,
    /// The events of `ended`.
    events: Vec<Event>,
}

const ALICE: &str = "canary-alices-password";

fn keyed() -> Value {
    json!({"prompt": "say kept", "labels": {"team": "red"}, "idempotency_key": "a key"})
}

async fn list(client: &mut Client) -> Value {
    client.ok("session.list", json!({"limit": 100})).await
}

async fn whole_log(client: &mut Client, session: Uuid) -> Vec<Event> {
    client.ok("session.attach", json!({"session_id": session})).await;
    client.until_ended(session).await
}

async fn lived() -> Lived {
    let builder = Gateway::builder().setting("idle_process_seconds", 0.05).setting("max_session_bytes", 2_000_000);
    let mut gateway = builder.start().await;
    add_user(&mut gateway, "alice", ALICE).await;
    let mut client = gateway.client().await;
    let ended = client.start(keyed()).await;
    client.until_ended(ended).await;
    let cut = client.start(json!({"prompt": "lines 6000 1000; say end", "attach": false})).await;
    while client.ok("session.get", json!({"session_id": cut})).await["state"] != "ended" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let away = at_rest(&mut client).await;
    until_away(&mut client, away, 1).await;
    let mut reader = gateway.client().await;
    let events = whole_log(&mut reader, ended).await;
    let listed = list(&mut reader).await;
    gateway.stop().await;
    Lived { gateway, ended, away, cut, listed, events }
}

fn sqlite(gateway: &Gateway) -> String {
    format!("sqlite:{}", gateway.path("data").join("gateway.db").display())
}

async fn copy(lived: &Lived, from: &str, to: &str, more: &[&str]) -> Finished {
    as_operator(&lived.gateway, &[&["store", "copy", "--from", from, "--to", to], more].concat()).await
}

async fn check(lived: &Lived, store: &str) -> (Finished, Value) {
    let checked = as_operator(&lived.gateway, &["store", "check", "--store", store, "--json"]).await;
    let report = serde_json::from_str(&checked.stdout).unwrap_or_else(|_| panic!("{checked:?}"));
    (checked, report)
}

/// The findings of that severity.
fn found(report: &Value, severity: &str) -> Vec<(Option<Uuid>, String)> {
    let findings = report["findings"].as_array().expect("findings").iter();
    let those = findings.filter(|finding| finding["severity"] == severity);
    those
        .map(|finding| {
            let session = finding["session"].as_str().and_then(|id| id.parse().ok());
            (session, finding["what"].as_str().expect("a text").to_owned())
        })
        .collect()
}

async fn assert_well(lived: &Lived, store: &str) {
    let (checked, report) = check(lived, store).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert_eq!((found(&report, "fault"), found(&report, "leftover")), (vec![], vec![]), "{checked:?}");
    assert_eq!((&report["ok"], &report["sessions"]), (&json!(true), &json!(3)), "{checked:?}");
}

fn text(finished: &Finished) -> String {
    format!("{}{}", finished.stdout, finished.stderr)
}

#[tokio::test]
async fn everything_goes_from_the_file_to_redis_and_back_and_serves_there() {
    let mut lived = lived().await;
    let server = Server::start();
    let (file, redis) = (sqlite(&lived.gateway), server.url());
    assert_well(&lived, &file).await;
    let rehearsed = copy(&lived, &file, &redis, &["--dry-run"]).await;
    assert!(rehearsed.code == Some(0) && rehearsed.stdout.starts_with("would be copied: 3 sessions"), "{rehearsed:?}");
    let copied = copy(&lived, &file, &redis, &[]).await;
    assert!(copied.code == Some(0) && copied.stdout.starts_with("copied: 3 sessions"), "{copied:?}");
    assert!(copied.stdout.contains("2 accounts"), "{copied:?}");
    assert_well(&lived, &redis).await;
    let again = copy(&lived, &file, &redis, &[]).await;
    assert!(again.code == Some(0) && again.stdout.contains("(3 of them there already)"), "{again:?}");

    // A gateway with the same secret goes on where the other one stopped.
    lived.gateway.set("store_url", &redis);
    lived.gateway.restart().await;
    assert!(http::login(lived.gateway.http, "alice", ALICE).await.is_ok());
    let mut client = lived.gateway.client().await;
    assert_eq!(list(&mut client).await, lived.listed);
    assert_eq!(client.start(keyed()).await, lived.ended, "its key is still known");
    assert_eq!(seen(&client.until_ended(lived.ended).await), seen(&lived.events));
    let refused = client.error("session.attach", json!({"session_id": lived.cut})).await;
    assert!(refused["data"]["details"]["oldest_seq"].as_u64().is_some_and(|oldest| oldest > 1), "{refused}");
    client.ok("session.attach", json!({"session_id": lived.away})).await;
    let message = send(&mut client, lived.away, "still there?").await;
    let answer = until_answered(&mut client, lived.away, &message).await;
    assert_eq!(answer.data()["result"], "You said: still there? (after 1 earlier)");
    assert_eq!(lost_turns(&client.events(lived.away)), []);
    let busy = copy(&lived, &redis, &format!("{file}.back"), &[]).await;
    assert!(busy.code == Some(1) && busy.stderr.contains("a gateway runs on the store to copy from"), "{busy:?}");
    until_away(&mut client, lived.away, 1).await;
    let (listed, events) = (list(&mut client).await, client.events(lived.away).len());
    lived.gateway.stop().await;

    // What has changed since is not overwritten; a new file gets all of it.
    let differs = copy(&lived, &redis, &file, &[]).await;
    assert!(differs.code == Some(1) && differs.stderr.contains("not the same"), "{differs:?}");
    let back = format!("{file}.back");
    let copied = copy(&lived, &redis, &back, &[]).await;
    assert_eq!(copied.code, Some(0), "{copied:?}");
    assert_well(&lived, &back).await;
    lived.gateway.set("store_url", &back);
    lived.gateway.restart().await;
    let mut client = lived.gateway.client().await;
    assert_eq!(list(&mut client).await, listed);
    client.ok("session.attach", json!({"session_id": lived.away})).await;
    let message = send(&mut client, lived.away, "and now?").await;
    until_answered(&mut client, lived.away, &message).await;
    assert!(client.events(lived.away).len() > events);
    lived.gateway.stop().await;
}

/// Numbers and times.
fn seen(events: &[Event]) -> Vec<(u64, String)> {
    events.iter().map(|event| (event.seq, event.at.clone())).collect()
}

#[tokio::test]
async fn stores_that_are_in_use_or_not_there_are_refused_and_no_password_is_shown() {
    let mut gateway = Gateway::builder().start().await;
    let file = sqlite(&gateway);
    let beside = format!("{file}.new");
    for arguments in [
        &["store", "check"][..],
        &["store", "copy", "--to", &beside],
        &["store", "copy", "--from", &beside, "--to", &file],
    ] {
        let refused = as_operator(&gateway, arguments).await;
        assert!(refused.code == Some(1) && refused.stdout.is_empty(), "{refused:?}");
    }
    assert!(!Path::new(beside.trim_start_matches("sqlite:")).exists(), "it was made");
    gateway.stop().await;
    let socket = gateway.path("nobody.sock").display().to_string();
    let nobody = format!("redis+unix://user:canary@here{socket}");
    for arguments in [
        &["store", "check", "--store", &nobody][..],
        &["store", "copy", "--to", &nobody],
        &["store", "copy", "--from", &nobody, "--to", &beside],
    ] {
        let refused = as_operator(&gateway, arguments).await;
        assert!(refused.code == Some(1) && !text(&refused).contains("canary"), "{refused:?}");
    }
    for arguments in [
        &["store", "check", "--store", "redis:canary"][..],
        &["store", "copy", "--from", "http://user:canary@x"],
        &["store", "copy", "--to", &file],
        &["store", "copy"],
    ] {
        let nonsense = as_operator(&gateway, arguments).await;
        assert!(nonsense.code == Some(2) && !text(&nonsense).contains("canary"), "{nonsense:?}");
    }
}

#[tokio::test]
async fn a_store_whose_copy_is_not_complete_is_served_by_nobody() {
    let mut gateway = Gateway::builder().start().await;
    gateway.stop().await;
    let mark = "INSERT INTO notes (kind, key, value) VALUES ('copy', 'into', 'into')";
    by_hand(&gateway, mark);
    let listed = as_operator(&gateway, &["user", "list"]).await;
    assert!(listed.code == Some(1) && listed.stderr.contains("not complete"), "{listed:?}");
    let served = as_operator(&gateway, &["serve"]).await;
    assert!(served.code == Some(1) && text(&served).contains("not complete"), "{served:?}");
    let checked = as_operator(&gateway, &["store", "check"]).await;
    assert!(checked.code == Some(1) && checked.stdout.contains("FAULT"), "{checked:?}");
}

fn by_hand(gateway: &Gateway, sql: &str) {
    let file = gateway.path("data").join("gateway.db");
    Connection::open(file).expect("the store").execute_batch(sql).expect("a change");
}

#[tokio::test]
async fn damage_of_each_kind_is_found_in_the_file() {
    let lived = lived().await;
    let file = gateway_file(&lived);
    let kept = file.with_extension("kept");
    std::fs::copy(&file, &kept).expect("a copy");
    let key = |session: Uuid| format!("(SELECT key FROM sessions WHERE id = x'{}')", session.simple());
    let (ended, away, cut) = (key(lived.ended), key(lived.away), key(lived.cut));
    let last = |key: &str| format!("(SELECT max(last_seq) FROM batches WHERE session = {key})");
    for (sql, session, what) in [
        (format!("UPDATE sessions SET ended = '{{' WHERE key = {ended}"), lived.ended, "its record"),
        (format!("DELETE FROM session_details WHERE key = {away}"), lived.away, "its record"),
        (format!("DELETE FROM batches WHERE session = {away} AND last_seq < {}", last(&away)), lived.away, "bytes"),
        (
            format!("DELETE FROM batches WHERE session = {ended} AND last_seq = {}", last(&ended)),
            lived.ended,
            "its log",
        ),
        (format!("UPDATE batches SET payload = zeroblob(length(payload)) WHERE session = {cut}"), lived.cut, "form"),
        (format!("UPDATE sessions SET bytes = bytes + 1 WHERE key = {cut}"), lived.cut, "bytes"),
        (format!("UPDATE sessions SET state = 'idle' WHERE key = {ended}"), lived.ended, "it has not ended, but"),
        (format!("UPDATE sessions SET state = 'running' WHERE key = {away}"), lived.away, "but not idle"),
        ("DELETE FROM labels".to_owned(), lived.ended, "not found by it"),
    ] {
        by_hand(&lived.gateway, &sql);
        let (checked, report) = check(&lived, &sqlite(&lived.gateway)).await;
        assert_eq!(checked.code, Some(1), "{sql}: {checked:?}");
        let faults = found(&report, "fault");
        assert!(faults.iter().any(|(of, told)| *of == Some(session) && told.contains(what)), "{sql}: {faults:?}");
        assert!(faults.iter().all(|(of, _)| *of == Some(session)), "the others are well: {sql}: {faults:?}");
        std::fs::copy(&kept, &file).expect("a copy");
    }
    assert_well(&lived, &sqlite(&lived.gateway)).await;
}

fn gateway_file(lived: &Lived) -> std::path::PathBuf {
    lived.gateway.path("data").join("gateway.db")
}

#[tokio::test]
async fn damage_is_found_in_redis_beside_a_gateway_that_runs() {
    let server = Server::start();
    let gateway = Gateway::builder().redis(&server).start().await;
    let mut client = gateway.client().await;
    let broken = client.start(json!({"prompt": "say one", "idempotency_key": "k"})).await;
    client.until_ended(broken).await;
    let busy = client.start(json!({"prompt": "rate 200 60s 100"})).await;
    client.until_position(busy, 20).await;
    let well = as_operator(&gateway, &["store", "check"]).await;
    assert_eq!(well.code, Some(0), "{well:?}");
    assert!(well.stdout.contains(": 0 faults"), "{well:?}");
    let log = format!("cc-gateway:{{{broken}}}:log");
    let removed = server.ask(&["XTRIM", &prefixed(&server, &log), "MAXLEN", "0"]).expect("an answer");
    assert_ne!(removed, ":0\r\n");
    let damaged = as_operator(&gateway, &["store", "check", "--json"]).await;
    assert_eq!(damaged.code, Some(1), "{damaged:?}");
    let report: Value = serde_json::from_str(&damaged.stdout).expect("JSON");
    let faults = found(&report, "fault");
    assert!(!faults.is_empty() && faults.iter().all(|(of, _)| *of == Some(broken)), "{faults:?}");
    assert!(client.position(busy) > 0);
    client.ok("session.stop", json!({"session_id": busy})).await;
    client.until_ended(busy).await;
}

/// That key, under whatever prefix the gateway has.
fn prefixed(server: &Server, key: &str) -> String {
    let (_, name) = key.split_once(':').expect("a name");
    let answer = server.ask(&["KEYS", &format!("*{name}")]).expect("an answer");
    answer.lines().nth(2).expect("one key").to_owned()
}
