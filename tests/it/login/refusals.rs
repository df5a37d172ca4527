//! Who is refused for want of a login, at which door, and who is not.

use serde_json::{Value, json};

use super::{CANARY, HOUR, agents_user, assert_no_canary, credentials, put, scripted, status};
use crate::session::{ended, run};
use crate::support::redis_server::Server;
use crate::support::{Gateway, http, metrics};

/// The answer to a call that is refused for want of a login.
fn is_refused(error: &Value) {
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32012), &json!("claude_login")), "{error}");
}

#[tokio::test]
async fn without_a_login_nothing_of_claudes_is_started_by_any_door_and_with_one_at_once() {
    let mut gateway = scripted().setting("allowed_commands", r#"["claude", "echo"]"#).start().await;
    let mut client = gateway.client().await;
    let error = client.error("session.start", json!({"prompt": "say x", "idempotency_key": "one"})).await;
    is_refused(&error);
    assert_eq!(error["data"]["retryable"], false);
    assert_eq!(error["data"]["details"]["status"], "not_authenticated");
    is_refused(&client.error("session.start", json!({"prompt": "say x", "queue": true})).await);
    is_refused(&client.error("execute", json!({"command": "claude -p 'say x'"})).await);
    assert_eq!(gateway.started_agents(), 0);
    assert_eq!(client.ok("session.list", json!({})).await["sessions"], json!([]));
    assert_eq!(std::fs::read_dir(gateway.path("workspaces")).unwrap().count(), 0, "not even a workspace");
    let refused = metrics::value(gateway.http, "cc_gateway_starts_refused_total{kind=\"claude_login\"}").await;
    assert!((refused - 3.0).abs() < f64::EPSILON, "{refused}");
    // Another program needs none, nor does Claude when it only tells its version.
    client.ok("execute", json!({"command": "echo hello"})).await;
    client.notification("process.completed").await;
    client.ok("execute", json!({"command": "claude --version"})).await;
    client.notification("process.completed").await;
    put(&gateway.path("claude"), ".credentials.json", &credentials(HOUR, |_| ()));
    let session = client.start(json!({"prompt": "say x", "idempotency_key": "one"})).await;
    assert_eq!(ended(&client.until_ended(session).await)["reason"], "completed");
    // A file that is just being written may be whole in a moment.
    put(&gateway.path("claude"), ".credentials.json", "");
    let error = client.error("session.start", json!({"prompt": "say x"})).await;
    is_refused(&error);
    assert_eq!((&error["data"]["retryable"], error["data"]["retry_after_ms"].is_u64()), (&json!(true), true));
    assert_no_canary(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_message_that_would_wake_a_session_is_refused_and_the_session_stays_as_it_is() {
    let mut gateway = scripted().setting("idle_process_seconds", 0.05).start().await;
    put(&gateway.path("claude"), ".credentials.json", &credentials(HOUR, |_| ()));
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "say one", "interactive": true})).await;
    client.until_event(session, |event| event.kind == "session.state" && event.data()["cause"] == "put_away").await;
    std::fs::remove_file(gateway.path("claude/.credentials.json")).unwrap();
    let send = json!({"session_id": session, "prompt": "say two"});
    let error = crate::support::within("the session to be put away", async {
        loop {
            let error = client.error("session.send", send.clone()).await;
            if error["data"]["kind"] != "wrong_state" {
                return error;
            }
        }
    })
    .await;
    is_refused(&error);
    put(&gateway.path("claude"), ".credentials.json", &credentials(HOUR, |_| ()));
    client.ok("session.send", send).await;
    client.until_event(session, |event| event.kind == "claude" && event.data()["result"] == "two").await;
    client.ok("session.stop", json!({"session_id": session})).await;
    client.until_ended(session).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_gateway_that_requires_no_login_and_one_with_a_providers_login_refuse_nothing() {
    let careless = scripted().setting("require_claude_login", false).start().await;
    assert_eq!(status(&careless).await["usable"], false);
    let provider = scripted().agent_env("CLAUDE_CODE_USE_BEDROCK", 1).start().await;
    assert_eq!(status(&provider).await["method"], "provider");
    for gateway in [careless, provider] {
        let mut client = gateway.client().await;
        assert_eq!(ended(&run(&mut client, "say x").await)["reason"], "completed");
        assert_eq!(http::get(gateway.http, "/readyz").await.json(), json!({"ready": true, "reasons": []}));
    }
}

#[tokio::test]
async fn m6_a_change_of_the_login_is_told_once_by_the_log_the_metrics_and_readiness_as_a_warning() {
    let mut gateway = scripted().start().await;
    let told = |gateway: &Gateway, words: &str| {
        gateway.log().lines().filter(|line| line.contains("Claude's login: ") && line.contains(words)).count()
    };
    let is = |state: &str| format!("cc_gateway_claude_login{{status=\"{state}\"}}");
    let ready = http::get(gateway.http, "/readyz").await.json();
    assert_eq!((&ready["ready"], ready["warnings"].as_array().map(Vec::len)), (&json!(true), Some(1)));
    assert_eq!(told(&gateway, "does not exist"), 1);
    metrics::until(gateway.http, &is("not_authenticated"), 1.0).await;
    // Nobody asks for it: it is seen all the same.
    put(&gateway.path("claude"), ".credentials.json", &credentials(HOUR, |_| ()));
    metrics::until(gateway.http, &is("authenticated"), 1.0).await;
    metrics::until(gateway.http, &is("not_authenticated"), 0.0).await;
    metrics::until(gateway.http, "cc_gateway_claude_login_usable", 1.0).await;
    let left = metrics::value(gateway.http, "cc_gateway_claude_login_expires_in_seconds").await;
    assert!(left > 0.0 && left <= 3_600.0, "{left}");
    for _ in 0..5 {
        status(&gateway).await;
    }
    assert_eq!(told(&gateway, "renews the login itself"), 1);
    let not_renewable = credentials(2 * HOUR, |login| login["refreshToken"] = json!(""));
    put(&gateway.path("claude"), ".credentials.json", &not_renewable);
    metrics::until(gateway.http, &is("expiring"), 1.0).await;
    assert_eq!(told(&gateway, "ends soon"), 1);
    assert_eq!(http::get(gateway.http, "/readyz").await.json(), json!({"ready": true, "reasons": []}));
    assert_no_canary(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn m3_where_the_login_lies_and_whose_it_is_is_for_callers_with_a_token() {
    let mut gateway = scripted().start().await;
    put(&gateway.path("claude"), ".credentials.json", &credentials(HOUR, |_| ()));
    let stranger = status(&gateway).await;
    assert_eq!((&stranger["path"], stranger.get("file")), (&Value::Null, None), "{stranger}");
    assert!(!stranger.to_string().contains(CANARY));
    let told = http::get_as(gateway.http, "/auth/status", &gateway.login().await).await.json();
    assert_eq!(told["path"], gateway.path("claude/.credentials.json").display().to_string());
    let owner = agents_user().map_or_else(|| rustix::process::geteuid().as_raw(), |user| user.uid);
    assert_eq!(told["file"], json!({"owner_uid": owner, "mode": "0600", "symlink": false}));
    assert_eq!(
        (&told["readable"], &told["writable"], &told["refreshable"]),
        (&json!(true), &json!(true), &json!(true))
    );
    gateway.stop().await;
}

#[tokio::test]
async fn m6_the_login_is_told_the_same_with_redis_away_and_while_the_gateway_drains() {
    let mut redis = Server::start();
    let mut gateway = scripted().redis(&redis).start().await;
    put(&gateway.path("claude"), ".credentials.json", &credentials(HOUR, |_| ()));
    let mut told = status(&gateway).await;
    let mut same = async |gateway: &Gateway, when: &str| {
        let mut now = status(gateway).await;
        for status in [&mut told, &mut now] {
            status.as_object_mut().expect("a status").remove("expires_in_seconds");
        }
        assert_eq!(now, told, "{when}");
        assert_eq!(http::get(gateway.http, "/livez").await.status, 200, "{when}");
    };
    redis.kill();
    same(&gateway, "with Redis away").await;
    redis.run();
    let mut client = crate::support::within("the gateway to be ready again", async {
        while http::get(gateway.http, "/readyz").await.status != 200 {}
        gateway.client().await
    })
    .await;
    let session = client.start(json!({"prompt": "silent"})).await;
    client.until_event(session, |event| event.kind == "session.started").await;
    gateway.signal(rustix::process::Signal::TERM);
    client.notification("server.draining").await;
    assert_eq!(http::get(gateway.http, "/readyz").await.status, 503);
    same(&gateway, "while it drains").await;
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.exited().await.code(), Some(0));
}
