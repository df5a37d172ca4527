//! What the integration tests stand on: a gateway as a process, clients for it, and eyes on the machine.
//!
//! Everything waits for facts (a line, a file, an exit), never for time. Every wait has a deadline far
//! beyond what a busy machine needs, and says what it waited for.

pub(crate) mod agents;
pub(crate) mod browser;
pub(crate) mod cgroup;
pub(crate) mod cli;
pub(crate) mod client;
pub(crate) mod dice;
pub(crate) mod event;
pub(crate) mod fleet;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod messages_api;
pub(crate) mod metrics;
pub(crate) mod presentable;
pub(crate) mod proc;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod rate;
pub(crate) mod raw_socket;
#[path = "../../support/redis_server.rs"]
#[expect(unreachable_pub, reason = "unit tests of the library use it too")]
pub(crate) mod redis_server;
pub(crate) mod settings;
pub(crate) mod soak;
mod stored;
pub(crate) mod terminal;

use std::future::Future;
use std::time::{Duration, Instant};

pub(crate) use client::Client;
pub(crate) use gateway::{Builder, Gateway};
pub(crate) use messages_api::MessagesApi;

/// How long a fact may take that takes milliseconds on an idle machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `look` finds something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Looks again and again until something is there; looking takes its time.
pub(crate) async fn eventually_some<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

/// Waits for `future`, at most [`DEADLINE`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {DEADLINE:?} in vain for: {what}"),
    }
}

/// Looks again and again until `done`, on the test's own thread; `false` if that takes longer than `limit`.
pub(crate) fn wait_at_most(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
