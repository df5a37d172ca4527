//! Web pages: origins, tickets, and names that are not ours, at the real upgrade.

use serde_json::json;

use super::{log_in, post_as, refused, text};
use crate::support::http::request;
use crate::support::settings::list;
use crate::support::{Client, Gateway};

const PAGE: &str = "https://app.example.com";

async fn gateway() -> Gateway {
    Gateway::builder().setting("allowed_origins", list([PAGE, "http://localhost:5173"])).start().await
}

async fn ticket(gateway: &Gateway, token: &str, origin: Option<&str>) -> String {
    let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
    let answer = post_as(gateway.http, "/auth/ticket", token, &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    text(&answer.json(), "ticket").to_owned()
}

fn offer(ticket: &str, origin: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("sec-websocket-protocol", format!("cc-gateway.v1, ticket.{ticket}"))];
    headers.extend(origin.map(|origin| ("origin", origin.to_owned())));
    headers
}

#[tokio::test]
async fn c10_a_page_opens_a_socket_with_a_ticket_and_only_our_subprotocol_is_echoed() {
    let mut gateway = gateway().await;
    let pair = log_in(&gateway).await;
    let token = text(&pair, "access_token");
    let shown = ticket(&gateway, token, Some(PAGE)).await;
    let mut client = Client::try_connect(gateway.ws, "/ws", &offer(&shown, Some(PAGE))).await.unwrap();
    let echoed: Vec<_> = client.upgrade.get_all("sec-websocket-protocol").iter().collect();
    assert_eq!(echoed, ["cc-gateway.v1"]);
    client.ok("server.info", json!({})).await;
    // It has served; so has one that another page has shown.
    assert_eq!(refused(&gateway, "/ws", &offer(&shown, Some(PAGE))).await, 401);
    let stolen = ticket(&gateway, token, Some(PAGE)).await;
    assert_eq!(refused(&gateway, "/ws", &offer(&stolen, Some("http://localhost:5173"))).await, 401);
    assert_eq!(refused(&gateway, "/ws", &offer(&stolen, Some(PAGE))).await, 401);
    // A page that may not connect at all spends nothing.
    let kept = ticket(&gateway, token, Some(PAGE)).await;
    assert_eq!(refused(&gateway, "/ws", &offer(&kept, Some("https://evil.example.com"))).await, 403);
    let both = [offer(&kept, Some(PAGE)), vec![("authorization", format!("Bearer {token}"))]].concat();
    assert_eq!(refused(&gateway, "/ws", &both).await, 401, "one caller a request");
    let two = vec![("sec-websocket-protocol", format!("cc-gateway.v1, ticket.{kept}, ticket.{kept}"))];
    assert_eq!(refused(&gateway, "/ws", &two).await, 401);
    Client::try_connect(gateway.ws, "/ws", &offer(&kept, Some(PAGE))).await.unwrap();
    // The login's end ends what its tickets opened, and its tickets.
    let late = ticket(&gateway, token, None).await;
    assert_eq!(post_as(gateway.http, "/auth/logout", token, &[]).await.status, 200);
    assert_eq!(client.until_closed().await.code, Some(4001));
    assert_eq!(refused(&gateway, "/ws", &offer(&late, None)).await, 401);
    gateway.stop().await;
}

#[tokio::test]
async fn d1_twenty_origins_are_judged_before_the_upgrade() {
    let gateway = gateway().await;
    let token = text(&log_in(&gateway).await, "access_token").to_owned();
    let with = |origins: &[&str]| {
        let mut headers = vec![("authorization", format!("Bearer {token}"))];
        headers.extend(origins.iter().map(|origin| ("origin", (*origin).to_owned())));
        headers
    };
    for origins in [&[][..], &[PAGE], &["http://localhost:5173"]] {
        Client::try_connect(gateway.ws, "/ws", &with(origins)).await.unwrap();
    }
    for origin in [
        "http://app.example.com",
        "wss://app.example.com",
        "https://app.example.com:443",
        "https://app.example.com:8443",
        "https://APP.example.com",
        "https://app.example.com.",
        "https://app.example.com/",
        "https://app.example.com.evil.com",
        "https://evilapp.example.com",
        "https://app.example.com@evil.com",
        "https://example.com",
        "app.example.com",
        "null",
        "*",
        "https://evil.com",
        "http://localhost",
        "http://127.0.0.1:5173",
        "https://app.example.com, https://evil.com",
    ] {
        assert_eq!(refused(&gateway, "/ws", &with(&[origin])).await, 403, "{origin}");
    }
    assert_eq!(refused(&gateway, "/ws", &with(&[PAGE, PAGE])).await, 403);
    assert!(!gateway.log().contains("evil.com"), "a caller's words are not logged");
}

#[tokio::test]
async fn a_page_that_has_let_its_name_point_here_reaches_nothing() {
    let gateway = gateway().await;
    for name in ["evil.com", "127.0.0.1.nip.io", "localhost.evil.com"] {
        let on_http = ["/metrics", "/health", "/auth/status", "/openapi.json"].map(|path| (gateway.http, path));
        for (server, path) in on_http.into_iter().chain([(gateway.ws, "/ws"), (gateway.ws, "/health")]) {
            let host = format!("{name}:{}", server.port());
            let headers = [("host", host.as_str())];
            let answer = request(server, http::Method::GET, path, &headers, bytes::Bytes::new()).await;
            assert_eq!((answer.status.as_u16(), answer.text().contains("allowed_hosts")), (403, true), "{name} {path}");
        }
    }
}
