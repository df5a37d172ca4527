//! Removing ended sessions, and deleting in steps what they leave.
//!
//! A removal first notes the log's new name, then removes the record and renames the log in one step, then clears
//! the indexes. Whoever dies in between leaves a note that leads to nothing, or entries that lead to nothing. The
//! renamed log also goes by itself after [`WAITS_MS`].

use fred::interfaces::SortedSetsInterface;
use uuid::Uuid;

use super::{RedisStore, fault, scripts};
use crate::api::event::SessionState;
use crate::store::StoreError;

/// How long a removed log waits at most to be purged, in milliseconds: a week.
const WAITS_MS: u64 = 7 * 24 * 3_600_000;

impl RedisStore {
    /// See [`crate::store::Store::remove_session`].
    pub(super) async fn remove(&self, id: Uuid) -> Result<bool, StoreError> {
        let Some(found) = self.seen(id).await? else { return Ok(false) };
        if found.row.state != SessionState::Ended {
            return Err(StoreError::NotOwner);
        }
        let nonce = Uuid::new_v4().simple().to_string();
        let note = vec![format!("{id}:{nonce}").into()];
        let _: i64 = self.link.run("remove_session", &scripts::INDEX, vec![self.keys.removals()], note).await?;
        let names = vec![self.keys.record(id), self.keys.log(id), self.keys.removed_log(&id.to_string(), &nonce)];
        let arguments = vec![WAITS_MS.to_string().into()];
        let word: String = self.link.run("remove_session", &scripts::REMOVE, names, arguments).await?;
        match word.as_str() {
            "ok" => {}
            "missing" => return Ok(false),
            _ => return Err(StoreError::NotOwner),
        }
        self.forget(&found.row).await;
        // The key leads to nothing now: should this fail, whoever comes with it takes it.
        drop(self.unclaim(&found).await);
        Ok(true)
    }

    /// See [`crate::store::Store::purge`].
    pub(super) async fn purge_removed(&self, max_batches: u32) -> Result<bool, StoreError> {
        let mut left = u64::from(max_batches);
        loop {
            let client = self.link.commands()?;
            let next: Vec<String> = client
                .zrange(self.keys.removals(), 0, 0, None, false, None, false)
                .await
                .map_err(|error| fault::told("purge", &error))?;
            let Some(note) = next.first() else { return Ok(false) };
            if left == 0 {
                return Ok(true);
            }
            let (id, nonce) = note.split_once(':').unwrap_or((note, ""));
            let names = vec![self.keys.removed_log(id, nonce)];
            let (deleted, remain): (u64, u64) =
                self.link.run("purge", &scripts::PURGE, names, vec![left.to_string().into()]).await?;
            if remain == 0 {
                let _: i64 = client
                    .zrem(self.keys.removals(), note.as_str())
                    .await
                    .map_err(|error| fault::told("purge", &error))?;
            }
            // A session without batches counts too: each step of this loop costs something.
            left = left.saturating_sub(deleted.max(1));
        }
    }
}
