//! The integration tests: one program, so that the library is linked once.
//!
//! They drive the real gateway as a process, with the scripted agent or the real CLI. `make test` installs
//! what they need.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its helpers are tests too"
)]

mod accounts;
mod agent_sdk;
mod autobahn;
mod command_line;
mod counters;
mod dialect;
mod documents;
mod harness;
mod http_deadlines;
mod http_limits;
mod http_routes;
mod log;
mod login;
mod observing;
mod oidc;
mod programs;
mod real_cli;
mod redis;
mod rpc_envelope;
mod rpc_methods;
mod rpc_params;
mod rpc_scopes;
mod session;
mod several;
mod smoke;
mod standstill;
mod store_trouble;
mod support;
mod tidy;
mod tokens;
mod ws_close;
mod ws_close_by_gateway;
mod ws_frames;
mod ws_handshake;
mod ws_liveness;
mod ws_memory;
mod ws_store_away;
mod ws_tokens;
