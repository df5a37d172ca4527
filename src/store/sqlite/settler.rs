//! The settler: sees to it that what comes into the journal gets into the database in a while, whoever brought it.
//!
//! Invariants: a wish is answered after [`LOOK_AFTER`], by a job of the writing thread; a store that is closed is not
//! kept open for it. It must not know what a job does.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// So long after a wish it is looked what is due.
const LOOK_AFTER: Duration = Duration::from_millis(50);

/// Wishes that something be settled. Given to the journal; the thread ends with it.
#[derive(Debug)]
pub(super) struct Settler {
    wishes: SyncSender<()>,
}

impl Settler {
    /// Starts the thread, which calls `settle` in a while after a wish. `settle` says whether there is anything left to
    /// call it for.
    pub(super) fn start(settle: impl Fn() -> bool + Send + 'static) -> std::io::Result<Self> {
        // One wish is as good as many.
        let (wishes, wished) = sync_channel(1);
        std::thread::Builder::new().name("sqlite-settler".to_owned()).spawn(move || run(&wished, settle))?;
        Ok(Self { wishes })
    }

    /// Something has come that nobody has wished for yet.
    pub(super) fn wish(&self) {
        // Full: it is wished for already.
        let _ = self.wishes.try_send(());
    }
}

fn run(wished: &Receiver<()>, settle: impl Fn() -> bool) {
    while wished.recv().is_ok() {
        std::thread::sleep(LOOK_AFTER);
        if !settle() {
            return;
        }
    }
}
