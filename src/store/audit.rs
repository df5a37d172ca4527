//! The audit log's entries: who did what, and what came of it. Written once, never changed, forgotten by age.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One entry. Holds no prompt, no token, no password and no code: only names, ids and words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its id; made of its moment (UUID version 7), so that the order of ids is that of time. Also its place for a
    /// reader who goes on from it.
    pub id: Uuid,
    /// When.
    pub at_ms: u64,
    /// The account that did it; `None`: nobody known, or an operator on the gateway's machine.
    pub subject: Option<String>,
    /// That account's name at the time, or a word for who else it was.
    pub username: String,
    /// What was done: a method's name, or one of the words of `auth::audit`.
    pub action: String,
    /// `ok`, or why it was refused, as a word.
    pub outcome: String,
    /// The session that it was done to.
    pub session: Option<Uuid>,
    /// Who or what else it was done to: an account's name, a key's id.
    pub target: Option<String>,
    /// The address that the caller came from, where it is known.
    pub address: Option<String>,
}

/// Which entries to tell, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditQuery {
    /// Only older than this entry.
    pub before: Option<Uuid>,
    /// Only newer than this entry.
    pub after: Option<Uuid>,
    /// Only what this account did.
    pub subject: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only what was done to this session.
    pub session: Option<Uuid>,
    /// At most so many.
    pub limit: u32,
}

impl AuditQuery {
    /// Is that entry one of those asked for? The limit is somebody else's matter.
    #[must_use]
    pub fn wants(&self, entry: &AuditEntry) -> bool {
        self.before.is_none_or(|before| entry.id < before)
            && self.after.is_none_or(|after| entry.id > after)
            && self.subject.as_ref().is_none_or(|subject| entry.subject.as_ref() == Some(subject))
            && self.action.as_ref().is_none_or(|action| entry.action == *action)
            && self.session.is_none_or(|session| entry.session == Some(session))
    }
}

/// What the ids of all entries from that moment on are not below.
pub(super) fn first_id(at_ms: u64) -> Uuid {
    const MOMENT_BITS: u32 = 48;
    Uuid::from_u128(u128::from(at_ms.min((1 << MOMENT_BITS) - 1)) << (128 - MOMENT_BITS))
}
