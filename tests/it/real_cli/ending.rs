//! Ends that are not the plain one: errors of the API, an interrupt, a stop.

use serde_json::json;

use super::{ended, gateway};
use crate::support::{Gateway, MessagesApi};

#[tokio::test]
async fn an_error_of_the_api_ends_the_session_failed() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "[[err:400]]"})).await;
    let ended = ended(&client.until_ended(session).await);
    assert_eq!((&ended["reason"], &ended["is_error"]), (&json!("failed"), &json!(true)));
    assert!(ended["message"].as_str().is_some_and(|message| !message.is_empty()), "{ended}");
}

#[tokio::test]
async fn a_refused_login_ends_the_session_auth_failed() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "[[err:401]]"})).await;
    let ended = ended(&client.until_ended(session).await);
    assert_eq!((&ended["reason"], &ended["is_error"]), (&json!("auth_failed"), &json!(true)));
    assert!(ended["message"].as_str().unwrap().contains("/auth/status"), "{ended}");
}

#[tokio::test]
async fn an_interrupt_ends_the_turn_in_the_middle_of_its_answer() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "[[slow:600:100]]", "partial_messages": true})).await;
    client.until_event(session, |event| event.claude_type().as_deref() == Some("stream_event/")).await;
    client.ok("session.interrupt", json!({"session_id": session})).await;
    let ended = ended(&client.until_ended(session).await);
    assert_eq!(ended["reason"], "cancelled", "{ended}");
    assert_eq!((&ended["resumable"], &ended["forced_exit"]), (&json!(true), &json!(null)));
    gateway.stop().await;
}

/// Stops the session and checks that it ends `cancelled` and leaves nothing behind.
async fn stopped(gateway: &Gateway, client: &mut crate::support::Client, session: uuid::Uuid) {
    let state = client.ok("session.stop", json!({"session_id": session})).await;
    assert_eq!(state["state"], "stopping");
    let ended = ended(&client.until_ended(session).await);
    assert_eq!((&ended["reason"], &ended["is_error"]), (&json!("cancelled"), &json!(true)));
    assert_eq!(gateway.processes(), Vec::<u32>::new(), "a terminal event means that nothing is left");
    let again = client.ok("session.stop", json!({"session_id": session})).await;
    assert_eq!(again["state"], "ended");
}

#[tokio::test]
async fn a_stop_ends_a_session_whose_api_hangs() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "[[hang]]"})).await;
    crate::support::eventually("the request to hang", || (!api.requests().is_empty()).then_some(())).await;
    stopped(&gateway, &mut client, session).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_stop_ends_a_tool_run_and_all_that_it_started() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    // The escaped process is in a session of its own, as the CLI's own tools are.
    let prompt = "[[bash:setsid sleep 300 & touch begun; sleep 300]]";
    let session = client.start(json!({"prompt": prompt, "allowed_tools": ["Bash"]})).await;
    let begun = gateway.path("workspaces").join(session.to_string()).join("begun");
    crate::support::eventually("the tool to run", || begun.exists().then_some(())).await;
    // One that is just becoming another program shows no environment, and is not seen.
    let three = || (gateway.processes().len() >= 3).then_some(());
    crate::support::eventually("the agent, and two that sleep", three).await;
    stopped(&gateway, &mut client, session).await;
    gateway.stop().await;
}
