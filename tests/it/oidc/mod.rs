//! Logins at a company's provider: against a certified one, and against one of our own that lies.

mod command_line;
mod liar;
mod lies;
mod logins;
mod provider;
mod refusals;

use serde_json::{Value, json};

use crate::support::{Gateway, eventually_some};

/// What the audit log tells of logins at the provider, the oldest first, once there are so many.
async fn trace(gateway: &Gateway, count: usize) -> Vec<Value> {
    let mut admin = gateway.client().await;
    eventually_some("the audit log", async || {
        let listed = admin.ok("audit.list", json!({"action": "login.oidc"})).await;
        let mut entries = listed["entries"].as_array()?.clone();
        entries.reverse();
        (entries.len() >= count).then_some(entries)
    })
    .await
}
