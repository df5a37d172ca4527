//! The WebSocket listener's router.

use axum::Extension;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::http::connection::ConnectionPermit;
use crate::http::testing::PATIENCE;

/// An upgrade that echoes and keeps the connection's permit as long as it lives.
async fn echo(Extension(permit): Extension<Arc<ConnectionPermit>>, mut request: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    telemetry::tasks::spawn("test.echo", async move {
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
        drop(tokio::io::copy(&mut read, &mut write).await);
        drop(permit);
    });
    (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "echo")]).into_response()
}

async fn serve(house: &House) -> Server {
    let sockets = Router::new().route("/ws", routing::get(echo));
    Server::start(ws_extras(house.state.clone(), sockets), limits(), 8).await
}

#[tokio::test]
async fn the_listener_tells_its_health_and_whether_it_drains() {
    let house = House::new();
    let server = serve(&house).await;
    let healthy = get(&server, "/health").await;
    let expected = json!({
        "status": "healthy", "service": "cc-gateway-ws", "version": crate::api::VERSION,
        "active_sessions": 3, "max_sessions": 100, "uptime_seconds": 42,
    });
    assert_eq!((healthy.status, healthy.json()), (200, expected));
    house.facts.draining.store(true, Ordering::SeqCst);
    assert_eq!(get(&server, "/health").await.json()["status"], "draining");
    is_problem(&get(&server, "/login").await, 404);
    is_problem(&server.ask(request("POST", "/ws", &[], "")).await, 405);
    server.stop().await;
}

#[tokio::test]
async fn e5_an_upgraded_connection_keeps_its_permit_and_outlives_the_http_shutdown() {
    let house = House::new();
    let server = serve(&house).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap()));
    }
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(!head.contains("content-security-policy"), "{head}");

    server.shutdown.cancel();
    server.tracker.close();
    tokio::time::timeout(PATIENCE, server.tracker.wait()).await.unwrap();
    assert_eq!(server.connections.open(), 1);
    stream.write_all(b"still here").await.unwrap();
    let mut heard = [0; 10];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"still here");
    drop(stream);
    server.open_becomes(0).await;
    server.stop().await;
}
