//! Changes of the model and the permission mode: they hold once the agent has confirmed them.

use serde_json::{Value, json};
use uuid::Uuid;

use super::conversation::{at_rest, busy, go, newest_init, send, until_answered};
use super::until_file;
use crate::support::{Client, Gateway};

fn change(session: Uuid, mut changes: Value) -> Value {
    changes["session_id"] = json!(session);
    changes
}

/// Model and permission mode of the next turn.
async fn next_turn(client: &mut Client, session: Uuid) -> (String, String) {
    let message = send(client, session, "say x").await;
    until_answered(client, session, &message).await;
    let init = newest_init(&client.events(session));
    let word = |name: &str| init[name].as_str().unwrap_or_default().to_owned();
    (word("model"), word("permissionMode"))
}

fn pair(model: &str, mode: &str) -> (String, String) {
    (model.to_owned(), mode.to_owned())
}

#[tokio::test]
async fn model_and_permission_mode_are_changed_in_the_agent_and_in_the_record() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client).await;
    let own = newest_init(&client.events(session))["model"].as_str().expect("a model").to_owned();
    let both = change(session, json!({"model": "haiku", "permission_mode": "acceptEdits"}));
    assert_eq!(client.ok("session.configure", both).await["state"], "idle");
    assert_eq!(next_turn(&mut client, session).await, pair("haiku", "acceptEdits"));
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(record["model"], "haiku");
    client.ok("session.configure", change(session, json!({"model": "default"}))).await;
    assert_eq!(next_turn(&mut client, session).await, (own, "acceptEdits".to_owned()));
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(record["model"], Value::Null);

    // In the midst of a turn too.
    let message = send(&mut client, session, "touch there; await go; say x").await;
    until_file(&gateway, session, "there").await;
    let mode = client.ok("session.configure", change(session, json!({"permission_mode": "plan"}))).await;
    assert_eq!(mode["state"], "running");
    go(&gateway, session);
    until_answered(&mut client, session, &message).await;
    assert_eq!(next_turn(&mut client, session).await.1, "plan");
    for params in [json!({}), json!({"model": ""}), json!({"permission_mode": "yolo"})] {
        assert_eq!(client.error("session.configure", change(session, params)).await["code"], -32602);
    }
}

#[tokio::test]
async fn what_the_policy_or_the_agent_refuses_is_not_allowed_and_changes_nothing() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let bypass = json!({"permission_mode": "bypassPermissions"});
    let session = at_rest(&mut client).await;
    assert_eq!(client.error("session.configure", change(session, bypass.clone())).await["code"], -32001);

    // Claude itself refuses it to a session that was not started with it.
    let gateway = Gateway::builder().setting("bypass_permissions", "admin").start().await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client).await;
    let error = client.error("session.configure", change(session, bypass)).await;
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32001), &json!("not_allowed")), "{error}");
    assert!(error["message"].as_str().is_some_and(|why| why.contains("Cannot set permission mode")), "{error}");
    assert_eq!(next_turn(&mut client, session).await.1, "default");
}

#[tokio::test]
async fn an_agent_that_never_answers_a_change_is_told_of_and_the_session_goes_on() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "ignore settings", "interactive": true})).await;
    client.until_state(session, "idle").await;
    let asked = client.send_call("session.configure", change(session, json!({"model": "haiku"}))).await;
    // Others are not kept waiting by it.
    client.ok("session.get", json!({"session_id": session})).await;
    let error = client.answer(asked).await.expect_err("nobody has answered");
    assert_eq!((&error["code"], &error["data"]["details"]["state"]), (&json!(-32006), &json!("idle")), "{error}");
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(record["model"], Value::Null);
    assert_ne!(next_turn(&mut client, session).await.0, "haiku");
}

#[tokio::test]
async fn a_session_that_waits_for_a_slot_is_started_with_the_change() {
    let gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    let before = busy(&gateway, &mut client).await;
    let waiting = client.start(json!({"prompt": "say x", "queue": true})).await;
    let params = json!({"model": "haiku", "permission_mode": "plan"});
    assert_eq!(client.ok("session.configure", change(waiting, params)).await["state"], "queued");
    go(&gateway, before);
    let events = client.until_ended(waiting).await;
    let init = newest_init(&events);
    assert_eq!((&init["model"], &init["permissionMode"]), (&json!("haiku"), &json!("plan")));
    let error = client.error("session.configure", change(waiting, json!({"model": "opus"}))).await;
    assert_eq!(error["code"], -32006);
}

#[tokio::test]
async fn a_paused_agent_can_not_be_asked_for_a_change() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = busy(&gateway, &mut client).await;
    client.ok("session.pause", json!({"session_id": session})).await;
    let refused = client.error("session.configure", change(session, json!({"model": "haiku"}))).await;
    assert_eq!((&refused["code"], &refused["data"]["details"]["state"]), (&json!(-32006), &json!("paused")));
    client.ok("session.unpause", json!({"session_id": session})).await;
    go(&gateway, session);
    client.until_ended(session).await;
    assert_eq!(client.ok("session.get", json!({"session_id": session})).await["model"], Value::Null);
    let error = client.error("session.start", json!({"prompt": "say x", "model": ""})).await;
    assert_eq!(error["code"], -32602);
}
