//! What connections cost that do nothing.

use std::net::SocketAddr;

use futures_util::future::join_all;

use crate::support::raw_socket::RawSocket;
use crate::support::{Gateway, metrics, proc, soak};

const OPEN: &str = "cc_gateway_connections{listener=\"ws\"}";
/// What one may take, in KiB. It takes about eleven; one more buffer of a usual size, or a future that is held twice, is
/// beyond this.
const EACH_KIB: u64 = 16;
/// What the gateway may take besides while they are opened: the allocator takes its memory in pieces of some 100 KiB.
const BESIDES_KIB: u64 = 1_024;
/// So many are opened at once.
const AT_ONCE: usize = 50;

/// Opens so many connections.
async fn open(server: SocketAddr, token: &str, count: usize) -> Vec<RawSocket> {
    let mut sockets = Vec::new();
    while sockets.len() < count {
        let some = AT_ONCE.min(count - sockets.len());
        sockets.extend(join_all((0..some).map(|_| RawSocket::upgraded(server, "/ws", token))).await);
    }
    sockets
}

#[tokio::test]
async fn e9_an_idle_connection_costs_little_and_its_memory_is_used_again() {
    let count = soak::count(500, 3_000);
    let limits = ["max_ws_connections", "max_ws_connections_per_principal", "max_ws_connections_per_address"];
    let gateway =
        limits.into_iter().fold(Gateway::builder(), |builder, limit| builder.setting(limit, count)).start().await;
    let token = gateway.login().await;
    // What is made once is not a connection's.
    drop(open(gateway.ws, &token, AT_ONCE).await);
    metrics::until(gateway.http, OPEN, 0.0).await;

    let before = proc::rss_kib(gateway.pid());
    let mut grown = Vec::new();
    for _ in 0..3 {
        let sockets = open(gateway.ws, &token, count).await;
        metrics::until(gateway.http, OPEN, count as f64).await;
        grown.push(proc::rss_kib(gateway.pid()).saturating_sub(before));
        drop(sockets);
        metrics::until(gateway.http, OPEN, 0.0).await;
    }
    eprintln!("{count} connections, three times: {grown:?} KiB more than {before} KiB");
    let most = count as u64 * EACH_KIB + BESIDES_KIB;
    assert!(grown.iter().all(|grown| *grown <= most), "{grown:?} KiB for {count} connections, three times");
}
