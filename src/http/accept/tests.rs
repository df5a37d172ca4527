//! The accept loop against real sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;
use crate::http::connection::{ConnectionPermit, PeerAddr};
use crate::http::testing::{Answer, PATIENCE, Server, limits};

const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const HELLO_AND_STAY: &str = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

fn hello() -> Router {
    Router::new().route("/hello", get(async || "hello"))
}

/// Limits whose two deadlines are told apart by their length.
fn deadlines(first_byte: u64, header: u64) -> AcceptLimits {
    AcceptLimits {
        first_byte_timeout: Duration::from_millis(first_byte),
        header_timeout: Duration::from_millis(header),
        ..limits()
    }
}

/// Waits until the server closes `stream` and gives what it said.
async fn closes(stream: &mut tokio::net::TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is an end too.
    drop(timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap());
    said
}

#[tokio::test]
async fn a_request_is_answered_and_its_connection_gives_its_permit_back() {
    let server = Server::start(hello(), limits(), 8).await;
    let answer = server.ask(HELLO).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    server.open_becomes(0).await;
    server.stop().await;
}

#[tokio::test]
async fn e1_sockets_that_dribble_a_header_are_closed_at_the_header_deadline_while_others_are_served() {
    let server = Server::start(hello(), deadlines(60_000, 300), 100).await;
    let began = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /hello HTTP/1.1\r\nHos").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(server.ask(HELLO).await.status, 200);
    for stream in &mut slow {
        assert!(closes(stream).await.is_empty());
    }
    assert!(began.elapsed() >= Duration::from_millis(300), "closed before the deadline");
    server.open_becomes(0).await;
    server.stop().await;
}

#[tokio::test]
async fn e1_a_byte_now_and_then_does_not_move_the_header_deadline() {
    let server = Server::start(hello(), deadlines(60_000, 300), 8).await;
    let (mut read, mut write) = server.connect().await.into_split();
    let dribble = tasks::spawn("test.dribble", async move {
        for byte in HELLO.bytes().cycle() {
            if write.write_all(&[byte.max(b'a')]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut said = Vec::new();
    drop(timeout(PATIENCE, read.read_to_end(&mut said)).await.unwrap());
    assert!(said.is_empty());
    timeout(PATIENCE, dribble).await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn e2_sockets_that_send_nothing_are_closed_at_the_first_byte_deadline() {
    let server = Server::start(hello(), deadlines(300, 60_000), 600).await;
    let began = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(server.connect().await);
    }
    for stream in &mut silent {
        assert!(closes(stream).await.is_empty());
    }
    assert!(began.elapsed() >= Duration::from_millis(300), "closed before the deadline");
    server.open_becomes(0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_kept_alive_connection_that_stays_silent_is_closed_at_the_header_deadline() {
    let server = Server::start(hello(), deadlines(60_000, 300), 8).await;
    let mut stream = server.connect().await;
    stream.write_all(HELLO_AND_STAY.as_bytes()).await.unwrap();
    assert_eq!(Answer::one(&mut stream).await.status, 200);
    assert!(closes(&mut stream).await.is_empty());
    server.open_becomes(0).await;
    server.stop().await;
}

#[tokio::test]
async fn e3_a_huge_header_many_headers_and_a_huge_url_are_refused() {
    let server = Server::start(hello(), limits(), 8).await;
    let huge = format!("GET /hello HTTP/1.1\r\nHost: x\r\nX-Big: {}\r\n\r\n", "b".repeat(500_000));
    let many = format!("GET /hello HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(300));
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "u".repeat(65_536));
    for request in [huge, many, long] {
        let answer = server.ask(request).await;
        assert!(matches!(answer.status, 414 | 431), "{answer:?}");
    }
    assert_eq!(server.ask(HELLO).await.status, 200);
    server.open_becomes(0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_header_of_ninety_fields_and_fifteen_kibibytes_is_taken() {
    let server = Server::start(hello(), limits(), 8).await;
    let fields: String = (0..90).map(|field| format!("X-{field}: {}\r\n", "v".repeat(160))).collect();
    let answer = server.ask(format!("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n")).await;
    assert_eq!(answer.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn words_that_are_no_http_are_refused_with_400() {
    let server = Server::start(hello(), limits(), 8).await;
    for junk in ["\x16\x03\x01 tls?\r\n\r\n", "GET\r\n\r\n", "GET /hello HTTP/1.1\r\nHost x\r\n\r\n"] {
        assert_eq!(server.ask(junk).await.status, 400, "{junk:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn http_2_is_not_spoken() {
    let server = Server::start(hello(), limits(), 8).await;
    let mut stream = server.connect().await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert!(closes(&mut stream).await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn every_request_knows_its_peer() {
    let router = Router::new().route("/", get(async |Extension(peer): Extension<PeerAddr>| peer.0.to_string()));
    let server = Server::start(router, limits(), 8).await;
    let mut stream = server.connect().await;
    let own = stream.local_addr().unwrap().to_string();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(Answer::until_end(&mut stream).await.body, own);
    server.stop().await;
}

#[tokio::test]
async fn e5_one_connection_over_the_cap_waits_and_is_served_when_another_closes() {
    let server = Server::start(hello(), limits(), 2).await;
    let mut first = server.connect().await;
    first.write_all(HELLO_AND_STAY.as_bytes()).await.unwrap();
    assert_eq!(Answer::one(&mut first).await.status, 200);
    let second = server.connect().await;
    server.open_becomes(2).await;

    let mut third = server.connect().await;
    third.write_all(HELLO.as_bytes()).await.unwrap();
    let early = timeout(Duration::from_millis(200), third.read(&mut [0; 8])).await;
    assert!(early.is_err(), "served over the cap");
    assert_eq!(server.connections.open(), 2);

    drop(second);
    assert_eq!(Answer::until_end(&mut third).await.status, 200);
    drop(first);
    server.open_becomes(0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_permit_taken_from_a_request_outlives_its_connection() {
    let kept: Arc<parking_lot::Mutex<Option<Arc<ConnectionPermit>>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let take = async move |Extension(permit): Extension<Arc<ConnectionPermit>>| *keep.lock() = Some(permit);
    let server = Server::start(Router::new().route("/hello", get(take)), limits(), 8).await;
    assert_eq!(server.ask(HELLO).await.status, 200);
    server.tracker.close();
    timeout(PATIENCE, server.tracker.wait()).await.unwrap();
    assert_eq!(server.connections.open(), 1);
    *kept.lock() = None;
    assert_eq!(server.connections.open(), 0);
    server.stop().await;
}

/// What the kernel does to a peer that acknowledges too little, before and after an upgrade. That the clock would end
/// a connection that lives can't be seen in less than its thirty seconds.
#[tokio::test]
async fn g5_the_kernels_clock_ends_with_the_upgrade_and_what_came_behind_it_is_kept() {
    let (listener, mut handed) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), tokio::sync::mpsc::channel(1));
    let accepted = async { listener.accept().await.unwrap().0 };
    let (_peer, accepted) = tokio::join!(tokio::net::TcpStream::connect(listener.local_addr().unwrap()), accepted);
    set_options(&accepted);
    assert_eq!(SockRef::from(&accepted).tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));

    let given = handed.0;
    let upgrade = async move |mut request: axum::extract::Request| {
        let upgraded = hyper::upgrade::on(&mut request);
        tasks::spawn("test.upgrade", async move { given.send(hand_over(upgraded.await.unwrap())).await });
        (http::StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "test")])
    };
    let server = Server::start(Router::new().route("/", get(upgrade)), limits(), 8).await;
    let mut client = server.connect().await;
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\nalready here";
    client.write_all(request.as_bytes()).await.unwrap();
    let (stream, begun) = timeout(PATIENCE, handed.1.recv()).await.unwrap().unwrap().unwrap();
    assert_eq!(begun, "already here");
    assert_eq!(SockRef::from(&stream).tcp_user_timeout().unwrap(), None);
    server.stop().await;
}

#[tokio::test]
async fn k6_shutdown_lets_a_request_finish_closes_the_idle_and_takes_nobody_new() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entering, going_on) = (Arc::clone(&entered), Arc::clone(&go_on));
    let slow = async move || {
        entering.notify_one();
        going_on.notified().await;
        "finished"
    };
    let server = Server::start(hello().route("/slow", get(slow)), deadlines(60_000, 60_000), 8).await;
    let mut idle = server.connect().await;
    idle.write_all(HELLO_AND_STAY.as_bytes()).await.unwrap();
    assert_eq!(Answer::one(&mut idle).await.status, 200);
    let mut silent = server.connect().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    timeout(PATIENCE, entered.notified()).await.unwrap();
    server.open_becomes(3).await;

    server.shutdown.cancel();
    assert!(closes(&mut idle).await.is_empty());
    assert!(closes(&mut silent).await.is_empty());
    server.open_becomes(1).await;
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err(), "the listener is still open");

    go_on.notify_one();
    assert_eq!(Answer::until_end(&mut busy).await.body, "finished");
    server.stop().await;
}

#[tokio::test]
async fn k6_a_half_sent_header_does_not_hold_the_shutdown_beyond_the_grace() {
    let limits = AcceptLimits { shutdown_grace: Duration::from_millis(100), ..deadlines(60_000, 60_000) };
    let server = Server::start(hello(), limits, 8).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /hello HTTP/1.1\r\nHos").await.unwrap();
    server.open_becomes(1).await;
    server.stop().await;
    assert!(closes(&mut stream).await.is_empty());
}

#[tokio::test]
async fn a_client_that_goes_away_early_leaves_nothing_behind() {
    let server = Server::start(hello(), limits(), 8).await;
    for words in ["", "GET /hel", HELLO_AND_STAY] {
        let mut stream = server.connect().await;
        stream.write_all(words.as_bytes()).await.unwrap();
        server.open_becomes(1).await;
        drop(stream);
        server.open_becomes(0).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_listener_whose_accept_fails_again_and_again_does_not_end_the_loop() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    // A listening socket that was shut down fails every accept with an error that is no peer's fault.
    SockRef::from(&listener).shutdown(std::net::Shutdown::Both).unwrap();
    let began = Instant::now();
    let server = Server::start_on(TcpListener::from_std(listener).unwrap(), hello(), limits(), 8);
    while began.elapsed() < FIRST_PAUSE * 10 {
        tokio::time::sleep(FIRST_PAUSE).await;
        assert!(server.is_accepting());
    }
    server.stop().await;
}

#[test]
fn only_errors_of_a_single_peer_are_passed_over_without_a_pause() {
    assert!(concerns_one_connection(&io::ErrorKind::ConnectionAborted.into()));
    assert!(!concerns_one_connection(&io::Error::from_raw_os_error(24)), "no file descriptors left");
}
