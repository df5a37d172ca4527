//! `serve` when it can't start: what it must not have changed then, which code it ends with; and the first password.

use std::path::Path;

use crate::support::program::{as_operator, cc_gateway, with_full_output};
use crate::support::{Gateway, http};

/// A gateway's own environment in that directory, with these settings changed.
fn environment(directory: &Path, changed: &[(&str, &str)]) -> Vec<(String, String)> {
    let path = |name: &str| directory.join(name).display().to_string();
    let mut settings = vec![
        ("DATA_DIR", path("data")),
        ("WORKSPACE_ROOTS", path("workspaces")),
        ("CLAUDE_CONFIG_DIR", path("claude")),
        ("HTTP_LISTEN", "127.0.0.1:0".to_owned()),
        ("WS_LISTEN", "127.0.0.1:0".to_owned()),
    ];
    for (name, value) in changed {
        settings.retain(|(known, _)| known != name);
        settings.push((name, (*value).to_owned()));
    }
    settings.into_iter().map(|(name, value)| (format!("CC_GATEWAY_{name}"), value)).collect()
}

/// The password that a first start has shown.
async fn shown_password(gateway: &Gateway) -> String {
    crate::support::eventually("the password", || {
        let text = std::fs::read_to_string(gateway.path("ready.json")).unwrap();
        Some(text.split("the password ").nth(1)?.split(' ').next()?.to_owned())
    })
    .await
}

#[tokio::test]
async fn a_start_that_finds_its_port_taken_changes_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for listener in ["HTTP_LISTEN", "WS_LISTEN"] {
        let directory = tempfile::tempdir().unwrap();
        let refused = cc_gateway(&["serve"], &environment(directory.path(), &[(listener, &address)]), "").await;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
        assert!(refused.stderr.contains(&format!("can't listen on {address}")), "{refused:?}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "{listener}");
    }
}

#[tokio::test]
async fn a_first_password_that_could_not_be_shown_is_made_again() {
    let builder = Gateway::builder().setting("admin_password_file", "");
    let (code, log) = with_full_output(&["serve"], &environment(builder.directory(), &[])).await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("the next start makes another password"), "{log}");

    let mut gateway = builder.start().await;
    let password = shown_password(&gateway).await;
    assert!(http::login(gateway.http, "admin", &password).await.is_ok());
    gateway.stop().await;
}

#[tokio::test]
async fn settings_that_can_never_serve_end_with_78_and_make_no_account() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key.pem");
    std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    let nowhere = directory.path().join("nowhere").display().to_string();
    for changed in [
        ("AGENT_USER", "no-such-user-here"),
        ("ADMIN_PASSWORD_FILE", &nowhere),
        ("SIGNING_KEY_FILE", &key.display().to_string()),
        ("STORE_URL", "redis://127.0.0.1:99999"),
    ] {
        let environment = environment(directory.path(), &[changed]);
        let refused = cc_gateway(&["serve"], &environment, "").await;
        assert_eq!(refused.code, Some(78), "{changed:?} {refused:?}");
    }
    let listed = cc_gateway(&["user", "list", "--json"], &environment(directory.path(), &[]), "").await;
    assert_eq!(listed.stdout.trim(), "[]", "{listed:?}");
}

#[tokio::test]
async fn a_start_without_anybody_who_can_manage_accounts_says_how_to_make_one() {
    let builder = Gateway::builder();
    let environment = environment(builder.directory(), &[]);
    let added = cc_gateway(&["user", "add", "alice"], &environment, "").await;
    assert_eq!(added.code, Some(0), "{added:?}");
    assert!(added.stderr.contains("No account can manage accounts"), "{added:?}");
    let mut gateway = builder.start().await;
    assert!(gateway.log().contains("no account can manage accounts"), "{}", gateway.log());
    gateway.stop().await;
    let added = as_operator(&gateway, &["user", "add", "ada", "--role", "admin"]).await;
    assert_eq!((added.code, added.stderr.as_str()), (Some(0), ""), "{added:?}");
    let before = gateway.log().matches("no account can manage accounts").count();
    gateway.restart().await;
    assert_eq!(gateway.log().matches("no account can manage accounts").count(), before);
    gateway.stop().await;
    let disabled = as_operator(&gateway, &["user", "disable", "ada"]).await;
    assert_eq!(disabled.code, Some(0), "{disabled:?}");
    assert!(disabled.stderr.contains("No account can manage accounts"), "{disabled:?}");
}

#[tokio::test]
async fn a_secret_that_nobody_could_read_is_a_failure_that_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let environment = environment(directory.path(), &[]);
    for (arguments, advice) in [
        (&["user", "add", "alice"][..], "`cc-gateway user password alice`"),
        (&["user", "password", "alice"], "`cc-gateway user password alice`"),
        (&["user", "invite"], "make another"),
        (&["keys", "add", "alice", "ci"], "revoke it"),
        (&["user", "list"], "can't be written"),
        (&["config"], "can't be written"),
    ] {
        let (code, said) = with_full_output(arguments, &environment).await;
        assert_eq!(code, Some(1), "{arguments:?} {said}");
        assert!(said.contains("the output can't be written") && said.contains(advice), "{arguments:?} {said}");
    }
}
