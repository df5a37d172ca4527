//! The clocks of interactive sessions: what counts for each turn, what for the whole, and what stands still at rest.

use std::time::Duration;

use serde_json::{Value, json};

use super::conversation::{at_rest, at_rest_with, busy, go, message_id, results, send, until_answered, until_away};
use super::timeouts::assert_warned;
use super::{ended, milliseconds, until_file};
use crate::support::Gateway;
use crate::support::event::Event;

/// The first event that tells of that state.
fn state(events: &[Event], wanted: impl Fn(&Value) -> bool) -> &Event {
    events.iter().find(|event| event.kind == "session.state" && wanted(&event.data())).expect("that state")
}

/// How long after the message was given to the agent the session was told to stop, in milliseconds.
fn given_to_stopped(events: &[Event], message: uuid::Uuid) -> u64 {
    let stopped = state(events, |data| data["state"] == "stopping");
    milliseconds(stopped) - milliseconds(state(events, |data| data["message_id"] == json!(message)))
}

#[tokio::test]
async fn h6_the_limit_of_the_settings_counts_for_each_turn_of_an_interactive_session() {
    let gateway = Gateway::builder().setting("timeout_seconds", 6).start().await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client).await;
    // Together longer than the limit.
    for _ in 0..2 {
        let message = send(&mut client, session, "sleep 3200ms; say in time").await;
        until_answered(&mut client, session, &message).await;
    }
    let message = send(&mut client, session, "child setsid; rate 20 300s").await;
    let events = client.until_ended(session).await;
    let end = ended(&events);
    assert_eq!(
        (&end["reason"], &end["is_error"], &end["resumable"]),
        (&json!("timed_out"), &json!(true), &json!(true))
    );
    assert_eq!(results(&events)[1..3], ["in time", "in time"]);
    let took = given_to_stopped(&events, message_id(&message));
    // Exact to the second by the row; a busy machine may make the end late, never early. The event is told a moment
    // after the clock has begun, which may seem that much shorter.
    assert!((5_500..36_000).contains(&took), "stopped after {took} ms");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
}

#[tokio::test]
async fn h6_a_limit_that_the_caller_names_counts_for_the_whole_session_also_at_rest_and_over_its_processes() {
    let gateway = Gateway::builder().setting("idle_process_seconds", 0.05).start().await;
    let mut client = gateway.client().await;
    let begun = std::time::Instant::now();
    let kept = at_rest_with(&mut client, json!({"timeout_seconds": 5, "on_disconnect": "stop"})).await;
    let woken = at_rest_with(&mut client, json!({"timeout_seconds": 7})).await;
    until_away(&mut client, woken, 1).await;
    send(&mut client, woken, "child setsid; rate 20 300s").await;
    for (session, limit) in [(kept, 5_000), (woken, 7_000)] {
        let end = ended(&client.until_ended(session).await);
        assert_eq!((&end["reason"], &end["resumable"]), (&json!("timed_out"), &json!(true)), "{end}");
        let took = end["duration_ms"].as_u64().expect("how long it took");
        let all = u64::try_from(begun.elapsed().as_millis()).expect("a length of time");
        assert!((limit..=all).contains(&took), "{end}");
    }
    assert_eq!(gateway.processes(), Vec::<u32>::new());
}

#[tokio::test]
async fn what_a_session_has_waited_for_its_slot_does_not_count_against_its_limit() {
    let builder = Gateway::builder().setting("max_sessions", 1).setting("idle_process_seconds", 0.05);
    let gateway = builder.setting("retention_interval_seconds", 0.1).start().await;
    let mut client = gateway.client().await;
    let first = busy(&gateway, &mut client).await;
    let params = json!({"prompt": "say x", "interactive": true, "queue": true, "timeout_seconds": 4});
    let session = client.start(params).await;
    client.until_event(session, |event| event.kind == "session.queued").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    go(&gateway, first);
    // It rests without a process when its time is over.
    until_away(&mut client, session, 1).await;
    let events = client.until_ended(session).await;
    assert_eq!(ended(&events)["reason"], "timed_out");
    let started = events.iter().find(|event| event.kind == "session.started").expect("a start");
    let took = milliseconds(events.last().expect("an end")) - milliseconds(started);
    assert!(took >= 4_000, "ended {took} ms after its start");
}

#[tokio::test]
async fn f13_silence_in_a_turn_is_warned_of_and_ends_an_interactive_session_but_silence_at_rest_does_not() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = at_rest_with(&mut client, json!({"idle_timeout_seconds": 4})).await;
    // Longer than it may be silent in a turn.
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    assert_eq!(client.ok("session.get", json!({"session_id": session})).await["state"], "idle");
    let message = send(&mut client, session, "child setsid; say before; silent").await;
    let events = client.until_ended(session).await;
    assert_eq!(ended(&events)["reason"], "idle_timed_out");
    assert_warned(&gateway, &events, 4);
    let idle = state(&events, |data| data["state"] == "idle");
    let given = state(&events, |data| data["message_id"] == message["message_id"]);
    let rest = idle.seq..given.seq;
    assert!(!events.iter().any(|event| event.kind == "session.stalled" && rest.contains(&event.seq)), "warned at rest");
    let silent = given_to_stopped(&events, message_id(&message));
    assert!((3_500..34_000).contains(&silent), "ended {silent} ms after the message");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
}

#[tokio::test]
async fn a_turn_with_an_open_question_is_neither_silent_nor_at_rest() {
    let builder = Gateway::builder().setting("max_sessions", 1).setting("idle_process_seconds", 0.05);
    let gateway = builder.start().await;
    let mut client = gateway.client().await;
    let prompt = "touch there; ask Bash {}; say asked";
    let params = json!({"prompt": prompt, "interactive": true, "idle_timeout_seconds": 4});
    let session = client.start(params).await;
    until_file(&gateway, session, "there").await;
    let question = client.until_event(session, |event| event.kind == "permission.requested").await.data();
    client.until_state(session, "awaiting_permission").await;
    // Longer than either clock.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let error = client.error("session.start", json!({"prompt": "say x"})).await;
    assert_eq!(error["code"], -32003, "its slot is not to be had: {error}");
    let answer = json!({"session_id": session, "request_id": question["request_id"], "behavior": "allow"});
    assert_eq!(client.ok("session.respond", answer).await["state"], "running");
    until_away(&mut client, session, 1).await;
    let events = client.events(session);
    assert_eq!(results(&events), ["asked"]);
    assert!(!events.iter().any(|event| event.kind == "session.stalled"));
}
