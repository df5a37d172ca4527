//! Permission questions of the real CLI: allowed, changed, denied, answered by another, left unanswered.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{blocks, ended, gateway, of_kind};
use crate::support::event::Event;
use crate::support::{Client, Gateway, MessagesApi};

const TOUCH: &str = "Run it. [[bash:touch made]] [[text:went on]]";

async fn question(client: &mut Client, session: Uuid) -> Value {
    client.until_event(session, |event| event.kind == "permission.requested").await.data()
}

/// Answers a question.
async fn respond(client: &mut Client, session: Uuid, question: &Value, mut answer: Value) {
    answer["session_id"] = json!(session);
    answer["request_id"] = question["request_id"].clone();
    client.ok("session.respond", answer).await;
}

fn exists(gateway: &Gateway, session: Uuid, name: &str) -> bool {
    gateway.path("workspaces").join(session.to_string()).join(name).exists()
}

/// The one tool result: did it fail, and what Claude was told.
fn tool_result(events: &[Event]) -> (bool, String) {
    let results = blocks(events, "user", "tool_result");
    assert_eq!(results.len(), 1, "{results:?}");
    (results[0]["is_error"] == true, results[0]["content"].to_string())
}

/// The session ended well after its one question; the resolution.
fn resolved(events: &[Event]) -> Value {
    let (asked, resolved) = (of_kind(events, "permission.requested"), of_kind(events, "permission.resolved"));
    assert_eq!((asked.len(), resolved.len()), (1, 1), "{asked:?} {resolved:?}");
    assert_eq!(asked[0]["request_id"], resolved[0]["request_id"]);
    assert_eq!((&ended(events)["reason"], &ended(events)["result"]), (&json!("completed"), &json!("went on")));
    resolved[0].clone()
}

#[tokio::test]
async fn a_tool_that_is_not_allowed_waits_for_its_permission_and_runs_with_it() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": TOUCH})).await;
    let question = question(&mut client, session).await;
    assert_eq!((&question["tool_name"], &question["input"]["command"]), (&json!("Bash"), &json!("touch made")));
    client.until_state(session, "awaiting_permission").await;
    assert!(!exists(&gateway, session, "made"), "it waits for the answer");
    respond(&mut client, session, &question, json!({"behavior": "allow"})).await;
    let events = client.until_ended(session).await;
    assert_eq!(resolved(&events)["behavior"], "allow");
    assert!(!tool_result(&events).0);
    assert!(exists(&gateway, session, "made"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_tool_that_is_allowed_with_another_input_runs_with_that() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": TOUCH})).await;
    let question = question(&mut client, session).await;
    let mut input = question["input"].clone();
    input["command"] = json!("touch other");
    respond(&mut client, session, &question, json!({"behavior": "allow", "updated_input": input})).await;
    let events = client.until_ended(session).await;
    assert_eq!(resolved(&events)["behavior"], "allow");
    assert!(exists(&gateway, session, "other") && !exists(&gateway, session, "made"));
}

#[tokio::test]
async fn a_rule_that_claude_suggests_spares_the_next_question() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let prompt = "Run it. [[bash:touch made]] [[bash:touch made]] [[text:went on]]";
    let session = client.start(json!({"prompt": prompt})).await;
    let question = question(&mut client, session).await;
    let suggestions = question["suggestions"].as_array().cloned().unwrap_or_default();
    let rule = suggestions.iter().find(|suggestion| suggestion["type"] == "addRules").expect("a rule");
    let answer = json!({"behavior": "allow", "updated_permissions": [rule]});
    respond(&mut client, session, &question, answer).await;
    let events = client.until_ended(session).await;
    assert_eq!(resolved(&events)["behavior"], "allow", "one question for two calls");
    let results = blocks(&events, "user", "tool_result");
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(|result| result["is_error"] != true), "{results:?}");
}

#[tokio::test]
async fn a_tool_that_is_denied_does_not_run_and_claude_is_told_why() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": TOUCH})).await;
    let question = question(&mut client, session).await;
    respond(&mut client, session, &question, json!({"behavior": "deny", "message": "not on a Sunday"})).await;
    let events = client.until_ended(session).await;
    assert_eq!(resolved(&events)["behavior"], "deny");
    let (failed, told) = tool_result(&events);
    assert!(failed && told.contains("not on a Sunday"), "{told}");
    assert!(!exists(&gateway, session, "made"));
}

#[tokio::test]
async fn a_denial_that_interrupts_ends_the_turn_and_not_the_session() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": TOUCH, "interactive": true})).await;
    let question = question(&mut client, session).await;
    respond(&mut client, session, &question, json!({"behavior": "deny", "interrupt": true})).await;
    client.until_state(session, "idle").await;
    assert_eq!(super::ask(&mut client, session, "[[text:next]]").await["result"], "next");
    assert!(!exists(&gateway, session, "made"));
    let asked = api.requests().len();
    assert_eq!(asked, 2, "the interrupted turn asked nothing more");
}

#[tokio::test]
async fn a_question_outlives_the_connection_that_saw_it_first() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut first = gateway.client().await;
    let session = first.start(json!({"prompt": TOUCH})).await;
    let asked = question(&mut first, session).await;
    first.reset();
    let mut second = gateway.client().await;
    second.ok("session.attach", json!({"session_id": session})).await;
    assert_eq!(question(&mut second, session).await, asked);
    respond(&mut second, session, &asked, json!({"behavior": "allow"})).await;
    let events = second.until_ended(session).await;
    assert_eq!(resolved(&events)["by"], "caller");
    assert!(exists(&gateway, session, "made"));
}

#[tokio::test]
async fn a_question_that_nobody_answers_is_denied_and_the_turn_goes_on() {
    let api = MessagesApi::start();
    let gateway = Gateway::builder().real_agent(&api).setting("permission_timeout_seconds", 1).start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": TOUCH})).await;
    let events = client.until_ended(session).await;
    let resolved = resolved(&events);
    assert_eq!((&resolved["behavior"], &resolved["by"]), (&json!("deny"), &json!("timeout")));
    assert!(tool_result(&events).0);
    assert!(!exists(&gateway, session, "made"));
}
