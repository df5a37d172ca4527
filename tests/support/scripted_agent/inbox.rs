//! What has come in and is not yet dealt with: messages, answers, and reasons to stop.
//!
//! Filled by the reader of standard input and by the signal thread, emptied by the main thread.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use serde_json::Value;

use crate::script::Ignored;

/// A user's message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Its text; the texts of its blocks, joined by line ends.
    pub(crate) text: String,
    /// Its id, if it has one.
    pub(crate) uuid: Option<String>,
}

/// Why a turn is cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The control request `interrupt`: the turn ends.
    Interrupt,
    /// The control request `end_session`: the process ends.
    EndSession,
    /// SIGINT: the process ends with code 0.
    Int,
}

/// What the main thread finds when it waits for work.
pub(crate) enum Next {
    /// Everything that was waiting: it becomes one turn, as in the CLI.
    Turn(Vec<Message>),
    /// Standard input has ended.
    Closed,
    /// Asked to end.
    Stopped(Stop),
}

/// What the threads share.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

/// The state behind the lock.
#[derive(Default)]
pub(crate) struct State {
    /// Messages that wait for their turn.
    pub(crate) messages: VecDeque<Message>,
    /// Ids of all messages ever: the second of a pair is dropped.
    pub(crate) seen: HashSet<String>,
    /// Answers to our control requests.
    pub(crate) answers: VecDeque<Value>,
    /// Standard input has ended.
    pub(crate) closed: bool,
    /// The turn or the process is to end.
    pub(crate) stop: Option<Stop>,
    /// A turn runs.
    pub(crate) running: bool,
    /// What is not heeded.
    pub(crate) ignored: Vec<Ignored>,
    /// What SIGTERM starts, instead of an exit with 143.
    pub(crate) cleanup: Option<(Duration, i32)>,
}

impl Inbox {
    /// The state, locked.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Changes the state and wakes whoever waits for it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock());
        self.changed.notify_all();
        result
    }

    /// Is that not heeded?
    pub(crate) fn ignores(&self, what: Ignored) -> bool {
        self.lock().ignored.contains(&what)
    }

    /// Waits for the next turn, for the end of standard input or for a reason to stop.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.state.lock();
        loop {
            if let Some(stop) = state.stop.take()
                && stop != Stop::Interrupt
            {
                return Next::Stopped(stop);
            }
            if !state.messages.is_empty() {
                state.running = true;
                return Next::Turn(state.messages.drain(..).collect());
            }
            if state.closed && !state.ignored.contains(&Ignored::Eof) {
                return Next::Closed;
            }
            self.changed.wait(&mut state);
        }
    }

    /// The reason to stop, if there is one; it stays.
    pub(crate) fn stop(&self) -> Option<Stop> {
        self.lock().stop
    }

    /// Waits until there is a reason to stop; at most so long, without a limit if `None`.
    pub(crate) fn pause(&self, limit: Option<Duration>) -> Option<Stop> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut state = self.state.lock();
        while state.stop.is_none() {
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) if self.changed.wait_until(&mut state, deadline).timed_out() => break,
                Some(_) => {}
            }
        }
        state.stop
    }

    /// Waits for the answer to our control request `id`.
    pub(crate) fn answer(&self, id: &str) -> Answer {
        let mut state = self.state.lock();
        loop {
            if let Some(stop) = state.stop {
                return Answer::Stopped(stop);
            }
            let matches = |answer: &Value| answer["request_id"] == id;
            if let Some(place) = state.answers.iter().position(matches) {
                return state.answers.remove(place).map_or(Answer::Closed, Answer::Given);
            }
            if state.closed {
                return Answer::Closed;
            }
            self.changed.wait(&mut state);
        }
    }
}

/// What came of a question.
pub(crate) enum Answer {
    /// The inner `response` object of the answer.
    Given(Value),
    /// Standard input has ended without one.
    Closed,
    /// The turn was stopped first.
    Stopped(Stop),
}
