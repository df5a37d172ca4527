//! The one table of HTTP routes. The router and the OpenAPI document both come from it.
//!
//! A route is a row of [`ROUTES`] with a [`RouteId`]; the router matches on the id, so that it can have no
//! route without a row and no row without a handler.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::http::{AcceptRequest, AuthStatus, Health, LoginRequest, LoginResponse, PasswordRequest, Readiness};

/// What a route is for; two routes with one id have one handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteId {
    /// An access token for a name and a password.
    Login,
    /// An account for an invitation's code.
    Accept,
    /// Another password for an account, by its owner.
    Password,
    /// The state of Claude's own login.
    AuthStatus,
    /// The server answers.
    Health,
    /// The process lives.
    Livez,
    /// The gateway can take work.
    Readyz,
    /// Metrics for Prometheus.
    Metrics,
    /// This side as an OpenAPI document.
    OpenApi,
    /// The JSON-RPC side as an OpenRPC document.
    OpenRpc,
}

/// The one method that a route takes (`GET` stands for `HEAD` too).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `GET` and `HEAD`.
    Get,
    /// `POST`.
    Post,
}

/// A body, by its media type and, for JSON, its schema.
#[derive(Debug, Clone, Copy)]
pub struct BodyInfo {
    /// The media type without parameters.
    pub media_type: &'static str,
    /// The schema of the type; `None`: text, or a document with a schema of its own.
    pub schema: Option<fn(&mut SchemaGenerator) -> Schema>,
}

/// A status a route answers with.
#[derive(Debug, Clone, Copy)]
pub struct AnswerInfo {
    /// The HTTP status.
    pub status: u16,
    /// When.
    pub summary: &'static str,
    /// Its body; `None`: a problem.
    pub body: Option<BodyInfo>,
}

/// A route's row in the table.
#[derive(Debug, Clone, Copy)]
pub struct RouteInfo {
    /// What it is for.
    pub id: RouteId,
    /// The method it takes.
    pub verb: Verb,
    /// Its path; also its name in the metrics.
    pub path: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// May the caller show an access token? (No route needs one.)
    pub takes_token: bool,
    /// The body it takes.
    pub request: Option<BodyInfo>,
    /// What it answers, beside the problems that every route can answer (404, 405, 500, 503).
    pub answers: &'static [AnswerInfo],
}

/// Every path of the WebSocket listener; also their names in the metrics.
pub const WS_PATHS: [&str; 3] = ["/ws", "/ws/mcp", "/health"];

/// Every route of the HTTP listener, in the order of the document.
pub const ROUTES: &[RouteInfo] = &[
    LOGIN,
    RouteInfo { path: "/auth/login", ..LOGIN },
    RouteInfo {
        id: RouteId::Accept,
        path: "/auth/accept",
        summary: "An account, and an access token for it, for an invitation's code",
        request: Some(json::<AcceptRequest>()),
        answers: &[
            ok(json::<LoginResponse>()),
            problem(400, "The body is not JSON"),
            problem(401, "The code is not valid: wrong, used or over"),
            problem(408, "The body did not arrive in time"),
            problem(409, "The name is taken; the code still holds"),
            problem(413, "The body is too large"),
            problem(415, "The body is not called application/json"),
            problem(422, "The body is JSON of another form, or the name or the password will not do"),
            problem(429, "Too many wrong codes; try again after `Retry-After` seconds"),
        ],
        ..LOGIN
    },
    RouteInfo {
        id: RouteId::Password,
        path: "/auth/password",
        summary: "Another password for an account, by its owner, and an access token; what was issued before is refused",
        request: Some(json::<PasswordRequest>()),
        answers: &[
            ok(json::<LoginResponse>()),
            problem(400, "The body is not JSON"),
            problem(401, "The name or the password is wrong"),
            problem(408, "The body did not arrive in time"),
            problem(413, "The body is too large"),
            problem(415, "The body is not called application/json"),
            problem(422, "The body is JSON of another form, or the new password will not do"),
            problem(429, "Too many failed logins; try again after `Retry-After` seconds"),
        ],
        ..LOGIN
    },
    RouteInfo {
        id: RouteId::AuthStatus,
        verb: Verb::Get,
        path: "/auth/status",
        summary: "The state of Claude's own login; its path is shown to callers with an access token only",
        takes_token: true,
        request: None,
        answers: &[ok(json::<AuthStatus>())],
    },
    get(RouteId::Health, "/health", "The server answers", &[ok(json::<Health>())]),
    get(RouteId::Livez, "/livez", "The process lives", &[ok(json::<Health>())]),
    get(
        RouteId::Readyz,
        "/readyz",
        "The gateway can take work",
        &[
            ok(json::<Readiness>()),
            AnswerInfo {
                status: 503,
                summary: "It can't take work; `reasons` says why",
                body: Some(json::<Readiness>()),
            },
        ],
    ),
    get(
        RouteId::Metrics,
        "/metrics",
        "Metrics for Prometheus",
        &[ok(BodyInfo { media_type: "text/plain", schema: None })],
    ),
    get(RouteId::OpenApi, "/openapi.json", "This side as an OpenAPI document", &[ok(DOCUMENT)]),
    get(RouteId::OpenRpc, "/openrpc.json", "The JSON-RPC side as an OpenRPC document", &[ok(DOCUMENT)]),
];

const LOGIN: RouteInfo = RouteInfo {
    id: RouteId::Login,
    verb: Verb::Post,
    path: "/login",
    summary: "An access token for a name and a password, or for an API key",
    takes_token: false,
    request: Some(json::<LoginRequest>()),
    answers: &[
        ok(json::<LoginResponse>()),
        problem(400, "The body is not JSON"),
        problem(401, "The name or the password is wrong"),
        problem(408, "The body did not arrive in time"),
        problem(413, "The body is too large"),
        problem(415, "The body is not called application/json"),
        problem(422, "The body is JSON of another form"),
        problem(429, "Too many failed logins; try again after `Retry-After` seconds"),
    ],
};

const DOCUMENT: BodyInfo = BodyInfo { media_type: "application/json", schema: None };

const fn json<T: JsonSchema>() -> BodyInfo {
    BodyInfo { media_type: "application/json", schema: Some(schema_of::<T>) }
}

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const fn ok(body: BodyInfo) -> AnswerInfo {
    AnswerInfo { status: 200, summary: "The answer", body: Some(body) }
}

const fn problem(status: u16, summary: &'static str) -> AnswerInfo {
    AnswerInfo { status, summary, body: None }
}

const fn get(id: RouteId, path: &'static str, summary: &'static str, answers: &'static [AnswerInfo]) -> RouteInfo {
    RouteInfo { id, verb: Verb::Get, path, summary, takes_token: false, request: None, answers }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_has_a_path_of_its_own() {
        let paths: BTreeSet<_> = ROUTES.iter().map(|route| route.path).collect();
        assert_eq!(paths.len(), ROUTES.len());
    }
}
