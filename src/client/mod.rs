//! The typed client of cc-gateway, which the command line uses and other programs may use.
//!
//! ```no_run
//! # async fn example() -> Result<(), cc_gateway::client::ClientError> {
//! use cc_gateway::api::session::{Prompt, StartParams};
//! use cc_gateway::client::{self, Client};
//!
//! let login = client::login("http://127.0.0.1:8001", "alice", "secret").await?;
//! let client = Client::connect("ws://127.0.0.1:8003", login.access_token).await?;
//! let params = StartParams { prompt: Some(Prompt::Text("What is 2 + 2?".into())), ..StartParams::default() };
//! let mut events = client.start(params).await?;
//! while let Some(event) = events.next().await {
//!     let event = event?;
//!     assert_eq!(event.session_id, events.session_id());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Promises
//!
//! - Calls of one [`Client`] share one socket and may overlap; each gets exactly one answer or one error.
//! - A [`SessionStream`] has a socket of its own. It gives every event once and in order; a gap is an error.
//!   While its consumer is slow the socket is not read, so that nothing is dropped and nothing grows, and
//!   neither calls nor other streams wait for it.
//! - A stream whose connection breaks connects again and goes on after the last event it has given.
//!
//! Knows the wire ([`crate::api`]) and nothing of the server. Speaks plain `ws://` and `http://`; TLS is
//! what a proxy or tunnel in front adds.

mod address;
mod backoff;
mod connection;
mod cursor;
mod error;
mod http;
mod options;
mod pump;
mod socket;
mod stream;
mod token;
mod wire;

#[cfg(test)]
pub(crate) mod test_server;

use std::sync::Arc;

use uuid::Uuid;

use crate::api::method::SessionStart;
use crate::api::session::StartParams;
use crate::api::{EventFilter, Method};

pub use error::ClientError;
pub use http::{login, login_with_code, logout, refresh};
pub use options::ClientOptions;
pub use stream::SessionStream;
pub use token::{LoginTokens, TokenSource};

use address::Address;
use connection::Connection;
use socket::Gate;

/// A connection to a gateway. Clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where and as whom to connect. Shared with every stream, which opens sockets of its own.
    gate: Arc<Gate>,
    /// The socket of the calls.
    connection: Connection,
}

impl Client {
    /// Connects to the gateway's WebSocket (`ws://host:port`, path `/ws` unless the URL has one) and waits
    /// for its `connected` frame.
    ///
    /// # Errors
    /// [`ClientError::Address`], [`ClientError::Unreachable`], [`ClientError::Refused`] with what the gateway
    /// says about it, or [`ClientError::Protocol`] when something else answers there.
    pub async fn connect(ws_url: &str, token: impl TokenSource + 'static) -> Result<Self, ClientError> {
        Self::connect_with(ws_url, token, ClientOptions::default()).await
    }

    /// [`Client::connect`] with limits of the caller's own.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_with(
        ws_url: &str,
        token: impl TokenSource + 'static,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let address = Address::parse(ws_url, "ws", "/ws")?;
        let gate = Arc::new(Gate::new(address, Box::new(token), options));
        let socket = gate.open().await?;
        let connection = Connection::spawn(Arc::clone(&gate), socket);
        Ok(Self { gate, connection })
    }

    /// Calls method `M` and waits for its answer. Calls may overlap.
    ///
    /// After a broken connection the next call connects again. A call that was under way then fails with
    /// [`ClientError::ConnectionLost`]: whether the gateway has done it is not known.
    ///
    /// To read a session's events use [`Client::start`] and [`Client::attach`]: events that are sent to the
    /// connection of the calls are not kept.
    ///
    /// # Errors
    /// [`ClientError::Rpc`] with the gateway's error object, or why there is no answer.
    pub async fn call<M: Method>(&self, params: M::Params) -> Result<M::Result, ClientError> {
        let answer = self.connection.call(M::NAME, wire::params_of(&params)?).await?;
        wire::decode(answer.get(), M::NAME)
    }

    /// Starts a session and streams its events from the first on.
    ///
    /// The start is repeated when the connection breaks before the answer; an idempotency key (the caller's,
    /// else a fresh one) keeps that from starting two sessions. `params.attach` is not used.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn start(&self, mut params: StartParams) -> Result<SessionStream, ClientError> {
        params.attach = Some(false);
        params.idempotency_key.get_or_insert_with(|| Uuid::new_v4().to_string());
        let params = wire::params_of(&params)?;
        stream::start(Arc::clone(&self.gate), SessionStart::NAME, params).await
    }

    /// Streams a session's events after `after_seq` (0: from the first on), also after it has ended: those that the
    /// filter lets through, and always `session.ended`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn attach(
        &self,
        session_id: Uuid,
        after_seq: u64,
        filter: EventFilter,
    ) -> Result<SessionStream, ClientError> {
        stream::attach(Arc::clone(&self.gate), session_id, after_seq, filter).await
    }
}
