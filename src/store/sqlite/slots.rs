//! Slots and the line, in memory: one gateway uses the file, so what it has of processes ends with it, and its next
//! start sweeps what they have left before it takes a slot.
//!
//! Invariant: each change is one step under the lock. A store that is closed gives nothing any more.

use parking_lot::Mutex;

use super::closed;
use super::line::Line;
use crate::store::StoreError;

/// Who has a slot, and who waits.
#[derive(Debug)]
pub(super) struct Slots {
    /// `None` once closed. Held for one change.
    line: Mutex<Option<Line>>,
}

impl Slots {
    /// Nobody has a slot, and nobody waits.
    pub(super) fn new() -> Self {
        Self { line: Mutex::new(Some(Line::default())) }
    }

    /// Looks at the line or changes it.
    pub(super) async fn change<T>(&self, work: impl FnOnce(&mut Line) -> T) -> Result<T, StoreError> {
        // Nothing here is waited for: whoever asks again and again must let others run all the same.
        tokio::task::consume_budget().await;
        self.line.lock().as_mut().map(work).ok_or_else(closed)
    }

    /// Later changes fail.
    pub(super) fn close(&self) {
        self.line.lock().take();
    }
}
