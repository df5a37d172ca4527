//! Who is calling: keys, access tokens, logins and how they end, tickets, outside issuers, logins at a provider outside,
//! passwords, accounts, throttling, origins, hosts.
//!
//! Owns the way from what a caller sends (a password or an `Authorization` header) to an
//! [`Account`](crate::store::Account) or a [`Principal`](crate::api::Principal).
//!
//! Invariants:
//! - Nothing in here logs or shows a password, a token or the secret.
//! - All bad tokens look the same to a caller, and so do all refused logins.
//!
//! It must not know HTTP routes, sockets or sessions.

pub mod accounts;
pub mod audit;
pub mod authenticator;
pub mod bearer;
mod claims;
pub mod fetch;
mod hash_threads;
pub mod host;
pub mod issuers;
pub mod keys;
pub mod logins;
mod md5_crypt;
pub mod oidc;
pub mod origin;
mod own_hash;
pub mod password;
pub mod random;
pub mod revocation;
pub mod secret;
pub mod system_hash;
pub mod throttle;
pub mod ticket;
pub mod token;

#[cfg(test)]
pub(crate) mod fake_store;

pub use accounts::{
    AcceptError, AccountChange, AccountError, Accounts, FirstAdmin, Imported, LoginError, make_password,
};
pub use audit::AuditLog;
pub use authenticator::{AuthError, Authenticator};
pub use bearer::BearerError;
pub use issuers::OutsideIssuers;
pub use keys::{ApiKey, ApiKeys, KeyError, NewKey};
pub use logins::{Logins, RefreshError, RefreshToken, TokenPair};
pub use oidc::{OidcError, OidcLogins};
pub use origin::OriginError;
pub use revocation::Revocations;
pub use secret::{SecretError, SigningSecret, load_or_create};
pub use ticket::{Ticket, TicketError};
pub use token::keys::Keys;
pub use token::{AccessToken, Grant, TokenError, Tokens};
