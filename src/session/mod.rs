//! The life of a session: policy, state machine (pure), supervisor task, registry, admission, event log
//! and feed.
//!
//! A session's mutable state is owned by one task, its supervisor; everybody else holds a [`handle::Handle`].
//! Nothing here knows a socket or a JSON-RPC frame.
//!
//! The way of a line: `process` reads it → `agent` says what it means → [`writer`] stores it → the
//! [`feed`] shows it → a [`reader`] pulls it.

pub mod admission;
mod agent;
mod answers;
mod backoff;
pub mod error;
pub mod feed;
mod feeds;
mod follow;
pub mod handle;
pub mod launch;
pub mod log;
#[cfg(test)]
mod log_and_feed_tests;
pub mod login;
pub mod machine;
pub mod message;
mod mouth;
pub mod nodes;
mod one_at_a_time;
mod packing;
pub mod plan;
pub mod policy;
mod questions;
pub mod reader;
mod recent;
mod record;
pub mod recovery;
pub mod registry;
pub mod retention;
mod supervisor;
mod view;
mod warm;
mod watchers;
pub mod workspace;
pub mod writer;

pub use error::SessionError;
pub use handle::{Command, Handle};
pub use registry::{Sessions, StartOutcome};
