//! The nodes that share the store: one gateway has the file open, so this is kept in memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::store::{NodeSeen, NodesSeen};

/// Names, what they say of themselves, and when their leases end. Held for moments only.
#[derive(Debug, Default)]
pub(super) struct Nodes(Mutex<BTreeMap<String, (String, Instant)>>);

impl Nodes {
    /// See [`crate::store::Store::keep_node`].
    pub(super) fn keep(&self, node: &str, about: &str, lease_ms: u64) -> NodesSeen {
        let mut nodes = self.0.lock();
        let now = Instant::now();
        let known = nodes.insert(node.to_owned(), (about.to_owned(), now + Duration::from_millis(lease_ms))).is_some();
        NodesSeen { known, nodes: told(&nodes, now) }
    }

    /// See [`crate::store::Store::nodes`].
    pub(super) fn all(&self) -> Vec<NodeSeen> {
        told(&self.0.lock(), Instant::now())
    }

    /// See [`crate::store::Store::forget_node`].
    pub(super) fn forget(&self, node: &str) {
        self.0.lock().remove(node);
    }
}

fn told(nodes: &BTreeMap<String, (String, Instant)>, now: Instant) -> Vec<NodeSeen> {
    let seen = nodes.iter().map(|(node, (about, until))| NodeSeen {
        node: node.clone(),
        about: about.clone(),
        lease_left_ms: u64::try_from(until.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX),
    });
    seen.collect()
}
