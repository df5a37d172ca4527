//! The gateway's own end, as far as the sessions are concerned.

use std::sync::atomic::Ordering;

use super::Sessions;
use crate::api::event::EndReason;
use crate::session::handle::Command;

impl Sessions {
    /// From now on nothing new is started.
    pub fn close_the_door(&self) {
        self.draining.store(true, Ordering::Release);
        self.close_warm(false);
    }

    /// The same; and what waits for a slot ends, what is at rest is put away.
    pub async fn begin_drain(&self) {
        self.close_the_door();
        self.tell_all(&Command::Drain).await;
    }

    /// Ends everything that still runs as `drained`, and waits for the ends.
    pub async fn end_all(&self) {
        self.tell_all(&Command::Stop(EndReason::Drained)).await;
        self.all_ended().await;
    }

    /// The same without any more patience: everything is killed.
    pub async fn kill_all(&self) {
        self.close_warm(true);
        self.tell_all(&Command::Kill(EndReason::Drained)).await;
        self.all_ended().await;
    }

    /// Waits until no session of this node lives, nor an agent that was started ahead.
    pub async fn all_ended(&self) {
        loop {
            let next = self.live.read().values().next().cloned();
            let Some(handle) = next else { break };
            self.until_let_go(&handle).await;
        }
        self.warm_gone().await;
    }
}
