//! What a principal may spend: over it neither a start nor a message is taken, until the window has moved on.

use serde_json::{Value, json};

use super::conversation::{at_rest, send, until_answered};
use super::refusals::{PASSWORD, bob};
use super::{ended, run};
use crate::support::program::add_user;
use crate::support::{DEADLINE, Gateway};

fn assert_spent(error: &Value) {
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32004), &json!("usage_limit")), "{error}");
}

#[tokio::test]
async fn who_has_spent_what_may_be_spent_starts_and_sends_nothing_more_and_others_may() {
    let builder = Gateway::builder().setting("shared_uid_accepted", true).setting("idle_process_seconds", 0.1);
    // A turn of the scripted agent costs 0.001.
    let mut gateway = builder.setting("max_spend_usd_per_principal", 0.0025).start().await;
    add_user(&mut gateway, "bob", PASSWORD).await;
    let (mut admin, mut bob) = (gateway.client().await, bob(&gateway).await);
    let (away, kept) = (at_rest(&mut admin).await, admin.start(json!({"interactive": true})).await);
    super::conversation::until_away(&mut admin, away, 1).await;
    admin.until_state(kept, "idle").await;
    let message = send(&mut admin, kept, "say second").await;
    until_answered(&mut admin, kept, &message).await;
    assert_eq!(ended(&run(&mut admin, "say third").await)["reason"], "completed");
    let (started, events) = (gateway.started_agents(), admin.position(kept));
    for params in [json!({"prompt": "say x"}), json!({"prompt": "say x", "queue": true})] {
        assert_spent(&admin.error("session.start", params).await);
    }
    for session in [away, kept] {
        assert_spent(&admin.error("session.send", json!({"session_id": session, "prompt": "say x"})).await);
    }
    assert_eq!(gateway.started_agents(), started);
    assert!(admin.position(kept) >= events);
    assert_eq!(ended(&run(&mut bob, "say mine").await)["result"], "mine");
    // What runs may still be steered and stopped, also after a restart; and that does not forget what was spent.
    admin.ok("session.stop", json!({"session_id": kept})).await;
    admin.until_ended(kept).await;
    gateway.restart().await;
    assert_spent(&gateway.client().await.error("session.start", json!({"prompt": "say x"})).await);
    gateway.stop().await;
}

#[tokio::test]
async fn what_was_spent_before_the_window_does_not_count() {
    let builder = Gateway::builder().setting("max_spend_usd_per_principal", 0.0005);
    let gateway = builder.setting("spend_window_seconds", 2).start().await;
    let mut client = gateway.client().await;
    // The first is enough, unless it is so long ago by then that it does not count any more.
    let mut refused = None;
    for _ in 0..100 {
        match client.call("session.start", json!({"prompt": "say x"})).await {
            Ok(started) => {
                client.until_ended(super::line::named(&started)).await;
            }
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    assert_spent(&refused.expect("a refusal"));
    let deadline = std::time::Instant::now() + DEADLINE;
    while let Err(error) = client.call("session.start", json!({"prompt": "say again"})).await {
        assert_spent(&error);
        assert!(std::time::Instant::now() < deadline, "the window does not move");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
