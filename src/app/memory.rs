//! Memory that goes back to the system once many connections have gone.
//!
//! What they had lies free in the heaps of the runtime's threads, and the C library keeps it for the next ones. Asked
//! to, it gives it back, and holds one heap after the other for as long as that takes: some milliseconds after
//! thousands of connections. So it is asked seldom, on a thread that may block, and when it is quiet.
//!
//! It must not know what the connections were for.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::http::Connections;
use crate::process::give_memory_back;
use crate::telemetry::tasks;

/// So many fewer than there were are worth it: some 10 KiB each.
const MANY: usize = 512;
/// How long it must have been quiet.
const LOOK: Duration = Duration::from_secs(1);
/// Connections that come and go meanwhile, one balanced with the other, and it is still quiet.
const FEW: usize = 16;

/// Watches how many connections are open, of all `listeners`, until `stop`.
pub(super) fn keep_small(listeners: Vec<Connections>, stop: CancellationToken) {
    tasks::spawn("memory", async move {
        let mut gone = Gone::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let most = listeners.iter().map(Connections::take_most).sum();
            let open = listeners.iter().map(Connections::open).sum();
            if let Some(gone) = gone.now(most, open) {
                let began = Instant::now();
                let gave = tokio::task::spawn_blocking(give_memory_back).await.unwrap_or(false);
                tracing::debug!(gone, gave, took = ?began.elapsed(), "connections have gone: memory goes back");
            }
        }
    });
}

/// How many connections have gone since memory was given back.
#[derive(Debug, Default)]
struct Gone {
    /// The most that were open since then.
    most: usize,
    /// How many were at the last look.
    last: usize,
}

impl Gone {
    /// Looks at how many are open now, and at the most that were since the last look. `Some`: it is time, for so many
    /// have gone.
    fn now(&mut self, most: usize, open: usize) -> Option<usize> {
        let is_quiet = most <= self.last.min(open) + FEW;
        self.last = open;
        self.most = self.most.max(most);
        let gone = self.most.saturating_sub(open);
        if !is_quiet || gone < MANY {
            return None;
        }
        self.most = open;
        Some(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said at each look, if in between they only came or only went.
    fn looks(open: impl IntoIterator<Item = usize>) -> Vec<Option<usize>> {
        let (mut gone, mut last) = (Gone::default(), 0);
        open.into_iter().map(|open| gone.now(std::mem::replace(&mut last, open).max(open), open)).collect()
    }

    #[test]
    fn many_that_have_gone_are_told_once_when_it_is_quiet() {
        assert_eq!(looks([3_000, 3_000, 0, 0, 0]), [None, None, None, Some(3_000), None]);
    }

    #[test]
    fn a_burst_that_comes_and_goes_between_two_looks_is_seen() {
        let mut gone = Gone::default();
        assert_eq!([gone.now(800, 0), gone.now(0, 0), gone.now(0, 0)], [None, Some(800), None]);
    }

    #[test]
    fn nothing_is_told_while_they_still_go() {
        assert_eq!(looks([3_000, 2_000, 1_000, 500, 490]), [None, None, None, None, Some(2_510)]);
    }

    #[test]
    fn a_few_that_come_and_go_are_quiet() {
        assert_eq!(looks([1_000, 100, 116, 100]), [None, None, Some(884), None]);
    }

    #[test]
    fn few_that_have_gone_are_not_told_until_they_are_many_together() {
        assert_eq!(looks([600, 300, 300, 89, 89, 88]), [None, None, None, None, None, Some(512)]);
    }

    #[test]
    fn they_count_anew_after_they_were_told() {
        let open = [600, 0, 0, 500, 0, 0, 512, 0, 0];
        let told = [None, None, Some(600), None, None, None, None, None, Some(512)];
        assert_eq!(looks(open), told);
    }
}
