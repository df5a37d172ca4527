//! cc-gateway runs Claude Code for programs.
//!
//! # The map of the house
//!
//! Imports go down only:
//!
//! ```text
//! app → http, ws → rpc → session, auth → store, process, claude → api, config, telemetry
//! ```
//!
//! | module | owns |
//! |---|---|
//! | [`app`] | the only place that knows every part: settings → store → sessions → listeners → drain |
//! | [`http`] | the accept loop with its deadlines; login, auth status, health, metrics, documents |
//! | [`ws`] | one socket: upgrade, connection, outbox, close reasons |
//! | [`rpc`] | the methods, dispatch, the table of errors, the dialect |
//! | [`session`] | a session's life: policy, state machine, supervisor, registry, admission, log and feed |
//! | [`auth`] | who is calling: tokens, passwords, accounts, throttling, origins |
//! | [`store`] | where facts are kept |
//! | [`process`] | the operating system: spawn, lines, stop, sweep; knows no JSON and no Claude |
//! | [`claude`] | what Claude Code understands and says; its credentials |
//! | [`api`] | the wire as types and one table of methods |
//! | [`config`] | settings: defaults ← TOML ← environment ← flags |
//! | [`telemetry`] | every metric, logging, named tasks |
//! | [`client`] | the typed client that the command line uses |
//!
//! # The way of the data
//!
//! ```text
//! TCP → http/accept → ws/upgrade (origin, token → Principal) → ws/connection → rpc/dispatch → a method
//!      → session/admission (slot) → session/supervisor ⇄ process (lines, exit) with claude (words)
//!      → event log: the store acknowledges, then the feed wakes → ws/outbox pulls by cursor → client
//! ```

pub mod api;
pub mod app;
pub mod auth;
pub mod claude;
pub mod cli;
pub mod client;
pub mod config;
pub mod http;
pub mod process;
pub mod rpc;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod ws;
