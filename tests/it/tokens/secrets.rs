//! Tokens of every kind are nowhere but with their owners.

use serde_json::json;

use super::{connect, log_in, post_as, text};
use crate::support::http::{self, post};
use crate::support::{Client, Gateway};

#[tokio::test]
async fn m3_no_refresh_token_ticket_or_access_token_is_logged_counted_stored_or_in_the_process_list() {
    let mut gateway = Gateway::builder().setting("log_filter", "trace").start().await;
    let pair = log_in(&gateway).await;
    let next = post(gateway.http, "/auth/refresh", &json!({"refresh_token": pair["refresh_token"]})).await.json();
    let access = text(&next, "access_token").to_owned();
    let ticket = post_as(gateway.http, "/auth/ticket", &access, &[]).await.json();
    let offered = format!("cc-gateway.v1, ticket.{}", text(&ticket, "ticket"));
    let mut client = Client::try_connect(gateway.ws, "/ws", &[("sec-websocket-protocol", offered)]).await.unwrap();
    client.ok("auth.reauthenticate", json!({"access_token": access})).await;
    client.error("auth.reauthenticate", json!({"access_token": pair["refresh_token"]})).await;
    client.error("auth.reauthenticate", json!({"access_token": 7, "x": pair["refresh_token"]})).await;
    drop(connect(&gateway, &access).await);
    // Refusals must not repeat what was sent either.
    let mut answers = String::new();
    for body in [json!({"refresh_token": pair["refresh_token"]}), json!({"refresh_token": [pair["refresh_token"]]})] {
        answers += &post(gateway.http, "/auth/refresh", &body).await.text();
    }
    let metrics = http::get(gateway.http, "/metrics").await.text();
    let commands: String = gateway.processes().iter().chain([&gateway.pid()]).map(|pid| command_line(*pid)).collect();
    gateway.stop().await;
    let stored: Vec<u8> = ["gateway.db", "gateway.db-wal"]
        .iter()
        .flat_map(|name| std::fs::read(gateway.path("data").join(name)).unwrap_or_default())
        .collect();
    let stored = String::from_utf8_lossy(&stored);
    let log = gateway.log();
    assert!(
        log.contains("a login was renewed") && stored.contains("refresh_family"),
        "there must be something to look at"
    );
    let pairs = [&pair, &next];
    let canaries = pairs
        .iter()
        .flat_map(|pair| [text(pair, "refresh_token"), text(pair, "access_token").rsplit('.').next().unwrap()])
        .flat_map(|token| token.trim_start_matches("ccgr_").split('.').collect::<Vec<_>>())
        .chain([text(&ticket, "ticket")]);
    for canary in canaries {
        assert!(canary.len() > 30);
        for (place, content) in
            [("log", &*log), ("metrics", &metrics), ("answers", &answers), ("processes", &commands), ("store", &stored)]
        {
            let line = content.lines().find(|line| line.contains(canary)).map(|line| line.replace(canary, "CANARY"));
            assert_eq!(line, None, "{place}");
        }
    }
}

fn command_line(pid: u32) -> String {
    ["cmdline", "environ"]
        .map(|file| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat()
}
