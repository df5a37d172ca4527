//! Which connections of this gateway stand behind sessions that end with their connections, wherever those run.
//!
//! A session counts its connections itself. But its count goes down with the gateway that ran it: where it goes on, the
//! connections that are still there are counted again from here. It must not know sockets.

use std::collections::HashMap;

use parking_lot::Mutex;
use uuid::Uuid;

/// How many connections stand behind each session.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<HashMap<Uuid, u32>>);

impl Holds {
    /// One more stands behind it.
    pub(super) fn add(&self, session: Uuid) {
        *self.0.lock().entry(session).or_default() += 1;
    }

    /// One of them has gone.
    pub(super) fn remove(&self, session: Uuid) {
        let mut held = self.0.lock();
        if let Some(count) = held.get_mut(&session) {
            *count -= 1;
            if *count == 0 {
                held.remove(&session);
            }
        }
    }

    /// How many there are.
    pub(super) fn count(&self, session: Uuid) -> u32 {
        self.0.lock().get(&session).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_counted_until_its_last_connection_has_gone() {
        let (holds, [one, other]) = (Holds::default(), [1, 2].map(Uuid::from_u128));
        holds.add(one);
        holds.add(one);
        holds.add(other);
        holds.remove(one);
        assert_eq!((holds.count(one), holds.count(other)), (1, 1));
        holds.remove(one);
        holds.remove(one);
        assert_eq!((holds.count(one), holds.count(other)), (0, 1));
        assert_eq!(holds.0.lock().len(), 1);
    }
}
