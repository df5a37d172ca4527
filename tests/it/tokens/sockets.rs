//! Open sockets when their token ends, is renewed or is taken back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, decode_header, encode};
use serde_json::{Value, json};

use super::{connect, log_in, post_as, refused_token, text};
use crate::support::event::Event;
use crate::support::http::{self, post};
use crate::support::redis_server::Server;
use crate::support::{Client, Gateway, metrics};

/// `token`, but that it ends in about so many seconds, and never later: signed anew with the gateway's secret.
fn ending_in(gateway: &Gateway, token: &str, seconds: u64) -> String {
    let secret = std::fs::read_to_string(gateway.path("data").join("jwt-secret")).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let mut claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["exp"] = json!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds);
    let key = EncodingKey::from_secret(secret.trim().as_bytes());
    encode(&decode_header(token).unwrap(), &claims, &key).unwrap()
}

#[tokio::test]
async fn c4_a_token_that_ends_closes_its_socket_and_a_new_one_misses_nothing() {
    let gateway = Gateway::builder().start().await;
    let pair = log_in(&gateway).await;
    let long = text(&pair, "access_token");
    let session = connect(&gateway, long).await.start(json!({"prompt": "rate 20 300s 100"})).await;
    let (mut events, mut cut_off, mut rounds) = (Vec::<Event>::new(), 0, 0);
    while events.last().is_none_or(|event| event.kind != "session.ended") {
        rounds += 1;
        assert!(rounds <= 30, "{cut_off} sockets were closed within the session");
        // One whose token has ended before it could attach is one more round.
        let Some(mut again) = Client::attempt(gateway.ws, &ending_in(&gateway, long, 2)).await else { continue };
        let after = events.last().map_or(0, |event| event.seq);
        let attach = json!({"session_id": session, "after_seq": after});
        let Some(attached) = again.try_call("session.attach", attach).await else { continue };
        attached.unwrap();
        // As far as this token leads; the next one goes on from there.
        let closed = again.until_closed().await;
        assert_eq!((closed.code, closed.reason.contains("token")), (Some(4001), true), "{closed:?}");
        let seen = again.take_events(session);
        cut_off += usize::from(!seen.is_empty());
        events.extend(seen);
        if cut_off >= 2 {
            connect(&gateway, long).await.ok("session.stop", json!({"session_id": session})).await;
        }
    }
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn c4_a_socket_goes_on_with_a_new_token_of_the_same_caller_and_login() {
    const FIRST_SECONDS: u64 = 8;
    let gateway = Gateway::builder().setting("token_leeway_seconds", 0).start().await;
    let pair = log_in(&gateway).await;
    let first = ending_in(&gateway, text(&pair, "access_token"), FIRST_SECONDS);
    let mut client = connect(&gateway, &first).await;
    let mut refresh = text(&pair, "refresh_token").to_owned();
    for _ in 0..3 {
        let next = post(gateway.http, "/auth/refresh", &json!({"refresh_token": refresh})).await.json();
        text(&next, "refresh_token").clone_into(&mut refresh);
        let kept = client.ok("auth.reauthenticate", json!({"access_token": next["access_token"]})).await;
        assert!(kept["expires_at"].as_str().unwrap().ends_with('Z') && kept["expires_in"].is_u64(), "{kept}");
    }
    // It reads on meanwhile: were it closed with its first token, it would see that.
    client.expect_silence(Duration::from_secs(FIRST_SECONDS + 1)).await;
    assert_eq!(refused_token(&gateway, &first).await, 401);
    client.ok("server.info", json!({})).await;
}

#[tokio::test]
async fn c4_only_a_good_token_of_the_same_caller_keeps_a_socket() {
    let mut gateway = Gateway::builder().start().await;
    crate::support::program::add_user(&mut gateway, "eve", "another-long-password").await;
    let pair = log_in(&gateway).await;
    let mut client = connect(&gateway, text(&pair, "access_token")).await;
    let eve = http::login(gateway.http, "eve", "another-long-password").await.unwrap();
    for token in [eve.as_str(), text(&pair, "refresh_token"), "x.y.z", ""] {
        let error = client.error("auth.reauthenticate", json!({"access_token": token})).await;
        assert_eq!(error["code"], -32005, "{error}");
        assert!(!error.to_string().contains("x.y.z"));
    }
    client.ok("server.info", json!({})).await;
    client.ok("auth.reauthenticate", json!({"access_token": pair["access_token"]})).await;
}

#[tokio::test]
async fn c5_a_logout_closes_the_sockets_of_its_login_and_no_others() {
    let mut gateway = Gateway::builder().start().await;
    let (one, two) = (log_in(&gateway).await, log_in(&gateway).await);
    let mut closing = [connect(&gateway, text(&one, "access_token")).await, {
        // Opened by another login and renewed by this one: what keeps it open counts.
        let mut renewed = connect(&gateway, text(&two, "access_token")).await;
        renewed.ok("auth.reauthenticate", json!({"access_token": one["access_token"]})).await;
        renewed
    }];
    let mut staying = connect(&gateway, text(&two, "access_token")).await;
    assert_eq!(post_as(gateway.http, "/auth/logout", text(&one, "access_token"), &[]).await.status, 200);
    for client in &mut closing {
        assert_eq!(client.until_closed().await.code, Some(4001));
    }
    metrics::until(gateway.http, "cc_gateway_sockets_revoked_total", 2.0).await;
    assert_eq!(refused_token(&gateway, text(&one, "access_token")).await, 401);
    staying.ok("server.info", json!({})).await;
    connect(&gateway, text(&two, "access_token")).await;
    drop(staying);
    gateway.stop().await;
}

#[tokio::test]
async fn c5_a_reused_refresh_token_closes_the_sockets_of_its_login() {
    let gateway = Gateway::builder().start().await;
    let pair = log_in(&gateway).await;
    let mut client = connect(&gateway, text(&pair, "access_token")).await;
    let body = json!({"refresh_token": pair["refresh_token"]});
    let next = post(gateway.http, "/auth/refresh", &body).await;
    assert_eq!(next.status, 200);
    client.ok("server.info", json!({})).await;
    assert_eq!(post(gateway.http, "/auth/refresh", &body).await.status, 401);
    assert_eq!(client.until_closed().await.code, Some(4001));
    assert_eq!(refused_token(&gateway, text(&next.json(), "access_token")).await, 401);
}

#[tokio::test]
async fn c5_a_logout_at_one_gateway_closes_the_sockets_at_another_also_after_the_store_was_away() {
    let mut server = Server::start();
    let secret = "5e3d0f9a7b1c4d2e8f6a9b0c1d2e3f40";
    let gateways = || Gateway::builder().redis(&server).setting("jwt_secret", secret);
    let (here, there) = tokio::join!(gateways().start(), gateways().start());
    // The first one there made the account.
    let maker = if post(here.http, "/login", &json!({"username": "admin", "password": "x"})).await.status == 401 {
        &here
    } else {
        &there
    };
    let (one, two, three) = (log_in(maker).await, log_in(maker).await, log_in(maker).await);
    let mut clients = Vec::new();
    for pair in [&one, &two, &three] {
        clients.push(connect(&there, text(pair, "access_token")).await);
    }
    assert_eq!(post_as(here.http, "/auth/logout", text(&one, "access_token"), &[]).await.status, 200);
    assert_eq!(clients[0].until_closed().await.code, Some(4001));
    server.kill();
    assert_eq!(post_as(here.http, "/auth/logout", text(&two, "access_token"), &[]).await.status, 503);
    // Sockets stay meanwhile.
    clients[1].ok("server.info", json!({})).await;
    server.run();
    crate::store_trouble::until_ready(&here).await;
    crate::store_trouble::until_ready(&there).await;
    assert_eq!(post_as(here.http, "/auth/logout", text(&two, "access_token"), &[]).await.status, 200);
    assert_eq!(clients[1].until_closed().await.code, Some(4001));
    clients[2].ok("server.info", json!({})).await;
}
