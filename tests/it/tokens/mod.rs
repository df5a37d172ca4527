//! Logins and their ends, keys and their change, tickets, pages and names: who is calling, seen from outside.

mod browser;
mod command_line;
mod issuer;
mod issuers;
mod keys;
mod pages;
mod private_ca;
mod room;
mod secrets;
mod sockets;

use std::net::SocketAddr;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::support::gateway::ADMIN_PASSWORD;
use crate::support::http::{Response, post, request};
use crate::support::{Client, Gateway};

/// What the admin gets by a login.
async fn log_in(gateway: &Gateway) -> Value {
    let answer = post(gateway.http, "/login", &json!({"username": "admin", "password": ADMIN_PASSWORD})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn text<'a>(pair: &'a Value, name: &str) -> &'a str {
    pair[name].as_str().expect("a text")
}

/// `POST path` with an access token and perhaps more headers, without a body.
async fn post_as(server: SocketAddr, path: &str, token: &str, headers: &[(&str, &str)]) -> Response {
    let bearer = format!("Bearer {token}");
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend_from_slice(headers);
    request(server, Method::POST, path, &all, Bytes::new()).await
}

/// An open socket with that access token.
async fn connect(gateway: &Gateway, token: &str) -> Client {
    Client::connect(gateway.ws, "/ws", token).await
}

/// The status with which an upgrade with these headers is refused.
async fn refused(gateway: &Gateway, path: &str, headers: &[(&str, String)]) -> u16 {
    match Client::try_connect(gateway.ws, path, headers).await {
        Err(refused) => refused.status.as_u16(),
        Ok(_) => panic!("{path} with {headers:?} was upgraded"),
    }
}

async fn refused_token(gateway: &Gateway, token: &str) -> u16 {
    refused(gateway, "/ws", &[("authorization", format!("Bearer {token}"))]).await
}
