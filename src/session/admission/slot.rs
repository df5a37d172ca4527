//! The slot: the right to have a live process, and the duty to give it back.
//!
//! What may be taken in the store is given back, whatever happens: by [`Slot::release`], or in the background
//! when a slot is dropped. That holds from the moment it is asked for, because an answer that is lost may still have
//! taken it; and while it is only a place in the line, which the store knows by the same id.

use std::sync::Arc;

use tokio::runtime::Handle;
use uuid::Uuid;

use super::desk::Desk;
use crate::session::backoff::Backoff;
use crate::telemetry::tasks;

/// The right to have a live process. [`Slot::release`] gives it back and waits for that; dropping it gives it
/// back in the background.
#[derive(Debug)]
pub struct Slot {
    /// `None` once it has been given back.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    /// The slot's own, new each time: a slot that comes back late can't be confused with the next one of the
    /// same session.
    id: Uuid,
    session: Uuid,
    desk: Arc<Desk>,
}

impl Slot {
    /// A slot that is about to be asked for, by that id.
    pub(super) fn to_ask_for(desk: &Arc<Desk>, id: Uuid, session: Uuid, owner: &str) -> Self {
        desk.ours.lock().ask(id, owner);
        Self { held: Some(Held { id, session, desk: Arc::clone(desk) }) }
    }

    /// Its own id; `None` once it has been given back.
    pub(super) fn id(&self) -> Option<Uuid> {
        self.held.as_ref().map(|held| held.id)
    }

    /// The store has said that it has nothing of it, so there is nothing to give back.
    pub(super) fn forget(mut self) {
        if let Some(held) = self.held.take() {
            held.desk.ours.lock().forget(held.id);
        }
    }

    /// Gives the slot back, however long the store stays away: one that was not given back would count as long as
    /// the node lives.
    pub async fn release(mut self) {
        // It stays in its place meanwhile: if the caller is cancelled, the drop goes on with it.
        if let Some(held) = &self.held {
            held.desk.going(held.id);
            held.give_back().await;
        }
        self.held = None;
    }

    /// Gives the slot back without making the caller wait for the store.
    pub fn release_later(self) {
        drop(self);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        held.desk.going(held.id);
        // Without a runtime the gateway is ending: the next start on this data gives its slots back.
        if Handle::try_current().is_ok() {
            tasks::spawn("slot-release", async move { held.give_back().await });
        }
    }
}

impl Held {
    async fn give_back(&self) {
        let mut backoff = Backoff::default();
        while let Err(error) = self.desk.release(self.id).await {
            tracing::warn!(session_id = %self.session, %error, "a slot could not be given back");
            if !error.retryable() {
                // What is left of it is found when the store is looked through.
                self.desk.ours.lock().forget(self.id);
                return;
            }
            backoff.pause().await;
        }
    }
}
