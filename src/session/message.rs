//! The messages of one session: those that wait in the gateway, and those that the agent has and not yet answered.
//!
//! One message waits for the result of the one before, so that each has an answer of its own. Owned by the
//! session's supervisor.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api::session::Prompt;

/// Messages of one session that may wait.
pub const MAX_WAITING: usize = 100;
/// Ids that are remembered, so that a message that is sent again is known.
const REMEMBERED: usize = 1_000;

/// One message for the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id, also for the agent.
    pub id: Uuid,
    /// What it says.
    pub prompt: Prompt,
}

impl Message {
    /// The message that a session is started with.
    #[must_use]
    pub fn first(session: Uuid, prompt: Prompt) -> Self {
        Self { id: Self::first_id(session), prompt }
    }

    /// The id of a session's first message. It is made of the session's, so that whoever repeats the start is told the
    /// same one, long after the record has done with the message.
    #[must_use]
    pub fn first_id(session: Uuid) -> Uuid {
        // Any other number that is no v4 UUID, as session ids are.
        let mut bytes = session.into_bytes();
        bytes.reverse();
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// What became of a message that was brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was taken in.
    New,
    /// It had been before.
    Known,
    /// Too many wait.
    Full,
}

/// The messages of one session.
#[derive(Debug, Default)]
pub(super) struct Messages {
    waiting: VecDeque<Message>,
    /// Given to the agent and not answered.
    given: Vec<Uuid>,
    known: VecDeque<Uuid>,
}

impl Messages {
    /// Takes a message in behind the others.
    pub(super) fn take(&mut self, message: Message) -> Taken {
        if self.known.contains(&message.id) {
            return Taken::Known;
        }
        if self.waiting.len() >= MAX_WAITING {
            return Taken::Full;
        }
        self.remember(message.id);
        self.waiting.push_back(message);
        Taken::New
    }

    /// Notes a message that goes to the agent at once. `false`: it is known already.
    pub(super) fn give_at_once(&mut self, id: Uuid) -> bool {
        if self.known.contains(&id) {
            return false;
        }
        self.remember(id);
        self.given.push(id);
        true
    }

    /// The message that waits longest; from now on the agent has it.
    pub(super) fn next(&mut self) -> Option<Message> {
        let message = self.waiting.pop_front()?;
        self.given.push(message.id);
        Some(message)
    }

    /// The agent gave a result that names these messages. `true`: it has others still to answer.
    ///
    /// A result that names none answers all that the agent has (old versions name none), unless it belongs to a
    /// turn that began by itself.
    pub(super) fn answered(&mut self, named: &[Uuid], began_by_itself: bool) -> bool {
        if named.is_empty() && !began_by_itself {
            self.given.clear();
        }
        self.given.retain(|id| !named.contains(id));
        !self.given.is_empty()
    }

    /// Everything that has no answer yet, the running one first.
    pub(super) fn open(&self) -> Vec<Uuid> {
        self.given.iter().copied().chain(self.waiting.iter().map(|message| message.id)).collect()
    }

    /// Gives up what waits: the ids.
    pub(super) fn lose_waiting(&mut self) -> Vec<Uuid> {
        self.waiting.drain(..).map(|message| message.id).collect()
    }

    fn remember(&mut self, id: Uuid) {
        if self.known.len() >= REMEMBERED {
            self.known.pop_front();
        }
        self.known.push_back(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u128) -> Message {
        Message { id: Uuid::from_u128(number), prompt: Prompt::Text(number.to_string()) }
    }

    fn ids(numbers: &[u128]) -> Vec<Uuid> {
        numbers.iter().copied().map(Uuid::from_u128).collect()
    }

    #[test]
    fn messages_are_given_in_their_order_and_stay_open_until_a_result_names_them() {
        let mut messages = Messages::default();
        assert_eq!([1, 2].map(|number| messages.take(message(number))), [Taken::New, Taken::New]);
        assert_eq!(messages.next(), Some(message(1)));
        assert!(messages.give_at_once(Uuid::from_u128(3)));
        assert_eq!(messages.open(), ids(&[1, 3, 2]));
        assert!(messages.answered(&ids(&[1]), false), "the one that was to join the turn has no answer yet");
        assert!(messages.answered(&[], true), "a turn that began by itself answers nobody");
        assert!(!messages.answered(&[], false), "an old version names none");
        assert_eq!(messages.open(), ids(&[2]));
        assert_eq!(messages.lose_waiting(), ids(&[2]));
    }

    #[test]
    fn the_same_message_twice_is_one() {
        let mut messages = Messages::default();
        messages.take(message(1));
        assert_eq!(messages.take(message(1)), Taken::Known);
        messages.next();
        assert!(!messages.give_at_once(Uuid::from_u128(1)));
        assert_eq!(messages.open(), ids(&[1]));
    }

    #[test]
    fn only_so_many_messages_wait() {
        let mut messages = Messages::default();
        for number in 0..MAX_WAITING as u128 {
            assert_eq!(messages.take(message(number)), Taken::New);
        }
        assert_eq!(messages.take(message(1_000)), Taken::Full);
        messages.next();
        assert_eq!(messages.take(message(1_000)), Taken::New);
    }
}
