//! What the gateway says about itself: metrics whose series do not grow with its users, log lines that are
//! always one JSON object, and settings whose every problem is told at once.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Gateway, http};

/// The series of `/metrics`: names with their labels, without values.
async fn series(gateway: &Gateway) -> BTreeSet<String> {
    let text = http::get(gateway.http, "/metrics").await.text();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
}

/// The same traffic each time, but with names that differ by `round`.
async fn traffic(gateway: &Gateway, round: usize) {
    let mut client = gateway.client().await;
    let name = format!("name-{round}");
    let session = client.start(json!({"prompt": "hello", "labels": {&name: &name}, "idempotency_key": &name})).await;
    client.until_ended(session).await;
    client.error(&format!("no.such.method.{round}"), json!({})).await;
    client.error("session.start", json!({"prompt": "p", "workspace": format!("/nowhere/{round}")})).await;
    client.error("session.get", json!({"session_id": uuid::Uuid::from_u128(round as u128)})).await;
    assert!(http::login(gateway.http, &name, "wrong-password").await.is_err());
    assert_eq!(http::get(gateway.http, &format!("/no/such/route/{round}")).await.status, 404);
    assert_eq!(http::get(gateway.ws, &format!("/ws/{round}")).await.status, 404);
    client.close().await;
}

#[tokio::test]
async fn m2_other_users_sessions_and_methods_add_no_series() {
    let mut gateway = Gateway::builder().setting("max_failed_logins_per_minute", 1_000).start().await;
    // The first round makes the series; it is done twice, because a close is counted after it was seen.
    traffic(&gateway, 0).await;
    traffic(&gateway, 1).await;
    // The route of the metrics is itself counted after it was answered.
    series(&gateway).await;
    let first = series(&gateway).await;
    for round in 2..12 {
        traffic(&gateway, round).await;
    }
    let added: Vec<_> = series(&gateway).await.difference(&first).cloned().collect();
    assert_eq!(added, Vec::<String>::new());
    assert!(first.iter().any(|series| series.contains("method=\"unknown\"")), "strangers' words count as unknown");
    let all = first.iter().cloned().collect::<Vec<_>>().join("\n");
    for canary in ["name-", "no.such", "nowhere", "admin"] {
        assert!(!all.contains(canary), "a label holds what a caller sent: {canary}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn no_log_line_holds_the_debug_form_of_a_value() {
    let mut gateway = Gateway::builder().start().await;
    gateway.client().await.close().await;
    assert_eq!(http::get(gateway.ws, "/ws").await.status, 426);
    gateway.stop().await;
    let log = gateway.log();
    for form in ["Some(", "\"None\""] {
        let line = log.lines().find(|line| line.contains(form));
        assert_eq!(line, None, "{form}");
    }
    for field in [r#""address":"127.0.0.1""#, r#""method":"none""#] {
        assert!(log.contains(field), "{field}: {log}");
    }
}

#[tokio::test]
async fn m4_whatever_a_name_holds_each_log_line_is_one_json_object() {
    let mut gateway = Gateway::builder().setting("log_filter", "debug,hyper=info,h2=info").start().await;
    let mut client = gateway.client().await;
    let evil = "a\nb\r\u{1b}[31m\u{0}\u{2028}\"},{\"level\":\"ERROR\"";
    assert!(http::login(gateway.http, evil, evil).await.is_err());
    client.error(evil, json!({"x": evil})).await;
    client.error("session.start", json!({"prompt": evil})).await;
    client.error("session.start", json!({"prompt": "p", "workspace": evil})).await;
    let plain = evil.replace('\0', "");
    let session = client.start(json!({"prompt": plain, "labels": {"evil": plain}, "model": "m\nn"})).await;
    client.until_ended(session).await;
    client.ok("session.list", json!({"label": format!("evil={plain}")})).await;
    gateway.stop().await;
    let log = gateway.log();
    assert!(log.lines().count() > 5);
    for line in log.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not one JSON object: {line:?}"));
        assert!(object["level"].is_string() && object["timestamp"].is_string(), "{line}");
        assert!(!line.contains('\u{1b}'), "an escape code reached the log: {line:?}");
    }
}

/// Runs `cc-gateway serve` with settings that can't work; its exit code and complaints.
async fn refused(env: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_cc-gateway"))
        .arg("serve")
        .args(arguments)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the program runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn c3_every_problem_with_the_settings_is_told_in_one_run_with_exit_78() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("settings.toml");
    std::fs::write(&file, "[sessions]\nmax_sesions = 5\n[nonsense]\nx = 1\n[log]\nlog_format = \"loud\"\n")
        .expect("a file");
    let short = "x".repeat(31);
    let env = [
        ("HOME", directory.path().to_str().expect("a path")),
        ("CC_GATEWAY_JWT_SECRET", short.as_str()),
        ("CC_GATEWAY_STORE_URL", "nosuch://place"),
        ("CC_GATEWAY_NO_SUCH_SETTING", "1"),
        ("CC_GATEWAY_MAX_SESSIONS", "lots"),
        ("CC_GATEWAY_HTTP_LISTEN", "nowhere"),
    ];
    let arguments = ["--config", file.to_str().expect("a path"), "--set", "token_leeway_seconds=99"];
    let (code, said) = refused(&env, &arguments).await;
    assert_eq!(code, Some(78), "{said}");
    for part in [
        "max_sesions",
        "nonsense",
        "log_format",
        "jwt_secret",
        "store_url",
        "NO_SUCH_SETTING",
        "MAX_SESSIONS",
        "HTTP_LISTEN",
        "token_leeway_seconds",
    ] {
        assert!(said.to_lowercase().contains(&part.to_lowercase()), "{part} is not told:\n{said}");
    }
    assert!(!said.contains(&short), "the secret is told");
    assert!(!directory.path().join(".local").exists(), "nothing was made before the settings were right");
}

#[tokio::test]
async fn c3_an_empty_secret_and_one_from_a_document_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().to_str().expect("a path");
    for secret in ["", "changeme-changeme-changeme-changeme", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        let (code, said) = refused(&[("HOME", home), ("CC_GATEWAY_JWT_SECRET", secret)], &[]).await;
        assert_eq!(code, Some(78), "{secret:?}: {said}");
        assert!(said.to_lowercase().contains("jwt_secret"), "{secret:?}: {said}");
    }
}

#[tokio::test]
async fn m5_a_variable_that_is_no_setting_is_refused_with_a_suggestion() {
    let (code, said) = refused(&[("HOME", "/nonexistent"), ("CC_GATEWAY_MAX_SESSION", "5")], &[]).await;
    assert_eq!(code, Some(78));
    assert!(said.contains("CC_GATEWAY_MAX_SESSION") && said.to_lowercase().contains("max_sessions"), "{said}");
}
