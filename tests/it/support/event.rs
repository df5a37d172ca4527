//! `session.event` as a test reads it, and the check of its numbers.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

/// One event. Its data is kept as it came.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Event {
    /// Whose.
    pub(crate) session_id: Uuid,
    /// Its number.
    pub(crate) seq: u64,
    /// The reader's position before it.
    pub(crate) prev_seq: u64,
    /// When it was taken in.
    pub(crate) at: String,
    /// Its type.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The bytes of its data.
    pub(crate) data: Box<RawValue>,
}

impl Event {
    /// Its data, parsed.
    pub(crate) fn data(&self) -> Value {
        serde_json::from_str(self.data.get()).expect("an event's data is JSON")
    }

    /// `type/subtype` of a `claude` event, such as `system/init` or `assistant/`.
    pub(crate) fn claude_type(&self) -> Option<String> {
        (self.kind == "claude").then(|| {
            let data = self.data();
            let word = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
            format!("{}/{}", word("type"), word("subtype"))
        })
    }
}

/// What one connection has seen of a session.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The reader's position.
    pub(crate) position: u64,
    /// Only some types are asked for: numbers may be skipped.
    pub(crate) filtered: bool,
    /// Its terminal event has come.
    pub(crate) ended: bool,
    /// All its events, in order.
    pub(crate) events: Vec<Event>,
}

/// What one connection has seen of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Ledger(pub(crate) HashMap<Uuid, Seen>);

impl Ledger {
    /// From now on the connection is to get that session's events after `position`.
    pub(crate) fn attached(&mut self, session: Uuid, position: u64, filtered: bool) {
        let seen = self.0.entry(session).or_default();
        (seen.position, seen.filtered, seen.ended) = (position, filtered, false);
    }

    /// Takes an event in and fails unless its number is the next.
    pub(crate) fn take(&mut self, event: Event) {
        let seen = self.0.entry(event.session_id).or_default();
        let session = event.session_id;
        assert!(!seen.ended, "session {session}: event {} after its terminal event", event.seq);
        assert_eq!(
            event.prev_seq, seen.position,
            "session {session}: event {} follows {}, but this reader stands at {}",
            event.seq, event.prev_seq, seen.position
        );
        if seen.filtered {
            assert!(event.seq > seen.position, "session {session}: event {} came twice or late", event.seq);
        } else {
            assert_eq!(event.seq, seen.position + 1, "session {session}: a gap or a repetition");
        }
        seen.position = event.seq;
        seen.ended = event.kind == "session.ended";
        seen.events.push(event);
    }

    /// `session.cursor`: the position moves on without an event.
    pub(crate) fn cursor(&mut self, session: Uuid, position: u64) {
        let seen = self.0.entry(session).or_default();
        assert!(position >= seen.position, "session {session}: the cursor went back to {position}");
        seen.position = position;
    }
}
