//! `POST /login`: tokens for a name and a password, or for an API key.

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
use crate::api::principal::Login;
use crate::auth::{Grant, TokenPair};
use crate::store::Account;
use crate::telemetry::time::now_ms;

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
    match request {
        LoginRequest::Password(PasswordLogin { username, password: Secret(password) }) => {
            let account = state.accounts.login(&username, password.into(), address).await?;
            logged_in(&state, account).await
        }
        LoginRequest::Key(KeyLogin { api_key: Secret(text) }) => {
            let (key, account) = state.accounts.login_with_key(&text.into(), address).await?;
            // No refresh token: the key itself serves for that. Its id names the login, so that all ends with it.
            let login = Login { began_ms: now_ms(), key: key.id };
            let access = state.tokens.issue_to(&Grant::new(&account, login));
            Ok(Json(LoginResponse {
                access_token: access.token.expose_secret().to_owned(),
                token_type: "bearer".to_owned(),
                expires_in: access.expires_in,
                refresh_token: None,
                refresh_expires_in: None,
                user: User { id: account.subject, username: account.username, role: account.role },
            }))
        }
    }
}

/// Tokens for an account whose owner has just shown to be that.
pub(super) async fn logged_in(state: &HttpState, account: Account) -> Result<Json<LoginResponse>, HttpProblem> {
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
