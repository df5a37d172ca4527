//! The routers of the two listeners.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodFilter, MethodRouter, get, on};
use http::StatusCode;

use super::accounts::{accept, change_password};
use super::auth_status::auth_status;
use super::documents::{metrics, openapi, openrpc};
use super::health::{health, readyz, ws_health};
use super::layer::around_all;
use super::login::login;
use super::oidc;
use super::problem::HttpProblem;
use super::state::HttpState;
use super::ticket::ticket;
use super::tokens::{jwks, logout, refresh};
use crate::api::route::{ROUTES, RouteId, RouteInfo, Verb};

/// The HTTP listener's router: the rows of [`ROUTES`], a problem for every other path.
pub fn router(state: HttpState) -> Router {
    let (limits, browsers) = (state.limits, Arc::clone(&state.browsers));
    let routes = ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, handler(route)));
    around_all(routes.fallback(not_found).with_state(state), limits, browsers)
}

/// The WebSocket listener's router: its own `GET /health`, what `sockets` brings (the upgrades), a problem for
/// every other path. The layer of all requests is around `sockets` too; it lets an upgrade through.
pub fn ws_extras(state: HttpState, sockets: Router) -> Router {
    let (limits, browsers) = (state.limits, Arc::clone(&state.browsers));
    let routes = Router::new().route("/health", get(ws_health)).fallback(not_found).with_state(state);
    around_all(routes.merge(sockets), limits, browsers)
}

fn handler(route: &RouteInfo) -> MethodRouter<HttpState> {
    let verb = match route.verb {
        // axum answers HEAD where it answers GET.
        Verb::Get => MethodFilter::GET,
        Verb::Post => MethodFilter::POST,
    };
    match route.id {
        RouteId::Login => on(verb, login),
        RouteId::Accept => on(verb, accept),
        RouteId::Password => on(verb, change_password),
        RouteId::Refresh => on(verb, refresh),
        RouteId::Logout => on(verb, logout),
        RouteId::OidcLogin => on(verb, oidc::login),
        RouteId::OidcCallback => on(verb, oidc::callback),
        RouteId::OidcToken => on(verb, oidc::token),
        RouteId::Ticket => on(verb, ticket),
        RouteId::Jwks => on(verb, jwks),
        RouteId::AuthStatus => on(verb, auth_status),
        RouteId::Health | RouteId::Livez => on(verb, health),
        RouteId::Readyz => on(verb, readyz),
        RouteId::Metrics => on(verb, metrics),
        RouteId::OpenApi => on(verb, openapi),
        RouteId::OpenRpc => on(verb, openrpc),
    }
}

async fn not_found() -> HttpProblem {
    HttpProblem::of(StatusCode::NOT_FOUND)
}

#[cfg(test)]
mod tests;
