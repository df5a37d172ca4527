//! The one table of HTTP routes. The router and the OpenAPI document both come from it.
//!
//! A route is a row of [`ROUTES`] with a [`RouteId`]; the router matches on the id, so that it can have no
//! route without a row and no row without a handler.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::http::{
    AcceptRequest, AuthStatus, Health, LoginRequest, LoginResponse, LogoutRequest, LogoutResponse, OidcTokenRequest,
    PasswordRequest, Readiness, RefreshRequest, TicketRequest, TicketResponse,
};

/// What a route is for; two routes with one id have one handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteId {
    /// An access token for a name and a password.
    Login,
    /// The next pair of tokens for a refresh token.
    Refresh,
    /// The end of a login.
    Logout,
    /// The way to the provider of logins.
    OidcLogin,
    /// The way back from it.
    OidcCallback,
    /// Tokens for a command line that has sent a browser there.
    OidcToken,
    /// A one-time ticket for a socket.
    Ticket,
    /// The public keys of our access tokens.
    Jwks,
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
    /// Of a request: must it be there?
    pub required: bool,
}

/// A status a route answers with.
#[derive(Debug, Clone, Copy)]
pub struct AnswerInfo {
    /// The HTTP status.
    pub status: u16,
    /// When.
    pub summary: &'static str,
    /// Its body; `None`: a problem, or nothing where the status sends the caller elsewhere.
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
    /// May the caller show an access token? (Those that need one answer 401 without.)
    pub takes_token: bool,
    /// The body it takes.
    pub request: Option<BodyInfo>,
    /// What it answers, beside the problems that every route can answer (400, 403, 404, 405, 413, 500, 503).
    pub answers: &'static [AnswerInfo],
}

impl RouteInfo {
    /// May web pages of the allowed origins call it? Whatever has to do with who is calling; health and metrics are
    /// for programs.
    #[must_use]
    pub fn is_for_pages(&self) -> bool {
        self.path == "/login" || self.path.starts_with("/auth/")
    }

    /// Must a page that calls it be one of an allowed origin? Where something is given or changed for who is calling;
    /// what only tells something is kept from other pages by their browsers.
    #[must_use]
    pub fn is_closed_to_other_pages(&self) -> bool {
        self.is_for_pages() && self.verb == Verb::Post
    }

    /// The HTTP method that it takes.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self.verb {
            Verb::Get => "GET",
            Verb::Post => "POST",
        }
    }
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
            problem(403, FOREIGN_PAGE),
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
            problem(403, FOREIGN_PAGE),
            problem(408, "The body did not arrive in time"),
            problem(413, "The body is too large"),
            problem(415, "The body is not called application/json"),
            problem(422, "The body is JSON of another form, or the new password will not do"),
            problem(429, "Too many failed logins; try again after `Retry-After` seconds"),
        ],
        ..LOGIN
    },
    get(
        RouteId::OidcLogin,
        "/auth/oidc/login",
        "Sends a browser to the provider of logins. With `return` (a port) and `challenge` (the SHA-256 of a verifier, \
         in hex) a one-time code comes to `http://127.0.0.1:<port>/callback` in the end; else the browser gets the tokens",
        &[
            problem(302, "To the provider; with `return`, whatever goes wrong: to that port with `error`"),
            problem(400, "`return` is no port, or `challenge` is missing"),
            problem(429, "Too many logins from this address; try again after `Retry-After` seconds"),
            problem(501, "The settings name no provider"),
            problem(502, "The provider's answer can't be used"),
            problem(503, "The provider or the store does not answer; try again after `Retry-After` seconds"),
        ],
    ),
    get(
        RouteId::OidcCallback,
        "/auth/oidc/callback",
        "Where the provider sends the browser back to, with `code` and `state`",
        &[
            ok(json::<LoginResponse>()),
            problem(302, "To the port of the browser's own machine, with `code` or `error`"),
            problem(400, "No such login is under way, or another browser began it"),
            problem(401, "The provider did not log the person in, or what it says can't be verified"),
            problem(403, "The person has no access here, or a name in `Host` that is not the gateway's"),
            problem(429, "Too many failed logins; try again after `Retry-After` seconds"),
            problem(501, "The settings name no provider"),
            problem(502, "The provider's answer can't be used"),
            problem(503, "The provider or the store does not answer; try again after `Retry-After` seconds"),
        ],
    ),
    RouteInfo {
        id: RouteId::OidcToken,
        path: "/auth/oidc/token",
        summary: "An access token and a refresh token for a one-time code of a login at the provider",
        request: Some(json::<OidcTokenRequest>()),
        answers: &[
            ok(json::<LoginResponse>()),
            problem(400, "The body is not JSON"),
            problem(401, "The code or the verifier is not valid"),
            problem(403, "The account is disabled; or as everywhere: a name in `Host`, or a page, that is not allowed"),
            problem(408, "The body did not arrive in time"),
            problem(413, "The body is too large"),
            problem(415, "The body is not called application/json"),
            problem(422, "The body is JSON of another form"),
            problem(429, "Too many failed logins; try again after `Retry-After` seconds"),
            problem(501, "The settings name no provider"),
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
    RouteInfo {
        id: RouteId::Refresh,
        verb: Verb::Post,
        path: "/auth/refresh",
        summary: "The next access and refresh token; a refresh token serves once, a second use ends its whole login",
        takes_token: false,
        request: Some(json::<RefreshRequest>()),
        answers: &[
            ok(json::<LoginResponse>()),
            problem(400, "The body is not JSON"),
            problem(401, "The refresh token is not valid: log in"),
            problem(403, FOREIGN_PAGE),
            problem(408, "The body did not arrive in time"),
            problem(413, "The body is too large"),
            problem(415, "The body is not called application/json"),
            problem(422, "The body is JSON of another form"),
        ],
    },
    RouteInfo {
        id: RouteId::Logout,
        verb: Verb::Post,
        path: "/auth/logout",
        summary: "Ends the login: its access and refresh tokens are refused and its sockets closed with 4001",
        takes_token: true,
        request: Some(optional::<LogoutRequest>()),
        answers: &[
            ok(json::<LogoutResponse>()),
            problem(400, "The body is not JSON"),
            problem(401, "Neither a valid access token nor a refresh token was sent"),
            problem(403, FOREIGN_PAGE),
            problem(408, "The body did not arrive in time"),
            problem(413, "The body is too large"),
            problem(415, "The body is not called application/json"),
            problem(422, "The body is JSON of another form"),
        ],
    },
    RouteInfo {
        id: RouteId::Ticket,
        verb: Verb::Post,
        path: "/auth/ticket",
        summary: "A ticket for one socket of a web page, which can send no header there; it serves once, for 30 seconds",
        takes_token: true,
        request: Some(optional::<TicketRequest>()),
        answers: &[
            ok(json::<TicketResponse>()),
            problem(400, "The body is not JSON"),
            problem(401, "The access token is missing or not valid"),
            problem(403, FOREIGN_PAGE),
            problem(408, "The body did not arrive in time"),
            problem(413, "The body is too large"),
            problem(415, "The body is not called application/json"),
            problem(422, "The body is JSON of another form"),
        ],
    },
    get(
        RouteId::Jwks,
        "/.well-known/jwks.json",
        "The public keys of this gateway's access tokens; none while a secret signs them",
        &[ok(DOCUMENT)],
    ),
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
        &[ok(BodyInfo { media_type: "text/plain", ..DOCUMENT })],
    ),
    get(RouteId::OpenApi, "/openapi.json", "This side as an OpenAPI document", &[ok(DOCUMENT)]),
    get(RouteId::OpenRpc, "/openrpc.json", "The JSON-RPC side as an OpenRPC document", &[ok(DOCUMENT)]),
];

const LOGIN: RouteInfo = RouteInfo {
    id: RouteId::Login,
    verb: Verb::Post,
    path: "/login",
    summary: "An access token and a refresh token for a name and a password; an access token for an API key",
    takes_token: false,
    request: Some(json::<LoginRequest>()),
    answers: &[
        ok(json::<LoginResponse>()),
        problem(400, "The body is not JSON"),
        problem(401, "The name or the password, or the key, is wrong"),
        problem(403, FOREIGN_PAGE),
        problem(408, "The body did not arrive in time"),
        problem(413, "The body is too large"),
        problem(415, "The body is not called application/json"),
        problem(422, "The body is JSON of another form"),
        problem(429, "Too many failed logins; try again after `Retry-After` seconds"),
    ],
};

/// What every route answers with 403 that pages may call.
const FOREIGN_PAGE: &str = "The page's origin is not allowed, or a name in `Host` that is not the gateway's";

const DOCUMENT: BodyInfo = BodyInfo { media_type: "application/json", schema: None, required: true };

const fn json<T: JsonSchema>() -> BodyInfo {
    BodyInfo { schema: Some(schema_of::<T>), ..DOCUMENT }
}

const fn optional<T: JsonSchema>() -> BodyInfo {
    BodyInfo { required: false, ..json::<T>() }
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
