//! What is read by programs: metrics and the two documents.

use std::sync::LazyLock;

use axum::extract::State;
use bytes::Bytes;
use http::header::CONTENT_TYPE;

use super::state::HttpState;
use crate::api::document;

/// A body with its media type.
type Document = ([(http::HeaderName, &'static str); 1], Bytes);

/// Built at the first request; they never change while the program runs.
static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| document::openapi().to_string().into());
static OPENRPC: LazyLock<Bytes> = LazyLock::new(|| document::openrpc().to_string().into());

/// `GET /metrics`, in Prometheus's text format.
pub(super) async fn metrics(State(state): State<HttpState>) -> Document {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render().into())
}

/// `GET /openapi.json`.
pub(super) async fn openapi() -> Document {
    ([(CONTENT_TYPE, "application/json")], OPENAPI.clone())
}

/// `GET /openrpc.json`.
pub(super) async fn openrpc() -> Document {
    ([(CONTENT_TYPE, "application/json")], OPENRPC.clone())
}
