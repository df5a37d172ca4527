//! `POST /login`: tokens for a name and a password.

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use super::body::read_json;
use super::connection::PeerAddr;
use super::problem::HttpProblem;
use super::state::HttpState;
use crate::api::http::{LoginRequest, LoginResponse, User};
use crate::auth::TokenPair;
use crate::store::Account;

const FORM: &str = "Send {\"username\": \"…\", \"password\": \"…\"} and nothing else.";

pub(super) async fn login(
    State(state): State<HttpState>,
    Extension(PeerAddr(peer)): Extension<PeerAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LoginResponse>, HttpProblem> {
    let LoginRequest { username, password } = read_json(&headers, body, state.limits, FORM).await?;
    // One client is one address, whether it came by IPv4 or by IPv4 in IPv6.
    let address = peer.ip().to_canonical();
    let account = state.accounts.login(&username, SecretString::from(password), address).await?;
    let pair = state.logins.begin(&account, None).await?;
    Ok(Json(answer(&pair, account)))
}

/// Tokens for their owner.
pub(super) fn answer(pair: &TokenPair, account: Account) -> LoginResponse {
    LoginResponse {
        access_token: pair.access.token.expose_secret().to_owned(),
        token_type: "bearer".to_owned(),
        expires_in: pair.access.expires_in,
        refresh_token: pair.refresh.as_ref().map(|refresh| refresh.token.expose_secret().to_owned()),
        refresh_expires_in: pair.refresh.as_ref().map(|refresh| refresh.expires_in),
        user: User { id: account.subject, username: account.username, role: account.role },
    }
}
