//! The methods: envelope, dispatch, the table of errors, one file a resource, and the cc_executor dialect.
//!
//! Knows sessions and principals, but no socket: a connection is a [`peer::Peer`], its answers are texts.

mod audit;
pub mod dialect;
pub mod dispatch;
pub mod envelope;
mod error;
mod methods;
pub mod peer;
pub mod register;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use jsonrpsee::Methods;
use jsonrpsee::core::RegisterMethodError;

use crate::api::server::Limits;
use crate::auth::{Accounts, ApiKeys, Authenticator};
use crate::config::Settings;
use crate::session::Sessions;
use crate::store::SharedStore;
use register::Registrar;

/// Everything the methods share.
#[derive(Debug)]
pub struct Context {
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// Says who is calling.
    pub authenticator: Arc<Authenticator>,
    /// The accounts.
    pub accounts: Arc<Accounts>,
    /// The API keys.
    pub keys: ApiKeys,
    /// Where facts are kept: for reading what no other part has an opinion on.
    pub records: SharedStore,
    /// This node's id.
    pub node: String,
    /// The store's name.
    pub store: &'static str,
    /// What a client must keep to.
    pub limits: Limits,
    /// When this gateway started.
    pub started: Instant,
    /// Open WebSocket connections; counted by the upgrade, shown by `server.info`.
    pub connections: Arc<AtomicU64>,
}

/// What a client must keep to, of the settings.
#[must_use]
pub fn limits(settings: &Settings) -> Limits {
    let ws = &settings.websocket;
    Limits {
        max_message_bytes: ws.max_message_bytes,
        max_response_bytes: ws.max_response_bytes,
        max_batch_calls: ws.max_batch_calls,
        max_calls_in_flight: ws.max_calls_in_flight,
        max_attachments: ws.max_attachments,
        max_line_bytes: settings.sessions.max_line_bytes,
    }
}

/// The whole method table, ready for dispatch.
///
/// # Errors
/// When a method is registered twice: a bug, found at start.
pub fn methods(context: Context) -> Result<Methods, RegisterMethodError> {
    let mut registrar = Registrar::new(context);
    methods::session::register(&mut registrar)?;
    methods::turns::register(&mut registrar)?;
    methods::events::register(&mut registrar)?;
    methods::accounts::register(&mut registrar)?;
    methods::keys::register(&mut registrar)?;
    methods::auth::register(&mut registrar)?;
    methods::server::register(&mut registrar)?;
    dialect::register(&mut registrar)?;
    Ok(registrar.finish())
}
