//! Logins at a company's provider, against a certified one.

mod logins;
mod provider;
