//! Many sessions that stream at once: nothing lost, nothing repeated, little memory, and soon there.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::support::rate::{RateLine, Spread};
use crate::support::{Client, Gateway, proc, soak};

/// Far beyond the row's 100 ms, which another program on the machine can break, and far below what a reader takes who
/// falls behind. For the median: a machine that stands still for a second or two makes more than a hundredth late.
const LONGEST_MEDIAN: Duration = Duration::from_secs(2);

/// Runs one session; the numbers that its lines bear, in the order of arrival, and how long each was under way.
async fn watch(mut client: Client, script: String) -> (Vec<u64>, Vec<Duration>) {
    let session = client.start(json!({"prompt": script})).await;
    let (mut numbers, mut took) = (Vec::new(), Vec::new());
    client
        .each_until_ended(session, |event| {
            if let Some(line) = RateLine::of(&event) {
                took.push(line.age());
                numbers.push(line.number);
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
    let took = Spread::of(took);
    let rss = proc::peak_rss_kib(gateway.pid());
    eprintln!("{sessions} sessions: {took} events; at most {rss} KiB resident");
    assert!(took.percentile(50) <= LONGEST_MEDIAN, "{took}");
    assert!(rss <= 300 * 1024, "{rss} KiB");
    gateway.stop().await;
}
