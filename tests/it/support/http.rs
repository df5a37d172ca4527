//! A tiny HTTP client: one connection a request, nothing hidden.

use std::net::SocketAddr;

use bytes::Bytes;
use cc_gateway::telemetry::tasks;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::presentable::check_http;
use super::within;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
}

impl Response {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("the body is not JSON: {}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's text; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// `GET path`.
pub(crate) async fn get(server: SocketAddr, path: &str) -> Response {
    request(server, Method::GET, path, &[], Bytes::new()).await
}

/// `GET path` with an access token.
pub(crate) async fn get_as(server: SocketAddr, path: &str, token: &str) -> Response {
    let authorization = format!("Bearer {token}");
    request(server, Method::GET, path, &[("authorization", &authorization)], Bytes::new()).await
}

/// `POST path` with a JSON body.
pub(crate) async fn post(server: SocketAddr, path: &str, body: &Value) -> Response {
    let headers = [("content-type", "application/json")];
    request(server, Method::POST, path, &headers, Bytes::from(body.to_string())).await
}

/// `POST /login`; the access token, or the answer that refuses it.
pub(crate) async fn login(server: SocketAddr, username: &str, password: &str) -> Result<String, Response> {
    let response = post(server, "/login", &serde_json::json!({"username": username, "password": password})).await;
    match response.status {
        StatusCode::OK => Ok(response.json()["access_token"].as_str().expect("an access token").to_owned()),
        _ => Err(response),
    }
}

/// Any request. `host` is set unless `headers` has one.
pub(crate) async fn request(
    server: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Response {
    let what = format!("the answer to {method} {path}");
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", server.to_string());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).expect("a request that can be built");
    within(&what, async {
        let socket = TcpStream::connect(server).await.expect("a connection to the gateway");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.expect("an HTTP connection");
        tasks::spawn("test-http", connection);
        let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        check_http(head.status.as_u16(), &body);
        Response { status: head.status, headers: head.headers, body }
    })
    .await
}
