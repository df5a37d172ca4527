//! Readers who are slower than the agent lose nothing.
//!
//! That a client who never reads is closed with 4008 and its position is in `ws_close`; that one who stops costs the
//! others nothing is measured in `heavy::stuck_reader`.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::session::{ended, until_file};
use crate::support::event::{Event, Ledger};
use crate::support::raw_socket::{Frame, RawSocket};
use crate::support::{Gateway, metrics, soak};

const OPEN: &str = "cc_gateway_connections{listener=\"ws\"}";
const LINES: u64 = 25_000;
/// 50 MB in all.
const LINE_BYTES: u64 = 2_000;

#[tokio::test]
async fn g2_a_client_that_reads_again_after_the_end_gets_everything_in_order() {
    // It has patience with who does not read, nor answers pings.
    let clocks = ["slow_reader_timeout_seconds", "ping_interval_seconds"];
    let builder = clocks.into_iter().fold(Gateway::builder(), |builder, clock| builder.setting(clock, 3_600));
    let mut gateway = builder.start().await;
    let (mut quick, mut slow) = (gateway.client().await, gateway.client().await);
    let script = format!("touch there; await go; lines {LINES} {LINE_BYTES}; say end");
    let session = quick.start(json!({"prompt": script})).await;
    let go = until_file(&gateway, session, "there").await.with_file_name("go");
    slow.ok("session.attach", json!({"session_id": session})).await;
    std::fs::write(go, "").expect("a file");
    let mut last = 0;
    quick.each_until_ended(session, |event| last = event.seq).await;
    assert!(last > LINES);
    metrics::until(gateway.http, OPEN, 2.0).await;
    assert!(slow.events(session).len() < 100, "it has not read so far");
    let (mut count, mut lines) = (0, 0);
    // The client checks that no number is left out.
    slow.each_until_ended(session, |event| {
        count += 1;
        lines += u64::from(event.data.get().len() as u64 == LINE_BYTES);
    })
    .await;
    assert_eq!((count, lines), (last, LINES));
    gateway.stop().await;
}

/// So many pings a slow client is to get and answer while it reads what waited before it came.
const PINGS: usize = 2;

/// Calls a method and reads on to its answer; nothing else comes before it.
async fn call(socket: &mut RawSocket, method: &str, params: Value) -> Value {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    socket.frame(&Frame::text(call.to_string())).await;
    loop {
        let (_, payload) = socket.read_frame().await.expect("an answer");
        let message: Value = serde_json::from_slice(&payload).expect("JSON");
        if message["id"] == 1 {
            return message["result"].clone();
        }
    }
}

#[tokio::test]
async fn g5_a_client_at_ten_kilobytes_a_second_is_never_closed_and_misses_nothing() {
    let mut gateway = Gateway::builder()
        .setting("slow_reader_timeout_seconds", 10)
        .setting("ping_interval_seconds", soak::count(5, 20))
        .start()
        .await;
    let token = gateway.login().await;
    let mut starter = gateway.client().await;
    let session = starter.start(json!({"prompt": "lines 20000 1000; say end"})).await;
    assert_eq!(ended(&starter.until_ended(session).await)["reason"], "completed");
    starter.close().await;

    let mut socket = RawSocket::connect_with_buffer(gateway.ws, 16 * 1024).await.upgrade("/ws", &token).await;
    call(&mut socket, "session.attach", json!({"session_id": session})).await;
    let mut ledger = Ledger::default();
    // Longer than a client may take nothing, or be silent.
    let (step, mut due, seconds) = (Duration::from_millis(100), Instant::now(), soak::count(18, 120));
    let (mut steps, mut pings) = (0, 0);
    // 1,000 bytes ten times a second. A ping waits behind what was sent before it.
    while steps < 10 * seconds || pings < PINGS {
        assert!(steps < 10 * 5 * seconds, "only {pings} pings in {} s", steps / 10);
        steps += 1;
        due += step;
        tokio::time::sleep_until(due).await;
        assert!(socket.read_some(1_000).await, "the connection has ended");
        while let Some((opcode, payload)) = socket.next_read() {
            match opcode {
                1 => {
                    let message: Value = serde_json::from_slice(&payload).expect("JSON");
                    assert_eq!(message["method"], "session.event");
                    let event: Event = serde_json::from_value(message["params"].clone()).expect("an event");
                    ledger.take(event);
                }
                9 => {
                    pings += 1;
                    socket.frame(&Frame::of(10, payload)).await;
                }
                _ => panic!("opcode {opcode}: {}", String::from_utf8_lossy(&payload)),
            }
        }
    }
    let seen = ledger.0[&session].position;
    assert!(seen > 10, "{seen} events");
    metrics::until(gateway.http, OPEN, 1.0).await;
    // All that is left, without a pause.
    while !ledger.0[&session].ended {
        let (opcode, payload) = socket.read_frame().await.expect("more events");
        match opcode {
            1 => {
                let message: Value = serde_json::from_slice(&payload).expect("JSON");
                ledger.take(serde_json::from_value(message["params"].clone()).expect("an event"));
            }
            9 => socket.frame(&Frame::of(10, payload)).await,
            _ => panic!("opcode {opcode}: {}", String::from_utf8_lossy(&payload)),
        }
    }
    gateway.stop().await;
}
