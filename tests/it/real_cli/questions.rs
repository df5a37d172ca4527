//! The tools that only a person can answer: a question with choices, and the end of planning.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{ask, at_rest, blocks, ended, gateway, newest_turn};
use crate::support::event::Event;
use crate::support::{Client, MessagesApi};

/// The newest question that waits.
async fn question(client: &mut Client, session: Uuid) -> Value {
    let question = client.until_event(session, |event| event.kind == "permission.requested").await.data();
    assert_eq!(question["requires_user_interaction"], true, "{question}");
    question
}

/// What Claude was told of its tools: the texts of their results, and whether they failed.
fn told(events: &[Event]) -> Vec<(bool, String)> {
    let results = blocks(events, "user", "tool_result");
    results.iter().map(|result| (result["is_error"] == true, result["content"].to_string())).collect()
}

#[tokio::test]
async fn a_question_with_choices_is_answered_by_the_caller() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let choice = |label: &str| json!({"label": label, "description": label.to_lowercase()});
    let input = json!({"questions": [{"question": "Which one?", "header": "One", "multiSelect": false,
        "options": [choice("Apples"), choice("Pears")]}]});
    let prompt = format!("[[tool:AskUserQuestion|{input}]] [[text:as you like]]");
    let session = client.start(json!({"prompt": prompt})).await;
    let question = question(&mut client, session).await;
    assert_eq!(question["tool_name"], "AskUserQuestion");
    assert_eq!(question["input"]["questions"], input["questions"]);
    let mut answers = question["input"].clone();
    answers["answers"] = json!({"Which one?": "Pears"});
    let answer = json!({"session_id": session, "request_id": question["request_id"], "behavior": "allow",
        "updated_input": answers});
    client.ok("session.respond", answer).await;
    let events = client.until_ended(session).await;
    assert_eq!((&ended(&events)["reason"], &ended(&events)["result"]), (&json!("completed"), &json!("as you like")));
    let told = told(&events);
    assert!(told.len() == 1 && !told[0].0 && told[0].1.contains("Pears"), "{told:?}");
    gateway.stop().await;
}

/// A session that plans and has asked to begin with the work; the question.
async fn planned(client: &mut Client) -> (Uuid, Value) {
    let session = at_rest(client, json!({"prompt": "[[text:ready]]", "permission_mode": "plan"})).await;
    assert_eq!(newest_turn(&client.events(session)).1, "plan");
    let prompt = r#"[[tool:ExitPlanMode|{"plan":"1. Do it."}]] [[text:so be it]]"#;
    client.ok("session.send", json!({"session_id": session, "prompt": prompt})).await;
    let question = question(client, session).await;
    assert_eq!(question["tool_name"], "ExitPlanMode");
    (session, question)
}

#[tokio::test]
async fn a_plan_that_is_allowed_ends_the_planning() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let (session, question) = planned(&mut client).await;
    let answer = json!({"session_id": session, "request_id": question["request_id"], "behavior": "allow"});
    client.ok("session.respond", answer).await;
    assert_eq!(ask(&mut client, session, "[[text:after it]]").await["result"], "after it");
    let events = client.events(session);
    assert!(!told(&events)[0].0, "{:?}", told(&events));
    assert_eq!(newest_turn(&events).1, "default");
}

#[tokio::test]
async fn a_plan_that_is_denied_goes_on_being_planned() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let (session, question) = planned(&mut client).await;
    let answer = json!({"session_id": session, "request_id": question["request_id"], "behavior": "deny",
        "message": "think again"});
    client.ok("session.respond", answer).await;
    assert_eq!(ask(&mut client, session, "[[text:after it]]").await["result"], "after it");
    let events = client.events(session);
    assert!(told(&events)[0].0 && told(&events)[0].1.contains("think again"), "{:?}", told(&events));
    assert_eq!(newest_turn(&events).1, "plan");
}
