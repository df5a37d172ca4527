//! Health: does the server answer, does the process live, can the gateway take work?

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use super::state::HttpState;
use crate::api::VERSION;
use crate::api::http::{Health, Readiness, WsHealth};
use crate::telemetry::time::{now_ms, rfc3339_ms};

/// `GET /health` and `GET /livez`: whoever can answer is alive. Asks nobody, so that it answers when the store
/// is away, when every slot is taken and while the gateway drains.
pub(super) async fn health() -> Json<Health> {
    Json(Health {
        status: "healthy".to_owned(),
        service: "cc-gateway-api".to_owned(),
        version: VERSION.to_owned(),
        timestamp: rfc3339_ms(now_ms()),
    })
}

/// `GET /readyz`.
pub(super) async fn readyz(State(state): State<HttpState>) -> (StatusCode, Json<Readiness>) {
    let readiness = state.gateway.readiness().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

/// `GET /health` of the WebSocket listener.
pub(super) async fn ws_health(State(state): State<HttpState>) -> Json<WsHealth> {
    let (active_sessions, max_sessions) = state.gateway.slots().await;
    Json(WsHealth {
        status: if state.gateway.draining() { "draining" } else { "healthy" }.to_owned(),
        service: "cc-gateway-ws".to_owned(),
        version: VERSION.to_owned(),
        active_sessions,
        max_sessions,
        uptime_seconds: state.gateway.uptime_seconds(),
    })
}
