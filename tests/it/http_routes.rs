//! What probes and people ask over plain HTTP, on the real program.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::Method;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{Gateway, http as web, metrics};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Every family that `/metrics` must hold once a session has run.
const FAMILIES: [&str; 22] = [
    "cc_gateway_sessions",
    "cc_gateway_sessions_started_total",
    "cc_gateway_sessions_ended_total",
    "cc_gateway_starts_refused_total",
    "cc_gateway_slots_max",
    "cc_gateway_sessions_waiting",
    "cc_gateway_events_total",
    "cc_gateway_event_bytes_total",
    "cc_gateway_events_sent_total",
    "cc_gateway_connections",
    "cc_gateway_connections_closed_total",
    "cc_gateway_upgrades_refused_total",
    "cc_gateway_rpc_calls_total",
    "cc_gateway_rpc_call_seconds",
    "cc_gateway_http_requests_total",
    "cc_gateway_logins_total",
    "cc_gateway_store_seconds",
    "cc_gateway_agent_start_seconds",
    "cc_gateway_build_info",
    "cc_gateway_claude_login",
    "cc_gateway_claude_login_expires_in_seconds",
    "cc_gateway_claude_login_usable",
];

#[tokio::test]
async fn health_tells_exactly_what_it_must_on_both_listeners() {
    let gateway = Gateway::builder().setting("max_sessions", 7).start().await;
    for path in ["/health", "/livez"] {
        let response = web::get(gateway.http, path).await;
        assert_eq!(response.status.as_u16(), 200, "{path}");
        let mut body = response.json();
        let at = body["timestamp"].take();
        assert!(at.as_str().is_some_and(|at| at.ends_with('Z') && at.len() == 24), "{path}: {at}");
        let expected = json!({"status": "healthy", "service": "cc-gateway-api", "version": VERSION, "timestamp": null});
        assert_eq!(body, expected, "{path}");
    }
    let mut body = web::get(gateway.ws, "/health").await.json();
    assert!(body["uptime_seconds"].take().is_u64());
    let expected = json!({
        "status": "healthy", "service": "cc-gateway-ws", "version": VERSION,
        "active_sessions": 0, "max_sessions": 7, "uptime_seconds": null,
    });
    assert_eq!(body, expected);
    let ready = web::get(gateway.http, "/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.json()), (200, json!({"ready": true, "reasons": []})));
}

#[tokio::test]
async fn a_gateway_without_its_agent_lives_but_is_not_ready() {
    let gateway = Gateway::builder().setting("agent_program", "/nowhere/claude").start().await;
    let ready = web::get(gateway.http, "/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.json()), (503, json!({"ready": false, "reasons": ["agent_missing"]})));
    for path in ["/livez", "/health"] {
        assert_eq!(web::get(gateway.http, path).await.status.as_u16(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_draining_gateway_is_not_ready_refuses_upgrades_and_still_answers() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "silent"})).await;
    client.until_event(session, |event| event.kind == "session.started").await;
    let token = gateway.login().await;
    gateway.signal(Signal::TERM);
    client.notification("server.draining").await;
    let ready = web::get(gateway.http, "/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.json()), (503, json!({"ready": false, "reasons": ["draining"]})));
    let health = web::get(gateway.ws, "/health").await.json();
    assert_eq!((&health["status"], &health["active_sessions"]), (&json!("draining"), &json!(1)));
    let refused =
        crate::support::Client::try_connect(gateway.ws, "/ws", &[("authorization", format!("Bearer {token}"))]).await;
    let refused = refused.err().expect("no upgrade while it drains");
    assert_eq!(refused.status.as_u16(), 503);
    assert!(refused.body.contains("urn:cc-gateway:draining"), "{}", refused.body);
}

#[tokio::test]
async fn head_is_answered_like_get_without_a_body() {
    let gateway = Gateway::builder().start().await;
    let http_paths = ["/health", "/livez", "/readyz", "/metrics", "/openapi.json", "/openrpc.json", "/auth/status"];
    let asked = http_paths.iter().map(|path| (gateway.http, *path)).chain([(gateway.ws, "/health")]);
    for (server, path) in asked {
        let get = web::get(server, path).await;
        let head = web::request(server, Method::HEAD, path, &[], Bytes::new()).await;
        assert_eq!((head.status, head.status.as_u16()), (get.status, 200), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}");
        assert_eq!(head.header("x-content-type-options"), "nosniff", "{path}");
    }
}

#[tokio::test]
async fn an_unknown_path_or_method_is_a_problem_on_both_listeners() {
    let gateway = Gateway::builder().start().await;
    for (server, path) in [
        (gateway.http, "/nothing"),
        (gateway.http, "/ws"),
        (gateway.http, "/login/"),
        (gateway.http, "/%00"),
        (gateway.ws, "/nothing"),
        (gateway.ws, "/metrics"),
        (gateway.ws, "/ws/"),
        (gateway.ws, "/"),
    ] {
        let response = web::get(server, path).await;
        assert_eq!(response.status.as_u16(), 404, "{path}");
        assert_eq!(response.header("content-type"), "application/problem+json", "{path}");
        assert_eq!(response.json()["status"], 404, "{path}");
        assert!(!response.text().contains("nothing"), "it repeats nothing of the request");
    }
    let get = web::get(gateway.http, "/login").await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
    assert_eq!(get.header("content-type"), "application/problem+json");
    let delete = web::request(gateway.ws, Method::DELETE, "/health", &[], Bytes::new()).await;
    assert_eq!(delete.status.as_u16(), 405);
}

#[tokio::test]
async fn metrics_can_be_parsed_and_hold_every_family_after_a_session() {
    let mut gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "await go"})).await;
    client.until_event(session, |event| event.kind == "session.started").await;
    client.error("session.start", json!({"prompt": "one more"})).await;
    client.ok("session.stop", json!({"session_id": session})).await;
    client.until_ended(session).await;
    client.close().await;
    // The client sees the end before the gateway has counted it.
    metrics::until(gateway.http, "cc_gateway_connections_closed_total{reason=\"done\"}", 1.0).await;
    web::get(gateway.ws, "/ws").await;
    let response = web::get(gateway.http, "/metrics").await;
    assert_eq!(response.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let (mut described, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for line in response.text().lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            let (kind, name) = (words.next().unwrap(), words.next().expect("a family's name"));
            assert!(["HELP", "TYPE"].contains(&kind), "{line}");
            described.insert((kind.to_owned(), name.to_owned()));
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a series and its value");
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        let name = series.split('{').next().unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
        assert!(!series.contains(&session.to_string()), "a label from a caller: {line}");
        seen.insert(name.to_owned());
    }
    for family in FAMILIES {
        let here = seen.iter().any(|name| {
            let suffix = name.strip_prefix(family);
            suffix.is_some_and(|suffix| ["", "_bucket", "_sum", "_count"].contains(&suffix))
        });
        assert!(here, "{family} is missing in {seen:?}");
        for kind in ["HELP", "TYPE"] {
            assert!(described.contains(&(kind.to_owned(), family.to_owned())), "{family} has no {kind}");
        }
    }
    assert!(!seen.contains("cc_gateway_task_panics_total"), "no task may have panicked");
    gateway.stop().await;
}
