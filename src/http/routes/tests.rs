//! The routes through real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use serde_json::json;

use super::*;
use crate::api::Role;
use crate::api::http::{AuthStatus, LoginMethod, LoginState, Readiness};
use crate::auth::fake_store::FakeStore;
use crate::auth::{Accounts, Authenticator, Logins, Revocations, SigningSecret, Tokens};
use crate::config::Settings;
use crate::config::settings::{AuthSettings, HttpSettings};
use crate::http::Browsers;
use crate::http::state::{GatewayFacts, RequestLimits};
use crate::http::testing::{Answer, Server, limits, request};
use crate::store::SharedStore;
use crate::telemetry;

mod abuse;
mod browsers;
mod login;
mod sockets;
mod tokens;

/// The one page that may call.
const PAGE: &str = "https://app.example.com";
const PATH: &str = "/somewhere/.credentials.json";

/// A gateway's facts that a test can change.
#[derive(Debug, Default)]
struct Facts {
    unready: AtomicBool,
    draining: AtomicBool,
    panics: AtomicBool,
    hangs: AtomicBool,
}

#[async_trait]
impl GatewayFacts for Facts {
    async fn readiness(&self) -> Readiness {
        assert!(!self.panics.load(Ordering::SeqCst), "canary of a panic");
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let ready = !self.unready.load(Ordering::SeqCst);
        Readiness { ready, reasons: if ready { vec![] } else { vec!["store".to_owned()] }, warnings: vec![] }
    }

    async fn claude_login(&self) -> AuthStatus {
        AuthStatus {
            status: LoginState::Authenticated,
            usable: true,
            method: LoginMethod::OauthFile,
            credentials_found: true,
            path: Some(PATH.to_owned()),
            readable: true,
            writable: true,
            refreshable: true,
            expires_at: None,
            expires_in_seconds: None,
            subscription_type: None,
            message: "Claude is logged in.".to_owned(),
            instructions: None,
            file: None,
            warnings: Vec::new(),
            delivery: None,
        }
    }

    async fn slots(&self) -> (u64, u32) {
        (3, 100)
    }

    fn uptime_seconds(&self) -> u64 {
        42
    }

    fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}

/// Settings that let one page and one name in.
fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.websocket.allowed_origins = vec![PAGE.to_owned()];
    settings.http.allowed_hosts = vec!["gateway.example.com".to_owned()];
    settings
}

/// The parts behind the routes.
struct House {
    state: HttpState,
    facts: Arc<Facts>,
    store: SharedStore,
}

impl House {
    fn new() -> Self {
        let auth = AuthSettings { max_failed_logins_per_minute: 3, ..AuthSettings::default() };
        let store: SharedStore = Arc::new(FakeStore::default());
        let secret = SigningSecret::from_text("a secret of the tests, thirty-two bytes or more").unwrap();
        let tokens = Arc::new(Tokens::new(&auth, secret));
        let facts = Arc::new(Facts::default());
        let revocations = Revocations::new(Arc::clone(&store), &auth);
        let logins = Logins::new(Arc::clone(&tokens), Arc::clone(&store), revocations, &auth);
        let state = HttpState {
            accounts: Arc::new(Accounts::new(Arc::clone(&store), &auth)),
            authenticator: Arc::new(Authenticator::new(Arc::clone(&tokens), Arc::clone(&store), false)),
            logins: Arc::new(logins),
            oidc: None,
            tokens,
            gateway: Arc::clone(&facts) as Arc<dyn GatewayFacts>,
            metrics: telemetry::metrics::install().unwrap(),
            limits: RequestLimits::new(&HttpSettings::default()),
            browsers: Arc::new(Browsers::new(&settings())),
        };
        Self { state, facts, store }
    }

    async fn serve(&self) -> Server {
        Server::start(router(self.state.clone()), limits(), 64).await
    }

    /// A token for an account that exists; no password is hashed for it.
    async fn token(&self) -> String {
        let account = crate::auth::fake_store::account("ada", Role::User);
        self.store.create_account(account.clone()).await.unwrap();
        self.state.tokens.issue(&account).token.expose_secret().to_owned()
    }
}

async fn get(server: &Server, path: &str) -> Answer {
    server.ask(request("GET", path, &[], "")).await
}

fn is_problem(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    assert_eq!(answer.json()["status"], status);
    assert!(answer.json()["title"].as_str().unwrap().len() > 2);
}

#[tokio::test]
async fn the_openapi_document_lists_the_routes_that_there_are() {
    let house = House::new();
    let server = house.serve().await;
    let document = get(&server, "/openapi.json").await.json();
    assert_eq!(document["paths"].as_object().unwrap().len(), ROUTES.len());
    for route in ROUTES {
        let (right, wrong, allow) = match route.verb {
            Verb::Get => ("GET", "POST", "GET,HEAD"),
            Verb::Post => ("POST", "GET", "POST"),
        };
        assert!(document["paths"][route.path][right.to_lowercase()].is_object(), "{}", route.path);
        let refused = server.ask(request(wrong, route.path, &[], "")).await;
        is_problem(&refused, 405);
        assert_eq!(refused.header("allow"), Some(allow), "{}", route.path);
        let taken = server.ask(request(right, route.path, &[], "")).await;
        assert!(!matches!(taken.status, 404 | 405 | 500), "{} {taken:?}", route.path);
    }
    server.stop().await;
}

#[tokio::test]
async fn head_gives_the_header_of_get_without_its_body() {
    let house = House::new();
    let server = house.serve().await;
    for path in ["/health", "/livez", "/readyz", "/auth/status", "/openapi.json", "/openrpc.json", "/metrics"] {
        let answer = server.ask(request("HEAD", path, &[], "")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
        assert!(answer.header("content-length").unwrap().parse::<usize>().unwrap() > 20, "{path}");
    }
    let missing = server.ask(request("HEAD", "/nothing", &[], "")).await;
    assert_eq!((missing.status, missing.body.as_str()), (404, ""));
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_path_is_a_404_problem() {
    let house = House::new();
    let server = house.serve().await;
    for path in ["/", "/nothing", "/login/", "/auth", "/../etc/passwd", "/%00"] {
        is_problem(&get(&server, path).await, 404);
    }
    server.stop().await;
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_and_none_opens_the_door_to_other_origins() {
    let house = House::new();
    let server = house.serve().await;
    for path in ["/health", "/metrics", "/auth/status", "/openapi.json", "/nothing", "/login"] {
        let answer = server.ask(request("GET", path, &["Origin: https://evil.example"], "")).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'none'"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        assert_eq!(answer.header("server"), None, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn m6_liveness_readiness_and_login_answer_by_the_matrix() {
    let house = House::new();
    let server = house.serve().await;
    assert_eq!(get(&server, "/readyz").await.json(), json!({ "ready": true, "reasons": [] }));
    house.facts.unready.store(true, Ordering::SeqCst);
    house.store.close().await;

    let unready = get(&server, "/readyz").await;
    assert_eq!((unready.status, unready.json()), (503, json!({ "ready": false, "reasons": ["store"] })));
    for path in ["/livez", "/health"] {
        let alive = get(&server, path).await;
        assert_eq!((alive.status, &alive.json()["status"]), (200, &json!("healthy")));
        assert_eq!(alive.json()["service"], "cc-gateway-api");
    }
    assert_eq!(get(&server, "/auth/status").await.status, 200);
    let login = login::log_in(&server, "ada", "secret words").await;
    is_problem(&login, 503);
    assert_eq!(login.json()["type"], "urn:cc-gateway:store_away");
    assert!(login.header("retry-after").is_some());
    server.stop().await;
}

#[tokio::test]
async fn the_path_of_the_credentials_is_shown_to_holders_of_a_token_only() {
    let house = House::new();
    let token = house.token().await;
    let server = house.serve().await;
    let ask = async |headers: &[&str]| server.ask(request("GET", "/auth/status", headers, "")).await;

    let anonymous = ask(&[]).await;
    assert_eq!(anonymous.status, 200);
    assert_eq!((&anonymous.json()["status"], &anonymous.json()["path"]), (&json!("authenticated"), &json!(null)));
    assert!(!anonymous.body.contains("somewhere"));
    let stranger = ask(&["Authorization: Bearer x.y.z"]).await;
    assert_eq!((stranger.status, &stranger.json()["path"]), (200, &json!(null)));
    let known = ask(&[&format!("Authorization: Bearer {token}")]).await;
    assert_eq!(known.json()["path"], PATH);
    server.stop().await;
}

#[tokio::test]
async fn a_panic_is_a_500_problem_that_says_nothing_of_it_and_the_next_request_is_served() {
    let house = House::new();
    let server = house.serve().await;
    house.facts.panics.store(true, Ordering::SeqCst);
    let failed = get(&server, "/readyz").await;
    is_problem(&failed, 500);
    assert!(!failed.body.contains("canary") && !failed.body.contains("panic"), "{failed:?}");
    assert_eq!(failed.header("x-content-type-options"), Some("nosniff"));
    house.facts.panics.store(false, Ordering::SeqCst);
    assert_eq!(get(&server, "/readyz").await.status, 200);
    server.open_becomes(0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_503() {
    let mut house = House::new();
    house.state.limits.request_timeout = Duration::from_millis(100);
    let server = house.serve().await;
    house.facts.hangs.store(true, Ordering::SeqCst);
    is_problem(&get(&server, "/readyz").await, 503);
    server.stop().await;
}

#[tokio::test]
async fn m2_requests_are_counted_by_route_and_status_and_a_strange_path_adds_no_series() {
    let house = House::new();
    let server = house.serve().await;
    get(&server, "/strange-canary-path").await;
    get(&server, "/livez").await;
    let metrics = get(&server, "/metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.body.contains(r#"cc_gateway_http_requests_total{route="/livez",status="200"}"#));
    assert!(metrics.body.contains(r#"cc_gateway_http_requests_total{route="unknown",status="404"}"#));
    assert!(metrics.body.contains(r#"cc_gateway_connections{listener="http"}"#));
    assert!(!metrics.body.contains("canary"));
    server.stop().await;
}

#[tokio::test]
async fn both_documents_are_served_as_json() {
    let house = House::new();
    let server = house.serve().await;
    for (path, key, version) in [("/openapi.json", "openapi", "3.1.0"), ("/openrpc.json", "openrpc", "1.3.2")] {
        let answer = get(&server, path).await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json()[key], version);
    }
    server.stop().await;
}
