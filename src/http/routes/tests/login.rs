//! `POST /login`.

use super::*;

pub(super) async fn log_in(server: &Server, username: &str, password: &str) -> Answer {
    post(server, "/login", &json!({ "username": username, "password": password }).to_string()).await
}

async fn post(server: &Server, path: &str, body: &str) -> Answer {
    server.ask(request("POST", path, &["Content-Type: application/json"], body)).await
}

/// A house with the account `ada` and the password `secret words`.
async fn house_with_ada() -> House {
    let house = House::new();
    house.state.accounts.create("ada", "secret words".into(), Role::User).await.unwrap();
    house
}

#[tokio::test]
async fn the_right_password_gives_a_token_that_serves_at_both_routes() {
    let house = house_with_ada().await;
    let server = house.serve().await;
    for path in ["/login", "/auth/login"] {
        let answer = post(&server, path, r#"{"username":"ada","password":"secret words"}"#).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let body = answer.json();
        assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(1_800)));
        assert_eq!((&body["user"]["username"], &body["user"]["role"]), (&json!("ada"), &json!("user")));
        let principal = house.state.tokens.verify(body["access_token"].as_str().unwrap()).unwrap();
        assert_eq!(body["user"]["id"], principal.subject);
    }
    server.stop().await;
}

#[tokio::test]
async fn c7_a_wrong_password_and_an_unknown_name_get_the_same_answer_until_the_name_is_throttled() {
    let house = house_with_ada().await;
    let server = house.serve().await;
    let wrong = log_in(&server, "ada", "wrong words").await;
    let unknown = log_in(&server, "nobody", "wrong words").await;
    is_problem(&wrong, 401);
    assert_eq!((wrong.status, &wrong.body), (unknown.status, &unknown.body));
    assert_eq!(wrong.header("www-authenticate"), Some("Bearer"));
    assert_eq!(unknown.header("www-authenticate"), Some("Bearer"));

    // The settings of these tests allow a name three failures.
    for _ in 0..2 {
        is_problem(&log_in(&server, "ada", "wrong words").await, 401);
    }
    let throttled = log_in(&server, "ada", "secret words").await;
    is_problem(&throttled, 429);
    assert!((1..=60).contains(&throttled.header("retry-after").unwrap().parse().unwrap()));
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_not_json_is_400_and_one_of_another_form_is_422_and_neither_is_repeated() {
    let house = House::new();
    let server = house.serve().await;
    for body in ["", "canary", "{\"username\":\"canary\"", "\u{feff}{}"] {
        let answer = post(&server, "/login", body).await;
        is_problem(&answer, 400);
        assert!(!answer.body.contains("canary"), "{answer:?}");
    }
    for body in [
        "{}",
        "[]",
        "null",
        r#"{"username":"a"}"#,
        r#"{"username":"canary","password":7}"#,
        r#"{"username":"a","password":"b","canary":1}"#,
        r#"{"username":"a","username":"canary","password":"b"}"#,
    ] {
        let answer = post(&server, "/login", body).await;
        is_problem(&answer, 422);
        assert!(!answer.body.contains("canary"), "{answer:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_not_called_json_is_415() {
    let house = House::new();
    let server = house.serve().await;
    let body = r#"{"username":"ada","password":"x"}"#;
    for kind in [&[][..], &["Content-Type: text/plain"], &["Content-Type: application/x-www-form-urlencoded"]] {
        is_problem(&server.ask(request("POST", "/login", kind, body)).await, 415);
    }
    server.stop().await;
}
