//! The one way to start a task: with a name, its panic counted and logged.
//!
//! The name is no span. A task or more lives as long as a connection, and a registry of spans never lets go of the most
//! it ever held: small pieces of it, all over the heap, kept the memory of thousands of closed connections from going
//! back to the system.

use std::future::Future;

use futures_util::FutureExt;
use tokio::task::JoinHandle;

use super::metrics;

/// Starts `future` as a task named `name` (a word for logs and metrics, from the code, never from a user).
///
/// A panic ends the task, is logged once and counted; `None` is then the task's result.
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<Option<F::Output>>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // Combinators, not an async block: that would hold the future twice, once as it came and once as it is awaited,
    // and there is a task or more for every connection.
    let guarded = std::panic::AssertUnwindSafe(future).catch_unwind().map(move |outcome| match outcome {
        Ok(output) => Some(output),
        Err(_) => {
            metrics::task_panicked(name);
            tracing::error!(task = name, "a task panicked; this is a bug");
            None
        }
    });
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    tokio::spawn(guarded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_gives_its_result() {
        assert_eq!(spawn("adds", async { 1 + 1 }).await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn a_panicking_task_ends_without_a_result_and_harms_nobody() {
        let task = spawn("panics", async { panic!("on purpose") });
        assert!(task.await.unwrap().is_none());
    }
}
