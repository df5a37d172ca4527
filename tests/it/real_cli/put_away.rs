//! Rest without a process and the way back: the conversation, its costs and what was configured go on.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{ask, at_rest, gateway, newest_turn, of_kind, until_put_away};
use crate::support::{Client, Gateway, MessagesApi};

const FIRST: &str = "The word is heron. [[text:noted]]";

/// A gateway that puts what rests away at once.
async fn impatient(api: &MessagesApi) -> Gateway {
    Gateway::builder().real_agent(api).setting("idle_process_seconds", 0.1).start().await
}

/// What the session has cost by its record.
async fn cost(client: &mut Client, session: Uuid) -> f64 {
    let record = client.ok("session.get", json!({"session_id": session})).await;
    record["total_cost_usd"].as_f64().unwrap_or_else(|| panic!("a cost: {record}"))
}

/// Asks once more and checks that Claude knows the conversation and counts its costs on.
async fn goes_on(client: &mut Client, api: &MessagesApi, session: Uuid, number: usize) {
    let before = cost(client, session).await;
    let prompt = format!("Which word? [[text:answer {number}]]");
    let result = ask(client, session, &prompt).await;
    assert_eq!((&result["result"], &result["session_id"]), (&json!(format!("answer {number}")), &json!(session)));
    let request = api.until_asked(&prompt).await;
    let asked = request["user_texts"].as_array().unwrap();
    assert!(asked.contains(&json!(FIRST)), "Claude has forgotten: {asked:?}");
    assert_eq!(asked.iter().filter(|text| **text == json!(prompt)).count(), 1, "{asked:?}");
    assert!(result["total_cost_usd"].as_f64().unwrap() > before, "{before} {result}");
    assert_eq!(json!(cost(client, session).await), result["total_cost_usd"]);
}

#[tokio::test]
async fn a_session_that_was_put_away_remembers_its_conversation_and_counts_its_costs_on() {
    let api = MessagesApi::start();
    let mut gateway = impatient(&api).await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client, json!({"prompt": FIRST})).await;
    until_put_away(&mut client, session, 1).await;
    gateway.until_no_processes().await;
    for number in 2..4 {
        goes_on(&mut client, &api, session, number).await;
        until_put_away(&mut client, session, number).await;
    }
    let started = of_kind(&client.events(session), "session.started");
    assert_eq!(started.len(), 3, "each return is a process of its own");
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_that_was_put_away_goes_on_after_a_restart_of_the_gateway() {
    let api = MessagesApi::start();
    let mut gateway = impatient(&api).await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client, json!({"prompt": FIRST})).await;
    until_put_away(&mut client, session, 1).await;
    gateway.restart().await;
    let mut client = gateway.client().await;
    client.ok("session.attach", json!({"session_id": session})).await;
    goes_on(&mut client, &api, session, 2).await;
    until_put_away(&mut client, session, 2).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_at_rest_is_put_away_by_a_drain_and_goes_on_afterwards() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client, json!({"prompt": FIRST})).await;
    gateway.restart().await;
    let mut client = gateway.client().await;
    client.ok("session.attach", json!({"session_id": session})).await;
    goes_on(&mut client, &api, session, 2).await;
    gateway.stop().await;
}

async fn configure(client: &mut Client, session: Uuid, model: &str, mode: &str) {
    let params = json!({"session_id": session, "model": model, "permission_mode": mode});
    client.ok("session.configure", params).await;
}

/// Asks once more: the model that the API is asked for, and the permission mode of the turn.
async fn asked_for(client: &mut Client, api: &MessagesApi, session: Uuid, prompt: &str) -> (String, Value) {
    ask(client, session, prompt).await;
    let request = api.until_asked(prompt).await;
    (request["model"].as_str().unwrap().to_owned(), newest_turn(&client.events(session)).1)
}

#[tokio::test]
async fn what_is_configured_holds_from_the_next_turn_on_with_a_process_and_without() {
    let api = MessagesApi::start();
    let gateway = Gateway::builder().real_agent(&api).setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client, json!({"prompt": "[[text:hello]]", "model": "opus"})).await;
    assert!(api.until_asked("[[text:hello]]").await["model"].as_str().unwrap().contains("opus"));

    configure(&mut client, session, "haiku", "acceptEdits").await;
    let (model, mode) = asked_for(&mut client, &api, session, "[[text:live]]").await;
    assert!(model.contains("haiku") && mode == "acceptEdits", "{model} {mode}");

    // The one slot is wanted, and the session at rest gives its process up. What was said to it still holds.
    client.until_event(session, |event| event.data.get().contains("\"live\"")).await;
    let other = client.start(json!({"prompt": "[[text:other]]"})).await;
    client.until_ended(other).await;
    until_put_away(&mut client, session, 1).await;
    let (model, mode) = asked_for(&mut client, &api, session, "[[text:back]]").await;
    assert!(model.contains("haiku") && mode == "acceptEdits", "{model} {mode}");

    let other = client.start(json!({"prompt": "[[text:another]]"})).await;
    client.until_ended(other).await;
    until_put_away(&mut client, session, 2).await;
    configure(&mut client, session, "sonnet", "plan").await;
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!((&record["model"], &record["state"]), (&json!("sonnet"), &json!("idle")));
    let (model, mode) = asked_for(&mut client, &api, session, "[[text:again]]").await;
    assert!(model.contains("sonnet") && mode == "plan", "{model} {mode}");
}

#[tokio::test]
async fn a_mode_that_has_changed_in_a_turn_still_holds_after_the_return() {
    let api = MessagesApi::start();
    let gateway = impatient(&api).await;
    let mut client = gateway.client().await;
    let prompt = r#"[[tool:ExitPlanMode|{"plan":"1. Do it."}]] [[text:so be it]]"#;
    let params = json!({"prompt": prompt, "permission_mode": "plan", "interactive": true});
    let session = client.start(params).await;
    let question = client.until_event(session, |event| event.kind == "permission.requested").await.data();
    let answer = json!({"session_id": session, "request_id": question["request_id"], "behavior": "allow"});
    client.ok("session.respond", answer).await;
    until_put_away(&mut client, session, 1).await;
    let (_, mode) = asked_for(&mut client, &api, session, "[[text:back]]").await;
    assert_eq!(mode, "default", "the planning is over");
}
