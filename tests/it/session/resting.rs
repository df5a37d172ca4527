//! Sessions that are put away: the way back when slots are scarce, what can be asked of them, and their end.

use serde_json::{Value, json};
use uuid::Uuid;

use super::conversation::{
    at_rest, at_rest_with, busy, go, lost_turns, message_id, newest_init, send, until_answered, until_away,
};
use super::{ended, slots_taken};
use crate::support::{Client, Gateway};

/// One slot, a session that is put away, and another that has taken the slot.
async fn away_and_busy(gateway: &Gateway, client: &mut Client, params: Value) -> (Uuid, Uuid) {
    let session = at_rest_with(client, params).await;
    let busy = busy(gateway, client).await;
    until_away(client, session, 1).await;
    (session, busy)
}

#[tokio::test]
async fn a_message_for_a_session_without_a_process_waits_for_a_slot_as_a_start_does() {
    let gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    let (session, busy) = away_and_busy(&gateway, &mut client, json!({})).await;
    let before = client.position(session);
    let refused = json!({"session_id": session, "prompt": "no", "queue": false});
    let error = client.error("session.send", refused).await;
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32003), &json!("session_limit")), "{error}");
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!((&record["state"], &record["last_seq"]), (&json!("idle"), &json!(before)), "nothing has changed");

    let first = send(&mut client, session, "one more").await;
    assert_eq!((&first["state"], &first["queue_position"]), (&json!("queued"), &json!(1)), "{first}");
    let second = send(&mut client, session, "and another").await;
    assert_eq!((&second["state"], &second["queue_position"]), (&json!("queued"), &json!(1)), "{second}");
    client.until_event(session, |event| event.kind == "session.queued" && event.data()["position"] == 1).await;
    assert_eq!(gateway.running_agents(), 1);
    go(&gateway, busy);
    for (message, earlier) in [(first, 1), (second, 2)] {
        let answer = until_answered(&mut client, session, &message).await;
        let text = answer.data()["result"].as_str().unwrap_or_default().to_owned();
        assert!(text.contains(&format!("after {earlier} earlier")), "{text}");
    }
    assert_eq!(lost_turns(&client.events(session)), []);
    assert_eq!((gateway.started_agents(), gateway.peak_agents()), (3, 1));
}

#[tokio::test]
async fn a_message_that_waits_too_long_for_a_slot_is_lost_and_the_next_one_works() {
    let gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    let (session, busy) = away_and_busy(&gateway, &mut client, json!({"queue_timeout_seconds": 2})).await;
    // Sent together, so that the second one comes while the first one waits.
    let message = |prompt: &str| json!({"session_id": session, "prompt": prompt});
    let first = client.send_call("session.send", message("too late")).await;
    let second = client.send_call("session.send", message("and this")).await;
    let lost = [client.answer(first).await.unwrap(), client.answer(second).await.unwrap()];
    until_away(&mut client, session, 2).await;
    let told = lost_turns(&client.events(session));
    assert_eq!(told, lost.each_ref().map(|message| (message_id(message), "no_slot".to_owned())));
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!((&record["state"], gateway.started_agents()), (&json!("idle"), 2));
    go(&gateway, busy);
    client.until_ended(busy).await;
    let message = send(&mut client, session, "now?").await;
    let answer = until_answered(&mut client, session, &message).await;
    assert_eq!(answer.data()["result"], "You said: now? (after 1 earlier)");
}

#[tokio::test]
async fn a_session_that_is_put_away_is_configured_for_its_next_process_and_has_no_turn_to_steer() {
    let gateway = Gateway::builder().setting("idle_process_seconds", 0.05).start().await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client).await;
    until_away(&mut client, session, 1).await;
    for method in ["session.interrupt", "session.pause", "session.unpause"] {
        let error = client.error(method, json!({"session_id": session})).await;
        assert_eq!((&error["code"], &error["data"]["details"]["state"]), (&json!(-32006), &json!("idle")), "{method}");
    }
    let params = json!({"session_id": session, "model": "haiku", "permission_mode": "plan"});
    assert_eq!(client.ok("session.configure", params).await["state"], "idle");
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(record["model"], "haiku");
    let message = send(&mut client, session, "hello again").await;
    until_answered(&mut client, session, &message).await;
    let init = newest_init(&client.events(session));
    assert_eq!((&init["model"], &init["permissionMode"]), (&json!("haiku"), &json!("plan")));
}

#[tokio::test]
async fn a_session_that_is_stopped_while_its_message_waits_for_a_slot_ends_and_is_not_started() {
    let gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    let (session, _busy) = away_and_busy(&gateway, &mut client, json!({})).await;
    send(&mut client, session, "never answered").await;
    client.ok("session.stop", json!({"session_id": session})).await;
    let end = ended(&client.until_ended(session).await);
    assert_eq!((&end["reason"], &end["resumable"]), (&json!("cancelled"), &json!(true)), "{end}");
    assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (2, 1));
}

#[tokio::test]
async fn a_session_that_nobody_wakes_ends_when_its_time_is_over() {
    let builder = Gateway::builder().setting("idle_process_seconds", 0.05);
    let gateway = builder.setting("retention_interval_seconds", 0.1).setting("keep_ended_seconds", 8).start().await;
    let mut client = gateway.client().await;
    // One that nobody asks for, and one whose own limit comes first.
    let forgotten = at_rest(&mut client).await;
    let limited = at_rest_with(&mut client, json!({"timeout_seconds": 6})).await;
    for (session, least) in [(limited, 6_000), (forgotten, 8_000)] {
        let events = client.until_ended(session).await;
        let end = ended(&events);
        assert_eq!((&end["reason"], &end["resumable"]), (&json!("timed_out"), &json!(true)), "{end}");
        assert!(end["duration_ms"].as_u64().is_some_and(|took| took >= least), "{end}");
    }
}

#[tokio::test]
async fn a_session_at_rest_that_needs_its_process_keeps_its_slot() {
    let mut gateway = Gateway::builder().setting("max_sessions", 2).setting("idle_process_seconds", 0.05).start().await;
    let mut client = gateway.client().await;
    // A client's control requests, or the connection that one lives for, would be lost with it.
    let kept = [
        at_rest_with(&mut client, json!({"raw": true})).await,
        at_rest_with(&mut client, json!({"on_disconnect": "stop"})).await,
    ];
    let error = client.error("session.start", json!({"prompt": "say x"})).await;
    assert_eq!((&error["code"], slots_taken(&gateway).await), (&json!(-32003), 2));
    for session in kept {
        assert!(!client.events(session).iter().any(super::conversation::is_away));
        client.ok("session.stop", json!({"session_id": session})).await;
        assert_eq!(ended(&client.until_ended(session).await)["reason"], "cancelled");
    }
    gateway.stop().await;
}
