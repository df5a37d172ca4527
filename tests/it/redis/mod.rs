//! A gateway whose store is a Redis of its own, which comes late, dies, falls silent, refuses or forgets.

mod line;

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::store_trouble::{
    assert_not_ready, assert_refused, assert_whole, hold_an_agent_back, ready, small_queue, until_idle, until_ready,
};
use crate::support::event::Event;
use crate::support::redis_server::{DURABLE, Server};
use crate::support::{Gateway, eventually, http, soak};

/// Numbers and times: what a reader has seen must be what all others see.
fn seen(events: &[Event]) -> Vec<(u64, String)> {
    events.iter().map(|event| (event.seq, event.at.clone())).collect()
}

/// The whole log, as somebody sees it who comes when all is over.
async fn from_the_store(gateway: &Gateway, session: Uuid) -> Vec<Event> {
    let mut reader = gateway.client().await;
    reader.ok("session.attach", json!({"session_id": session})).await;
    reader.until_ended(session).await
}

#[tokio::test]
async fn i1_a_gateway_waits_for_redis_and_is_ready_once_it_is_there() {
    let mut server = Server::absent(DURABLE);
    let builder = Gateway::builder().redis(&server);
    let (log, ready_file) = (builder.directory().join("gateway.log"), builder.directory().join("ready.json"));
    let comes_late = async {
        let waits = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("waiting for it"));
        eventually("the gateway to wait for Redis", || waits().then_some(())).await;
        assert_eq!(std::fs::read_to_string(&ready_file).unwrap(), "", "ready without a store");
        server.run();
    };
    let (mut gateway, ()) = tokio::join!(builder.start(), comes_late);
    let readiness = http::get(gateway.http, "/readyz").await;
    assert_eq!((readiness.status.as_u16(), readiness.json()), (200, json!({"ready": true, "reasons": []})));
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "crc; say hello"})).await;
    assert_whole(&client.until_ended(session).await);
    gateway.stop().await;
}

#[tokio::test]
async fn i1_a_gateway_without_its_redis_ends_on_a_signal_whether_it_serves_or_still_waits() {
    let mut server = Server::start();
    let mut gateway = Gateway::builder().redis(&server).start().await;
    server.kill();
    assert_not_ready(&gateway).await;
    gateway.stop().await;
    let status = gateway.start_and_end(Duration::from_millis(500)).await;
    // By the signal, if it came before anybody listened to it.
    assert!(status.code() == Some(0) || status.signal() == Some(15), "{status}; log:\n{}", gateway.log());
    assert_eq!(std::fs::read_to_string(gateway.path("ready.json")).unwrap(), "");
}

#[tokio::test]
async fn i2_redis_killed_in_mid_stream_loses_nothing_that_was_acknowledged() {
    let mut server = Server::start();
    let mut gateway = Gateway::builder().redis(&server).start().await;
    let mut clients = join_all((0..soak::count(3, 20)).map(|_| gateway.client())).await;
    let mut sessions = Vec::new();
    for client in &mut clients {
        sessions.push(client.start(json!({"prompt": "crc; rate 200 4s 200; say done"})).await);
    }
    for round in 1..=2 {
        // Something new has been seen since the last time.
        for (client, session) in clients.iter_mut().zip(&sessions) {
            client.until_position(*session, round * 50).await;
        }
        server.kill();
        assert_not_ready(&gateway).await;
        server.run();
        until_ready(&gateway).await;
    }
    for (client, session) in clients.iter_mut().zip(&sessions) {
        let events = client.until_ended(*session).await;
        assert_whole(&events);
        let stored = from_the_store(&gateway, *session).await;
        assert_eq!(seen(&stored), seen(&events));
        assert_whole(&stored);
    }
    gateway.restart().await;
    for (client, session) in clients.iter().zip(&sessions) {
        assert_eq!(seen(&from_the_store(&gateway, *session).await), seen(&client.events(*session)));
    }
    gateway.stop().await;
}

/// What a Redis that is killed on a slow disk does with `appendfsync everysec`: the last it has acknowledged is gone.
const FORGET_THE_LAST: &str = "
    local entries = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 4)
    local last = entries[#entries][1]
    for at = 1, #entries - 1 do redis.call('XDEL', KEYS[2], entries[at][1]) end
    redis.call('XSETID', KEYS[2], last)
    return redis.call('HSET', KEYS[1], 'last_seq', (string.gsub(last, '-0', '')))";

#[tokio::test]
async fn i2_what_redis_has_acknowledged_and_lost_it_is_told_again() {
    let server = Server::start();
    let mut gateway = Gateway::builder().redis(&server).start().await;
    let (mut client, mut other) = (gateway.client().await, gateway.client().await);
    let go = gateway.path("go");
    // Whatever is lost last, more comes after it: the gateway finds out when it appends.
    let script = format!("crc; rate 100 1500ms 200; await {}; rate 100 500ms 200; say done", go.display());
    let session = client.start(json!({"prompt": script})).await;
    let [record, log] = ["session", "log"].map(|key| format!("ccgw:{{{session}}}:{key}"));
    for position in [40, 80, 120] {
        client.until_position(session, position).await;
        let forgotten = server.ask(&["EVAL", FORGET_THE_LAST, "2", &record, &log]).unwrap();
        assert!(forgotten.starts_with(':'), "{forgotten}");
    }
    File::create(go).unwrap();
    let events = client.until_ended(session).await;
    assert_whole(&events);
    other.ok("session.attach", json!({"session_id": session})).await;
    assert_eq!(seen(&other.until_ended(session).await), seen(&events));
    assert!(gateway.log().contains("told them again"), "nothing was lost");
    gateway.stop().await;
}

#[tokio::test]
async fn i3_a_silent_redis_ends_calls_holds_agents_back_and_loses_nothing() {
    let server = Server::start();
    let mut gateway = small_queue().redis(&server).start().await;
    let mut client = gateway.client().await;
    let mut refused = [gateway.client().await, gateway.client().await];
    let (session, go) = ready(&gateway, &mut client, "lines 2000 4000; say done").await;
    server.pause();
    File::create(go).unwrap();
    // Each of them waits as long as a command may take, so the silence is longer than three seconds.
    for _ in 0..2 {
        join_all(refused.iter_mut().map(assert_refused)).await;
    }
    assert_not_ready(&gateway).await;
    let events = client.events(session);
    assert!(!events.iter().any(|event| event.kind == "session.ended"), "an end that nobody has acknowledged");
    server.unpause();
    until_ready(&gateway).await;
    let events = client.until_ended(session).await;
    assert_whole(&events);
    assert_eq!(seen(&from_the_store(&gateway, session).await), seen(&events));
    assert_eq!(gateway.started_agents(), 1, "what was refused has started nothing");
    // Slots that were asked for in vain are free again, and what may have begun all the same is accounted for.
    until_idle(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn i5_a_redis_out_of_memory_refuses_new_sessions_and_holds_agents_back() {
    let server = Server::start();
    let mut gateway = small_queue().redis(&server).start().await;
    let set = |memory| assert!(server.ask(&["CONFIG", "SET", "maxmemory", memory]).unwrap().starts_with("+OK"));
    hold_an_agent_back(&gateway, || set("1"), |()| set("0")).await;
    gateway.stop().await;
}

#[tokio::test]
async fn i5_a_read_only_redis_refuses_new_sessions_and_holds_agents_back() {
    let server = Server::start();
    let mut gateway = small_queue().redis(&server).start().await;
    let set = |replicas| {
        let answer = server.ask(&["CONFIG", "SET", "min-replicas-to-write", replicas]);
        assert!(answer.unwrap().starts_with("+OK"));
    };
    hold_an_agent_back(&gateway, || set("1"), |()| set("0")).await;
    gateway.stop().await;
}

#[tokio::test]
async fn i6_a_redis_that_may_forget_is_told_at_the_start_and_in_readiness() {
    let server = Server::start_with(&["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]);
    let mut gateway = Gateway::builder().redis(&server).start().await;
    let readiness = http::get(gateway.http, "/readyz").await;
    assert_eq!(readiness.status.as_u16(), 200);
    let warnings = readiness.json()["warnings"].to_string();
    let log = gateway.log();
    for word in ["appendonly yes", "maxmemory-policy noeviction"] {
        assert!(warnings.contains(word) && log.contains(word), "{word}: {warnings}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn i7_what_is_wiped_or_of_another_kind_ends_that_session_and_no_other() {
    let server = Server::start();
    let mut gateway = Gateway::builder().redis(&server).start().await;
    let mut client = gateway.client().await;
    let mut spoilt = Vec::new();
    for key in ["session", "log"] {
        let (session, go) = ready(&gateway, &mut client, "lines 50 300; silent").await;
        spoilt.push((session, go, format!("ccgw:{{{session}}}:{key}")));
    }
    let (whole, go) = ready(&gateway, &mut client, "lines 50 300; say done").await;
    assert!(server.ask(&["DEL", &spoilt[0].2]).unwrap().starts_with(":1"));
    assert!(server.ask(&["SET", &spoilt[1].2, "something else"]).unwrap().starts_with("+OK"));
    for path in spoilt.iter().map(|(_, go, _)| go).chain([&go]) {
        File::create(path).unwrap();
    }
    assert_whole(&client.until_ended(whole).await);
    // Who watches is told, and keeps the connection.
    let mut detached = [client.notification("session.detached").await, client.notification("session.detached").await]
        .map(|told| (told["session_id"].to_string(), told["reason"].to_string()));
    detached.sort();
    let mut expected = [0, 1].map(|at: usize| (format!("\"{}\"", spoilt[at].0), "\"removed\"".to_owned()));
    expected.sort();
    assert_eq!(detached, expected);
    gateway.until_no_processes().await;
    until_idle(&gateway).await;
    let log = gateway.log();
    for (session, ..) in &spoilt {
        let told = log.lines().any(|line| line.contains("it is given up") && line.contains(&session.to_string()));
        assert!(told, "nobody was told of {session}");
    }
    let mut reader = gateway.client().await;
    let listed = reader.ok("session.list", json!({})).await.to_string();
    assert!(listed.contains(&whole.to_string()), "{listed}");
    assert!(!listed.contains(&spoilt[0].0.to_string()), "a record that is gone: {listed}");
    let after = client.start(json!({"prompt": "crc; say after"})).await;
    assert_whole(&client.until_ended(after).await);
    gateway.stop().await;
}
