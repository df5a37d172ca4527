//! The nodes that share a store: which of them live, how they ask each other, and what becomes of a dead one's
//! sessions.
//!
//! A node keeps a lease in the store. While it can't renew it, and others live that might take over, its sessions'
//! processes are stopped (`Standing`): they go on once the store says whose they are. Who declares another dead has
//! itself been in touch with the store for as long as a lease lasts: after an outage of the store everybody gets the
//! time to come back.
//!
//! Invariant: nothing here decides whose a session is. That is the store's record with its `epoch`; two nodes that bury
//! a third one meet there, and one of them finds that it is done.

mod bury;
mod calls;
mod keep;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub(super) use self::calls::{Asked, Reply};
use crate::api::server::NodeInfo;
use crate::store::{CallError, NodeSeen, SharedBus};

/// What this node knows of itself and of the others. Shared by all who look; written by the one task that keeps the
/// lease (`keep`).
#[derive(Debug)]
pub struct Nodes {
    name: Arc<str>,
    bus: Option<SharedBus>,
    lease: Duration,
    /// May the sessions of dead nodes be resumed here: are the workspaces and Claude's conversations the same?
    workspaces_shared: bool,
    started_at: String,
    seen: watch::Sender<Arc<[NodeSeen]>>,
    /// Can the store say whose this node's sessions are?
    sure: watch::Sender<bool>,
}

impl Nodes {
    /// This node, which knows of no other yet.
    #[must_use]
    pub fn new(
        name: &str,
        bus: Option<SharedBus>,
        lease: Duration,
        workspaces_shared: bool,
        started_at: String,
    ) -> Self {
        let (seen, sure) = (watch::Sender::new(Arc::default()), watch::Sender::new(true));
        Self { name: name.into(), bus, lease, workspaces_shared, started_at, seen, sure }
    }

    /// This node's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How the others are reached, if there can be others.
    #[must_use]
    pub fn bus(&self) -> Option<&SharedBus> {
        self.bus.as_ref()
    }

    /// Whether the store can say whose this node's sessions are: told whenever that changes.
    pub(super) fn sure(&self) -> watch::Receiver<bool> {
        self.sure.subscribe()
    }

    /// The nodes that live, as they were when this one last asked.
    #[must_use]
    pub fn living(&self) -> Vec<NodeInfo> {
        let seen = Arc::clone(&self.seen.borrow());
        seen.iter().filter(|seen| seen.lives()).map(info).collect()
    }
}

/// What a node says of itself, as callers see it. One that says nothing we understand is still there.
fn info(seen: &NodeSeen) -> NodeInfo {
    let mut info: NodeInfo = serde_json::from_str(&seen.about).unwrap_or_default();
    info.node.clone_from(&seen.node);
    info
}

impl From<CallError> for super::SessionError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NobodyThere | CallError::NoAnswer => Self::NodeAway,
            CallError::Store(error) => Self::Store(error),
        }
    }
}
