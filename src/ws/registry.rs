//! Every open connection of this node: to count them, to tell them something, to close them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::close::Close;
use super::outbox::Outgoing;

/// The open connections. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    open: Arc<Mutex<HashMap<Uuid, Entry>>>,
    count: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Entry {
    subject: String,
    close: watch::Sender<Option<Close>>,
    outbox: mpsc::Sender<Outgoing>,
}

/// A connection's place in the registry; it goes with the connection.
#[derive(Debug)]
pub struct Entered {
    id: Uuid,
    connections: Connections,
}

impl Connections {
    /// Enters a connection if fewer than `max` are open.
    pub(super) fn enter(
        &self,
        id: Uuid,
        subject: &str,
        close: watch::Sender<Option<Close>>,
        outbox: mpsc::Sender<Outgoing>,
        max: usize,
    ) -> Option<Entered> {
        let mut open = self.open.lock();
        if open.len() >= max {
            return None;
        }
        open.insert(id, Entry { subject: subject.to_owned(), close, outbox });
        self.count.store(open.len() as u64, Ordering::Relaxed);
        Some(Entered { id, connections: self.clone() })
    }

    /// How many are open, shared with whoever shows it.
    #[must_use]
    pub fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }

    /// Closes one connection of `subject`. `false` if there is none of that id that is theirs.
    pub fn close_one(&self, id: Uuid, subject: &str, reason: Close) -> bool {
        match self.open.lock().get(&id) {
            Some(entry) if entry.subject == subject => {
                entry.close.send_replace(Some(reason));
                true
            }
            _ => false,
        }
    }

    /// Closes every connection.
    pub fn close_all(&self, reason: Close) {
        for entry in self.open.lock().values() {
            entry.close.send_replace(Some(reason));
        }
    }

    /// Sends every connection a notification. One whose outbox is full misses it: it has more urgent things
    /// to read, and the close that follows tells it too.
    pub fn tell_all(&self, text: &str) {
        for entry in self.open.lock().values() {
            drop(entry.outbox.try_send(Outgoing::Notice(text.to_owned())));
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        open.remove(&self.id);
        self.connections.count.store(open.len() as u64, Ordering::Relaxed);
    }
}
