//! The names of all keys, and of the members of indexes. The head of the store's module explains them.
//!
//! Invariants: every name begins with the prefix; what one script touches has one hash tag (the part in braces), so
//! that it lies in one slot of a cluster; what callers say never stands before or in a tag.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The names under one prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// What matches the name of every key, as Redis takes it.
    pub(super) fn pattern(&self) -> String {
        let mut pattern = String::new();
        for letter in self.prefix.chars() {
            if matches!(letter, '*' | '?' | '[' | ']' | '^' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        format!("{pattern}:{{*")
    }

    /// The tag of a key's name and what follows it; `None` for a name that is not ours.
    pub(super) fn parse<'a>(&self, key: &'a str) -> Option<(&'a str, &'a str)> {
        key.strip_prefix(&self.prefix)?.strip_prefix(":{")?.split_once("}:")
    }

    /// A session's record.
    pub(super) fn record(&self, id: Uuid) -> String {
        format!("{}:{{{id}}}:session", self.prefix)
    }

    /// The channel on which is told that a session's log has grown.
    pub(super) fn grown(&self, id: Uuid) -> String {
        format!("{}:{{{id}}}:grown", self.prefix)
    }

    /// The channel on which is told that a slot has come free or was granted.
    pub(super) fn slots_moved(&self) -> String {
        format!("{}:{{slots}}:moved", self.prefix)
    }

    /// The nodes' leases, and what they say of themselves.
    pub(super) fn nodes(&self) -> Vec<String> {
        vec![format!("{}:{{nodes}}:leases", self.prefix), format!("{}:{{nodes}}:abouts", self.prefix)]
    }

    /// The channel on which a node is called, and answered. Hashed: a name might hold anything.
    pub(super) fn calls(&self, node: &str) -> String {
        format!("{}:{{{}}}:calls", self.prefix, digest("node", node))
    }

    /// A session's event log.
    pub(super) fn log(&self, id: Uuid) -> String {
        format!("{}:{{{id}}}:log", self.prefix)
    }

    /// The log of a session that was removed; `member` is the one in `removals`.
    pub(super) fn removed_log(&self, id: &str, nonce: &str) -> String {
        format!("{}:{{{id}}}:removed:{nonce}", self.prefix)
    }

    /// What an owner's idempotency key stands for. Hashed: the tag must not hold what a caller says.
    pub(super) fn idempotency(&self, digest: &str) -> String {
        format!("{}:{{{digest}}}:key", self.prefix)
    }

    /// An index of sessions, or what belongs to the indexes.
    pub(super) fn index(&self, name: &str) -> String {
        format!("{}:{{sessions}}:{name}", self.prefix)
    }

    pub(super) fn newest(&self) -> String {
        self.index("newest")
    }

    pub(super) fn alive(&self) -> String {
        self.index("alive")
    }

    pub(super) fn put_away(&self) -> String {
        self.index("put_away")
    }

    pub(super) fn ended(&self) -> String {
        self.index("ended")
    }

    pub(super) fn removals(&self) -> String {
        self.index("removals")
    }

    /// The bytes of ended sessions by id, and their sum.
    pub(super) fn kept(&self) -> [String; 2] {
        [self.index("kept"), self.index("kept_total")]
    }

    /// The sessions that agree in those words (an owner, a label's name, its value), newest first.
    pub(super) fn found_by(&self, owner: Option<&str>, label: Option<(&str, Option<&str>)>) -> String {
        let (name, value) = label.map_or((None, None), |(name, value)| (Some(name), value));
        // As JSON no two lists of words look the same.
        let words = serde_json::json!([owner, name, value]);
        self.index(&format!("by:{words}"))
    }

    /// Slots and the line, in the order in which `scripts/line.lua` names them; the last one is a channel.
    pub(super) fn slots(&self) -> Vec<String> {
        ["taken", "owners", "places", "line", "turn", "held", "arrivals", "moved"]
            .map(|name| format!("{}:{{slots}}:{name}", self.prefix))
            .into()
    }

    /// Which entries of the spend ledger are there, all of them by moment, and an owner's by moment.
    pub(super) fn spend(&self, owner: &str) -> Vec<String> {
        let of = |name: &str| format!("{}:{{spend}}:{name}", self.prefix);
        vec![of("seen"), of("moments"), of(&format!("of:{owner}"))]
    }

    /// The audit log's entries as JSON by id, and their ids.
    pub(super) fn audit(&self) -> [String; 2] {
        [format!("{}:{{audit}}:texts", self.prefix), format!("{}:{{audit}}:all", self.prefix)]
    }

    /// The ids of the audit log's entries with that `value` of `what`.
    pub(super) fn audit_of(&self, what: &str, value: &str) -> String {
        format!("{}:{{audit}}:{what}:{value}", self.prefix)
    }

    /// A note, the keys of all notes of its kind, and when they end.
    pub(super) fn notes(&self, kind: &str, key: &str) -> Vec<String> {
        let of = |name: &str| format!("{}:{{notes}}:{kind}:{name}", self.prefix);
        vec![of(&format!("is:{key}")), of("keys"), of("ends")]
    }

    /// Accounts by subject, and the subjects of names.
    pub(super) fn accounts(&self) -> Vec<String> {
        vec![format!("{}:{{accounts}}:by_subject", self.prefix), format!("{}:{{accounts}}:names", self.prefix)]
    }
}

/// A principal as a word of fixed length and form.
pub(super) fn owner(subject: &str) -> String {
    hex(&Sha256::digest(subject)[..16])
}

/// An owner's idempotency key as a name of fixed form.
pub(super) fn digest(owner: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((owner.len() as u64).to_be_bytes());
    hash.update(owner);
    hash.update(key);
    hex(&hash.finalize()[..16])
}

/// What tells one payload from another.
pub(super) fn payload_hash(payload: &[u8]) -> String {
    hex(&Sha256::digest(payload)[..16])
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A moment, such that the order of the texts is the order of the moments.
pub(super) fn moment(at_ms: u64) -> String {
    format!("{at_ms:016x}")
}

/// A member of an index in the order of a moment, then of the id.
pub(super) fn member(at_ms: u64, id: Uuid) -> String {
    format!("{}:{id}", moment(at_ms))
}

/// A member's moment and id; `None` for what no version of ours wrote.
pub(super) fn parse_member(member: &str) -> Option<(u64, Uuid)> {
    let (at_ms, id) = member.split_once(':')?;
    Some((u64::from_str_radix(at_ms, 16).ok()?, id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_ordered_as_moment_and_id_are() {
        let ids = [Uuid::nil(), Uuid::from_u128(9), Uuid::from_u128(1 << 100), Uuid::max()];
        let mut pairs: Vec<_> = [0, 9, 10, 255, 256, 1_700_000_000_000, u64::MAX]
            .into_iter()
            .flat_map(|at_ms| ids.map(|id| (at_ms, id)))
            .collect();
        pairs.sort_by_key(|(at_ms, id)| member(*at_ms, *id));
        assert!(pairs.is_sorted());
        assert!(pairs.iter().all(|(at_ms, id)| parse_member(&member(*at_ms, *id)) == Some((*at_ms, *id))));
        assert_eq!(parse_member("something else"), None);
    }

    #[test]
    fn what_callers_say_never_gets_into_a_tag() {
        let keys = Keys::new("p");
        let odd = "}{x}\u{0}:\"";
        let names = [
            keys.found_by(Some(odd), Some((odd, Some(odd)))),
            keys.spend(odd).remove(2),
            keys.notes("kind", odd).remove(0),
            keys.audit_of("subject", odd),
            keys.idempotency(&digest(odd, odd)),
        ];
        for (name, tag) in names.iter().zip(["sessions", "spend", "notes", "audit", &digest(odd, odd)]) {
            assert!(name.starts_with(&format!("p:{{{tag}}}:")), "{name}");
        }
        assert_ne!(digest("a", "bc"), digest("ab", "c"));
        assert_ne!(keys.found_by(Some("a"), None), keys.found_by(None, Some(("a", None))));
    }
}
