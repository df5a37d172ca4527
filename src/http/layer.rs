//! What surrounds every request: the name it calls us by, the body's limit, the clock, panics, problems, security
//! headers, what pages of other origins may read, counting.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue};
use http::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use super::body::too_large;
use super::browser::{Browsers, Page};
use super::problem::{HttpProblem, translate};
use super::state::RequestLimits;
use crate::api::route::{ROUTES, WS_PATHS};
use crate::telemetry::metrics;

/// On every answer. Nothing here is a page, and nothing here is worth keeping in a cache.
const SECURITY: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    // No page of another site may pull an answer into itself as an image or a script.
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Routes whose refusals are counted as refused upgrades too.
const UPGRADES: [&str; 2] = ["/ws", "/ws/mcp"];

/// Puts the layer around every route that `router` has now, and around its fallback.
pub(super) fn around_all(router: Router, limits: RequestLimits, browsers: Arc<Browsers>) -> Router {
    router.layer(from_fn_with_state((limits, browsers), around))
}

async fn around(
    State((limits, browsers)): State<(RequestLimits, Arc<Browsers>)>,
    request: Request,
    next: Next,
) -> Response {
    let route = route_name(&request);
    let page = Page::of(&request, route);
    let mut response = if let Err(refused) = browsers.check_host(&request) {
        tracing::info!(status = refused.status().as_u16(), "a request by a name that is not ours was refused");
        if UPGRADES.contains(&route) {
            metrics::upgrade_refused(refused.status().as_u16());
        }
        refused.into_response()
    } else if let Some(preflight) = page.preflight(&browsers) {
        preflight
    } else if let Err(refused) = page.check(&browsers) {
        tracing::info!(route, "a page of an origin that is not listed was refused");
        HttpProblem::from(refused).into_response()
    } else if announces_more_than(request.headers(), limits.body_bytes) {
        too_large(limits).into_response()
    } else {
        // A handler keeps nothing that a panic could leave half-changed: its state is shared facts.
        let handled = AssertUnwindSafe(timeout(limits.request_timeout, next.run(request))).catch_unwind();
        match handled.await {
            Ok(Ok(response)) => translate(response),
            Ok(Err(_)) => {
                tracing::warn!(route, "a request was not answered in time");
                HttpProblem::of(StatusCode::SERVICE_UNAVAILABLE).into_response()
            }
            Err(_) => {
                metrics::task_panicked("http.request");
                tracing::error!(route, "a request handler panicked; this is a bug");
                HttpProblem::of(StatusCode::INTERNAL_SERVER_ERROR).into_response()
            }
        }
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        for (name, value) in SECURITY {
            response.headers_mut().entry(name).or_insert(value);
        }
    }
    page.admit(&browsers, response.headers_mut());
    metrics::http_request(route, response.status().as_u16());
    response
}

/// The route's path as the tables have it, so that no caller can make a metric's label.
fn route_name(request: &Request) -> &'static str {
    let Some(matched) = request.extensions().get::<MatchedPath>() else { return "unknown" };
    let known = ROUTES.iter().map(|route| route.path).chain(WS_PATHS).find(|path| *path == matched.as_str());
    known.unwrap_or("unknown")
}

/// A length that is announced is refused before a byte of the body is read. (hyper has refused lengths that
/// are no numbers or contradict each other.)
fn announces_more_than(headers: &HeaderMap, limit: usize) -> bool {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    announced.is_some_and(|length| usize::try_from(length).is_ok_and(|length| length > limit))
}
