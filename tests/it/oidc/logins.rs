//! What a login at the provider gives, and what is refused.

use http::Method;
use serde_json::json;

use super::provider::{Browser, Provider};
use crate::support::fleet::Fleet;
use crate::support::http::{get, get_as, post};
use crate::support::redis_server::Server;
use crate::support::{Client, Gateway};

#[tokio::test]
async fn the_providers_claims_give_the_role_and_take_it_away() {
    let provider = Provider::start().await;
    let gateway = provider.gateway(Gateway::builder()).start().await;
    let answer = Browser::default().whole(&gateway, &provider, "ada").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let first = answer.json();
    assert_eq!((&first["user"]["role"], &first["user"]["username"]), (&json!("admin"), &json!("ada")));
    assert_eq!(first["user"]["id"], format!("http://{}#ada", provider.address));
    assert!(first["refresh_token"].is_string());
    let bob = Browser::default().whole(&gateway, &provider, "bob").await.json();
    assert_eq!(bob["user"]["role"], "user");
    // A namesake of the local admin gets no part of that account.
    let namesake = Browser::default().whole(&gateway, &provider, "admin").await.json();
    assert_eq!((&namesake["user"]["username"], &namesake["user"]["role"]), (&json!("admin@127.0.0.1"), &json!("user")));
    for outsider in ["eve", "mallory"] {
        let refused = Browser::default().whole(&gateway, &provider, outsider).await;
        assert_eq!(
            (refused.status.as_u16(), refused.json()["type"].clone()),
            (403, json!("urn:cc-gateway:oidc_not_allowed"))
        );
    }
    let mut socket = Client::connect(gateway.ws, "/ws", first["access_token"].as_str().unwrap()).await;
    socket.ok("account.list", json!({})).await;
    provider.change("ada", &json!({"preferred_username": "ada", "groups": ["staff"], "hd": "example.com"})).await;
    let again = Browser::default().whole(&gateway, &provider, "ada").await.json();
    assert_eq!((&again["user"]["role"], &again["user"]["id"]), (&json!("user"), &first["user"]["id"]));
    assert_eq!(socket.until_closed().await.code, Some(4001), "what an admin had open ends");
    let old = json!({"refresh_token": first["refresh_token"]});
    assert_eq!(post(gateway.http, "/auth/refresh", &old).await.status, 401, "what the admin had is taken back");
    assert!(!gateway.log().contains("canary"), "m3: no secret is logged");
}

#[tokio::test]
async fn a_state_serves_once_and_only_the_browser_that_began() {
    let provider = Provider::start().await;
    let gateway = provider.gateway(Gateway::builder()).start().await;
    let (mut browser, mut other) = (Browser::default(), Browser::default());
    let address = browser.begin(&gateway, "").await;
    let back = browser.log_in(&provider, &address, "bob").await;
    let stolen = other.ask(gateway.http, Method::GET, &back, None).await;
    assert_eq!((stolen.status.as_u16(), stolen.json()["type"].clone()), (400, json!("urn:cc-gateway:oidc_state")));
    let spent = browser.ask(gateway.http, Method::GET, &back, None).await;
    assert_eq!(spent.status, 400, "it is spent");

    let address = browser.begin(&gateway, "").await;
    let back = browser.log_in(&provider, &address, "bob").await;
    assert_eq!(browser.ask(gateway.http, Method::GET, &back, None).await.status, 200);
    assert_eq!(browser.ask(gateway.http, Method::GET, &back, None).await.status, 400, "replayed");
    let made_up = format!("/auth/oidc/callback?code=x&state={}", "A".repeat(43));
    assert_eq!(get(gateway.http, &made_up).await.status, 400);
    for bad in ["?return=https://evil.example", "?return=0&challenge=x", "?return=80", "?challenge=x"] {
        let refused = get(gateway.http, &format!("/auth/oidc/login{bad}")).await;
        assert_eq!((refused.status.as_u16(), refused.header("location")), (400, ""), "{bad}");
    }
}

#[tokio::test]
async fn a_provider_that_is_away_is_told_and_is_worth_another_try() {
    let mut provider = Provider::start().await;
    let gateway = provider.gateway(Gateway::builder()).start().await;
    provider.end().await;
    let refused = get(gateway.http, "/auth/oidc/login").await;
    assert_eq!((refused.status.as_u16(), refused.json()["type"].clone()), (503, json!("urn:cc-gateway:oidc_away")));
    assert!(!refused.header("retry-after").is_empty());
    assert!(!refused.text().contains("127.0.0.1"));
}

#[tokio::test]
async fn one_gateway_finishes_what_another_one_began() {
    let (server, provider) = (Server::start(), Provider::start().await);
    let fleet = Fleet::start(&server, 2, |builder| provider.gateway(builder)).await;
    let [here, there] = [&fleet.gateways[0], &fleet.gateways[1]];
    let verifier = "v".repeat(43);
    let challenge = cc_gateway::auth::random::kept_form(&verifier);
    let mut browser = Browser::default();
    let address = browser.begin(here, &format!("?return=4711&challenge={challenge}")).await;
    let back = browser.log_in(&provider, &address, "ada").await;
    let answer = browser.ask(there.http, Method::GET, &back, None).await;
    let code = answer.header("location").strip_prefix("http://127.0.0.1:4711/callback?code=").unwrap().to_owned();
    let redeemed = json!({"code": code, "verifier": verifier});
    let tokens = post(here.http, "/auth/oidc/token", &redeemed).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    assert_eq!(post(there.http, "/auth/oidc/token", &redeemed).await.status, 401, "it serves once");
    let token = tokens.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(get_as(there.http, "/auth/status", &token).await.status, 200);
    fleet.stop().await;
}
