//! The WebSocket conformance suite of Autobahn, by its runner `kosoku`, against an echo on the gateway's own
//! accept loop, handshake, socket and close codes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use cc_gateway::config::settings::HttpSettings;
use cc_gateway::http::{AcceptLimits, Connections, hand_over};
use cc_gateway::telemetry::tasks;
use cc_gateway::ws::{Close, handshake};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The suite without compression, which is never negotiated.
const GROUPS: [&str; 9] = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"];
/// Cases in these groups.
const CASES: usize = 301;
/// The suite's largest message.
const LARGEST: usize = 16 * 1024 * 1024;

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(upgrade);
    let limits = AcceptLimits::new(&HttpSettings::default());
    let connections = Connections::new("ws", 1_000);
    let (shutdown, tracker) = (CancellationToken::new(), TaskTracker::new());
    tasks::spawn("echo-server", cc_gateway::http::serve(listener, router, connections, limits, shutdown, tracker));
    address
}

async fn upgrade(mut request: Request) -> Response {
    let handshake = match handshake::check(&request) {
        Ok(handshake) => handshake,
        Err(error) => return (error.status(), error.to_string()).into_response(),
    };
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().expect("a connection that can be upgraded");
    tasks::spawn("echo", async move { echo(upgrade.await.unwrap()).await });
    handshake.accept()
}

async fn echo(upgraded: Upgraded) {
    let (stream, begun) = hand_over(upgraded).expect("a connection of the accept loop");
    let mut socket = handshake::socket(stream, begun, LARGEST).await;
    let close = loop {
        match socket.next().await {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => break Close::of_read_error(&error),
            None => return,
        }
    };
    let _gone = socket.close(close.frame()).await;
}

#[tokio::test]
async fn a1_the_conformance_suite_passes() {
    let kosoku = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/venv/bin/kosoku");
    assert!(kosoku.is_file(), "the conformance suite is not there; run `make tools`");
    let server = echo_server().await;
    let reports = tempfile::tempdir().unwrap();
    let mut suite = tokio::process::Command::new(kosoku);
    suite.args(["--parallelism", "8", "--outdir"]).arg(reports.path());
    suite.args(GROUPS.iter().flat_map(|group| ["--include", group])).arg(format!("ws://{server}"));
    let ran = suite.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let index = std::fs::read_to_string(reports.path().join("index.json"));
    let index = index.unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&ran.stderr)));
    let agents: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(&index).unwrap();
    let cases: Vec<(&String, &Value)> = agents.values().flatten().collect();
    let of = |behavior: &str| -> Vec<&String> {
        cases.iter().filter(|(_, case)| case["behavior"] == behavior).map(|(id, _)| *id).collect()
    };
    assert_eq!(of("FAILED"), Vec::<&String>::new());
    assert!(of("NON-STRICT").len() <= 2, "{:?}", of("NON-STRICT"));
    assert!(of("INFORMATIONAL").len() <= 3, "{:?}", of("INFORMATIONAL"));
    let known = of("OK").len() + of("NON-STRICT").len() + of("INFORMATIONAL").len();
    assert_eq!((known, cases.len()), (CASES, CASES));
    let unclean: Vec<_> = cases.iter().filter(|(_, case)| case["behaviorClose"] == "FAILED").collect();
    assert!(unclean.is_empty(), "{unclean:?}");
}
