//! The command line, as callers and operators run it, against a real gateway.

mod callers;
mod chat;
mod first_start;
mod operators;
mod questions;
mod steering;
mod stores;

use crate::support::Gateway;
use crate::support::program::{Finished, caller_environment, cc_gateway};

/// Runs `cc-gateway` as a caller who is the admin.
async fn as_admin(gateway: &Gateway, arguments: &[&str], input: &str) -> Finished {
    let mut env = caller_environment(gateway);
    env.push(("CC_GATEWAY_TOKEN".to_owned(), gateway.login().await));
    cc_gateway(arguments, &env, input).await
}
