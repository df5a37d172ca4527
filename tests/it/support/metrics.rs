//! What a gateway counts, read from its `/metrics`.

use std::net::SocketAddr;
use std::time::Instant;

use super::{DEADLINE, http};

/// The value of one series, such as `cc_gateway_connections{listener="ws"}`; 0 if there is none yet.
pub(crate) async fn value(server: SocketAddr, series: &str) -> f64 {
    let text = http::get(server, "/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

/// Waits until one series has that value.
pub(crate) async fn until(server: SocketAddr, series: &str, wanted: f64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let found = value(server, series).await;
        if (found - wanted).abs() < f64::EPSILON {
            return;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} in vain for {series} to be {wanted}; it is {found}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
