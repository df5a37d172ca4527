//! `POST /auth/accept` and `POST /auth/password`: what owners of accounts do with them.

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use http::HeaderMap;

use super::body::read_json;
use super::connection::PeerAddr;
use super::login::logged_in;
use super::problem::HttpProblem;
use super::state::HttpState;
use crate::api::account::Secret;
use crate::api::http::{AcceptRequest, LoginResponse, PasswordRequest};

const ACCEPT_FORM: &str = "Send {\"code\": \"…\", \"username\": \"…\", \"password\": \"…\"} and nothing else.";
const PASSWORD_FORM: &str =
    "Send {\"username\": \"…\", \"password\": \"…\", \"new_password\": \"…\"} and nothing else.";

pub(super) async fn accept(
    State(state): State<HttpState>,
    Extension(PeerAddr(peer)): Extension<PeerAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LoginResponse>, HttpProblem> {
    let request: AcceptRequest = read_json(&headers, body, state.limits, ACCEPT_FORM).await?;
    let (Secret(code), Secret(password)) = (request.code, request.password);
    let address = peer.ip().to_canonical();
    let account = state.accounts.accept(&code.into(), &request.username, password.into(), address).await?;
    logged_in(&state, account).await
}

pub(super) async fn change_password(
    State(state): State<HttpState>,
    Extension(PeerAddr(peer)): Extension<PeerAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LoginResponse>, HttpProblem> {
    let request: PasswordRequest = read_json(&headers, body, state.limits, PASSWORD_FORM).await?;
    let (Secret(old), Secret(new)) = (request.password, request.new_password);
    let address = peer.ip().to_canonical();
    let account = state.accounts.change_own_password(&request.username, old.into(), new.into(), address).await?;
    logged_in(&state, account).await
}
