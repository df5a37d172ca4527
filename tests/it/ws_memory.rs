//! What connections cost that do nothing, and what is left of it once they have gone.

use std::net::SocketAddr;

use futures_util::future::join_all;

use crate::support::raw_socket::RawSocket;
use crate::support::{Gateway, eventually, metrics, proc, soak};

const OPEN: &str = "cc_gateway_connections{listener=\"ws\"}";
/// What one may take, in KiB. It takes about ten; one more buffer of a usual size, or a future that is held twice, is
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

/// A gateway that lets so many connections in, a token for them, and what the gateway takes in KiB without any. What is
/// made once is made by then: it is not a connection's.
async fn gateway_for(count: usize) -> (Gateway, String, u64) {
    let limits = ["max_ws_connections", "max_ws_connections_per_principal", "max_ws_connections_per_address"];
    let gateway =
        limits.into_iter().fold(Gateway::builder(), |builder, limit| builder.setting(limit, count)).start().await;
    let token = gateway.login().await;
    drop(open(gateway.ws, &token, AT_ONCE).await);
    metrics::until(gateway.http, OPEN, 0.0).await;
    let before = proc::rss_kib(gateway.pid());
    (gateway, token, before)
}

#[tokio::test]
async fn e9_an_idle_connection_costs_little_and_its_memory_is_used_again() {
    let count = soak::count(500, 3_000);
    let (gateway, token, before) = gateway_for(count).await;
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

#[tokio::test]
async fn e9_the_memory_of_thousands_of_connections_goes_back_once_they_have_gone() {
    let count = soak::count(800, 3_000);
    let (gateway, token, before) = gateway_for(count).await;
    let sockets = open(gateway.ws, &token, count).await;
    metrics::until(gateway.http, OPEN, count as f64).await;
    let grown = proc::rss_kib(gateway.pid()).saturating_sub(before);
    drop(sockets);
    // A fifth of what it had before is what the row asks; of fewer connections the half must go in any case.
    let most = before + (before / 5).min(grown / 2);
    let what = format!("at most {most} KiB after {count} connections: {before} before, {grown} more with them");
    let left = eventually(&what, || Some(proc::rss_kib(gateway.pid())).filter(|left| *left <= most)).await;
    eprintln!("{what}; {left} after");
}
