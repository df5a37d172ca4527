//! `POST /login`: an access token for a name and a password, or for an API key.

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use http::HeaderMap;
use secrecy::ExposeSecret;

use super::body::read_json;
use super::connection::PeerAddr;
use super::problem::HttpProblem;
use super::state::HttpState;
use crate::api::account::Secret;
use crate::api::http::{KeyLogin, LoginRequest, LoginResponse, PasswordLogin, User};
use crate::store::Account;

const FORM: &str = "Send {\"username\": \"…\", \"password\": \"…\"} or {\"api_key\": \"…\"} and nothing else.";

pub(super) async fn login(
    State(state): State<HttpState>,
    Extension(PeerAddr(peer)): Extension<PeerAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LoginResponse>, HttpProblem> {
    let request = read_json(&headers, body, state.limits, FORM).await?;
    // One client is one address, whether it came by IPv4 or by IPv4 in IPv6.
    let address = peer.ip().to_canonical();
    let account = match request {
        LoginRequest::Password(PasswordLogin { username, password: Secret(password) }) => {
            state.accounts.login(&username, password.into(), address).await?
        }
        LoginRequest::Key(KeyLogin { api_key: Secret(key) }) => {
            let (_, account) = state.accounts.login_with_key(&key.into(), address).await?;
            account
        }
    };
    Ok(logged_in(&state, account))
}

/// The tokens of a login that has just been let in.
pub(super) fn logged_in(state: &HttpState, account: Account) -> Json<LoginResponse> {
    let issued = state.tokens.issue(&account);
    Json(LoginResponse {
        access_token: issued.token.expose_secret().to_owned(),
        token_type: "bearer".to_owned(),
        expires_in: issued.expires_in,
        user: User { id: account.subject, username: account.username, role: account.role },
    })
}
