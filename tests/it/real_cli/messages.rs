//! Several messages for one session: one turn and one result each, or joined to the running turn.

use serde_json::json;

use super::{at_rest, gateway, is_result, of_kind, results, until_answered};
use crate::support::{MessagesApi, eventually};

/// A command that runs until the file `go` is in the workspace.
const WAIT: &str = "touch there; until test -e go; do perl -e 'select undef, undef, undef, .02'; done";

#[tokio::test]
async fn two_messages_sent_at_once_have_a_turn_and_a_result_each() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client, json!({"prompt": "[[text:hello]]"})).await;
    let mut calls = Vec::new();
    for prompt in ["[[text:one]]", "[[text:two]]"] {
        calls.push(client.send_call("session.send", json!({"session_id": session, "prompt": prompt})).await);
    }
    let mut ids = Vec::new();
    for (call, expected) in calls.into_iter().zip(["one", "two"]) {
        let id = client.answer(call).await.unwrap()["message_id"].clone();
        let result = until_answered(&mut client, session, &id).await;
        assert_eq!((&result["result"], &result["user_message_uuids"]), (&json!(expected), &json!([id])));
        ids.push(id);
    }
    let events = client.events(session);
    assert_eq!(results(&events).len(), 3);
    let told = of_kind(&events, "session.state").into_iter().filter_map(|state| state.get("message_id").cloned());
    assert!(told.collect::<Vec<_>>().ends_with(&ids), "each turn's beginning names its message");
    gateway.stop().await;
}

#[tokio::test]
async fn a_message_that_steers_during_a_command_joins_the_turn() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let prompt = format!("[[bash:{WAIT}]] [[text:not joined]]");
    let params = json!({"prompt": prompt, "interactive": true, "allowed_tools": ["Bash"]});
    let session = client.start(params).await;
    let workspace = gateway.path("workspaces").join(session.to_string());
    eventually("the command to run", || workspace.join("there").exists().then_some(())).await;
    let params = json!({"session_id": session, "prompt": "Rather this. [[text:joined]]", "steer": true});
    let told = client.ok("session.send", params).await;
    assert_eq!(told["state"], "running");
    let queued = |event: &crate::support::event::Event| {
        let data = event.data();
        data["type"] == "command_lifecycle" && data["command_uuid"] == told["message_id"]
    };
    client.until_event(session, queued).await;
    std::fs::write(workspace.join("go"), "").unwrap();
    let result = client.until_event(session, is_result).await.data();
    assert_eq!(result["result"], "joined");
    client.until_state(session, "idle").await;
    // A turn of its own would begin at once.
    let next = super::ask(&mut client, session, "[[text:next]]").await;
    assert_eq!(next["result"], "next");
    assert_eq!(results(&client.events(session)).len(), 2);
}
