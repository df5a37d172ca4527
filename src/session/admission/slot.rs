//! The slot: the right to have a live process, and the duty to give it back.
//!
//! What may be taken in the store is given back, whatever happens: by [`Slot::release`], or in the background
//! when a slot is dropped. That holds from the moment it is asked for, because an answer that is lost may
//! still have taken it, and the node would renew its lease for ever.

use std::sync::Arc;

use tokio::runtime::Handle;
use uuid::Uuid;

use super::desk::{Desk, Share};
use crate::session::backoff::Backoff;
use crate::store::{SlotOutcome, StoreError};
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
    /// Whose slot it is: the session, and its owner's share. Nobody's while it is asked for by the line.
    holder: Option<(Uuid, Share)>,
    desk: Arc<Desk>,
}

impl Slot {
    /// A slot that is about to be asked for.
    pub(super) fn to_ask_for(desk: &Arc<Desk>) -> Self {
        Self { held: Some(Held { id: Uuid::new_v4(), holder: None, desk: Arc::clone(desk) }) }
    }

    /// Asks the store for it. May be repeated: it is taken once.
    pub(super) async fn ask(&self) -> Result<SlotOutcome, StoreError> {
        match &self.held {
            Some(held) => held.desk.ask_store(held.id).await,
            None => Err(StoreError::Missing),
        }
    }

    /// Makes it that session's.
    pub(super) fn assign(&mut self, session: Uuid, share: Share) {
        if let Some(held) = &mut self.held {
            held.holder = Some((session, share));
        }
    }

    /// The store has said that it is not taken, so there is nothing to give back.
    pub(super) fn forget(mut self) {
        self.held = None;
    }

    /// Gives the slot back, however long the store stays away: the node's leases are renewed as long as it
    /// lives, so a slot that was left to its lease would be lost until the next start.
    pub async fn release(mut self) {
        // It stays in its place meanwhile: if the caller is cancelled, the drop goes on with it.
        if let Some(held) = &self.held {
            held.give_back().await;
        }
        if let Some(held) = self.held.take() {
            held.came_back();
        }
    }

    /// Gives the slot back without making the caller wait for the store.
    pub fn release_later(self) {
        drop(self);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Without a runtime the gateway is ending: the next start on this data gives its slots back.
        if let Some(held) = self.held.take()
            && Handle::try_current().is_ok()
        {
            tasks::spawn("slot-release", async move {
                held.give_back().await;
                held.came_back();
            });
        }
    }
}

impl Held {
    async fn give_back(&self) {
        let mut backoff = Backoff::default();
        while let Err(error) = self.desk.release_in_store(self.id).await {
            let session_id = self.holder.as_ref().map(|(session, _)| tracing::field::display(session));
            tracing::warn!(session_id, %error, "a slot could not be given back");
            if !error.retryable() {
                return;
            }
            backoff.pause().await;
        }
    }

    /// Tells the line, after the owner's share has shrunk.
    fn came_back(self) {
        let Self { holder, desk, .. } = self;
        drop(holder);
        desk.slot_is_free();
    }
}
