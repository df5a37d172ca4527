//! What a provider says wrongly lets nobody in, makes no account, and is written down without its tokens.

use serde_json::{Value, json};

use super::liar::{Liar, Lie};
use super::provider::Browser;
use super::trace;
use crate::support::Gateway;
use crate::support::http::{Response, get};

fn refusal(answer: &Response) -> (u16, String) {
    let kind = answer.json()["type"].as_str().unwrap_or_default().trim_start_matches("urn:cc-gateway:").to_owned();
    (answer.status.as_u16(), kind)
}

/// The names of all accounts.
async fn accounts(gateway: &Gateway) -> Vec<Value> {
    let mut admin = gateway.client().await;
    let listed = admin.ok("account.list", json!({})).await;
    listed["accounts"].as_array().expect("accounts").iter().map(|account| account["username"].clone()).collect()
}

/// Nothing of the provider's secrets is in the log, or in what the gateway has answered.
fn assert_nothing_is_told(liar: &Liar, gateway: &Gateway, answers: &[Response]) {
    for secret in liar.secrets() {
        assert!(!gateway.log().contains(&secret), "m3: the log tells {secret}");
        assert!(answers.iter().all(|answer| !answer.text().contains(&secret)), "m3: an answer tells {secret}");
    }
}

#[tokio::test]
async fn c1_an_id_token_that_is_not_good_lets_nobody_in() {
    let liar = Liar::start().await;
    let mut gateway = liar.gateway(Gateway::builder()).setting("log_filter", "trace").start().await;
    let lies = [
        (Lie::Nonce, (401, "oidc_token")),
        (Lie::Signature, (401, "oidc_token")),
        (Lie::SharedSecret, (401, "oidc_token")),
        (Lie::Unsigned, (401, "oidc_token")),
        (Lie::Audience, (401, "oidc_token")),
        (Lie::NobodysAudience, (401, "oidc_token")),
        (Lie::Issuer, (401, "oidc_token")),
        (Lie::Expired, (401, "oidc_token")),
        (Lie::AccessTokenHash, (401, "oidc_token")),
        (Lie::NoIdToken, (401, "oidc_token")),
        (Lie::UserInfo, (502, "oidc_broken")),
    ];
    let mut answers = Vec::new();
    for (lie, expected) in lies {
        liar.lies(lie);
        let answer = liar.log_in(&gateway).await;
        assert_eq!(refusal(&answer), (expected.0, expected.1.to_owned()), "{lie:?}: {}", answer.text());
        answers.push(answer);
    }
    assert_eq!(accounts(&gateway).await, ["admin"]);
    let told: Vec<_> = trace(&gateway, lies.len()).await.into_iter().map(|entry| entry["outcome"].clone()).collect();
    assert_eq!(told, lies.map(|(_, (_, word))| json!(word)));
    assert_nothing_is_told(&liar, &gateway, &answers);
    liar.lies(Lie::Nothing);
    let good = liar.log_in(&gateway).await;
    assert_eq!((good.status.as_u16(), &good.json()["user"]["role"]), (200, &json!("admin")));
    liar.lies(Lie::OtherAudiencesToo);
    assert_eq!(liar.log_in(&gateway).await.status, 200, "azp says that it is ours");
    assert_eq!(accounts(&gateway).await, ["ada", "admin"]);
    assert_nothing_is_told(&liar, &gateway, &[]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_provider_in_trouble_is_told_of_and_is_worth_another_try() {
    let liar = Liar::start().await;
    let gateway = liar.gateway(Gateway::builder()).start().await;
    for lie in [Lie::BadGateway, Lie::Hangs] {
        liar.lies(lie);
        let answer = liar.log_in(&gateway).await;
        assert_eq!(refusal(&answer), (503, "oidc_away".to_owned()), "{lie:?}: {}", answer.text());
        assert!(!answer.header("retry-after").is_empty());
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
    assert_eq!(accounts(&gateway).await, ["admin"]);
    let told = trace(&gateway, 2).await;
    assert!(told.iter().all(|entry| entry["outcome"] == "oidc_away" && entry.get("account_id").is_none()), "{told:?}");
    assert_nothing_is_told(&liar, &gateway, &[]);
    liar.lies(Lie::Nothing);
    assert_eq!(liar.log_in(&gateway).await.status, 200);
}

#[tokio::test]
async fn a_provider_with_another_name_is_not_asked_who_anybody_is() {
    let liar = Liar::start().await;
    liar.lies(Lie::Name);
    let gateway = liar.gateway(Gateway::builder()).start().await;
    let mut browser = Browser::default();
    let answer = browser.ask(gateway.http, http::Method::GET, "/auth/oidc/login", None).await;
    assert_eq!(refusal(&answer), (502, "oidc_broken".to_owned()));
    assert!(!answer.text().contains("127.0.0.1") && !answer.text().contains("example.com"), "{}", answer.text());
    assert!(answer.header("set-cookie").is_empty() && answer.header("location").is_empty());
    assert!(gateway.log().contains("the provider of logins can't be used"), "an operator is told");
    // A command line that waits is told too.
    let challenge = "0".repeat(64);
    let told = get(gateway.http, &format!("/auth/oidc/login?return=4711&challenge={challenge}")).await;
    assert_eq!(told.status, 302);
    let to = told.header("location");
    assert!(to.starts_with("http://127.0.0.1:4711/callback?error=oidc_"), "{to}");
    assert_eq!(accounts(&gateway).await, ["admin"]);
}

#[tokio::test]
async fn a_key_that_is_not_known_is_looked_for_once() {
    let liar = Liar::start().await;
    let gateway = liar.gateway(Gateway::builder()).start().await;
    assert_eq!(liar.keys_asked(), 0, "keys are read when they are needed");
    assert_eq!(liar.log_in(&gateway).await.status, 200);
    assert_eq!(liar.keys_asked(), 1);
    liar.lies(Lie::UnknownKey);
    let answer = liar.log_in(&gateway).await;
    assert_eq!((refusal(&answer), liar.keys_asked()), ((401, "oidc_token".to_owned()), 2));
    liar.lies(Lie::NewKey);
    assert_eq!(liar.log_in(&gateway).await.status, 200, "a new key is found");
    assert_eq!(liar.keys_asked(), 3);
    assert_eq!(liar.log_in(&gateway).await.status, 200);
    assert_eq!(liar.keys_asked(), 3, "and kept");
    assert_nothing_is_told(&liar, &gateway, &[]);
}
