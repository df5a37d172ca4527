//! Slots: how many sessions may have a live process, as leases by Redis's own clock.
//!
//! Invariant: fewer than `cap` leases that have not run out are there when a new one is given: one script counts and
//! takes.

use uuid::Uuid;

use super::{RedisStore, scripts};
use crate::store::{SlotOutcome, StoreError};

impl RedisStore {
    /// See [`crate::store::Store::take_slot`].
    pub(super) async fn take(&self, id: Uuid, node: &str, cap: u32, lease_ms: u64) -> Result<SlotOutcome, StoreError> {
        let arguments = vec![id.to_string().into(), node.into(), cap.to_string().into(), lease_ms.to_string().into()];
        let (is_taken, taken, next_expiry_ms): (bool, u64, u64) =
            self.link.run("take_slot", &scripts::TAKE_SLOT, self.keys.slots(), arguments).await?;
        Ok(if is_taken { SlotOutcome::Taken { taken } } else { SlotOutcome::Full { taken, next_expiry_ms } })
    }

    /// See [`crate::store::Store::renew_slots`].
    pub(super) async fn renew(&self, node: &str, lease_ms: u64) -> Result<(), StoreError> {
        let arguments = vec![node.into(), lease_ms.to_string().into()];
        self.link.run("renew_slots", &scripts::RENEW_SLOTS, self.keys.slots(), arguments).await
    }

    /// See [`crate::store::Store::release_slot`].
    pub(super) async fn release(&self, id: Uuid) -> Result<(), StoreError> {
        self.link.run("release_slot", &scripts::RELEASE_SLOT, self.keys.slots(), vec![id.to_string().into()]).await
    }

    /// See [`crate::store::Store::release_node_slots`].
    pub(super) async fn release_node(&self, node: &str) -> Result<u64, StoreError> {
        self.link.run("release_node_slots", &scripts::RELEASE_NODE, self.keys.slots(), vec![node.into()]).await
    }

    /// See [`crate::store::Store::slots_taken`].
    pub(super) async fn taken(&self) -> Result<u64, StoreError> {
        self.link.run("slots_taken", &scripts::SLOTS_TAKEN, self.keys.slots(), Vec::new()).await
    }
}
