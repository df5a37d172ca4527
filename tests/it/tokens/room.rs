//! How many sockets one caller or one address may have.

use super::{connect, log_in, refused_token, text};
use crate::support::{Client, Gateway, eventually, metrics};

async fn until_one_gets_in(gateway: &Gateway, token: &str) -> Client {
    let headers = [("authorization", format!("Bearer {token}"))];
    let deadline = std::time::Instant::now() + crate::support::DEADLINE;
    loop {
        if let Ok(client) = Client::try_connect(gateway.ws, "/ws", &headers).await {
            return client;
        }
        assert!(std::time::Instant::now() < deadline, "no room after one has left");
    }
}

#[tokio::test]
async fn e5_one_socket_too_many_of_a_caller_is_refused_until_another_closes() {
    let mut gateway = Gateway::builder().setting("max_ws_connections_per_principal", 3).start().await;
    crate::support::program::add_user(&mut gateway, "eve", "another-long-password").await;
    let token = text(&log_in(&gateway).await, "access_token").to_owned();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(connect(&gateway, &token).await);
    }
    assert_eq!(refused_token(&gateway, &token).await, 429);
    let eve = crate::support::http::login(gateway.http, "eve", "another-long-password").await.unwrap();
    let others = connect(&gateway, &eve).await;
    clients.pop().unwrap().close().await;
    clients.push(until_one_gets_in(&gateway, &token).await);
    assert_eq!(refused_token(&gateway, &token).await, 429);
    for client in clients.into_iter().chain([others]) {
        client.close().await;
    }
    metrics::until(gateway.http, "cc_gateway_connections{listener=\"ws\"}", 0.0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn e5_one_socket_too_many_of_an_address_or_of_all_is_refused_until_another_closes() {
    for (leaf, status) in [("max_ws_connections_per_address", 429), ("max_ws_connections", 503)] {
        let gateway = Gateway::builder().setting(leaf, 2).start().await;
        let token = text(&log_in(&gateway).await, "access_token").to_owned();
        let one = connect(&gateway, &token).await;
        let two = connect(&gateway, &token).await;
        assert_eq!(refused_token(&gateway, &token).await, status, "{leaf}");
        one.reset();
        let three = until_one_gets_in(&gateway, &token).await;
        two.close().await;
        three.close().await;
        metrics::until(gateway.http, "cc_gateway_connections{listener=\"ws\"}", 0.0).await;
        eventually("an upgrade that is told of", || gateway.log().contains("upgrade refused").then_some(())).await;
    }
}
