//! Peers that go without a word: their sockets are freed, their sessions go on.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::raw_socket::{Frame, RawSocket};
use crate::support::{Client, Gateway, eventually, metrics, proc};

const OPEN: &str = "cc_gateway_connections{listener=\"ws\"}";

fn closed(reason: &str) -> String {
    format!("cc_gateway_connections_closed_total{{reason=\"{reason}\"}}")
}

fn descriptors(pid: u32) -> usize {
    proc::descriptors_but_the_store(pid).len()
}

/// How many descriptors it has once the number has stopped to change.
async fn settled_descriptors(pid: u32) -> usize {
    let (mut count, mut same) = (descriptors(pid), 0);
    while same < 10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = descriptors(pid);
        same = if now == count { same + 1 } else { 0 };
        count = now;
    }
    count
}

#[tokio::test]
async fn a8_a_peer_that_stops_answering_is_given_up_and_its_session_runs_on() {
    let interval = Duration::from_millis(400);
    let gateway = Gateway::builder().setting("ping_interval_seconds", interval.as_secs_f64()).start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "await go; say done"})).await;
    client.until_event(session, |event| event.kind == "session.started").await;
    let workspace = client.ok("session.get", json!({"session_id": session})).await["workspace"].clone();
    assert_eq!(client.ok("server.info", json!({})).await["connections"], 1);

    // From here on it reads nothing, so it answers no ping.
    let silent_since = Instant::now();
    metrics::until(gateway.http, OPEN, 0.0).await;
    let freed = silent_since.elapsed();
    assert!(freed >= interval, "given up after {freed:?}, before a ping could be missed");
    assert!(freed <= interval * 2 + Duration::from_secs(5), "given up only after {freed:?}");
    metrics::until(gateway.http, &closed("gone"), 1.0).await;

    let token = gateway.login().await;
    let mut other = Client::connect(gateway.ws, "/ws", &token).await;
    let info = other.ok("server.info", json!({})).await;
    assert_eq!((&info["connections"], &info["active_sessions"]), (&json!(1), &json!(1)));
    other.ok("session.attach", json!({"session_id": session})).await;
    std::fs::write(std::path::Path::new(workspace.as_str().unwrap()).join("go"), "").unwrap();
    assert_eq!(other.until_ended(session).await.last().unwrap().data()["result"], "done");
}

#[tokio::test]
async fn a8_a_peer_that_answers_pings_stays() {
    let gateway = Gateway::builder().setting("ping_interval_seconds", 0.2).start().await;
    let mut client = gateway.client().await;
    // Reading answers pings; ten intervals are five times what silence is given.
    client.expect_silence(Duration::from_secs(2)).await;
    assert_eq!(client.ok("server.info", json!({})).await["connections"], 1);
}

#[tokio::test]
async fn a10_whoever_goes_without_a_word_leaves_no_descriptor_behind() {
    let gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let socket = || RawSocket::upgraded(gateway.ws, "/ws", &token);
    // What is made for the first connection and stays is there before the count.
    Client::connect(gateway.ws, "/ws", &token).await.close().await;
    metrics::until(gateway.http, OPEN, 0.0).await;
    let base = settled_descriptors(gateway.pid()).await;
    let back = |what: &'static str, since: Instant| {
        let gateway = &gateway;
        async move {
            eventually(what, || (descriptors(gateway.pid()) <= base).then_some(())).await;
            assert!(since.elapsed() < Duration::from_secs(8), "{what}: only after {:?}", since.elapsed());
            assert_eq!(settled_descriptors(gateway.pid()).await, base, "{what}");
        }
    };

    let resets = [socket().await, socket().await, socket().await];
    assert!(descriptors(gateway.pid()) >= base + resets.len(), "each connection is a descriptor");
    let since = Instant::now();
    resets.into_iter().for_each(RawSocket::reset);
    back("sockets that were reset to be freed", since).await;
    metrics::until(gateway.http, &closed("gone"), 3.0).await;

    let mut ended = [socket().await, socket().await, socket().await];
    let since = Instant::now();
    for socket in &mut ended {
        socket.finish().await;
    }
    back("sockets whose peers sent an end without a close frame to be freed", since).await;
    metrics::until(gateway.http, &closed("gone"), 6.0).await;

    let mut mute = [socket().await, socket().await, socket().await];
    for socket in &mut mute {
        socket.frame(&Frame::of(2, "binary")).await;
        assert_eq!(socket.close_code().await, Some(1003));
    }
    // They never echo the close frame and never close.
    back("sockets whose peers do not echo the close to be freed", Instant::now()).await;
    let mut broken = [socket().await, socket().await];
    for socket in &mut broken {
        socket.frame(&Frame::of(3, "reserved")).await;
        assert_eq!(socket.close_code().await, Some(1002));
    }
    back("sockets of peers who broke the protocol and stay to be freed", Instant::now()).await;
    metrics::until(gateway.http, OPEN, 0.0).await;
}
