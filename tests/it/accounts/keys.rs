//! API keys and invitations over the wire, and the end of what they gave.

use serde_json::{Value, json};

use super::{PASSWORD, account};
use crate::support::{Client, Gateway, http};

async fn key_login(gateway: &Gateway, key: &str) -> http::Response {
    http::post(gateway.http, "/login", &json!({"api_key": key})).await
}

#[tokio::test]
async fn a_key_logs_in_and_serves_as_a_token_until_it_is_revoked() {
    let mut gateway = Gateway::builder().start().await;
    let mut admin = gateway.client().await;
    let token = account(&gateway, &mut admin, "ada").await;
    let mut ada = Client::connect(gateway.ws, "/ws", &token).await;
    let made = ada.ok("key.create", json!({"name": "ci", "scopes": ["watch"]})).await;
    let (key, id) = (made["api_key"].as_str().unwrap().to_owned(), made["key"]["id"].clone());
    let listed = ada.ok("key.list", json!({})).await;
    assert_eq!((&listed["keys"][0]["id"], listed["keys"].as_array().unwrap().len()), (&id, 1));
    assert!(!listed.to_string().contains(&key), "it is told once");

    let login = key_login(&gateway, &key).await;
    assert_eq!(login.status, 200, "{}", login.text());
    assert_eq!((&login.json()["refresh_token"], &login.json()["user"]["username"]), (&Value::Null, &json!("ada")));
    let access = login.json()["access_token"].as_str().unwrap().to_owned();
    let mut sockets = Vec::new();
    for token in [&access, &key] {
        let mut client = Client::connect(gateway.ws, "/ws", token).await;
        client.ok("session.list", json!({})).await;
        assert_eq!(client.error("session.start", json!({"prompt": "p"})).await["code"], -32005);
        let refused = client.error("key.create", json!({"name": "another"})).await;
        assert_eq!(refused["data"]["kind"], "not_allowed", "a key makes no keys: {refused}");
        sockets.push(client);
    }
    // Another's key looks like none, and admins see all.
    let bob = account(&gateway, &mut admin, "bob").await;
    let mut bob = Client::connect(gateway.ws, "/ws", &bob).await;
    let refused = bob.error("key.revoke", json!({"key_id": id})).await;
    assert_eq!(refused, bob.error("key.revoke", json!({"key_id": "0"})).await);
    assert_eq!(bob.error("key.list", json!({"username": "ada"})).await["code"], -32005);
    assert_eq!(admin.ok("key.list", json!({"username": "ada"})).await, listed);

    ada.ok("key.revoke", json!({"key_id": id})).await;
    for mut socket in sockets {
        assert_eq!(socket.until_closed().await.code, Some(4001));
    }
    assert_eq!(key_login(&gateway, &key).await.status, 401);
    for token in [&access, &key] {
        let headers = [("authorization", format!("Bearer {token}"))];
        assert_eq!(Client::try_connect(gateway.ws, "/ws", &headers).await.err().unwrap().status, 401);
    }
    ada.ok("server.info", json!({})).await;
    gateway.stop().await;
}

#[tokio::test]
async fn nobody_makes_a_key_that_may_more_than_its_maker() {
    let mut gateway = Gateway::builder().start().await;
    let mut admin = gateway.client().await;
    let token = account(&gateway, &mut admin, "ada").await;
    let mut ada = Client::connect(gateway.ws, "/ws", &token).await;
    for scopes in [json!(["admin"]), json!(["run", "raw"]), json!([])] {
        let refused = ada.error("key.create", json!({"name": "k", "scopes": scopes})).await;
        assert_eq!(refused["code"], -32602, "{refused}");
    }
    // Not even an admin gives an account what it has not.
    let refused = admin.error("key.create", json!({"name": "k", "username": "ada", "scopes": ["raw"]})).await;
    assert_eq!(refused["code"], -32602, "{refused}");
    let made = admin.ok("key.create", json!({"name": "k", "username": "ada", "expires_in_seconds": 3600})).await;
    assert_eq!(made["key"]["scopes"], json!(["run", "watch", "control"]));
    gateway.stop().await;
}

#[tokio::test]
async fn an_invitation_makes_an_account_that_is_logged_in_at_once() {
    let mut gateway = Gateway::builder().start().await;
    let mut admin = gateway.client().await;
    let invited = admin.ok("account.invite", json!({"scopes": ["watch"]})).await;
    let body = |name: &str| json!({"code": invited["code"], "username": name, "password": PASSWORD});
    let accept = async |body: Value| http::post(gateway.http, "/auth/accept", &body).await;
    assert_eq!(accept(body("admin")).await.status, 409);
    assert_eq!(accept(json!({"code": invited["code"], "username": "ada", "password": "short"})).await.status, 422);
    assert_eq!(accept(json!({"code": "ccgi_x", "username": "ada", "password": PASSWORD})).await.status, 401);
    let accepted = accept(body("ada")).await;
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    assert_eq!(accept(body("eve")).await.status, 401, "it serves once");
    let mut ada = Client::connect(gateway.ws, "/ws", accepted.json()["access_token"].as_str().unwrap()).await;
    ada.ok("session.list", json!({})).await;
    assert_eq!(ada.error("session.start", json!({"prompt": "p"})).await["code"], -32005);
    assert!(http::login(gateway.http, "ada", PASSWORD).await.is_ok());
    gateway.stop().await;
}
