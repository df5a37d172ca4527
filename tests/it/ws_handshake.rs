//! Before the 101: what is no handshake is refused with a reason, and nothing is negotiated that we do not do.

use serde_json::Value;

use crate::support::raw_socket::{Frame, RawSocket, handshake};
use crate::support::{Gateway, http, metrics};

const CONNECTION: &str = "Connection: Upgrade\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Requests that are no handshake: what is wrong, the bytes, the status of the refusal.
fn bad_handshakes(token: &str) -> Vec<(&'static str, String, u16)> {
    let good = handshake("/ws", &[("Authorization", &format!("Bearer {token}"))]);
    let without = |line: &str| good.replace(line, "");
    let changed = |line: &str, other: &str| good.replace(line, other);
    let long_key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXRoZSBzYW1wbGUgbm9uY2U=\r\n";
    vec![
        ("no key", without(KEY), 400),
        ("a short key", changed(KEY, "Sec-WebSocket-Key: c2hvcnQ=\r\n"), 400),
        ("a long key", changed(KEY, long_key), 400),
        ("a key that is not base64", changed(KEY, "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!!!\r\n"), 400),
        ("two keys", changed(KEY, &format!("{KEY}{KEY}")), 400),
        ("version 8", changed(VERSION, "Sec-WebSocket-Version: 8\r\n"), 426),
        ("two versions", changed(VERSION, &format!("{VERSION}Sec-WebSocket-Version: 8\r\n")), 426),
        ("no version", without(VERSION), 400),
        ("no Upgrade", without(UPGRADE), 426),
        ("another protocol", changed(UPGRADE, "Upgrade: h2c\r\n"), 426),
        ("no Connection", without(CONNECTION), 426),
        ("POST", good.replace("GET ", "POST "), 400),
        ("HTTP/1.0", good.replace("HTTP/1.1", "HTTP/1.0"), 400),
        ("a body", good.replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\n{}"), 400),
        ("a body in chunks", good.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        ("no Host", without("Host: localhost\r\n"), 400),
        ("two Hosts", changed("Host: localhost\r\n", "Host: localhost\r\nHost: elsewhere\r\n"), 400),
    ]
}

#[tokio::test]
async fn a3_a_bad_handshake_is_refused_with_a_reason() {
    let mut gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let bad = bad_handshakes(&token);
    for (name, request, expected) in &bad {
        let mut socket = RawSocket::connect(gateway.ws).await;
        socket.send(request.as_bytes()).await;
        let (status, head, body) = socket.answer().await;
        assert_eq!(status, *expected, "{name}: {head}");
        let head = head.to_ascii_lowercase();
        assert!(head.contains("content-type: application/problem+json"), "{name}: {head}");
        let problem: Value = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{name}: no JSON"));
        assert_eq!(problem["status"], *expected, "{name}");
        assert!(problem["title"].as_str().is_some_and(|title| title.len() > 10), "{name}: {problem}");
        let names_version = head.contains("sec-websocket-version: 13");
        assert_eq!(names_version, *expected == 426, "{name}: {head}");
    }
    let refused = |status: u16| {
        let count = bad.iter().filter(|(_, _, expected)| *expected == status).count();
        (format!("cc_gateway_upgrades_refused_total{{status=\"{status}\"}}"), count)
    };
    for (series, count) in [refused(400), refused(426)] {
        metrics::until(gateway.http, &series, f64::from(u32::try_from(count).unwrap())).await;
    }
    assert!(!gateway.log().contains("connection opened"), "a bad handshake was upgraded");
    gateway.stop().await;
}

#[tokio::test]
async fn a_plain_get_is_told_that_it_must_upgrade() {
    let gateway = Gateway::builder().start().await;
    for path in ["/ws", "/ws/mcp"] {
        let response = http::get(gateway.ws, path).await;
        assert_eq!(response.status.as_u16(), 426, "{path}");
        assert_eq!(response.header("content-type"), "application/problem+json");
        assert_eq!((response.header("upgrade"), response.header("sec-websocket-version")), ("websocket", "13"));
        assert_eq!(response.json()["type"], "urn:cc-gateway:handshake");
    }
}

#[tokio::test]
async fn a2_no_extension_is_negotiated_and_a_compressed_frame_ends_the_connection() {
    let gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let offers = [
        ("Authorization", format!("Bearer {token}")),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits".to_owned()),
    ];
    let offers: Vec<(&str, &str)> = offers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut socket = RawSocket::connect(gateway.ws).await;
    socket.send(handshake("/ws", &offers).as_bytes()).await;
    let head = socket.head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
    socket.frame(&Frame { reserved: 4, ..Frame::text("{}") }).await;
    assert_eq!(socket.close_code().await, Some(1002));
}
