//! Nodes: who lives, and for how long by the store's clock.

use super::Outcome;
use crate::store::{NodeSeen, SharedStore};

const LONG_MS: u64 = 600_000;

/// Names, abouts, and whether each still has time.
fn told(nodes: &[NodeSeen]) -> Vec<(&str, &str, bool)> {
    nodes.iter().map(|seen| (seen.node.as_str(), seen.about.as_str(), seen.lease_left_ms > 0)).collect()
}

/// A node that is kept is told to all, with what it said last.
pub async fn nodes_are_told_by_name_with_what_they_said_last(store: SharedStore) -> Outcome {
    let first = store.keep_node("node-2", r#"{"n":1}"#, LONG_MS).await?;
    assert!(!first.known, "it was never there");
    assert_eq!(told(&first.nodes), [("node-2", r#"{"n":1}"#, true)]);
    store.keep_node("node-1", "{}", LONG_MS).await?;
    let again = store.keep_node("node-2", r#"{"n":2}"#, LONG_MS).await?;
    assert!(again.known);
    assert_eq!(told(&again.nodes), [("node-1", "{}", true), ("node-2", r#"{"n":2}"#, true)]);
    assert!(again.nodes.iter().all(|seen| seen.lease_left_ms <= LONG_MS));
    Ok(())
}

/// A lease that has run out is told, and the node is known until somebody forgets it.
pub async fn a_node_whose_lease_has_run_out_is_told_until_it_is_forgotten(store: SharedStore) -> Outcome {
    store.keep_node("dead", "{}", 0).await?;
    let seen = store.keep_node("alive", "{}", LONG_MS).await?;
    assert_eq!(told(&seen.nodes), [("alive", "{}", true), ("dead", "{}", false)]);
    assert!(store.keep_node("dead", "{}", 0).await?.known, "nobody has forgotten it");
    store.forget_node("dead").await?;
    store.forget_node("dead").await?;
    assert_eq!(told(&store.keep_node("alive", "{}", LONG_MS).await?.nodes), [("alive", "{}", true)]);
    let back = store.keep_node("dead", "{}", LONG_MS).await?;
    assert!(!back.known, "it learns that it was forgotten");
    assert_eq!(told(&back.nodes), [("alive", "{}", true), ("dead", "{}", true)]);
    Ok(())
}
