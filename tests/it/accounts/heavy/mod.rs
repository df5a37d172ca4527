//! What needs the machine to itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cc_gateway::telemetry::tasks;
use serde_json::json;

use crate::support::gateway::ADMIN_PASSWORD;
use crate::support::{Gateway, http};

/// The most memory that a process ever had, in KiB.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test]
async fn c9_two_hundred_logins_at_once_are_hashed_a_few_at_a_time_and_health_is_answered_meanwhile() {
    let mut gateway = Gateway::builder().start().await;
    gateway.login().await;
    let before = peak_memory(gateway.pid());
    let (server, done) = (gateway.http, Arc::new(AtomicUsize::new(0)));
    let logins: Vec<_> = (0..200)
        .map(|_| {
            let done = Arc::clone(&done);
            tasks::spawn("logs-in", async move {
                let body = json!({"username": "admin", "password": ADMIN_PASSWORD});
                let status = http::post(server, "/login", &body).await.status;
                done.fetch_add(1, Ordering::SeqCst);
                status
            })
        })
        .collect();
    // Each probe is answered while logins still wait: it does not stand behind them.
    let mut probes = 0;
    while done.load(Ordering::SeqCst) < 150 {
        assert_eq!(http::get(server, "/health").await.status, 200);
        probes += 1;
    }
    assert!(probes >= 10, "{probes} probes were answered while 150 logins were under way");
    for login in logins {
        assert_eq!(login.await.unwrap(), Some(::http::StatusCode::OK));
    }
    let grown = peak_memory(gateway.pid()).saturating_sub(before);
    // One hash has 19 MiB. Without a bound two hundred would have 3.8 GiB; the rest is what threads of the store and the
    // allocator keep in a build that is not optimised.
    assert!(grown <= 320 * 1024, "its memory grew by {grown} KiB");
    gateway.stop().await;
}
