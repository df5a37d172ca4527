//! What needs the machine to itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cc_gateway::telemetry::tasks;
use serde_json::json;

use crate::support::gateway::ADMIN_PASSWORD;
use crate::support::{Gateway, http, proc};

/// How many threads of that name a process has.
fn threads(pid: u32, name: &str) -> usize {
    let all = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the threads of a living process");
    let names = all.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|found| found.trim() == name).count()
}

#[tokio::test]
async fn c9_two_hundred_logins_at_once_are_hashed_a_few_at_a_time_and_health_is_answered_meanwhile() {
    let mut gateway = Gateway::builder().start().await;
    let before = proc::peak_rss_kib(gateway.pid());
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
    let mut probes = Vec::new();
    while done.load(Ordering::SeqCst) < 150 {
        let asked = Instant::now();
        assert_eq!(http::get(server, "/health").await.status, 200);
        probes.push(asked.elapsed());
    }
    assert!(probes.len() >= 10, "{} probes were answered while 150 logins were under way", probes.len());
    for login in logins {
        assert_eq!(login.await.unwrap(), Some(::http::StatusCode::OK));
    }
    let grown = proc::peak_rss_kib(gateway.pid()).saturating_sub(before);
    // Hashes run nowhere else.
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(threads(gateway.pid(), "password-hash"), cores);
    probes.sort_unstable();
    let p99: Duration = probes[probes.len() * 99 / 100];
    // For people: how long a probe takes is the machine's business too.
    eprintln!("{} probes, p99 {p99:?}; the gateway grew by {} MiB", probes.len(), grown / 1024);
    // One hash has 19 MiB: without a bound two hundred would have 3.8 GiB.
    assert!(grown <= 200 * 1024, "its memory grew by {grown} KiB");
    gateway.stop().await;
}
