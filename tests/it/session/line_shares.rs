//! How the line is shared: limits of one principal, their turns, and the account's own limit.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::conversation::{at_rest, busy, go, send};
use super::line::{named, wait_in_line};
use super::refusals::{PASSWORD, bob};
use super::{ended, milliseconds, slots_taken};
use crate::support::client::Client;
use crate::support::program::add_user;
use crate::support::{Gateway, soak};

/// When an agent was ready, in milliseconds since the epoch.
async fn started_at(client: &mut Client, told: &Value) -> u64 {
    milliseconds(&client.until_event(named(told), |event| event.kind == "session.started").await)
}

#[tokio::test]
async fn nobody_has_more_sessions_in_the_line_or_at_work_than_one_may_and_others_are_not_kept_out() {
    let builder = Gateway::builder().setting("max_sessions", 2).setting("shared_uid_accepted", true);
    let builder = builder.setting("max_sessions_per_principal", 1).setting("max_queued_per_principal", 1);
    let mut gateway = builder.start().await;
    add_user(&mut gateway, "bob", PASSWORD).await;
    let (mut admin, mut bob) = (gateway.client().await, bob(&gateway).await);
    let first = busy(&gateway, &mut admin).await;
    let error = admin.error("session.start", json!({"prompt": "say x"})).await;
    assert_eq!((&error["code"], &error["data"]["retryable"]), (&json!(-32003), &json!(true)), "{error}");
    assert!(error["message"].as_str().is_some_and(|why| why.contains("your own limit")), "{error}");
    let waiting = wait_in_line(&mut admin, "say mine", json!({})).await;
    assert_eq!(
        (&waiting["state"], slots_taken(&gateway).await),
        (&json!("queued"), 1),
        "a slot is free, but not for it"
    );
    let error = admin.error("session.start", json!({"prompt": "say x", "queue": true})).await;
    assert_eq!(error["code"], -32003, "{error}");
    assert!(error["message"].as_str().is_some_and(|why| why.contains("your own limit")), "{error}");
    // Who waits for its own limit keeps nobody else from the free slot.
    let session = bob.start(json!({"prompt": "say bobs"})).await;
    assert_eq!(ended(&bob.until_ended(session).await)["result"], "bobs");
    go(&gateway, first);
    assert_eq!(ended(&admin.until_ended(named(&waiting)).await)["result"], "mine");
}

#[tokio::test]
async fn j3_who_queues_one_session_behind_a_hundred_of_another_starts_within_two_free_places() {
    let builder = Gateway::builder().setting("max_sessions", 1).setting("shared_uid_accepted", true);
    let mut gateway = builder.start().await;
    add_user(&mut gateway, "bob", PASSWORD).await;
    let (mut admin, mut bob) = (gateway.client().await, bob(&gateway).await);
    let before = busy(&gateway, &mut admin).await;
    let mut many = Vec::new();
    for _ in 0..soak::count(20, 100) {
        many.push(wait_in_line(&mut admin, "say x", json!({})).await);
    }
    let one = wait_in_line(&mut bob, "say bobs", json!({})).await;
    assert!(one["queue_position"].as_u64().is_some_and(|place| place <= 2), "{one}");
    go(&gateway, before);
    assert_eq!(ended(&bob.until_ended(named(&one)).await)["result"], "bobs");
    let mine = started_at(&mut bob, &one).await;
    let mut earlier = 0;
    for told in &many {
        assert_eq!(ended(&admin.until_ended(named(told)).await)["reason"], "completed");
        earlier += usize::from(started_at(&mut admin, told).await < mine);
    }
    assert!(earlier <= 2, "{earlier} of the other's were started before");
    assert_eq!((gateway.peak_agents(), slots_taken(&gateway).await), (1, 0));
    gateway.stop().await;
}

/// The command by which an agent tells where the account stands.
fn rate_limit(status: &str, resets_at: u64) -> String {
    let info = json!({"status": status, "resetsAt": resets_at, "rateLimitType": "five_hour"});
    let line = json!({"type": "rate_limit_event", "rate_limit_info": info, "session_id": "x", "uuid": "y"});
    format!("raw {}", base64::engine::general_purpose::STANDARD.encode(format!("{line}\n")))
}

/// What an agent says after it has told where the account stands.
const SAY_IT: &str = "say told";

/// Waits for that: by then the gateway has taken in what the line before says.
async fn until_said(client: &mut Client, session: Uuid) {
    client.until_event(session, |event| event.data()["message"]["content"][0]["text"] == "told").await;
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a moment of ours").as_secs()
}

#[tokio::test]
async fn while_the_account_is_at_its_limit_the_line_stands_still_until_it_is_lifted() {
    let gateway = Gateway::builder().setting("max_sessions", 3).start().await;
    let mut client = gateway.client().await;
    // Its agent is there already, so that nearly all of the time is left when somebody comes to wait.
    let limited = at_rest(&mut client).await;
    let resets_at = now_seconds() + 8;
    let script = format!("{}; {SAY_IT}; silent", rate_limit("rejected", resets_at));
    send(&mut client, limited, &script).await;
    until_said(&mut client, limited).await;
    let told = wait_in_line(&mut client, "say now", json!({})).await;
    assert_eq!((&told["state"], slots_taken(&gateway).await), (&json!("queued"), 1), "there are slots: {told}");
    assert!(started_at(&mut client, &told).await >= resets_at * 1_000);
    assert_eq!(ended(&client.until_ended(named(&told)).await)["result"], "now");
}

#[tokio::test]
async fn the_line_moves_on_as_soon_as_the_account_takes_work_again() {
    let gateway = Gateway::builder().setting("max_sessions", 3).start().await;
    let mut client = gateway.client().await;
    let resets_at = now_seconds() + 3_600;
    let (refused, taken) = (rate_limit("rejected", resets_at), rate_limit("allowed", resets_at));
    let script = format!("{refused}; {SAY_IT}; await go; {taken}; say done");
    let limited = client.start(json!({"prompt": script})).await;
    until_said(&mut client, limited).await;
    let told = wait_in_line(&mut client, "say now", json!({})).await;
    assert_eq!(told["state"], "queued");
    go(&gateway, limited);
    assert_eq!(ended(&client.until_ended(named(&told)).await)["result"], "now");
}
