//! The gateway's own end, as far as the sessions are concerned.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Sessions;
use crate::api::event::EndReason;
use crate::session::handle::{Command, Handle};

impl Sessions {
    /// From now on nothing new is started.
    pub fn close_the_door(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// The same; and what waits for a slot ends, what is at rest is put away.
    pub async fn begin_drain(&self) {
        self.close_the_door();
        for handle in self.handles() {
            // One that has ended meanwhile needs no word.
            drop(handle.ask(Command::Drain).await);
        }
    }

    /// Ends everything that still runs as `drained`, and waits for the ends.
    pub async fn end_all(&self) {
        for handle in self.handles() {
            drop(handle.ask(Command::Stop(EndReason::Drained)).await);
        }
        self.all_ended().await;
    }

    /// The same without any more patience: everything is killed.
    pub async fn kill_all(&self) {
        for handle in self.handles() {
            drop(handle.ask(Command::Kill(EndReason::Drained)).await);
        }
        self.all_ended().await;
    }

    /// Waits until no session of this node lives.
    pub async fn all_ended(&self) {
        loop {
            let next = self.live.read().values().next().cloned();
            let Some(handle) = next else { return };
            self.until_let_go(&handle).await;
        }
    }

    fn handles(&self) -> Vec<Arc<Handle>> {
        self.live.read().values().cloned().collect()
    }
}
