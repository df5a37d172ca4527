//! Callers that an outside issuer vouches for.

use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::issuer::Issuer;
use super::{connect, post_as, refused_token};
use crate::support::{Client, Gateway, eventually};

#[tokio::test]
async fn a_caller_of_an_outside_issuer_works_without_an_account_and_sees_only_their_own() {
    let issuer = Issuer::start("rsa-1.pem").await;
    let mut gateway = Gateway::builder()
        .setting("trusted_issuers", issuer.setting())
        .setting("shared_uid_accepted", true)
        .start()
        .await;
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 0, "keys are fetched when they are needed");
    let (ada, bob) = (issuer.token("ada"), issuer.token("bob"));
    let mut client = connect(&gateway, &ada).await;
    let session = client.start(json!({"prompt": "say hello"})).await;
    client.until_ended(session).await;
    let row = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(row["session_id"], session.to_string());
    let mut other = connect(&gateway, &bob).await;
    let unseen = other.error("session.get", json!({"session_id": session})).await;
    assert_eq!(unseen["code"], -32002);
    let mut admin = gateway.client().await;
    admin.ok("session.get", json!({"session_id": session})).await;
    // A new token of the same caller, a ticket, and the end of this one.
    let next = issuer.token("ada");
    client.ok("auth.reauthenticate", json!({"access_token": next})).await;
    assert_eq!(client.error("auth.reauthenticate", json!({"access_token": bob})).await["code"], -32005);
    let ticket = post_as(gateway.http, "/auth/ticket", &ada, &[]).await.json();
    let offered = format!("cc-gateway.v1, ticket.{}", ticket["ticket"].as_str().unwrap());
    Client::try_connect(gateway.ws, "/ws", &[("sec-websocket-protocol", offered)]).await.unwrap();
    assert_eq!(post_as(gateway.http, "/auth/logout", &next, &[]).await.status, 200);
    assert_eq!(client.until_closed().await.code, Some(4001));
    assert_eq!(refused_token(&gateway, &next).await, 401);
    connect(&gateway, &ada).await;
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "one fetch serves them all");
    gateway.stop().await;
}

#[tokio::test]
async fn c1_tokens_that_no_key_of_the_issuer_has_signed_are_refused_and_do_not_hammer_it() {
    let issuer = Issuer::start("ed25519-1.pem").await;
    let stranger = Issuer::start("ed25519-2.pem").await;
    let gateway = Gateway::builder().setting("trusted_issuers", issuer.setting()).start().await;
    let good = issuer.token("ada");
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    for n in 0..20 {
        let unknown = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": format!("unknown-{n}")}).to_string();
        for token in [
            stranger.token("ada"),
            format!("{}.{body}.{signature}", URL_SAFE_NO_PAD.encode(unknown)),
            format!("{head}.{body}."),
        ] {
            assert_eq!(refused_token(&gateway, &token).await, 401);
        }
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    assert_eq!(stranger.asked.load(Ordering::SeqCst), 0, "what a token says of its issuer leads nowhere");
    connect(&gateway, &good).await;
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_told_of_and_ours_still_work() {
    let issuer = Issuer::start("rsa-1.pem").await;
    issuer.silent.store(true, Ordering::SeqCst);
    let gateway = Gateway::builder().setting("trusted_issuers", issuer.setting()).start().await;
    assert_eq!(refused_token(&gateway, &issuer.token("ada")).await, 401);
    let told = || gateway.log().contains("keys could not be fetched").then_some(());
    eventually("the failure to be told of", told).await;
    gateway.client().await.ok("server.info", json!({})).await;
}
