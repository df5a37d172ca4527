//! `POST /auth/refresh`, `POST /auth/logout` and `GET /.well-known/jwks.json`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, Uri};
use serde_json::Value;

use super::body::{read_json, read_json_if_any};
use super::login::answer;
use super::problem::HttpProblem;
use super::state::HttpState;
use crate::api::http::{LoginResponse, LogoutRequest, LogoutResponse, RefreshRequest};
use crate::auth::AuthError;

const REFRESH_FORM: &str = "Send {\"refresh_token\": \"…\"} and nothing else.";
const LOGOUT_FORM: &str = "Send nothing, or {\"refresh_token\": \"…\"}.";
/// How long verifiers may keep the keys: less than a rotation's overlap by far.
const KEYS_SERVE: &str = "public, max-age=300";

pub(super) async fn refresh(
    State(state): State<HttpState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LoginResponse>, HttpProblem> {
    let RefreshRequest { refresh_token } = read_json(&headers, body, state.limits, REFRESH_FORM).await?;
    let (pair, account) = state.logins.refresh(&refresh_token).await?;
    Ok(Json(answer(&pair, account)))
}

/// Ends the login of the access token, and that of the refresh token if one is sent. Whoever has no access token that
/// is valid any more can end the login by its refresh token alone.
pub(super) async fn logout(
    State(state): State<HttpState>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LogoutResponse>, HttpProblem> {
    let request: LogoutRequest = read_json_if_any(&headers, body, state.limits, LOGOUT_FORM).await?;
    match (state.authenticator.authenticate(&headers, uri.query()).await, &request.refresh_token) {
        (Ok(principal), _) => state.logins.log_out(&principal).await?,
        (Err(AuthError::MissingToken(_) | AuthError::InvalidToken), Some(_)) => {}
        (Err(error), _) => return Err(error.into()),
    }
    if let Some(refresh_token) = &request.refresh_token {
        state.logins.log_out_refresh(refresh_token).await?;
    }
    Ok(Json(LogoutResponse { status: "logged_out".to_owned() }))
}

pub(super) async fn jwks(State(state): State<HttpState>) -> ([(HeaderName, &'static str); 1], Json<Value>) {
    ([(CACHE_CONTROL, KEYS_SERVE)], Json(state.tokens.keys().published()))
}
