//! Frames that break the protocol or the limits.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::raw_socket::{Frame, RawSocket, handshake};
use crate::support::{Gateway, metrics, proc};

/// A call padded with blanks to exactly so many bytes.
fn call_of(bytes: usize) -> Vec<u8> {
    let mut call = json!({"jsonrpc": "2.0", "id": 1, "method": "server.info"}).to_string().into_bytes();
    call.resize(bytes, b' ');
    call
}

/// Reads on to the answer of call 1.
async fn answer(socket: &mut RawSocket) -> Value {
    loop {
        let (opcode, payload) = socket.read_frame().await.expect("an answer");
        let message: Value = if opcode == 1 { serde_json::from_slice(&payload).unwrap() } else { Value::Null };
        if message["id"] == 1 {
            return message;
        }
    }
}

#[tokio::test]
async fn a4_frames_against_the_protocol_end_the_connection() {
    let gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let part = |fin, opcode, payload: &str| Frame { fin, ..Frame::of(opcode, payload) };
    let cases = [
        ("an unmasked frame", vec![Frame { masked: false, ..Frame::text("{}") }], 1002),
        ("a reserved opcode", vec![Frame::of(3, "x")], 1002),
        ("a reserved control opcode", vec![Frame::of(11, "x")], 1002),
        ("a fragmented ping", vec![part(false, 9, "x")], 1002),
        ("a ping of 126 bytes", vec![Frame::of(9, vec![b'x'; 126])], 1002),
        ("each reserved bit", vec![Frame { reserved: 1, ..Frame::text("{}") }], 1002),
        ("a continuation of nothing", vec![part(true, 0, "x")], 1002),
        ("a message within a message", vec![part(false, 1, "{"), part(true, 1, "}")], 1002),
        ("a close code that must not be sent", vec![Frame::of(8, 1005_u16.to_be_bytes())], 1002),
        ("a close frame of one byte", vec![Frame::of(8, [3])], 1002),
        ("a binary frame", vec![Frame::of(2, "{}")], 1003),
        ("a binary message in parts", vec![part(false, 2, "{"), part(true, 0, "}")], 1003),
        ("half a character", vec![Frame::text([b'"', 0xc3, b'"'])], 1007),
        ("half a character at the end of a fragment", vec![part(false, 1, "{}"), Frame::of(0, [0xe2, 0x82])], 1007),
    ];
    for (name, frames, code) in cases {
        let mut socket = RawSocket::upgraded(gateway.ws, "/ws", &token).await;
        for frame in &frames {
            socket.frame(frame).await;
        }
        assert_eq!(socket.close_code().await, Some(code), "{name}");
        // A peer whose frames can still be read is waited for, until it has echoed the close.
        let _gone = socket.try_send(&Frame::of(8, code.to_be_bytes()).encode()).await;
        assert_eq!(socket.read_to_end().await, b"", "{name}: nothing follows the close frame");
    }
    metrics::until(gateway.http, "cc_gateway_connections{listener=\"ws\"}", 0.0).await;
}

#[tokio::test]
async fn proper_fragments_and_pings_between_them_make_a_message() {
    let gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let mut socket = RawSocket::upgraded(gateway.ws, "/ws", &token).await;
    let call = call_of(200);
    let (head, tail) = call.split_at(30);
    socket.frame(&Frame { fin: false, ..Frame::text(head) }).await;
    socket.frame(&Frame::of(9, vec![b'p'; 125])).await;
    let pong = loop {
        let (opcode, payload) = socket.read_frame().await.unwrap();
        if opcode == 10 {
            break payload;
        }
    };
    assert_eq!(pong, vec![b'p'; 125]);
    socket.frame(&Frame::of(0, tail)).await;
    assert_eq!(answer(&mut socket).await["result"]["name"], "cc-gateway");
}

#[tokio::test]
async fn a_call_that_is_sent_along_with_the_handshake_is_answered() {
    let gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let mut socket = RawSocket::connect(gateway.ws).await;
    let mut bytes = handshake("/ws", &[("Authorization", &format!("Bearer {token}"))]).into_bytes();
    bytes.extend(Frame::text(call_of(100)).encode());
    socket.send(&bytes).await;
    assert!(socket.head().await.starts_with("HTTP/1.1 101 "));
    let (_, first) = socket.read_frame().await.unwrap();
    assert!(String::from_utf8_lossy(&first).contains("\"connected\""), "the greeting comes first");
    assert_eq!(answer(&mut socket).await["result"]["name"], "cc-gateway");
}

#[tokio::test]
async fn a5_a_message_of_the_limit_is_taken_and_a_longer_one_is_not() {
    const LIMIT: usize = 2 * 1024 * 1024;
    let gateway = Gateway::builder().setting("max_message_bytes", LIMIT).start().await;
    let token = gateway.login().await;
    let before = proc::peak_rss_kib(gateway.pid());
    let mut socket = RawSocket::upgraded(gateway.ws, "/ws", &token).await;
    socket.frame(&Frame::text(call_of(LIMIT))).await;
    assert_eq!(answer(&mut socket).await["result"]["limits"]["max_message_bytes"], LIMIT);

    socket.frame(&Frame::text(call_of(LIMIT + 1))).await;
    assert_eq!(socket.close_code().await, Some(1009), "one byte more");

    let mut socket = RawSocket::upgraded(gateway.ws, "/ws", &token).await;
    for announced in [1 << 63, u64::MAX] {
        let mut socket = RawSocket::upgraded(gateway.ws, "/ws", &token).await;
        socket.frame(&Frame { announced: Some(announced), ..Frame::text("{") }).await;
        assert_eq!(socket.close_code().await, Some(1009), "{announced} bytes announced");
    }

    socket.frame(&Frame { fin: false, ..Frame::text(call_of(LIMIT)) }).await;
    socket.frame(&Frame::of(0, " ")).await;
    assert_eq!(socket.close_code().await, Some(1009), "one byte more in a second fragment");

    let grown = proc::peak_rss_kib(gateway.pid()).saturating_sub(before);
    let bound = u64::try_from(2 * LIMIT / 1024).unwrap() + 4 * 1024;
    assert!(grown <= bound, "the gateway grew by {grown} KiB, more than {bound}");
}

#[tokio::test]
async fn a_message_that_arrives_slowly_is_not_silence() {
    let gateway = Gateway::builder().setting("ping_interval_seconds", 2).start().await;
    let token = gateway.login().await;
    let mut socket = RawSocket::upgraded(gateway.ws, "/ws", &token).await;
    // Altogether it takes longer than silence may last, and no pause comes near that.
    let bytes = Frame::text(call_of(240)).encode();
    for piece in bytes.chunks(25) {
        socket.send(piece).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert_eq!(answer(&mut socket).await["result"]["name"], "cc-gateway");
}
