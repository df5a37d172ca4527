//! What goes over the wire, as types, and the one table of methods. No behaviour.
//!
//! Server ([`crate::rpc`]), client ([`crate::client`]) and the generated documents all use these types, so
//! that a change of the protocol is one change here. This module must not know who serves the calls, how
//! a session lives or where anything is stored.

pub mod account;
pub mod auth;
pub mod dialect;
pub mod document;
pub mod error;
pub mod event;
pub mod http;
pub mod method;
pub mod principal;
pub mod route;
pub mod selector;
pub mod server;
pub mod session;

pub use error::{ErrorKind, RpcError};
pub use event::{EndReason, Ended, EventType, SessionState};
pub use method::{Method, MethodInfo, Order};
pub use principal::{Login, Principal, Role, Scope};
pub use selector::{EventFilter, EventKind, EventSelector, TypeSet};

/// The version of the wire protocol, named in `connected` and `server.info`.
pub const PROTOCOL_VERSION: &str = "1.0.0";
/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
