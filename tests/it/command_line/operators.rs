//! `serve`'s first start, `user`, `healthcheck`, `doctor`, `config`: the commands of operators.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::gateway::ADMIN_PASSWORD;
use crate::support::program::{Finished, as_operator, cc_gateway};
use crate::support::{Gateway, http};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[tokio::test]
async fn the_first_start_shows_a_random_password_once_and_keeps_its_secrets_private() {
    let mut passwords = Vec::new();
    for _ in 0..2 {
        let mut gateway = Gateway::builder().setting("admin_password_file", "").start().await;
        let said = crate::support::eventually("the password", || {
            let text = std::fs::read_to_string(gateway.path("ready.json")).unwrap();
            (text.lines().count() >= 2).then_some(text)
        })
        .await;
        let line = said.lines().nth(1).unwrap();
        let password = line.split("the password ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        assert!(password.len() >= 16, "{line}");
        assert!(http::login(gateway.http, "admin", &password).await.is_ok());
        assert!(http::login(gateway.http, "admin", "admin").await.is_err());
        let data = gateway.path("data");
        assert_eq!((mode(&data), mode(&data.join("jwt-secret"))), (0o700, 0o600));
        assert_eq!(mode(&data.join("gateway.db")), 0o600);
        gateway.restart().await;
        let second = std::fs::read_to_string(gateway.path("ready.json")).unwrap();
        assert_eq!(second.lines().count(), 1, "it is shown once: {second}");
        assert!(http::login(gateway.http, "admin", &password).await.is_ok(), "it still serves");
        gateway.stop().await;
        let secret = std::fs::read_to_string(data.join("jwt-secret")).unwrap();
        for secret in [password.as_str(), secret.trim()] {
            assert!(!gateway.log().contains(secret), "the log holds a secret");
        }
        passwords.push(password);
    }
    assert_ne!(passwords[0], passwords[1]);
}

#[tokio::test]
async fn accounts_are_changed_while_the_gateway_is_down_and_refused_while_it_runs() {
    let mut gateway = Gateway::builder().start().await;
    let busy = as_operator(&gateway, &["user", "add", "alice"]).await;
    assert_eq!((busy.code, busy.stdout.as_str()), (Some(1), ""), "{busy:?}");
    assert!(busy.stderr.contains("stop it, run this again"), "{busy:?}");
    gateway.stop().await;

    let added = as_operator(&gateway, &["user", "add", "alice"]).await;
    assert_eq!(added.code, Some(0), "{added:?}");
    let password = added.stdout.trim().rsplit(' ').next().unwrap().to_owned();
    let again = as_operator(&gateway, &["user", "add", "alice"]).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("already an account"), "{again:?}");
    let listed = as_operator(&gateway, &["user", "list", "--json"]).await;
    let accounts: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    let names: Vec<&str> = accounts.iter().filter_map(|account| account["username"].as_str()).collect();
    assert_eq!((names.len(), names.contains(&"admin"), names.contains(&"alice")), (2, true, true));
    assert!(!listed.stdout.contains("argon2") && !listed.stdout.contains(&password));
    assert!(as_operator(&gateway, &["user", "list"]).await.stdout.contains("alice"));
    gateway.restart().await;
    assert!(http::login(gateway.http, "alice", &password).await.is_ok());
    gateway.stop().await;
    assert_eq!(as_operator(&gateway, &["user", "disable", "alice"]).await.code, Some(0));
    gateway.restart().await;
    assert_eq!(http::login(gateway.http, "alice", &password).await.unwrap_err().status, 401);
    gateway.stop().await;
    let unknown = as_operator(&gateway, &["user", "disable", "nobody-here"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
}

#[tokio::test]
async fn healthcheck_ends_with_0_while_the_gateway_lives_and_with_1_when_it_does_not() {
    let mut gateway = Gateway::builder().start().await;
    let address = gateway.http.to_string();
    let alive = cc_gateway(&["healthcheck", "--http-listen", &address], &[], "").await;
    assert_eq!((alive.code, alive.stdout.trim()), (Some(0), "alive"), "{alive:?}");
    let ready = cc_gateway(&["healthcheck", "--ready", "--http-listen", &address], &[], "").await;
    assert_eq!((ready.code, ready.stdout.trim()), (Some(0), "ready"), "{ready:?}");
    gateway.stop().await;
    for arguments in
        [&["healthcheck", "--http-listen", &address][..], &["healthcheck", "--ready", "--http-listen", &address]]
    {
        let gone = cc_gateway(arguments, &[], "").await;
        assert_eq!((gone.code, gone.stdout.as_str()), (Some(1), ""), "{gone:?}");
    }
    let nonsense = cc_gateway(&["healthcheck", "--http-listen", "nowhere"], &[], "").await;
    assert_eq!(nonsense.code, Some(78), "{nonsense:?}");

    let builder = Gateway::builder().setting("agent_program", "/nonexistent/claude");
    let mut broken = builder.start().await;
    let address = broken.http.to_string();
    let not_ready = cc_gateway(&["healthcheck", "--ready", "--http-listen", &address], &[], "").await;
    assert_eq!(not_ready.code, Some(1), "{not_ready:?}");
    assert!(not_ready.stderr.contains("agent"), "{not_ready:?}");
    assert_eq!(cc_gateway(&["healthcheck", "--http-listen", &address], &[], "").await.code, Some(0));
    broken.stop().await;
}

/// The level of each check that `doctor --json` told.
fn levels(doctor: &Finished) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(&doctor.stdout).expect("doctor --json prints JSON");
    let checks = report["checks"].as_array().expect("checks");
    let text = |check: &Value, name: &str| check[name].as_str().expect("a text").to_owned();
    checks.iter().map(|check| (text(check, "name"), text(check, "level"))).collect()
}

#[tokio::test]
async fn doctor_finds_nothing_wrong_where_all_is_in_place() {
    let builder = Gateway::builder().agent_env("ANTHROPIC_API_KEY", "sk-ant-canary-key-1");
    let mut gateway = builder.start().await;
    gateway.stop().await;
    let doctor = as_operator(&gateway, &["doctor", "--json"]).await;
    assert_eq!(doctor.code, Some(0), "{doctor:?}");
    assert!(levels(&doctor).iter().all(|(_, level)| level == "ok" || level == "warn"), "{doctor:?}");
    assert!(!doctor.stdout.contains("sk-ant-canary-key-1") && !doctor.stdout.contains(ADMIN_PASSWORD));
    let text = as_operator(&gateway, &["doctor"]).await;
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.stdout.contains("\n0 failed, "), "{text:?}");
}

#[tokio::test]
async fn doctor_tells_everything_that_is_wrong_and_ends_with_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let set = |name: &str, value: String| (format!("CC_GATEWAY_{name}"), value);
    let path = |name: &str| directory.path().join(name).display().to_string();
    let env = [
        set("AGENT_PROGRAM", "/nonexistent/claude".to_owned()),
        set("DATA_DIR", path("data")),
        set("CLAUDE_CONFIG_DIR", path("claude")),
        set("WORKSPACE_ROOTS", format!("[\"{}\"]", path("workspaces"))),
        set("WS_LISTEN", taken.local_addr().unwrap().to_string()),
        set("HTTP_LISTEN", "127.0.0.1:0".to_owned()),
        ("HOME".to_owned(), path("home")),
    ];
    let doctor = cc_gateway(&["doctor", "--json"], &env, "").await;
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    let failed: Vec<String> =
        levels(&doctor).into_iter().filter(|(_, level)| level == "fail").map(|(name, _)| name).collect();
    assert_eq!(failed, ["agent", "Claude's login", "workspaces", "WebSocket port"], "{doctor:?}");
    let text = cc_gateway(&["doctor"], &env, "").await;
    assert_eq!(text.code, Some(1), "{text:?}");
    assert!(text.stdout.contains("FAIL  agent") && text.stdout.contains("4 failed"), "{text:?}");
}

#[tokio::test]
async fn config_shows_what_is_in_force_and_hides_what_is_secret() {
    let secret = "kJ8s0dkQm1Zp4Yx7Vw2Bn5Lc9Ht3Rf6G";
    let gateway = Gateway::builder()
        .setting("jwt_secret", secret)
        .setting("max_sessions", 7)
        .agent_env("ANTHROPIC_API_KEY", "sk-ant-canary-key-2")
        .start()
        .await;
    for arguments in [&["config"][..], &["config", "--json"]] {
        let shown = as_operator(&gateway, arguments).await;
        assert_eq!(shown.code, Some(0), "{shown:?}");
        for canary in [secret, "sk-ant-canary-key-2", ADMIN_PASSWORD] {
            assert!(!shown.stdout.contains(canary) && !shown.stderr.contains(canary), "{arguments:?} shows a secret");
        }
        assert!(shown.stdout.contains("<hidden>") && shown.stdout.contains("ANTHROPIC_API_KEY"), "{shown:?}");
    }
    let shown = as_operator(&gateway, &["config", "--json"]).await;
    let json: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(json["settings"]["sessions"]["max_sessions"], 7);
    assert_eq!(json["origins"]["max_sessions"], "CC_GATEWAY_MAX_SESSIONS");
    let text = as_operator(&gateway, &["config"]).await.stdout;
    assert!(text.contains("max_sessions = 7  # from CC_GATEWAY_MAX_SESSIONS"), "{text}");
    text.parse::<toml::Table>().expect("what is shown is a settings file");

    let wrong =
        [("CC_GATEWAY_MAX_SESSIONS".to_owned(), "none".to_owned()), ("CC_GATEWAY_COLOUR".to_owned(), "x".to_owned())];
    let refused = cc_gateway(&["config"], &wrong, "").await;
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.stderr.contains("MAX_SESSIONS") && refused.stderr.contains("COLOUR"), "{refused:?}");
}
