//! `GET /auth/status`: the state of Claude's own login.
//!
//! Open to everybody who reaches the listener, as cc_executor's is. Where the credentials file lies and whose it is, is for
//! authenticated callers only.

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, Uri};

use super::state::HttpState;
use crate::api::http::AuthStatus;

pub(super) async fn auth_status(State(state): State<HttpState>, uri: Uri, headers: HeaderMap) -> Json<AuthStatus> {
    let is_authenticated = state.authenticator.authenticate(&headers, uri.query()).await.is_ok();
    let mut status = state.gateway.claude_login().await;
    if !is_authenticated {
        status.path = None;
        status.file = None;
    }
    Json(status)
}
