//! The line in memory: thousands of histories cost little.

use crate::store::contract::line_history::histories;
use crate::store::sqlite::test_store;

#[tokio::test]
async fn j1_in_any_history_slots_go_round_robin_over_all_nodes_and_positions_are_true() {
    let is_long = std::env::var_os("SOAK").is_some_and(|value| value == "1");
    histories(test_store(), 6..if is_long { 5_000 } else { 300 }).await.unwrap();
}
