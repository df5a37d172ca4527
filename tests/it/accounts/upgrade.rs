//! Accounts that an older version has kept: they log in, and may do what their role says.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::PASSWORD;
use crate::support::gateway::ADMIN_PASSWORD;
use crate::support::{Client, Gateway, http};

/// A gateway that finds the store of that form: with the admin `root`, the user `ada`, and `gone`, who is disabled.
async fn on_store_of_form(form: usize) -> Gateway {
    let builder = Gateway::builder();
    let data = builder.directory().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/store/form-{form}.sql"));
    let file = Connection::open(data.join("gateway.db")).unwrap();
    file.execute_batch(&std::fs::read_to_string(dump).unwrap()).unwrap();
    drop(file);
    std::fs::set_permissions(data.join("gateway.db"), std::fs::Permissions::from_mode(0o600)).unwrap();
    builder.setting("shared_uid_accepted", true).start().await
}

/// The account's role as its login tells, and its connection.
async fn log_in(gateway: &Gateway, name: &str, password: &str) -> (Value, Client) {
    let answer = http::post(gateway.http, "/login", &json!({"username": name, "password": password})).await;
    assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    let answer = answer.json();
    let token = answer["access_token"].as_str().unwrap();
    (answer["user"]["role"].clone(), Client::connect(gateway.ws, "/ws", token).await)
}

async fn is_refused(gateway: &Gateway, name: &str, password: &str) {
    let answer = http::login(gateway.http, name, password).await.expect_err("a refusal");
    assert_eq!(answer.status, 401, "{name}");
}

/// What holds of these accounts, now and after a restart.
async fn they_serve(gateway: &Gateway) {
    let (role, mut root) = log_in(gateway, "root", PASSWORD).await;
    assert_eq!(role, "admin");
    let (role, mut ada) = log_in(gateway, "ada", PASSWORD).await;
    assert_eq!(role, "user");
    is_refused(gateway, "gone", PASSWORD).await;
    is_refused(gateway, "ada", ADMIN_PASSWORD).await;
    // There were accounts, so no first admin was made.
    is_refused(gateway, "admin", ADMIN_PASSWORD).await;
    let listed = root.ok("account.list", json!({})).await["accounts"].clone();
    let told = listed.as_array().unwrap().iter().map(|account| {
        let row = |name: &str| account[name].clone();
        json!([row("username"), row("role"), row("scopes"), row("disabled"), row("password_changed_at")])
    });
    let user = json!(["run", "watch", "control"]);
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            json!(["ada", "user", user, false, null]),
            json!(["gone", "user", user, true, null]),
            json!(["root", "admin", ["run", "watch", "control", "raw", "admin"], false, null]),
        ],
    );
    // What they may do is not only told.
    assert_eq!(ada.error("account.list", json!({})).await["code"], -32005);
    let session = ada.start(json!({"prompt": "say hello"})).await;
    ada.until_ended(session).await;
    let raw = json!({"session_id": session, "message": {"type": "user"}});
    assert_eq!(ada.error("session.input", raw).await["code"], -32005);
    assert_eq!(root.ok("session.get", json!({"session_id": session})).await["state"], "ended");
    // What a store of today has is theirs, too.
    root.ok("account.update", json!({"username": "ada", "scopes": ["watch"]})).await;
    let (_, mut ada) = log_in(gateway, "ada", PASSWORD).await;
    assert_eq!(ada.error("session.start", json!({"prompt": "say hello"})).await["code"], -32005);
    root.ok("account.update", json!({"username": "ada", "scopes": user})).await;
}

async fn accounts_of_form_serve_today(form: usize) {
    let mut gateway = on_store_of_form(form).await;
    they_serve(&gateway).await;
    gateway.restart().await;
    they_serve(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn accounts_in_a_store_of_the_first_form_log_in_and_may_what_their_roles_say() {
    accounts_of_form_serve_today(1).await;
}

#[tokio::test]
async fn accounts_in_a_store_of_the_second_form_log_in_and_may_what_their_roles_say() {
    accounts_of_form_serve_today(2).await;
}

#[tokio::test]
async fn accounts_in_a_store_of_the_third_form_log_in_and_may_what_their_roles_say() {
    accounts_of_form_serve_today(3).await;
}

#[tokio::test]
async fn accounts_in_a_store_of_the_fourth_form_log_in_and_may_what_their_roles_say() {
    accounts_of_form_serve_today(4).await;
}

#[tokio::test]
async fn accounts_in_a_store_of_the_fifth_form_log_in_and_may_what_their_roles_say() {
    accounts_of_form_serve_today(5).await;
}
