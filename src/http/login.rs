//! `POST /login`: an access token for a name and a password.

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
    let issued = state.tokens.issue(&account);
    Ok(Json(LoginResponse {
        access_token: issued.token.expose_secret().to_owned(),
        token_type: "bearer".to_owned(),
        expires_in: issued.expires_in,
        user: User { id: account.subject, username: account.username, role: account.role },
    }))
}
