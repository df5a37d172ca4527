//! Every open connection of this node: to count them, to tell them something, to close them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::close::Close;
use super::outbox::Outgoing;
use crate::config::settings::WebSocketSettings;
use crate::rpc::peer::Peer;

/// A table of connections with room for no more than that stays as it is.
const SMALL_TABLE: usize = 256;

/// The open connections. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    open: Arc<Mutex<HashMap<Uuid, Entry>>>,
    count: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Entry {
    peer: Arc<Peer>,
    address: Option<IpAddr>,
    close: watch::Sender<Option<Close>>,
    outbox: mpsc::Sender<Outgoing>,
}

/// A connection that wants to come in.
pub(super) struct Newcomer {
    pub(super) peer: Arc<Peer>,
    /// Where it comes from; an IPv4 address in IPv6 as itself.
    pub(super) address: Option<IpAddr>,
    pub(super) close: watch::Sender<Option<Close>>,
    pub(super) outbox: mpsc::Sender<Outgoing>,
}

/// Why there is no room for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// There are as many as there may be.
    Full,
    /// The caller has as many as one may have.
    OfPrincipal,
    /// The address has as many as one may have.
    OfAddress,
}

/// A connection's place in the registry; it goes with the connection.
#[derive(Debug)]
pub struct Entered {
    id: Uuid,
    connections: Connections,
}

impl Connections {
    /// Enters a connection if the settings leave room for it.
    pub(super) fn enter(&self, newcomer: Newcomer, settings: &WebSocketSettings) -> Result<Entered, NoRoom> {
        let Newcomer { peer, address, close, outbox } = newcomer;
        let id = peer.id;
        let mut open = self.open.lock();
        if open.len() >= settings.max_ws_connections {
            return Err(NoRoom::Full);
        }
        let is_over = |limit: usize, same: &dyn Fn(&Entry) -> bool| {
            limit > 0 && open.values().filter(|entry| same(entry)).count() >= limit
        };
        let subject = &peer.principal.subject;
        if is_over(settings.max_ws_connections_per_principal, &|entry| entry.peer.principal.subject == *subject) {
            return Err(NoRoom::OfPrincipal);
        }
        if address.is_some() && is_over(settings.max_ws_connections_per_address, &|entry| entry.address == address) {
            return Err(NoRoom::OfAddress);
        }
        open.insert(id, Entry { peer, address, close, outbox });
        self.count.store(open.len() as u64, Ordering::Relaxed);
        Ok(Entered { id, connections: self.clone() })
    }

    /// Is none open?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Everybody who is connected now.
    #[must_use]
    pub fn peers(&self) -> Vec<Arc<Peer>> {
        self.open.lock().values().map(|entry| Arc::clone(&entry.peer)).collect()
    }

    /// Closes those of which `concerned` says so; how many. What closes already is left alone.
    pub fn close_if(&self, concerned: impl Fn(&Peer) -> bool, reason: Close) -> u64 {
        let mut closed = 0;
        for entry in self.open.lock().values() {
            if entry.close.borrow().is_none() && concerned(&entry.peer) {
                reason.ask(&entry.close);
                closed += 1;
            }
        }
        closed
    }

    /// How many are open, shared with whoever shows it.
    #[must_use]
    pub fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }

    /// Closes one connection of `subject`. `false` if there is none of that id that is theirs.
    pub fn close_one(&self, id: Uuid, subject: &str, reason: Close) -> bool {
        match self.open.lock().get(&id) {
            Some(entry) if entry.peer.principal.subject == subject => {
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
            drop(entry.outbox.try_send(Outgoing::Notice(text.into())));
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        open.remove(&self.id);
        // A table never shrinks by itself, and each look at all connections goes through all of it.
        if open.capacity() > SMALL_TABLE && open.len() < open.capacity() / 8 {
            let room = open.len() * 2;
            open.shrink_to(room);
        }
        self.connections.count.store(open.len() as u64, Ordering::Relaxed);
    }
}
