//! Every reason to close for which the client is the cause: code, words, count.

use cc_gateway::ws::Close;
use serde_json::json;
use uuid::Uuid;

use crate::support::client::session_id;
use crate::support::raw_socket::{Frame, RawSocket, handshake};
use crate::support::{Client, Gateway, eventually, metrics};

fn series(close: Close) -> String {
    format!("cc_gateway_connections_closed_total{{reason=\"{}\"}}", close.word())
}

/// The connection must end with this code and the reason's own words, and be counted once.
async fn assert_closed(gateway: &Gateway, mut socket: RawSocket, close: Close, code: u16) {
    let (found, text) = socket.closed().await.unwrap_or_else(|| panic!("no close frame for {close:?}"));
    assert_eq!((found, text.as_str()), (code, close.text().as_ref()));
    assert_eq!(close.code(), Some(code));
    drop(socket);
    metrics::until(gateway.http, &series(close), 1.0).await;
}

#[tokio::test]
async fn a9_each_fault_of_a_client_closes_with_its_own_code_words_and_count() {
    let gateway =
        Gateway::builder().setting("max_message_bytes", 10_000).setting("max_messages_per_second", 5).start().await;
    let token = gateway.login().await;
    let ping = json!({"jsonrpc": "2.0", "method": "server.info"}).to_string();
    let cases = [
        (Close::Done, 1000, Frame::of(8, 1000_u16.to_be_bytes()).encode()),
        (Close::Protocol, 1002, Frame::of(4, "").encode()),
        (Close::Binary, 1003, Frame::of(2, "{}").encode()),
        (Close::NotUtf8, 1007, Frame::text([0xff]).encode()),
        (Close::TooManyMessages, 1008, Frame::text(ping).encode().repeat(200)),
        (Close::TooBig, 1009, Frame::text(vec![b' '; 10_001]).encode()),
    ];
    for (close, code, bytes) in cases {
        let mut socket = RawSocket::upgraded(gateway.ws, "/ws", &token).await;
        assert!((metrics::value(gateway.http, &series(close)).await).abs() < f64::EPSILON, "{close:?} too early");
        socket.send(&bytes).await;
        assert_closed(&gateway, socket, close, code).await;
    }
}

#[tokio::test]
async fn a9_a_token_that_ends_closes_its_connection() {
    let gateway = Gateway::builder().setting("access_token_seconds", 2).start().await;
    let token = gateway.login().await;
    let socket = RawSocket::upgraded(gateway.ws, "/ws", &token).await;
    assert_closed(&gateway, socket, Close::TokenEnded, 4001).await;
}

#[tokio::test]
async fn a9_a_connection_is_replaced_by_its_own_caller_only() {
    let gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let mut old = RawSocket::upgraded(gateway.ws, "/ws", &token).await;
    let (_, greeting) = old.read_frame().await.unwrap();
    let greeting: serde_json::Value = serde_json::from_slice(&greeting).unwrap();
    let id = greeting["params"]["session_id"].as_str().unwrap().to_owned();
    let path = format!("/ws?replaces={id}");

    let mut stranger = RawSocket::connect(gateway.ws).await;
    stranger.send(handshake(&path, &[("Authorization", "Bearer wrong")]).as_bytes()).await;
    assert_eq!(stranger.answer().await.0, 401);
    let mut unknown = Client::connect(gateway.ws, &format!("/ws?replaces={}", Uuid::new_v4()), &token).await;
    assert_eq!(unknown.ok("server.info", json!({})).await["connections"], 2, "nothing was replaced so far");

    let mut new = Client::connect(gateway.ws, &path, &token).await;
    assert_closed(&gateway, old, Close::Replaced, 4002).await;
    assert_eq!(new.ok("server.info", json!({})).await["connections"], 2);
}

/// Starts a session and reads nothing until the gateway has given clients up `times` times, and then everything: the
/// session, the last `seq` that came, and what the close frame says. `None`: there was no close frame.
async fn give_up(gateway: &Gateway, token: &str, times: u32) -> Option<(Uuid, u64, Vec<u8>)> {
    let mut socket = RawSocket::connect_with_buffer(gateway.ws, 64 * 1024).await.upgrade("/ws", token).await;
    let start = json!({"jsonrpc": "2.0", "id": 1, "method": "session.start", "params": {"prompt": "lines 12000 1000"}});
    socket.frame(&Frame::text(start.to_string())).await;
    eventually("the gateway to see that the client does not read", || {
        (gateway.log().matches("a client does not read").count() >= times as usize).then_some(())
    })
    .await;
    let (mut session, mut last_seq) = (None, 0);
    while let Some((opcode, payload)) = socket.read_frame().await {
        if opcode == 8 {
            return Some((session.expect("an answer"), last_seq, payload));
        }
        if opcode == 1 {
            let message: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            session = session.or_else(|| session_id(&message["result"]));
            last_seq = message["params"]["seq"].as_u64().unwrap_or(last_seq);
        }
    }
    None
}

#[tokio::test]
async fn a9_a_client_that_does_not_read_is_closed_and_told_what_it_was_sent() {
    let gateway = Gateway::builder().setting("slow_reader_timeout_seconds", 2).start().await;
    let token = gateway.login().await;
    // The close frame waits two seconds for who reads again. Who comes later gets none, and tries once more.
    let mut times = 1;
    let (session, last_seq, end) = loop {
        if let Some(told) = give_up(&gateway, &token, times).await {
            break told;
        }
        assert!(times < 5, "no close frame for who reads again in time");
        times += 1;
    };
    let reason = String::from_utf8_lossy(&end[2..]).into_owned();
    assert_eq!(u16::from_be_bytes([end[0], end[1]]), 4008);
    assert!(last_seq > 1);
    assert_eq!(reason, Close::SlowReader { last_seq: Some(last_seq) }.text(), "it must name what was really sent");
    metrics::until(gateway.http, &series(Close::SlowReader { last_seq: None }), f64::from(times)).await;
    let mut again = Client::connect(gateway.ws, "/ws", &token).await;
    again.ok("session.attach", json!({"session_id": session, "after_seq": last_seq})).await;
    let rest = again.until_ended(session).await;
    assert_eq!(rest.last().unwrap().data()["reason"], "completed", "the session ran on");
}
