//! One WebSocket: handshake, upgrade, connection, outbox, close reasons.
//!
//! Never touches a process; what a message means is `rpc`'s business. A connection is two tasks: the reader
//! takes frames in and starts calls, the writer sends answers and pulls events. They share a bounded queue
//! and nothing else that waits.

pub mod close;
mod connection;
pub mod handshake;
mod limiter;
mod outbox;
mod progress;
pub mod registry;
pub mod revoked;
pub mod upgrade;

pub use close::Close;
pub use registry::Connections;
pub use upgrade::{WsState, router};
