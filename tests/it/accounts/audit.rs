//! What the audit log tells, and that it tells no secret.

use serde_json::{Value, json};

use super::{PASSWORD, account};
use crate::support::gateway::ADMIN_PASSWORD;
use crate::support::{Client, Gateway, http};

/// Every entry, the oldest first, once `count` of them are there.
async fn entries(admin: &mut Client, params: Value, count: usize) -> Vec<Value> {
    let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
    loop {
        let mut page = admin.ok("audit.list", params.clone()).await["entries"].as_array().unwrap().clone();
        page.reverse();
        if page.len() >= count {
            return page;
        }
        assert!(tokio::time::Instant::now() < deadline, "{count} entries in vain: {page:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn told(entry: &Value) -> (String, String) {
    (entry["action"].as_str().unwrap().to_owned(), entry["outcome"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn who_did_what_is_in_the_audit_log_and_what_was_said_is_not() {
    let mut gateway = Gateway::builder().setting("shared_uid_accepted", true).start().await;
    let mut admin = gateway.client().await;
    let (ada, bob) = (account(&gateway, &mut admin, "ada").await, account(&gateway, &mut admin, "bob").await);
    assert!(http::login(gateway.http, "ada", "canary-wrong-password").await.is_err());
    assert!(http::login(gateway.http, "canary-typed-as-a-name", "x").await.is_err());
    let mut owner = Client::connect(gateway.ws, "/ws", &ada).await;
    let session = owner.start(json!({"prompt": "canary-prompt-33d1"})).await;
    owner.until_ended(session).await;
    for _ in 0..3 {
        owner.ok("session.events", json!({"session_id": session})).await;
        owner.ok("session.get", json!({"session_id": session})).await;
    }
    let mut other = Client::connect(gateway.ws, "/ws", &bob).await;
    other.error("session.stop", json!({"session_id": session})).await;
    other.error("account.list", json!({})).await;
    let key = owner.ok("key.create", json!({"name": "ci"})).await;
    let secret = key["api_key"].as_str().unwrap().to_owned();
    assert_eq!(http::post(gateway.http, "/login", &json!({"api_key": secret})).await.status, 200);
    let code = admin.ok("account.invite", json!({})).await["code"].as_str().unwrap().to_owned();

    let expected: [(&str, &str, &str); 16] = [
        ("admin", "login", "ok"),
        ("admin", "account.create", "ok"),
        ("ada", "login", "ok"),
        ("admin", "account.create", "ok"),
        ("bob", "login", "ok"),
        ("ada", "login", "refused"),
        ("", "login", "refused"),
        ("ada", "session.start", "ok"),
        ("ada", "session.events", "ok"),
        ("bob", "session.stop", "no_such_session"),
        ("bob", "account.list", "unauthorised"),
        ("ada", "key.create", "ok"),
        ("ada", "login.key", "ok"),
        ("admin", "account.invite", "ok"),
        ("admin", "audit.list", "ok"),
        ("admin", "audit.list", "ok"),
    ];
    let found = entries(&mut admin, json!({}), expected.len()).await;
    let lines: Vec<(&str, String, String)> = found
        .iter()
        .take(expected.len() - 2)
        .map(|entry| (entry["username"].as_str().unwrap_or_default(), told(entry).0, told(entry).1))
        .collect();
    let wanted: Vec<_> =
        expected[..14].iter().map(|(who, what, how)| (*who, (*what).to_owned(), (*how).to_owned())).collect();
    assert_eq!(lines, wanted);
    assert_eq!(found[1]["target"], "ada");
    assert_eq!(found[11]["target"], key["key"]["id"]);
    assert_eq!(found[5]["address"], "127.0.0.1");
    for place in [7, 8, 9] {
        assert_eq!(found[place]["session_id"], json!(session), "{}", found[place]);
    }
    // By session, by account, by action, in pages.
    let of_session = entries(&mut admin, json!({"session_id": session}), 3).await;
    assert_eq!(of_session, found[7..10]);
    let id = found[7]["account_id"].clone();
    let of_ada = entries(&mut admin, json!({"account_id": id, "action": "login"}), 2).await;
    assert_eq!(of_ada, [found[2].clone(), found[5].clone()]);
    let page = admin.ok("audit.list", json!({"limit": 2, "action": "account.create"})).await;
    assert_eq!(page["next_before"], Value::Null);
    let page = admin.ok("audit.list", json!({"limit": 1, "action": "account.create"})).await;
    let next = admin.ok("audit.list", json!({"before": page["next_before"], "action": "account.create"})).await;
    assert_eq!((&page["entries"][0], &next["entries"][0]), (&found[3], &found[1]));

    // M3: not there, and nowhere else.
    let hash = stored_hash(&gateway);
    gateway.stop().await;
    let told = serde_json::to_string(&found).unwrap();
    let canaries = [ADMIN_PASSWORD, PASSWORD, "canary-wrong-password", "canary-typed-as-a-name", "canary-prompt-33d1"];
    for canary in canaries.into_iter().chain([secret.as_str(), code.as_str(), hash.as_str(), ada.as_str()]) {
        assert!(!told.contains(canary), "the audit log tells {canary}");
        assert!(!gateway.log().contains(canary), "the log tells {canary}");
    }
}

/// The password hash of an account, as it stands in the store.
fn stored_hash(gateway: &Gateway) -> String {
    let file = gateway.path("data").join("gateway.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let store = rusqlite::Connection::open_with_flags(file, flags).expect("the store");
    store.query_row("SELECT password_hash FROM accounts LIMIT 1", [], |row| row.get(0)).expect("an account")
}

#[tokio::test]
async fn m3_no_credential_is_in_the_metrics_the_process_list_or_an_error() {
    let mut gateway = Gateway::builder().start().await;
    let mut admin = gateway.client().await;
    let token = account(&gateway, &mut admin, "ada").await;
    let mut ada = Client::connect(gateway.ws, "/ws", &token).await;
    let key = ada.ok("key.create", json!({"name": "ci"})).await["api_key"].as_str().unwrap().to_owned();
    let code = admin.ok("account.invite", json!({})).await["code"].as_str().unwrap().to_owned();
    let hash = stored_hash(&gateway);
    let secrets = [ADMIN_PASSWORD, PASSWORD, &key, &code, &hash, &token];
    let mut told = vec![http::get(gateway.http, "/metrics").await.text()];
    told.push(crate::support::proc::command_line(gateway.pid()));
    for secret in secrets {
        for (path, body) in [
            ("/login", json!({"username": secret, "password": secret})),
            ("/login", json!({"api_key": format!("{secret}x")})),
            ("/login", json!({"api_key": secret, "more": secret})),
            ("/auth/accept", json!({"code": format!("{secret}x"), "username": "eve", "password": secret})),
            ("/auth/accept", json!({"code": secret, "username": secret, "password": secret, "more": secret})),
            ("/auth/password", json!({"username": secret, "password": secret, "new_password": secret})),
        ] {
            let answer = http::post(gateway.http, path, &body).await;
            assert!(answer.status.is_client_error(), "{path}: {}", answer.text());
            told.push(answer.text());
        }
        let headers = [("authorization", format!("Bearer {secret}x"))];
        told.push(Client::try_connect(gateway.ws, "/ws", &headers).await.err().unwrap().body);
        told.push(admin.error("account.create", json!({"username": "ada", "password": secret})).await.to_string());
        told.push(admin.error("account.update", json!({"username": "eve", "password": secret})).await.to_string());
        told.push(admin.error("key.revoke", json!({"key_id": secret})).await.to_string());
    }
    gateway.stop().await;
    told.push(gateway.log());
    for text in told {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} is told: {}", &text[..text.len().min(2_000)]);
        }
    }
}
