//! What a reader can choose among: event types, and inside `claude` the types of Claude's lines.
//!
//! The codes of [`EventKind`] are written into the store, in each event and as bits of each batch's set, so that
//! whole batches can be passed over: they are never reused or renumbered.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::event::EventType;

/// The codes from here on are those of Claude's lines.
const FIRST_LINE_CODE: u8 = 16;
const LINE_PREFIX: &str = "claude:";

/// The types of Claude's lines that can be chosen by name, in the order of their codes; a newer one goes to the end.
/// All others are `other`.
const LINE_TYPES: [(&str, EventKind); 11] = [
    ("assistant", EventKind::ASSISTANT),
    ("user", EventKind::USER),
    ("system", EventKind::SYSTEM),
    ("result", EventKind::RESULT),
    ("stream_event", EventKind::STREAM_EVENT),
    ("rate_limit_event", EventKind::RATE_LIMIT_EVENT),
    ("control_request", EventKind::CONTROL_REQUEST),
    ("control_response", EventKind::CONTROL_RESPONSE),
    ("control_cancel_request", EventKind::CONTROL_CANCEL_REQUEST),
    ("command_lifecycle", EventKind::COMMAND_LIFECYCLE),
    ("keep_alive", EventKind::KEEP_ALIVE),
];
const OTHER_LINES: &str = "other";

/// One event's type, as finely as a reader can choose: an event type, or the type of one of Claude's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventKind(u8);

impl EventKind {
    /// Claude's `assistant` lines.
    pub const ASSISTANT: Self = Self(FIRST_LINE_CODE);
    /// Claude's `user` lines.
    pub const USER: Self = Self(FIRST_LINE_CODE + 1);
    /// Claude's `system` lines.
    pub const SYSTEM: Self = Self(FIRST_LINE_CODE + 2);
    /// Claude's `result` lines.
    pub const RESULT: Self = Self(FIRST_LINE_CODE + 3);
    /// Claude's `stream_event` lines.
    pub const STREAM_EVENT: Self = Self(FIRST_LINE_CODE + 4);
    /// Claude's `rate_limit_event` lines.
    pub const RATE_LIMIT_EVENT: Self = Self(FIRST_LINE_CODE + 5);
    /// Claude's `control_request` lines.
    pub const CONTROL_REQUEST: Self = Self(FIRST_LINE_CODE + 6);
    /// Claude's `control_response` lines.
    pub const CONTROL_RESPONSE: Self = Self(FIRST_LINE_CODE + 7);
    /// Claude's `control_cancel_request` lines.
    pub const CONTROL_CANCEL_REQUEST: Self = Self(FIRST_LINE_CODE + 8);
    /// Claude's `command_lifecycle` lines.
    pub const COMMAND_LIFECYCLE: Self = Self(FIRST_LINE_CODE + 9);
    /// Claude's `keep_alive` lines.
    pub const KEEP_ALIVE: Self = Self(FIRST_LINE_CODE + 10);
    /// Claude's lines of any other type.
    pub const OTHER_LINE: Self = Self(EventType::Claude.code());

    /// A line of Claude's whose `type` is that word.
    #[must_use]
    pub fn line(word: &str) -> Self {
        LINE_TYPES.iter().find(|(known, _)| *known == word).map_or(Self::OTHER_LINE, |(_, kind)| *kind)
    }

    /// The kind with that code; one of a newer version is a kind too.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        Self(code)
    }

    /// The code in the store.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// The event type it belongs to; `None` for one of a newer version.
    #[must_use]
    pub fn event_type(self) -> Option<EventType> {
        let is_line = self.0.checked_sub(FIRST_LINE_CODE).is_some_and(|at| usize::from(at) < LINE_TYPES.len());
        if is_line { Some(EventType::Claude) } else { EventType::from_code(self.0) }
    }
}

impl From<EventType> for EventKind {
    fn from(event_type: EventType) -> Self {
        Self(event_type.code())
    }
}

/// A set of event kinds, as the bits of their codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TypeSet(pub u32);

impl TypeSet {
    /// Every kind, also those of newer versions.
    pub const ALL: Self = Self(u32::MAX);

    /// The set with `kind` in it.
    #[must_use]
    pub fn with(self, kind: impl Into<EventKind>) -> Self {
        Self(self.0 | bit(kind.into()))
    }

    /// The set with everything of `other` too.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set without anything of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Is `kind` in the set?
    #[must_use]
    pub fn contains(self, kind: impl Into<EventKind>) -> bool {
        self == Self::ALL || self.0 & bit(kind.into()) != 0
    }

    /// Have the two sets a kind in common?
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A kind of a newer version, beyond the bits that there are, has none.
fn bit(kind: EventKind) -> u32 {
    1_u32.checked_shl(u32::from(kind.code())).unwrap_or_default()
}

/// What a reader names to choose events: an event type, or `claude:` and the type of Claude's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventSelector {
    /// All events of a type.
    Type(EventType),
    /// Claude's lines of one type.
    Line(EventKind),
}

impl EventSelector {
    /// The selector of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word.strip_prefix(LINE_PREFIX) {
            Some(OTHER_LINES) => Some(Self::Line(EventKind::OTHER_LINE)),
            Some(line) => LINE_TYPES.iter().find(|(known, _)| *known == line).map(|(_, kind)| Self::Line(*kind)),
            None => EventType::ALL.into_iter().find(|known| known.as_str() == word).map(Self::Type),
        }
    }

    /// The word on the wire.
    #[must_use]
    pub fn word(self) -> Cow<'static, str> {
        match self {
            Self::Type(event_type) => Cow::Borrowed(event_type.as_str()),
            Self::Line(kind) => {
                let named = LINE_TYPES.iter().find(|(_, known)| *known == kind).map_or(OTHER_LINES, |(word, _)| word);
                Cow::Owned(format!("{LINE_PREFIX}{named}"))
            }
        }
    }

    /// Every selector, for documents and tests.
    pub fn all() -> impl Iterator<Item = Self> {
        let lines = LINE_TYPES.into_iter().map(|(_, kind)| kind).chain([EventKind::OTHER_LINE]);
        EventType::ALL.into_iter().map(Self::Type).chain(lines.map(Self::Line))
    }

    fn set(self) -> TypeSet {
        match self {
            Self::Type(EventType::Claude) => {
                LINE_TYPES.iter().fold(TypeSet::default().with(EventType::Claude), |set, (_, kind)| set.with(*kind))
            }
            Self::Type(event_type) => TypeSet::default().with(event_type),
            Self::Line(kind) => TypeSet::default().with(kind),
        }
    }
}

impl<'a> FromIterator<&'a EventSelector> for TypeSet {
    fn from_iter<I: IntoIterator<Item = &'a EventSelector>>(selectors: I) -> Self {
        selectors.into_iter().fold(Self::default(), |set, selector| set.union(selector.set()))
    }
}

/// What a reader wants of a log. The terminal event always comes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Only these; `None`: everything.
    pub types: Option<Vec<EventSelector>>,
    /// Of those, not these.
    pub without: Option<Vec<EventSelector>>,
}

impl EventFilter {
    /// Does it let everything through?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.is_none() && self.without.is_none()
    }

    /// What it lets through.
    #[must_use]
    pub fn wanted(&self) -> TypeSet {
        let chosen = self.types.as_ref().map_or(TypeSet::ALL, |types| types.iter().collect());
        chosen.without(self.without.iter().flatten().collect())
    }
}

impl From<EventType> for EventSelector {
    fn from(event_type: EventType) -> Self {
        Self::Type(event_type)
    }
}

impl Serialize for EventSelector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.word())
    }
}

impl<'de> Deserialize<'de> for EventSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_word(&word).ok_or_else(|| {
            serde::de::Error::custom("not an event type, nor `claude:` and a type of Claude's lines; see the protocol")
        })
    }
}

impl JsonSchema for EventSelector {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("EventSelector")
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<_> = Self::all().map(Self::word).collect();
        json_schema!({
            "description": "What a reader names to choose events: an event type, or `claude:` and the type of Claude's lines.",
            "type": "string",
            "enum": words,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_has_its_own_word_and_is_found_by_it() {
        let all: Vec<_> = EventSelector::all().collect();
        for selector in &all {
            assert_eq!(EventSelector::from_word(&selector.word()), Some(*selector));
        }
        let words: std::collections::HashSet<_> = all.iter().map(|selector| selector.word()).collect();
        assert_eq!(words.len(), all.len());
        assert_eq!(EventSelector::from_word("claude:no_such"), None);
        assert_eq!(EventSelector::from_word("stream_event"), None);
    }

    #[test]
    fn choosing_claude_chooses_every_line_and_a_line_only_itself() {
        let claude = TypeSet::from_iter(&[EventSelector::Type(EventType::Claude)]);
        let delta = EventKind::line("stream_event");
        assert!(claude.contains(delta) && claude.contains(EventKind::line("of a newer Claude")));
        assert!(!claude.contains(EventType::Output));
        let deltas = TypeSet::from_iter(&[EventSelector::Line(delta)]);
        assert!(deltas.contains(delta) && !deltas.contains(EventKind::line("assistant")));
        let whole = TypeSet::ALL.without(deltas);
        assert!(!whole.contains(delta) && whole.contains(EventType::Ended) && whole.contains(EventKind::line("user")));
    }

    #[test]
    fn the_codes_in_the_store_stay_as_they_are() {
        let codes: Vec<_> = LINE_TYPES.iter().map(|(line, _)| EventKind::line(line).code()).collect();
        assert_eq!(codes, (16..27).collect::<Vec<u8>>());
        assert!(codes.iter().all(|code| EventKind::from_code(*code).event_type() == Some(EventType::Claude)));
        assert_eq!(EventKind::line("x").code(), 3);
        assert_eq!(EventKind::from_code(200).event_type(), None);
        assert!(TypeSet::ALL.contains(EventKind::from_code(200)), "a reader of everything gets newer kinds too");
    }
}
