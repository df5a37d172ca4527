//! SIGTERM: nothing new, what runs may finish, then the end.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use cc_gateway::telemetry::tasks;
use rustix::process::Signal;
use serde_json::json;

use super::{ended, until_file, workspace};
use crate::support::dice::Dice;
use crate::support::raw_socket::{RawSocket, handshake};
use crate::support::{Gateway, gateway, http, soak};

#[tokio::test]
async fn k1_a_drain_refuses_new_work_lets_running_sessions_finish_and_exits_with_0() {
    let mut gateway = Gateway::builder().start().await;
    let (mut client, mut watcher) = (gateway.client().await, gateway.client().await);
    let mut sessions = Vec::new();
    for _ in 0..10 {
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
    assert_eq!((gateway.processes(), gateway.started_agents()), (Vec::new(), 10));
}

#[tokio::test]
async fn k2_sessions_that_run_longer_than_the_grace_end_drained() {
    let mut gateway = Gateway::builder().setting("drain_grace_seconds", 0.3).start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "child setsid; touch there; silent"})).await;
    until_file(&gateway, session, "there").await;
    let idle = client.start(json!({"interactive": true})).await;
    client.until_state(idle, "idle").await;
    let asked = Instant::now();
    gateway.signal(Signal::TERM);
    // Only the one with a turn is broken off.
    for (session, failed) in [(session, true), (idle, false)] {
        let end = ended(&client.until_ended(session).await);
        assert_eq!(
            (&end["reason"], &end["is_error"], &end["resumable"]),
            (&json!("drained"), &json!(failed), &json!(true))
        );
    }
    assert_eq!(client.until_closed().await.code, Some(1012));
    assert_eq!(gateway.exited().await.code(), Some(0));
    let took = asked.elapsed();
    // By the row the grace and three seconds; a busy machine may need some more.
    assert!((Duration::from_millis(300)..Duration::from_secs(30)).contains(&took), "it took {took:?}");
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

#[tokio::test]
async fn k6_a_signal_at_any_moment_of_the_start_ends_it_and_the_next_start_works() {
    let mut gateway = Gateway::builder().start().await;
    let mut dice = Dice::roll();
    for _ in 0..soak::count(10, 100) {
        gateway.stop().await;
        // From the first instruction to listening it takes about so long.
        let status = gateway.start_and_end(dice.moment(Duration::from_millis(60))).await;
        // Before it listens to signals, its start has changed nothing that a sudden end could harm.
        assert!(status.code() == Some(0) || status.signal() == Some(15), "{status}; log:\n{}", gateway.log());
        gateway.restart().await;
    }
    let mut client = gateway.client().await;
    assert_eq!(ended(&super::run(&mut client, "say works").await)["result"], "works");
    gateway.stop().await;
}

#[tokio::test]
async fn k6_half_sent_headers_logins_and_agents_that_never_start_do_not_hold_up_a_drain() {
    let builder = Gateway::builder().setting("drain_grace_seconds", 0.5).setting("max_concurrent_starts", 1);
    let program = super::agent_start::script(builder.directory(), "#!/bin/sh\nexec sleep 300\n");
    let mut gateway = builder.setting("agent_program", program.display()).start().await;
    let mut client = gateway.client().await;
    // One that never answers, and one that waits for its turn to start.
    let sessions = [client.start(json!({"prompt": "say x"})).await, client.start(json!({"prompt": "say x"})).await];
    let mut half_sent = Vec::new();
    for server in [gateway.http, gateway.ws] {
        for text in ["", "GE", "POST /login HTTP/1.1\r\nHost: x\r\n", &handshake("/ws", &[])[..60]] {
            let mut socket = RawSocket::connect(server).await;
            socket.send(text.as_bytes()).await;
            half_sent.push(socket);
        }
    }
    let mut logins = Vec::new();
    let body = json!({"username": "admin", "password": gateway::ADMIN_PASSWORD}).to_string();
    let head = format!(
        "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for _ in 0..4 {
        // Sent before the signal: after it nobody may be there to connect to.
        let mut socket = RawSocket::connect(gateway.http).await;
        socket.send(format!("{head}{body}").as_bytes()).await;
        logins.push(tasks::spawn("test-login", async move { socket.read_to_end().await }));
    }
    gateway.signal(Signal::TERM);
    for session in sessions {
        let end = ended(&client.until_ended(session).await);
        assert_eq!((&end["reason"], &end["resumable"]), (&json!("drained"), &json!(false)), "{end}");
    }
    assert_eq!(client.until_closed().await.code, Some(1012));
    assert_eq!(gateway.exited().await.code(), Some(0));
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    for login in logins {
        // Answered whole, or not at all.
        let answer = login.await.expect("a login").expect("no panic");
        let text = String::from_utf8_lossy(&answer);
        let whole = text.starts_with("HTTP/1.1 200 ") && text.trim_end().ends_with('}');
        assert!(whole || text.starts_with("HTTP/1.1 503 ") || answer.is_empty(), "{text}");
    }
    for mut socket in half_sent {
        socket.read_to_end().await;
    }
}
