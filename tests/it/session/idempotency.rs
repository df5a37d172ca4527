//! An idempotency key makes a start that is sent twice one start.

use std::time::Duration;

use serde_json::{Value, json};

use super::conversation::{go, send, until_answered};
use super::ended;
use crate::support::client::session_id;
use crate::support::{Client, Gateway, metrics};

#[tokio::test]
async fn the_same_key_gives_the_same_session_also_after_a_restart() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let params = json!({"prompt": "say once", "idempotency_key": "key-1", "labels": {"b": "1", "a": "2"}});
    let session = client.start(params.clone()).await;
    client.until_ended(session).await;
    let mut again = gateway.client().await;
    assert_eq!(again.start(params.clone()).await, session);
    assert_eq!(ended(&again.until_ended(session).await)["result"], "once", "its events come as for the first");
    // The order of members means nothing.
    let text = r#"{"labels":{"a":"2","b":"1"},"idempotency_key":"key-1","prompt":"say once"}"#;
    let reordered = client.ok("session.start", serde_json::from_str(text).unwrap()).await;
    assert_eq!(session_id(&reordered), Some(session));
    assert_eq!(reordered["state"], "ended");

    gateway.restart().await;
    let mut client = gateway.client().await;
    assert_eq!(client.start(params.clone()).await, session);
    let mut other = params.clone();
    other["prompt"] = json!("say twice");
    let error = client.error("session.start", other).await;
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32011), &json!("idempotency_reused")));
    let mut fresh = params;
    fresh["idempotency_key"] = json!("key-2");
    assert_ne!(client.start(fresh).await, session);
    assert_eq!(client.error("session.start", json!({"prompt": "say x", "idempotency_key": ""})).await["code"], -32602);
    let long = "k".repeat(201);
    assert_eq!(
        client.error("session.start", json!({"prompt": "say x", "idempotency_key": long})).await["code"],
        -32602
    );
}

#[tokio::test]
async fn starts_with_one_key_that_come_together_start_one_agent_and_take_one_slot() {
    let gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let (mut one, mut two) = (gateway.client().await, gateway.client().await);
    let params = json!({"prompt": "touch there; await go; say done", "idempotency_key": "same", "attach": false});
    let mut asked = Vec::new();
    for _ in 0..5 {
        asked.push((
            one.send_call("session.start", params.clone()).await,
            two.send_call("session.start", params.clone()).await,
        ));
    }
    let mut sessions = Vec::new();
    for (first, second) in asked {
        sessions.push(session_id(&one.answer(first).await.unwrap()).unwrap());
        sessions.push(session_id(&two.answer(second).await.unwrap()).unwrap());
    }
    sessions.dedup();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    super::until_file(&gateway, sessions[0], "there").await;
    assert_eq!((gateway.started_agents(), super::slots_taken(&gateway).await), (1, 1));
    std::fs::write(super::workspace(&gateway, sessions[0]).join("go"), "").unwrap();
    one.ok("session.attach", json!({"session_id": sessions[0]})).await;
    one.until_ended(sessions[0]).await;
    assert_eq!(super::slots_taken(&gateway).await, 0);
}

#[tokio::test]
async fn j4_one_key_50_times_at_once_and_again_after_a_reconnect_is_one_session() {
    let mut gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let params = json!({"prompt": "touch there; await go; say once", "idempotency_key": "fifty", "attach": false});
    let mut sessions = Vec::new();
    for time in ["at once", "after a reconnect"] {
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(Client::connect(gateway.ws, "/ws", &token).await);
        }
        let mut asked = Vec::new();
        for _ in 0..10 {
            for (at, client) in clients.iter_mut().enumerate() {
                asked.push((at, client.send_call("session.start", params.clone()).await));
            }
        }
        for (at, call) in asked {
            let answer = clients[at].answer(call).await.unwrap_or_else(|error| panic!("{time}: {error}"));
            sessions.push(session_id(&answer).unwrap());
        }
        super::until_file(&gateway, sessions[0], "there").await;
        assert_eq!((gateway.started_agents(), super::slots_taken(&gateway).await), (1, 1), "{time}");
        clients.into_iter().for_each(Client::reset);
    }
    assert_eq!(sessions.len(), 100);
    assert!(sessions.iter().all(|session| *session == sessions[0]), "{sessions:?}");
    let mut client = gateway.client().await;
    let listed = client.ok("session.list", json!({})).await;
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1);
    std::fs::write(super::workspace(&gateway, sessions[0]).join("go"), "").unwrap();
    client.ok("session.attach", json!({"session_id": sessions[0]})).await;
    assert_eq!(ended(&client.until_ended(sessions[0]).await)["result"], "once");
    assert_eq!(gateway.started_agents(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn whoever_repeats_a_start_after_the_connection_was_lost_stands_behind_the_session_again() {
    let gateway = Gateway::builder().setting("disconnect_grace_seconds", 5).start().await;
    let mut first = gateway.client().await;
    let params = json!({"prompt": "touch there; await go; say done", "idempotency_key": "k", "on_disconnect": "stop"});
    let session = first.start(params.clone()).await;
    super::until_file(&gateway, session, "there").await;
    let mut second = gateway.client().await;
    first.reset();
    metrics::until(gateway.http, r#"cc_gateway_connections{listener="ws"}"#, 1.0).await;
    assert_eq!(second.start(params).await, session);
    let last = second.ok("session.get", json!({"session_id": session})).await["last_seq"].as_u64().unwrap();
    second.until_position(session, last).await;
    // Longer than it would have waited for somebody.
    second.expect_silence(Duration::from_millis(5_500)).await;
    go(&gateway, session);
    assert_eq!(ended(&second.until_ended(session).await)["result"], "done");
}

#[tokio::test]
async fn a_repeated_start_names_the_first_message_whatever_has_come_since() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let params = json!({"prompt": "say one", "interactive": true, "idempotency_key": "talk"});
    let told = client.ok("session.start", params.clone()).await;
    let session = session_id(&told).unwrap();
    client.until_state(session, "idle").await;
    let next = send(&mut client, session, "touch there; await go; say two").await;
    super::until_file(&gateway, session, "there").await;
    assert_ne!(next["message_id"], told["message_id"]);
    // Each on a connection of its own: what is repeated streams the events from their beginning.
    let again = async |params: &Value| {
        let mut client = gateway.client().await;
        client.ok("session.start", params.clone()).await["message_id"].clone()
    };
    for _ in 0..2 {
        assert_eq!(again(&params).await, told["message_id"]);
        go(&gateway, session);
        until_answered(&mut client, session, &next).await;
    }
    let once = json!({"prompt": "say once", "idempotency_key": "once"});
    let told = client.ok("session.start", once.clone()).await;
    client.until_ended(session_id(&told).unwrap()).await;
    assert_eq!(again(&once).await, told["message_id"]);
    let silent = json!({"interactive": true, "idempotency_key": "silent"});
    for _ in 0..2 {
        assert_eq!(again(&silent).await, Value::Null);
    }
}
