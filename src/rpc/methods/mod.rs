//! One file a resource; each registers its methods.

pub(super) mod accounts;
pub(super) mod auth;
pub(super) mod events;
pub(super) mod keys;
pub(super) mod server;
pub(super) mod session;
pub(super) mod turns;
