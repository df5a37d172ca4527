//! Who is shut out here, who tries too often, and what is written down of it all.

use http::Method;
use serde_json::json;

use super::provider::{Browser, Provider};
use super::trace;
use crate::support::http::{get, login, post};
use crate::support::{Client, Gateway, metrics};

#[tokio::test]
async fn c5_a_disabled_account_stays_out_whatever_the_provider_says() {
    let provider = Provider::start().await;
    let gateway = provider.gateway(Gateway::builder()).start().await;
    let tokens = Browser::default().whole(&gateway, &provider, "ada").await.json();
    let mut ada = Client::connect(gateway.ws, "/ws", tokens["access_token"].as_str().unwrap()).await;
    // A login that is not over yet must not get around it.
    let verifier = "v".repeat(43);
    let challenge = cc_gateway::auth::random::kept_form(&verifier);
    let mut browser = Browser::default();
    let address = browser.begin(&gateway, &format!("?return=4711&challenge={challenge}")).await;
    let back = browser.log_in(&provider, &address, "ada").await;
    let answer = browser.ask(gateway.http, Method::GET, &back, None).await;
    let code = answer.header("location").strip_prefix("http://127.0.0.1:4711/callback?code=").unwrap().to_owned();

    let mut admin = gateway.client().await;
    admin.ok("account.update", json!({"username": "ada", "disabled": true})).await;
    assert_eq!(ada.until_closed().await.code, Some(4001));
    let redeemed = post(gateway.http, "/auth/oidc/token", &json!({"code": code, "verifier": verifier})).await;
    let again = Browser::default().whole(&gateway, &provider, "ada").await;
    for refused in [redeemed, again] {
        assert_eq!(
            (refused.status.as_u16(), refused.json()["type"].clone()),
            (403, json!("urn:cc-gateway:oidc_disabled"))
        );
    }
    let old = json!({"refresh_token": tokens["refresh_token"]});
    assert_eq!(post(gateway.http, "/auth/refresh", &old).await.status, 401);
    let told = trace(&gateway, 4).await;
    let outcomes: Vec<_> = told.iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["ok", "ok", "oidc_disabled", "oidc_disabled"]);
    assert!(told[2..].iter().all(|entry| entry["target"] == tokens["user"]["id"]), "{told:?}");

    admin.ok("account.update", json!({"username": "ada", "disabled": false})).await;
    assert_eq!(Browser::default().whole(&gateway, &provider, "ada").await.status, 200, "let in again");
}

#[tokio::test]
async fn each_login_at_the_provider_is_in_the_audit_log_and_counted() {
    let provider = Provider::start().await;
    let gateway = provider.gateway(Gateway::builder()).start().await;
    let ok = Browser::default().whole(&gateway, &provider, "bob").await.json();
    Browser::default().whole(&gateway, &provider, "eve").await;
    get(gateway.http, "/auth/oidc/callback?code=canary-code-81aa&state=canary-state-3c9e").await;
    let mut browser = Browser::default();
    let address = browser.begin(&gateway, "").await;
    let state = address.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let denied = format!("/auth/oidc/callback?error=access_denied&error_description=canary-words&state={state}");
    assert_eq!(browser.ask(gateway.http, Method::GET, &denied, None).await.status, 401);
    assert_eq!(post(gateway.http, "/auth/oidc/token", &json!({"code": "x", "verifier": "y"})).await.status, 401);
    let told = trace(&gateway, 5).await;
    let outcomes: Vec<_> = told.iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["ok", "oidc_not_allowed", "oidc_state", "oidc_denied", "oidc_one_time_code"]);
    assert_eq!((&told[0]["username"], &told[0]["account_id"]), (&json!("bob"), &ok["user"]["id"]));
    assert_eq!(told[1]["target"], format!("http://{}#eve", provider.address), "an operator sees who was refused");
    assert!(told.iter().all(|entry| entry["address"] == "127.0.0.1"), "{told:?}");
    metrics::until(gateway.http, "cc_gateway_logins_total{outcome=\"refused\"}", 4.0).await;
    let all = format!("{told:?}{}", gateway.log());
    assert!(!all.contains("canary"), "m3: what strangers send is not kept");
}

#[tokio::test]
async fn c7_logins_that_fail_are_held_back_by_address_and_so_are_those_that_begin() {
    let provider = Provider::start().await;
    let gateway = provider.gateway(Gateway::builder()).setting("max_failed_logins_per_minute", 1).start().await;
    let mut browser = Browser::default();
    let address = browser.begin(&gateway, "").await;
    let back = browser.log_in(&provider, &address, "ada").await;
    // One has begun; ten times the setting may, from one address.
    for _ in 1..10 {
        assert_eq!(get(gateway.http, "/auth/oidc/login").await.status, 302);
    }
    let held_back = get(gateway.http, "/auth/oidc/login").await;
    assert_eq!((held_back.status.as_u16(), held_back.header("retry-after").is_empty()), (429, false));
    assert!(held_back.header("set-cookie").is_empty());
    let challenge = "0".repeat(64);
    let told = get(gateway.http, &format!("/auth/oidc/login?return=4711&challenge={challenge}")).await;
    assert_eq!(told.header("location"), "http://127.0.0.1:4711/callback?error=throttled");

    let made_up = format!("/auth/oidc/callback?code=x&state={}", "A".repeat(43));
    for _ in 0..10 {
        assert_eq!(get(gateway.http, &made_up).await.status, 400);
    }
    for path in [&made_up, &back] {
        let held_back = browser.ask(gateway.http, Method::GET, path, None).await;
        assert_eq!((held_back.status.as_u16(), held_back.header("retry-after").is_empty()), (429, false), "{path}");
    }
    let redeemed = post(gateway.http, "/auth/oidc/token", &json!({"code": "x", "verifier": "y"})).await;
    assert_eq!(redeemed.status, 429);
    let refused = login(gateway.http, "admin", "wrong").await.unwrap_err();
    assert_eq!(refused.status, 429, "all ways in share the address's failures");
}
