//! `POST /auth/refresh`, `/auth/logout`, `/auth/ticket`, and the keys.

use super::*;

async fn post(server: &Server, path: &str, bearer: Option<&str>, headers: &[&str], body: &str) -> Answer {
    let bearer = bearer.map(|token| format!("Authorization: Bearer {token}"));
    let mut all: Vec<&str> = headers.to_vec();
    all.extend(bearer.as_deref());
    if !body.is_empty() {
        all.push("Content-Type: application/json");
    }
    server.ask(request("POST", path, &all, body)).await
}

async fn refresh(server: &Server, token: &str) -> Answer {
    post(server, "/auth/refresh", None, &[], &json!({ "refresh_token": token }).to_string()).await
}

/// A house with `ada`, and what she got when she logged in.
async fn logged_in() -> (House, Server, serde_json::Value) {
    let house = House::new();
    house.state.accounts.create("ada", "secret words".into(), Role::User).await.unwrap();
    let server = house.serve().await;
    let body = r#"{"username":"ada","password":"secret words"}"#;
    let answer = post(&server, "/login", None, &[], body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let pair = answer.json();
    (house, server, pair)
}

fn text<'a>(pair: &'a serde_json::Value, name: &str) -> &'a str {
    pair[name].as_str().unwrap()
}

#[tokio::test]
async fn a_refresh_token_gives_the_next_pair_once_and_its_reuse_ends_the_login() {
    let (house, server, first) = logged_in().await;
    assert_eq!(first["refresh_expires_in"], 30 * 86_400);
    let second = refresh(&server, text(&first, "refresh_token")).await;
    assert_eq!((second.status, second.header("cache-control")), (200, Some("no-store")));
    let second = second.json();
    assert_eq!(second["user"], first["user"]);
    let old = house.state.tokens.verify(text(&first, "access_token")).unwrap();
    let new = house.state.tokens.verify(text(&second, "access_token")).unwrap();
    assert_eq!((&old.login, &old.scopes), (&new.login, &new.scopes));
    assert_ne!(old.token_id, new.token_id);

    let reused = refresh(&server, text(&first, "refresh_token")).await;
    is_problem(&reused, 401);
    let after = refresh(&server, text(&second, "refresh_token")).await;
    is_problem(&after, 401);
    let unknown = refresh(&server, "ccgr_nothing").await;
    assert_eq!((&reused.body, &after.body), (&unknown.body, &unknown.body), "nobody learns which it was");
    for pair in [&first, &second] {
        let ticket = post(&server, "/auth/ticket", Some(text(pair, "access_token")), &[], "").await;
        is_problem(&ticket, 401);
    }
    server.stop().await;
}

#[tokio::test]
async fn c5_a_logout_ends_its_login_by_either_token_and_no_other() {
    let (house, server, one) = logged_in().await;
    let again = || async {
        let body = r#"{"username":"ada","password":"secret words"}"#;
        post(&server, "/login", None, &[], body).await.json()
    };
    let (two, three) = (again().await, again().await);
    let ticket = async |pair: &serde_json::Value| {
        post(&server, "/auth/ticket", Some(text(pair, "access_token")), &[], "").await.status
    };
    let out = post(&server, "/auth/logout", Some(text(&one, "access_token")), &[], "").await;
    assert_eq!((out.status, out.json()), (200, json!({ "status": "logged_out" })));
    is_problem(&post(&server, "/auth/logout", Some(text(&one, "access_token")), &[], "").await, 401);
    is_problem(&refresh(&server, text(&one, "refresh_token")).await, 401);
    assert_eq!((ticket(&one).await, ticket(&two).await), (401, 200));
    // By the refresh token alone; and a second time, which changes nothing.
    let body = json!({ "refresh_token": two["refresh_token"] }).to_string();
    for _ in 0..2 {
        assert_eq!(post(&server, "/auth/logout", None, &[], &body).await.status, 200);
    }
    assert_eq!((ticket(&two).await, ticket(&three).await), (401, 200));
    is_problem(&post(&server, "/auth/logout", None, &[], "").await, 401);
    is_problem(&post(&server, "/auth/logout", None, &[], "{}").await, 401);
    is_problem(&post(&server, "/auth/logout", None, &[], "{").await, 400);
    is_problem(&post(&server, "/auth/logout", None, &[], r#"{"x":1}"#).await, 422);

    house.store.close().await;
    is_problem(&post(&server, "/auth/logout", Some(text(&three, "access_token")), &[], "").await, 503);
    is_problem(&refresh(&server, text(&three, "refresh_token")).await, 503);
    server.stop().await;
}

#[tokio::test]
async fn c5_a_disabled_account_renews_nothing() {
    let (house, server, pair) = logged_in().await;
    house.state.accounts.set_disabled("ada", true).await.unwrap();
    is_problem(&refresh(&server, text(&pair, "refresh_token")).await, 401);
    house.state.accounts.set_disabled("ada", false).await.unwrap();
    is_problem(&refresh(&server, text(&pair, "refresh_token")).await, 401);
    is_problem(&post(&server, "/auth/ticket", Some(text(&pair, "access_token")), &[], "").await, 401);
    server.stop().await;
}

#[tokio::test]
async fn a_ticket_is_for_the_page_that_asks_or_for_a_listed_one() {
    let (_house, server, pair) = logged_in().await;
    let token = text(&pair, "access_token");
    let page = format!("Origin: {PAGE}");
    let page = page.as_str();
    let ask = async |headers: &[&str], body: &str| post(&server, "/auth/ticket", Some(token), headers, body).await;
    let named = json!({ "origin": PAGE }).to_string();
    for (headers, body) in [(&[][..], ""), (&[], "{}"), (&[], &named), (&[page], ""), (&[page], &named)] {
        let answer = ask(headers, body).await;
        assert_eq!(answer.status, 200, "{headers:?} {body}");
        assert_eq!((text(&answer.json(), "ticket").len(), &answer.json()["expires_in"]), (43, &json!(30)));
    }
    let evil = json!({ "origin": "https://evil.example" }).to_string();
    for (headers, body) in [(&[][..], evil.as_str()), (&[page], &evil), (&["Origin: https://evil.example"], "")] {
        is_problem(&ask(headers, body).await, 403);
    }
    is_problem(&post(&server, "/auth/ticket", None, &[], "").await, 401);
    server.stop().await;
}

#[tokio::test]
async fn a_secret_is_not_among_the_published_keys() {
    let house = House::new();
    let server = house.serve().await;
    let keys = get(&server, "/.well-known/jwks.json").await;
    assert_eq!((keys.status, keys.json()), (200, json!({ "keys": [] })));
    assert_eq!(keys.header("cache-control"), Some("public, max-age=300"));
    server.stop().await;
}
