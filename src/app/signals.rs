//! SIGTERM and SIGINT: the first begins the drain, the second ends it.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::telemetry::tasks;

/// The signals that have come so far.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    count: watch::Receiver<u32>,
}

impl Signals {
    /// Listens from now on: a signal that comes later than this call is never missed and never kills.
    pub(super) fn listen() -> Self {
        let (seen, count) = watch::channel(0);
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("signals can't be listened to; they end this process without a drain");
            return Self { count };
        };
        tasks::spawn("signals", async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                seen.send_modify(|count| *count += 1);
            }
        });
        Self { count }
    }

    /// Waits for the first signal.
    pub(super) async fn first(&self) {
        self.at_least(1).await;
    }

    /// Waits for the second.
    pub(super) async fn second(&self) {
        self.at_least(2).await;
    }

    async fn at_least(&self, wanted: u32) {
        let mut count = self.count.clone();
        if count.wait_for(|count| *count >= wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
