//! Peers that go without a word: their sockets are freed, their sessions go on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

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
    // While the test gets there it may stand still itself, and answers no ping meanwhile.
    let interval = Duration::from_secs(2);
    let gateway = Gateway::builder().setting("ping_interval_seconds", interval.as_secs_f64()).start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "await go; say done"})).await;
    client.until_event(session, |event| event.kind == "session.started").await;
    let workspace = client.ok("session.get", json!({"session_id": session})).await["workspace"].clone();
    // Before the last sign of life: nobody knows when the gateway hears it.
    let silent_since = Instant::now();
    assert_eq!(client.ok("server.info", json!({})).await["connections"], 1);

    // From here on it reads nothing, so it answers no ping.
    metrics::until(gateway.http, OPEN, 0.0).await;
    let freed = silent_since.elapsed();
    assert!(freed >= interval, "given up after {freed:?}, before a ping could be missed");
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
    let gateway = Gateway::builder().setting("ping_interval_seconds", 2).start().await;
    let token = gateway.login().await;
    let mut socket = RawSocket::upgraded(gateway.ws, "/ws", &token).await;
    let (_, greeting) = socket.read_frame().await.expect("a greeting");
    assert!(String::from_utf8_lossy(&greeting).contains("\"connected\""));
    // Whoever is silent is given up before the third. Nothing else comes.
    for number in 1..=3 {
        let (opcode, payload) = socket.read_frame().await.expect("a ping");
        assert_eq!(opcode, 9, "ping {number}");
        socket.frame(&Frame::of(10, payload)).await;
    }
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "server.info"});
    socket.frame(&Frame::text(call.to_string())).await;
    let answer = loop {
        let (opcode, payload) = socket.read_frame().await.expect("an answer");
        if opcode == 1 {
            break serde_json::from_slice::<Value>(&payload).unwrap();
        }
    };
    assert_eq!(answer["result"]["connections"], 1, "{answer}");
}

#[tokio::test]
async fn a10_whoever_goes_without_a_word_leaves_no_descriptor_behind() {
    // No ping finds them out: each is freed for what it does itself.
    let gateway = Gateway::builder().setting("ping_interval_seconds", 3_600).start().await;
    let token = gateway.login().await;
    let socket = || RawSocket::upgraded(gateway.ws, "/ws", &token);
    // What is made for the first connection and stays is there before the count.
    Client::connect(gateway.ws, "/ws", &token).await.close().await;
    metrics::until(gateway.http, OPEN, 0.0).await;
    let base = settled_descriptors(gateway.pid()).await;
    // What was there at the count may have gone since: the connection that has asked for the metrics, for one.
    let back = |what: &'static str| {
        let gateway = &gateway;
        async move {
            eventually(what, || (descriptors(gateway.pid()) <= base).then_some(())).await;
            let settled = settled_descriptors(gateway.pid()).await;
            assert!(settled <= base, "{what}: {settled} descriptors, {base} before");
        }
    };

    let resets = [socket().await, socket().await, socket().await];
    assert!(descriptors(gateway.pid()) > base, "a connection is a descriptor");
    resets.into_iter().for_each(RawSocket::reset);
    back("sockets that were reset to be freed").await;
    metrics::until(gateway.http, &closed("gone"), 3.0).await;

    let mut ended = [socket().await, socket().await, socket().await];
    for socket in &mut ended {
        socket.finish().await;
    }
    back("sockets whose peers sent an end without a close frame to be freed").await;
    metrics::until(gateway.http, &closed("gone"), 6.0).await;

    let mut mute = [socket().await, socket().await, socket().await];
    for socket in &mut mute {
        socket.frame(&Frame::of(2, "binary")).await;
        assert_eq!(socket.close_code().await, Some(1003));
    }
    // They never echo the close frame and never close.
    back("sockets whose peers do not echo the close to be freed").await;
    let mut broken = [socket().await, socket().await];
    for socket in &mut broken {
        socket.frame(&Frame::of(3, "reserved")).await;
        assert_eq!(socket.close_code().await, Some(1002));
    }
    back("sockets of peers who broke the protocol and stay to be freed").await;
    metrics::until(gateway.http, OPEN, 0.0).await;
}
