//! Saved logins, and how they are renewed.

use super::*;
use crate::api::Role;
use crate::api::http::User;
use crate::client::test_server;

const URL: &str = "http://127.0.0.1:8001";

fn login(token: &str) -> LoginResponse {
    serde_json::from_value(serde_json::json!({
        "access_token": token, "token_type": "bearer", "expires_in": 60,
        "refresh_token": format!("refresh-{token}"), "refresh_expires_in": 600,
        "user": User { id: "1".into(), username: "alice".into(), role: Role::User },
    }))
    .unwrap()
}

fn save_to(path: &Path, url: &str, token: &str, now: u64) {
    change(path, url, Some(SavedToken::of(&login(token), now)), now).unwrap();
}

fn refused(path: &Path, url: &str, now: u64) -> Failure {
    load_from(path.to_owned(), url, now).err().unwrap()
}

#[test]
fn a_saved_token_is_private_and_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cc-gateway/token.json");
    save_to(&path, URL, "one", 1_000);
    save_to(&path, URL, "two", 1_000);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let found = load_from(path.clone(), "http://127.0.0.1:8001/", 1_059).unwrap();
    assert_eq!(found.read().unwrap().access_token, "two");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left there");
}

#[test]
fn a_token_is_never_given_to_another_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token.json");
    save_to(&path, URL, "one", 1_000);
    assert_eq!(refused(&path, "http://elsewhere:8001", 1_000).code, NOT_AUTHORISED);
}

#[test]
fn a_login_that_has_ended_is_told_and_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token.json");
    save_to(&path, URL, "one", 1_000);
    assert!(load_from(path.clone(), URL, 1_599).is_ok(), "its refresh token still serves");
    assert!(refused(&path, URL, 1_600).message.contains("has ended"));
    // One of an older version, which has no refresh token, ends with its access token.
    let old = r#"{"tokens":{"http://127.0.0.1:8001":{"username":"a","access_token":"t","expires_at":1060}}}"#;
    fs::write(&path, old).unwrap();
    assert!(load_from(path.clone(), URL, 1_059).is_ok());
    assert!(refused(&path, URL, 1_060).message.contains("has ended"));
}

#[test]
fn a_file_that_others_can_read_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token.json");
    save_to(&path, URL, "one", 1_000);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&path, URL, 1_000).message.contains("chmod 600"));
}

#[test]
fn a_damaged_file_is_told_and_replaced_by_the_next_login() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token.json");
    write(&path, b"{\"tokens\":").unwrap();
    assert!(refused(&path, URL, 1_000).message.contains("`cc-gateway login` replaces it"));
    assert!(change(&path, URL, None, 1_000).is_err(), "there is nothing to forget");
    save_to(&path, URL, "one", 1_000);
    assert_eq!(load_from(path, URL, 1_000).unwrap().read().unwrap().access_token, "one");
}

#[test]
fn without_a_file_one_is_not_logged_in() {
    let directory = tempfile::tempdir().unwrap();
    let failure = refused(&directory.path().join("token.json"), URL, 1);
    assert_eq!(failure.code, NOT_AUTHORISED);
    assert!(failure.message.contains("cc-gateway login"));
}

async fn answering(status: &str, body: &str) -> (String, impl Future<Output = String> + use<>) {
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (url, request) = test_server::answer_http_once(&answer).await;
    (url, async { request.await.unwrap() })
}

#[tokio::test]
async fn a_token_that_ends_is_renewed_once_for_all_who_ask_and_saved_before_it_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token.json");
    let (url, request) = answering("200 OK", &serde_json::to_string(&login("new")).unwrap()).await;
    let now = time::now_seconds();
    save_to(&path, &url, "old", now - 50);
    let [one, two] = [(), ()].map(|()| load_from(path.clone(), &url, now).unwrap());
    // The gateway answers but once: a second renewal would fail.
    let (one, two) = tokio::join!(one.token(), two.token());
    assert_eq!((one.unwrap().expose_secret(), two.unwrap().expose_secret()), ("new", "new"));
    let request = request.await;
    assert!(request.starts_with("POST /auth/refresh ") && request.contains("refresh-old"), "{request}");
    let saved = load_from(path, &url, now).unwrap().read().unwrap();
    assert_eq!((saved.access_token.as_str(), saved.refresh_token.as_deref()), ("new", Some("refresh-new")));
}

#[tokio::test]
async fn a_token_that_the_gateway_refuses_is_renewed_though_it_seems_good() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token.json");
    let (url, _request) = answering("200 OK", &serde_json::to_string(&login("new")).unwrap()).await;
    let now = time::now_seconds();
    save_to(&path, &url, "old", now);
    let source = load_from(path, &url, now).unwrap();
    assert_eq!(source.token().await.unwrap().expose_secret(), "old");
    assert_eq!(source.renewed().await.unwrap().unwrap().expose_secret(), "new");
}

#[tokio::test]
async fn a_login_that_the_gateway_has_ended_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token.json");
    let (url, _request) = answering("401 Unauthorized", "{}").await;
    let now = time::now_seconds();
    save_to(&path, &url, "old", now - 50);
    let source = load_from(path.clone(), &url, now).unwrap();
    let ClientError::Token(message) = source.token().await.unwrap_err() else { panic!("another error") };
    assert!(message.contains("has ended") && message.contains("cc-gateway login"), "{message}");
    assert!(refused(&path, &url, now).message.contains("not logged in"));
}
