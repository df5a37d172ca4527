//! What becomes of open sockets and of tokens when an account is changed.

use serde_json::json;

use super::{PASSWORD, account};
use crate::support::{Client, Gateway, http};

async fn is_refused(gateway: &Gateway, token: &str) -> bool {
    let headers = [("authorization", format!("Bearer {token}"))];
    Client::try_connect(gateway.ws, "/ws", &headers).await.is_err_and(|refused| refused.status == 401)
}

#[tokio::test]
async fn c5_a_disabled_account_loses_its_sockets_and_its_tokens_and_others_keep_theirs() {
    let mut gateway = Gateway::builder().start().await;
    let mut admin = gateway.client().await;
    let (ada, bob) = (account(&gateway, &mut admin, "ada").await, account(&gateway, &mut admin, "bob").await);
    let mut socket = Client::connect(gateway.ws, "/ws", &ada).await;
    let mut other = Client::connect(gateway.ws, "/ws", &bob).await;
    let told = admin.ok("account.update", json!({"username": "ada", "disabled": true})).await;
    assert_eq!(told["disabled"], true);
    assert_eq!(socket.until_closed().await.code, Some(4001));
    assert!(is_refused(&gateway, &ada).await);
    assert_eq!(http::login(gateway.http, "ada", PASSWORD).await.unwrap_err().status, 401);
    other.ok("server.info", json!({})).await;
    admin.ok("account.update", json!({"username": "ada", "disabled": false})).await;
    assert!(is_refused(&gateway, &ada).await, "what was taken back stays so");
    assert!(http::login(gateway.http, "ada", PASSWORD).await.is_ok());
    gateway.stop().await;
}

#[tokio::test]
async fn c5_a_new_password_ends_what_the_old_one_gave_whoever_sets_it() {
    let mut gateway = Gateway::builder().start().await;
    let mut admin = gateway.client().await;
    let token = account(&gateway, &mut admin, "ada").await;
    let mut socket = Client::connect(gateway.ws, "/ws", &token).await;
    let body = json!({"username": "ada", "password": PASSWORD, "new_password": "another password"});
    let changed = http::post(gateway.http, "/auth/password", &body).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(socket.until_closed().await.code, Some(4001));
    assert!(is_refused(&gateway, &token).await);
    assert_eq!(http::post(gateway.http, "/auth/password", &body).await.status, 401, "the old one is none any more");
    let token = changed.json()["access_token"].as_str().unwrap().to_owned();
    let mut socket = Client::connect(gateway.ws, "/ws", &token).await;
    socket.ok("server.info", json!({})).await;

    admin.ok("account.update", json!({"username": "ada", "password": PASSWORD})).await;
    assert_eq!(socket.until_closed().await.code, Some(4001));
    assert!(is_refused(&gateway, &token).await);
    let short = json!({"username": "ada", "password": PASSWORD, "new_password": "short"});
    assert_eq!(http::post(gateway.http, "/auth/password", &short).await.status, 422);
    assert!(http::login(gateway.http, "ada", PASSWORD).await.is_ok());
    gateway.stop().await;
}

#[tokio::test]
async fn scopes_that_are_taken_away_are_taken_from_open_sockets_too() {
    let mut gateway = Gateway::builder().start().await;
    let mut admin = gateway.client().await;
    let token = account(&gateway, &mut admin, "ada").await;
    let mut socket = Client::connect(gateway.ws, "/ws", &token).await;
    let told = admin.ok("account.update", json!({"username": "ada", "scopes": ["watch"]})).await;
    assert_eq!(told["scopes"], json!(["watch"]));
    assert_eq!(socket.until_closed().await.code, Some(4001));
    let token = http::login(gateway.http, "ada", PASSWORD).await.unwrap();
    let mut socket = Client::connect(gateway.ws, "/ws", &token).await;
    assert_eq!(socket.error("session.start", json!({"prompt": "p"})).await["code"], -32005);
    let refused = admin.error("account.update", json!({"username": "ada", "scopes": ["raw"]})).await;
    assert_eq!(refused["message"], "`scopes`: the role `user` can't have the scope `raw`");
    gateway.stop().await;
}

#[tokio::test]
async fn the_last_account_that_manages_accounts_stays_one() {
    let mut gateway = Gateway::builder().start().await;
    let mut admin = gateway.client().await;
    let made = admin.ok("account.create", json!({"username": "root2", "role": "admin"})).await;
    let password = made["password"].as_str().expect("a password that is told once").to_owned();
    assert!(!admin.ok("account.list", json!({})).await.to_string().contains(&password));
    for change in [json!({"disabled": true}), json!({"role": "user"}), json!({"scopes": ["run"]})] {
        let mut change = change;
        change["username"] = json!("root2");
        admin.ok("account.update", change.clone()).await;
        change["username"] = json!("admin");
        let refused = admin.error("account.update", change).await;
        assert_eq!(refused["data"]["kind"], "not_allowed", "{refused}");
        let back = json!({"username": "root2", "disabled": false, "role": "admin", "scopes": ["run", "admin"]});
        admin.ok("account.update", back).await;
    }
    assert!(http::login(gateway.http, "root2", &password).await.is_ok());
    gateway.stop().await;
}
