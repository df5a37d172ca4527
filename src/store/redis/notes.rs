//! Notes: small facts that live for a while. Each is a key with a time to live, so Redis's clock says when it has
//! ended; `keys` only says which notes there may be.

use fred::interfaces::{HashesInterface, SortedSetsInterface};
use futures_util::future::try_join_all;

use super::{RedisStore, fault, scripts};
use crate::store::{Note, NoteKind, StoreError};

/// Notes that are asked for together.
const STEP: u32 = 256;
/// The last moment that Redis is told, in milliseconds: what ends later is as good as never.
const LAST_MOMENT: u64 = 1 << 52;

impl RedisStore {
    /// See [`crate::store::Store::put_note`].
    pub(super) async fn add_note(&self, note: &Note) -> Result<bool, StoreError> {
        let (expires, life) = ends(note.expires_at_ms);
        let arguments = vec![note.key.as_str().into(), note.value.as_str().into(), expires.into(), life.into()];
        let names = self.keys.notes(note.kind.as_str(), &note.key);
        self.link.run("put_note", &scripts::PUT_NOTE, names, arguments).await
    }

    /// See [`crate::store::Store::change_note`].
    pub(super) async fn replace_note(
        &self,
        kind: NoteKind,
        key: &str,
        from: &str,
        to: Option<String>,
        expires_at_ms: Option<u64>,
    ) -> Result<bool, StoreError> {
        let (expires, life) = ends(expires_at_ms);
        let has_new = if to.is_some() { "1" } else { "" };
        let arguments =
            vec![key.into(), from.into(), has_new.into(), to.unwrap_or_default().into(), expires.into(), life.into()];
        self.link.run("change_note", &scripts::CHANGE_NOTE, self.keys.notes(kind.as_str(), key), arguments).await
    }

    /// See [`crate::store::Store::note`].
    pub(super) async fn note_of(&self, kind: NoteKind, key: &str) -> Result<Option<Note>, StoreError> {
        let name = self.keys.notes(kind.as_str(), key).swap_remove(0);
        let (value, expires): (Option<String>, Option<String>) = self
            .link
            .commands()?
            .hmget(name, vec!["value", "expires"])
            .await
            .map_err(|error| fault::told("note", &error))?;
        let Some(value) = value else { return Ok(None) };
        let unreadable = |_| fault::damaged("a note's end is not a number");
        let expires_at_ms = expires.map(|text| text.parse().map_err(unreadable)).transpose()?;
        Ok(Some(Note { kind, key: key.to_owned(), value, expires_at_ms }))
    }

    /// See [`crate::store::Store::notes`].
    pub(super) async fn page_of_notes(
        &self,
        kind: NoteKind,
        after_key: &str,
        limit: u32,
    ) -> Result<Vec<Note>, StoreError> {
        let names = self.keys.notes(kind.as_str(), "").swap_remove(1);
        let wanted = limit as usize;
        let (mut after, mut page) = (after_key.to_owned(), Vec::new());
        while page.len() < wanted {
            let keys: Vec<String> = self
                .link
                .commands()?
                .zrangebylex(&names, format!("({after}"), "+", Some((0, i64::from(limit.min(STEP)))))
                .await
                .map_err(|error| fault::told("notes", &error))?;
            let Some(last) = keys.last() else { break };
            after.clone_from(last);
            // Some may have ended since.
            let found = try_join_all(keys.iter().map(|key| self.note_of(kind, key))).await?;
            page.extend(found.into_iter().flatten());
        }
        page.truncate(wanted);
        Ok(page)
    }

    /// Takes at most `max` notes of each kind that have ended out of the lists; `true` if more may be there.
    pub(super) async fn sweep_notes(&self, max: u32) -> Result<bool, StoreError> {
        let mut more = false;
        for kind in NoteKind::ALL {
            let names = self.keys.notes(kind.as_str(), "").split_off(1);
            let swept: u32 = self.link.run("purge", &scripts::SWEEP_NOTES, names, vec![max.to_string().into()]).await?;
            more |= swept > 0 && swept >= max;
        }
        Ok(more)
    }
}

/// When a note ends, as it is kept and as Redis is told; both empty for never.
fn ends(expires_at_ms: Option<u64>) -> (String, String) {
    let text = |moment: u64| moment.to_string();
    (
        expires_at_ms.map(text).unwrap_or_default(),
        expires_at_ms.map(|end| text(end.min(LAST_MOMENT))).unwrap_or_default(),
    )
}
