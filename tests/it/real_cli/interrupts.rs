//! An interrupt ends the turn, whatever it is about, and an interactive session goes on.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{RUN_ON, ask, at_rest, gateway, send, until_answered};
use crate::support::{Client, Gateway, MessagesApi, eventually, proc};

/// Interrupts the turn of that message; its result. Then the session takes the next one.
async fn interrupted(client: &mut Client, session: Uuid, message: &Value) {
    client.ok("session.interrupt", json!({"session_id": session})).await;
    let result = until_answered(client, session, message).await;
    assert_eq!(result["is_error"], true, "{result}");
    assert!(result["terminal_reason"].as_str().unwrap_or_default().starts_with("aborted"), "{result}");
    assert_eq!(ask(client, session, "And now? [[text:on we go]]").await["result"], "on we go");
    let over = client.error("session.interrupt", json!({"session_id": session})).await;
    assert_eq!(over["code"], -32006, "nothing is left to interrupt");
}

/// An interactive session that has had its first turn.
async fn begun(gateway: &Gateway) -> (Client, Uuid) {
    let mut client = gateway.client().await;
    let session = at_rest(&mut client, json!({"prompt": "[[text:hello]]", "allowed_tools": ["Bash"]})).await;
    (client, session)
}

#[tokio::test]
async fn a_turn_whose_api_hangs_can_be_interrupted() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let (mut client, session) = begun(&gateway).await;
    let message = send(&mut client, session, "[[hang]]").await;
    api.until_asked("[[hang]]").await;
    interrupted(&mut client, session, &message).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_turn_that_waits_to_ask_the_api_again_can_be_interrupted() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let (mut client, session) = begun(&gateway).await;
    let message = send(&mut client, session, "[[err:500]]").await;
    // From the third on it waits for seconds.
    let waits = |event: &crate::support::event::Event| {
        event.claude_type().as_deref() == Some("system/api_retry") && event.data()["attempt"] == 3
    };
    client.until_event(session, waits).await;
    interrupted(&mut client, session, &message).await;
}

#[tokio::test]
async fn a_turn_that_runs_a_command_can_be_interrupted_and_the_command_ends() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let (mut client, session) = begun(&gateway).await;
    let message = send(&mut client, session, &format!("[[bash:touch begun; {RUN_ON}]]")).await;
    let begun = gateway.path("workspaces").join(session.to_string()).join("begun");
    eventually("the command to run", || begun.exists().then_some(())).await;
    let running =
        || gateway.processes().into_iter().filter(|pid| proc::command_line(*pid).contains("sleep 600")).count();
    eventually("the command to be seen", || (running() > 0).then_some(())).await;
    interrupted(&mut client, session, &message).await;
    eventually("the command to end", || (running() == 0).then_some(())).await;
    assert!(!gateway.processes().is_empty(), "the agent itself stays");
}
