//! SIGTERM: nothing new, what runs may finish, then the end.

use rustix::process::Signal;
use serde_json::json;

use super::{ended, until_file, workspace};
use crate::support::{Gateway, http};

#[tokio::test]
async fn k1_a_drain_refuses_new_work_lets_running_sessions_finish_and_exits_with_0() {
    let mut gateway = Gateway::builder().start().await;
    let (mut client, mut watcher) = (gateway.client().await, gateway.client().await);
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let session = client.start(json!({"prompt": "say one; touch there; await go; lines 100; say two"})).await;
        until_file(&gateway, session, "there").await;
        sessions.push(session);
    }
    gateway.signal(Signal::TERM);
    let draining = client.notification("server.draining").await;
    assert!(draining["deadline"].as_str().unwrap().ends_with('Z'), "{draining}");
    watcher.notification("server.draining").await;
    let refused = [("session.start", json!({"prompt": "say x"})), ("execute", json!({"command": "claude -p x"}))];
    for (method, params) in refused {
        let error = client.error(method, params).await;
        assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32008), &json!("draining")), "{method}");
        assert_eq!(error["data"]["retryable"], true);
    }
    let ready = http::get(gateway.http, "/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("draining"), "{}", ready.text());
    assert_eq!(http::get(gateway.http, "/livez").await.status, 200);
    // Reading and steering go on.
    watcher.ok("session.attach", json!({"session_id": sessions[0]})).await;
    for &session in &sessions {
        std::fs::write(workspace(&gateway, session).join("go"), "").unwrap();
    }
    for &session in &sessions {
        let end = ended(&client.until_ended(session).await);
        assert_eq!((&end["reason"], &end["result"]), (&json!("completed"), &json!("two")));
    }
    watcher.until_ended(sessions[0]).await;
    for client in [&mut client, &mut watcher] {
        assert_eq!(client.until_closed().await.code, Some(1012));
    }
    assert_eq!(gateway.exited().await.code(), Some(0));
    assert_eq!((gateway.processes(), gateway.started_agents()), (Vec::new(), 3));
}

#[tokio::test]
async fn k2_sessions_that_run_longer_than_the_grace_end_drained() {
    let mut gateway = Gateway::builder().setting("drain_grace_seconds", 0.3).start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "child setsid; touch there; silent"})).await;
    until_file(&gateway, session, "there").await;
    let idle = client.start(json!({"interactive": true})).await;
    client.until_state(idle, "idle").await;
    gateway.signal(Signal::TERM);
    for session in [session, idle] {
        let end = ended(&client.until_ended(session).await);
        assert_eq!(
            (&end["reason"], &end["is_error"], &end["resumable"]),
            (&json!("drained"), &json!(true), &json!(true))
        );
    }
    assert_eq!(client.until_closed().await.code, Some(1012));
    assert_eq!(gateway.exited().await.code(), Some(0));
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    gateway.restart().await;
    let mut client = gateway.client().await;
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(record["ended"]["reason"], "drained", "the next start finds it ended, not lost");
}

#[tokio::test]
async fn k3_a_second_signal_ends_what_runs_at_once() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "child setsid; touch there; silent"})).await;
    until_file(&gateway, session, "there").await;
    gateway.signal(Signal::TERM);
    client.notification("server.draining").await;
    gateway.signal(Signal::TERM);
    assert_eq!(ended(&client.until_ended(session).await)["reason"], "drained");
    assert_eq!(client.until_closed().await.code, Some(1001));
    assert_eq!(gateway.exited().await.code(), Some(0));
    assert_eq!(gateway.processes(), Vec::<u32>::new());
}

#[tokio::test]
async fn k6_a_signal_right_after_the_start_drains_and_does_not_kill() {
    let mut gateway = Gateway::builder().start().await;
    for _ in 0..5 {
        // As soon as it says that it listens.
        gateway.stop().await;
        gateway.restart().await;
    }
}
