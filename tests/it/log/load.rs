//! Many sessions that stream at once: nothing lost, nothing repeated, little memory.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::support::{Client, Gateway, proc, soak};

/// What a line of `rate` tells of itself.
#[derive(Deserialize)]
struct Line {
    sent_at_us: u64,
    event: Inner,
}

#[derive(Deserialize)]
struct Inner {
    delta: Delta,
}

#[derive(Deserialize)]
struct Delta {
    text: String,
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_micros()).expect("a clock of this age")
}

/// Runs one session; the numbers that its lines bear, in the order of arrival, and how long each was under way.
async fn watch(mut client: Client, script: String) -> (Vec<u64>, Vec<u64>) {
    let session = client.start(json!({"prompt": script})).await;
    let (mut numbers, mut took) = (Vec::new(), Vec::new());
    client
        .each_until_ended(session, |event| {
            if event.kind == "claude"
                && let Ok(line) = serde_json::from_str::<Line>(event.data.get())
            {
                took.push(now_us().saturating_sub(line.sent_at_us));
                let number = line.event.delta.text.split(' ').next().and_then(|number| number.parse().ok());
                numbers.push(number.expect("the number of a line"));
            }
        })
        .await;
    (numbers, took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f2_sessions_that_stream_at_once_lose_and_repeat_nothing_and_take_little_memory() {
    let mut gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let (sessions, seconds) = (soak::count(10, 50), soak::count(3, 60));
    let mut clients = Vec::new();
    for _ in 0..sessions {
        clients.push(Client::connect(gateway.ws, "/ws", &token).await);
    }
    // A thread each: among tasks and futures, those that always have more to read can keep others from reading for
    // so long that the gateway takes them for clients who do not.
    let runtime = Handle::current();
    let watching = clients.into_iter().map(|client| {
        let (runtime, script) = (runtime.clone(), format!("rate 200 {seconds}s 300"));
        spawn_blocking(move || runtime.block_on(watch(client, script)))
    });
    let watched = join_all(watching).await.into_iter().map(|of_one| of_one.expect("a client that has read to the end"));
    let expected: Vec<u64> = (1..=200 * seconds as u64).collect();
    let mut took = Vec::new();
    for (numbers, of_one) in watched {
        assert!(numbers == expected, "{} of {} lines, or not in their order", numbers.len(), expected.len());
        took.extend(of_one);
    }
    took.sort_unstable();
    let rss = proc::peak_rss_kib(gateway.pid());
    eprintln!(
        "{sessions} sessions, {} events: p50 {} us, p99 {} us, longest {} us; at most {rss} KiB resident",
        took.len(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[took.len() - 1],
    );
    assert!(rss <= 300 * 1024, "{rss} KiB");
    gateway.stop().await;
}
