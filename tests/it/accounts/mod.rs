//! Accounts, what they may do, and what is written down of it.

mod audit;
mod heavy;
mod keys;
mod matrix;
mod owners;
mod upgrade;

use serde_json::json;

use crate::support::{Client, Gateway, http};

/// Every other account's password here: a canary, too.
pub(crate) const PASSWORD: &str = "canary-user-password-91c4";

/// Makes an account as the admin; its access token.
async fn account(gateway: &Gateway, admin: &mut Client, name: &str) -> String {
    admin.ok("account.create", json!({"username": name, "password": PASSWORD})).await;
    http::login(gateway.http, name, PASSWORD).await.expect("the new account logs in")
}
