//! Peers that send nothing or next to nothing, on both listeners.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::support::raw_socket::RawSocket;
use crate::support::{Gateway, metrics, soak};

/// Sends a header byte by byte, far below any pause that a server could take for silence, until the
/// connection ends: how long it lasted from its first byte on.
async fn dribble(mut socket: RawSocket) -> Duration {
    let begun = Instant::now();
    socket.send(b"GET /health HTTP/1.1\r\nX: ").await;
    while socket.try_send(b"x").await {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "never closed");
    }
    begun.elapsed()
}

async fn say_nothing(server: SocketAddr) -> Duration {
    // Nobody knows when the gateway has taken the connection.
    let begun = Instant::now();
    let mut socket = RawSocket::connect(server).await;
    assert_eq!(socket.read_to_end().await, b"");
    begun.elapsed()
}

/// All of them lasted until the deadline, and then came to their end.
async fn assert_all_closed(sockets: JoinSet<Duration>, count: usize, deadline: Duration) {
    let lasted = sockets.join_all().await;
    assert_eq!(lasted.len(), count);
    let first = lasted.iter().min().unwrap();
    assert!(*first >= deadline.mul_f64(0.9), "closed after {first:?}, before its deadline of {deadline:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e1_sockets_that_dribble_a_header_are_closed_and_logins_go_on_meanwhile() {
    let deadline = Duration::from_secs(2);
    let builder = Gateway::builder().setting("header_timeout_seconds", deadline.as_secs_f64());
    let gateway = builder.setting("first_byte_timeout_seconds", 60).start().await;
    let each = soak::count(50, 200);
    let mut attackers = Vec::new();
    for server in [gateway.http, gateway.ws].into_iter().cycle().take(2 * each) {
        attackers.push(RawSocket::connect(server).await);
    }
    // All are there at once before the first deadline begins, which it does with the first byte.
    metrics::until(gateway.http, "cc_gateway_connections{listener=\"ws\"}", each as f64).await;
    let sockets: JoinSet<Duration> = attackers.into_iter().map(dribble).collect();
    assert!(!gateway.login().await.is_empty());
    assert_all_closed(sockets, 2 * each, deadline).await;
    metrics::until(gateway.http, "cc_gateway_connections{listener=\"ws\"}", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_sockets_that_send_nothing_are_closed_at_the_first_byte_deadline() {
    // It counts for the connections that ask for the metrics too.
    let deadline = Duration::from_secs(4);
    let gateway = Gateway::builder().setting("first_byte_timeout_seconds", deadline.as_secs_f64()).start().await;
    let mut sockets = JoinSet::new();
    let each = soak::count(250, 1_000);
    for server in [gateway.http, gateway.ws].into_iter().cycle().take(2 * each) {
        sockets.spawn(say_nothing(server));
    }
    assert_all_closed(sockets, 2 * each, deadline).await;
    // The connection that asks is the one that is open.
    metrics::until(gateway.http, "cc_gateway_connections{listener=\"http\"}", 1.0).await;
    metrics::until(gateway.http, "cc_gateway_connections{listener=\"ws\"}", 0.0).await;
    gateway.login().await;
}
