//! The HTTP side: the accept loop with its deadlines, the layer around every request, and the routes.
//!
//! [`accept`] serves both listeners, HTTP and WebSocket. [`routes`] makes their routers: every route is a
//! row of [`crate::api::route::ROUTES`], every error is a [`problem`]. What the routes need of the rest of
//! the house they reach through [`state`]; this module must not know sessions, processes or frames.

pub mod accept;
mod accounts;
mod auth_status;
mod body;
mod browser;
pub mod connection;
mod documents;
mod error;
pub mod forwarded;
mod health;
mod layer;
mod login;
mod oidc;
pub mod problem;
pub mod routes;
pub mod state;
#[cfg(test)]
mod testing;
mod ticket;
mod tokens;

pub use accept::{AcceptLimits, hand_over, serve};
pub use browser::Browsers;
pub use connection::{ConnectionPermit, Connections, PeerAddr};
pub use forwarded::TrustedProxies;
pub use problem::HttpProblem;
pub use state::{GatewayFacts, HttpState};
