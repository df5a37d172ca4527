//! What sessions cost: a budget over several turns, and a spend limit that counts every dollar once.

use serde_json::json;
use uuid::Uuid;

use super::{ask, at_rest, ended, results, send, until_put_away};
use crate::support::{Client, Gateway, MessagesApi};

/// A turn that costs a dollar, by the CLI's own list of prices for the model below.
const DOLLAR: &str = "[[usage:0:50000]]";
const MODEL: &str = "opus";

async fn cost(client: &mut Client, session: Uuid) -> f64 {
    let record = client.ok("session.get", json!({"session_id": session})).await;
    record["total_cost_usd"].as_f64().unwrap_or_else(|| panic!("a cost: {record}"))
}

fn is_about(cost: f64, dollars: f64) -> bool {
    (cost - dollars).abs() < 0.1
}

#[tokio::test]
async fn a_budget_counts_over_all_turns_and_ends_the_session_when_it_is_used_up() {
    let api = MessagesApi::start();
    let mut gateway = Gateway::builder().real_agent(&api).start().await;
    let mut client = gateway.client().await;
    let params = json!({"prompt": DOLLAR, "model": MODEL, "max_budget_usd": 2.5});
    let session = at_rest(&mut client, params).await;
    assert!(is_about(cost(&mut client, session).await, 1.0));
    let second = ask(&mut client, session, DOLLAR).await;
    assert_eq!(second["is_error"], false);
    send(&mut client, session, DOLLAR).await;
    let events = client.until_ended(session).await;
    let end = ended(&events);
    assert_eq!((&end["reason"], &end["is_error"]), (&json!("budget_exhausted"), &json!(true)), "{end}");
    assert!(is_about(end["total_cost_usd"].as_f64().unwrap(), 3.0), "{end}");
    assert_eq!(results(&events).len(), 3);
    gateway.stop().await;
}

#[tokio::test]
async fn a_budget_counts_on_when_a_session_has_been_put_away() {
    let api = MessagesApi::start();
    let gateway = Gateway::builder().real_agent(&api).setting("idle_process_seconds", 0.1).start().await;
    let mut client = gateway.client().await;
    let params = json!({"prompt": DOLLAR, "model": MODEL, "max_budget_usd": 1.5});
    let session = at_rest(&mut client, params).await;
    until_put_away(&mut client, session, 1).await;
    send(&mut client, session, DOLLAR).await;
    let end = ended(&client.until_ended(session).await);
    assert_eq!(end["reason"], "budget_exhausted", "{end}");
    assert!(is_about(end["total_cost_usd"].as_f64().unwrap(), 2.0), "{end}");
}

#[tokio::test]
async fn a_budget_counts_only_what_the_session_itself_has_spent() {
    let api = MessagesApi::start();
    let gateway = Gateway::builder().real_agent(&api).setting("idle_process_seconds", 0.1).start().await;
    let mut client = gateway.client().await;
    let before = client.start(json!({"prompt": DOLLAR, "model": MODEL})).await;
    client.until_ended(before).await;
    let params = json!({"prompt": DOLLAR, "model": MODEL, "resume": before, "max_budget_usd": 2.5});
    let session = at_rest(&mut client, params).await;
    until_put_away(&mut client, session, 1).await;
    assert_eq!(ask(&mut client, session, DOLLAR).await["is_error"], false);
    until_put_away(&mut client, session, 2).await;
    send(&mut client, session, DOLLAR).await;
    let end = ended(&client.until_ended(session).await);
    assert_eq!(end["reason"], "budget_exhausted", "{end}");
    assert!(is_about(end["total_cost_usd"].as_f64().unwrap(), 4.0), "{end}");
}

#[tokio::test]
async fn every_dollar_counts_once_for_the_spend_limit_whatever_becomes_of_the_process() {
    let api = MessagesApi::start();
    let mut gateway = Gateway::builder()
        .real_agent(&api)
        .setting("idle_process_seconds", 0.1)
        .setting("max_spend_usd_per_principal", 3.5)
        .start()
        .await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client, json!({"prompt": DOLLAR, "model": MODEL})).await;
    until_put_away(&mut client, session, 1).await;
    // Back with a dollar already counted: twice two would be too much already.
    ask(&mut client, session, DOLLAR).await;
    assert!(is_about(cost(&mut client, session).await, 2.0));
    until_put_away(&mut client, session, 2).await;
    gateway.restart().await;
    let mut client = gateway.client().await;
    client.ok("session.attach", json!({"session_id": session})).await;
    ask(&mut client, session, DOLLAR).await;
    assert!(is_about(cost(&mut client, session).await, 3.0));
    // Three are below the limit, four are not.
    ask(&mut client, session, DOLLAR).await;
    let refused = client.error("session.send", json!({"session_id": session, "prompt": DOLLAR})).await;
    assert_eq!((&refused["code"], &refused["data"]["kind"]), (&json!(-32004), &json!("usage_limit")), "{refused}");
    let refused = client.error("session.start", json!({"prompt": DOLLAR})).await;
    assert_eq!(refused["code"], -32004);
    assert!(is_about(cost(&mut client, session).await, 4.0));
    gateway.stop().await;
}

#[tokio::test]
async fn what_a_resumed_conversation_had_cost_before_is_not_spent_again() {
    let api = MessagesApi::start();
    let gateway = Gateway::builder().real_agent(&api).setting("max_spend_usd_per_principal", 2.5).start().await;
    let mut client = gateway.client().await;
    let first = client.start(json!({"prompt": DOLLAR, "model": MODEL})).await;
    client.until_ended(first).await;
    let second = client.start(json!({"prompt": DOLLAR, "model": MODEL, "resume": first})).await;
    let end = ended(&client.until_ended(second).await);
    assert_eq!(end["reason"], "completed");
    // Two dollars are spent: counted as three they would refuse this.
    let third = client.start(json!({"prompt": DOLLAR, "model": MODEL})).await;
    client.until_ended(third).await;
    assert_eq!(client.error("session.start", json!({"prompt": DOLLAR})).await["code"], -32004);
}
