//! Requests that are too large: refused, and without taking them in.

use crate::support::raw_socket::RawSocket;
use crate::support::{Gateway, http, proc};

const LOGIN: &str = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

/// The status that `request` is answered with, however much of it was sent by then.
async fn status_of(server: std::net::SocketAddr, request: &[u8]) -> u16 {
    let mut socket = RawSocket::connect(server).await;
    let _refused_early = socket.try_send(request).await;
    let head = socket.head().await;
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {head}"))
}

#[tokio::test]
async fn e3_a_huge_header_many_headers_and_a_huge_url_are_refused_on_both_listeners() {
    let gateway = Gateway::builder().start().await;
    let many: String = (0..300).map(|number| format!("X-{number}: 1\r\n")).collect();
    let cases = [
        ("a header of 500 kB", format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(500_000)), [431, 431]),
        ("300 headers", format!("GET /health HTTP/1.1\r\n{many}\r\n"), [431, 431]),
        ("an address of 64 kB", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(65_536)), [414, 431]),
    ];
    for server in [gateway.http, gateway.ws] {
        for (name, request, expected) in &cases {
            let status = status_of(server, request.as_bytes()).await;
            assert!(expected.contains(&status), "{name}: {status}");
        }
        assert_eq!(http::get(server, "/health").await.status.as_u16(), 200);
    }
}

#[tokio::test]
async fn e4_a_login_of_100_megabytes_is_refused_and_not_taken_in() {
    let gateway = Gateway::builder().start().await;
    // A first login, so that the memory that a password's hash takes is there already.
    gateway.login().await;
    let before = proc::peak_rss_kib(gateway.pid());

    let mut socket = RawSocket::connect(gateway.http).await;
    socket.send(format!("{LOGIN}Content-Length: 104857600\r\n\r\n").as_bytes()).await;
    let (status, head, body) = socket.answer().await;
    assert_eq!(status, 413, "before a byte of the body was sent");
    assert!(head.contains("application/problem+json"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("65536"), "it names the limit");

    let mut socket = RawSocket::connect(gateway.http).await;
    socket.send(format!("{LOGIN}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
    let chunk = format!("{:x}\r\n{}\r\n", 65_536, " ".repeat(65_536)).into_bytes();
    let (mut sent, whole) = (0, 100 * 1024 * 1024);
    while sent < whole && socket.try_send(&chunk).await {
        sent += chunk.len();
    }
    assert!(sent < whole / 2, "the gateway took {sent} bytes of a body without end");

    let grown = proc::peak_rss_kib(gateway.pid()).saturating_sub(before);
    assert!(grown <= 8 * 1024, "the gateway grew by {grown} KiB");
    gateway.login().await;
}

#[tokio::test]
async fn e4_a_chunked_login_over_the_limit_is_answered_413() {
    let gateway = Gateway::builder().start().await;
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", 70_000, " ".repeat(70_000));
    let request = format!("{LOGIN}Transfer-Encoding: chunked\r\n\r\n{chunk}");
    assert_eq!(status_of(gateway.http, request.as_bytes()).await, 413);
}
