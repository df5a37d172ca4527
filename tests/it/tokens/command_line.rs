//! `cc-gateway login` and `logout`: a login that renews itself, and its end.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::Gateway;
use crate::support::program::{caller_environment, cc_gateway};

#[tokio::test]
async fn a_saved_login_is_renewed_when_its_token_has_ended_and_ends_with_a_logout() {
    // Shorter than what a command wants left of a token (30 s), and longer than any command here takes.
    let mut gateway = Gateway::builder().setting("access_token_seconds", 20).start().await;
    let env = caller_environment(&gateway);
    let password = gateway.path("admin-password").display().to_string();
    let done = cc_gateway(&["login", "--username", "admin", "--password-file", &password], &env, "").await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let file = gateway.path("caller-home").join(".config/cc-gateway/token.json");
    let saved = || -> Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };
    let first = saved();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // Its token is as good as over from the start; several commands at once renew it one after the other.
    let listing = || cc_gateway(&["sessions", "--json"], &env, "");
    let (one, two, three) = tokio::join!(listing(), listing(), listing());
    for done in [one, two, three] {
        assert_eq!(done.code, Some(0), "{done:?}");
    }
    let renewed = saved();
    assert_ne!(renewed, first);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let out = cc_gateway(&["logout"], &env, "").await;
    assert_eq!(out.code, Some(0), "{out:?}");
    assert_eq!(saved()["tokens"], serde_json::json!({}));
    assert_eq!(cc_gateway(&["sessions"], &env, "").await.code, Some(77));
    assert_eq!(cc_gateway(&["logout"], &env, "").await.code, Some(77));
    // Who has kept a copy has nothing.
    std::fs::write(&file, renewed.to_string()).unwrap();
    let refused = cc_gateway(&["sessions"], &env, "").await;
    assert_eq!((refused.code, refused.stderr.contains("has ended")), (Some(77), true), "{refused:?}");
    gateway.stop().await;
}
