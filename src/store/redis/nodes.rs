//! The nodes that share the store, and how long each still counts as alive by Redis's clock.

use super::{RedisStore, scripts};
use crate::store::{NodeSeen, NodesSeen, StoreError};

impl RedisStore {
    /// See [`crate::store::Store::keep_node`].
    pub(super) async fn keep(&self, node: &str, about: &str, lease_ms: u64) -> Result<NodesSeen, StoreError> {
        let arguments = vec![node.into(), about.into(), lease_ms.to_string().into()];
        let (known, told): (bool, Vec<String>) =
            self.link.run("keep_node", &scripts::KEEP_NODE, self.keys.nodes(), arguments).await?;
        Ok(NodesSeen { known, nodes: seen(&told) })
    }

    /// See [`crate::store::Store::nodes`].
    pub(super) async fn all_nodes(&self) -> Result<Vec<NodeSeen>, StoreError> {
        let told: Vec<String> = self.link.run("nodes", &scripts::NODES, self.keys.nodes(), Vec::new()).await?;
        Ok(seen(&told))
    }

    /// See [`crate::store::Store::forget_node`].
    pub(super) async fn forget_node_named(&self, node: &str) -> Result<(), StoreError> {
        self.link.run("forget_node", &scripts::FORGET_NODE, self.keys.nodes(), vec![node.into()]).await
    }
}

/// The nodes of which a script has told name, time and about in turn, by name.
fn seen(told: &[String]) -> Vec<NodeSeen> {
    let (nodes, _) = told.as_chunks::<3>();
    let mut nodes: Vec<_> = nodes
        .iter()
        .map(|[node, left, about]| NodeSeen {
            node: node.clone(),
            about: about.clone(),
            lease_left_ms: left.parse().unwrap_or_default(),
        })
        .collect();
    nodes.sort_by(|one, other| one.node.cmp(&other.node));
    nodes
}
