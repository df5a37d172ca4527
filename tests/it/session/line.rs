//! The line for slots, as callers see it: places, the turn that comes, and every way out of the line.

use rustix::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use super::conversation::{answers, busy, go, message_id};
use super::{ended, run, slots_taken, until_file};
use crate::support::client::session_id;
use crate::support::event::Event;
use crate::support::{Client, Gateway, soak};

/// Starts a session that waits for a slot, with that prompt and further parameters; the answer.
pub(super) async fn wait_in_line(client: &mut Client, prompt: &str, mut params: Value) -> Value {
    params["prompt"] = json!(prompt);
    params["queue"] = json!(true);
    client.ok("session.start", params).await
}

/// The session of an answer.
pub(super) fn named(told: &Value) -> Uuid {
    session_id(told).unwrap_or_else(|| panic!("no session in {told}"))
}

/// The places that a session's log tells.
fn places(events: &[Event]) -> Vec<u64> {
    let told = events.iter().filter(|event| event.kind == "session.queued").map(Event::data);
    told.map(|data| data["position"].as_u64().expect("a place")).collect()
}

fn was_started(events: &[Event]) -> bool {
    events.iter().any(|event| event.kind == "session.started")
}

#[tokio::test]
async fn who_waits_is_told_places_that_only_fall_and_runs_when_a_slot_comes_free() {
    let mut gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    let mut before = busy(&gateway, &mut client).await;
    let mut waiting = Vec::new();
    for place in 1..=3 {
        let told = wait_in_line(&mut client, "touch there; await go; say mine", json!({})).await;
        assert_eq!((&told["state"], &told["queue_position"]), (&json!("queued"), &json!(place)), "{told}");
        assert!(told["message_id"].is_string(), "{told}");
        waiting.push(named(&told));
    }
    let record = client.ok("session.get", json!({"session_id": waiting[2]})).await;
    assert_eq!(record["state"], "queued");
    let listed = client.ok("session.list", json!({"state": "queued"})).await;
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(3));
    for (place, &session) in (1..).zip(&waiting) {
        assert_eq!(gateway.running_agents(), 1);
        go(&gateway, before);
        client.until_ended(before).await;
        until_file(&gateway, session, "there").await;
        client.until_state(session, "starting").await;
        let told = places(&client.events(session));
        assert_eq!(told.first(), Some(&place), "{told:?}");
        assert!(told.windows(2).all(|pair| pair[1] < pair[0]), "{told:?}");
        before = session;
    }
    go(&gateway, before);
    assert_eq!(ended(&client.until_ended(before).await)["result"], "mine");
    assert_eq!((gateway.peak_agents(), slots_taken(&gateway).await), (1, 0));
    gateway.stop().await;
}

#[tokio::test]
async fn who_waits_too_long_ends_timed_out_and_was_never_started() {
    let gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    busy(&gateway, &mut client).await;
    let told = wait_in_line(&mut client, "say x", json!({"queue_timeout_seconds": 0.3})).await;
    let events = client.until_ended(named(&told)).await;
    let end = ended(&events);
    assert_eq!((&end["reason"], &end["resumable"]), (&json!("timed_out"), &json!(false)), "{end}");
    assert!(end["message"].as_str().is_some_and(|why| why.contains("slot")), "{end}");
    assert!(end["duration_ms"].as_u64().is_some_and(|took| took >= 300), "{end}");
    assert!(!was_started(&events));
    assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (1, 1));
}

#[tokio::test]
async fn j6_who_is_stopped_while_waiting_is_never_started_and_those_behind_move_up() {
    let mut gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    let before = busy(&gateway, &mut client).await;
    for _ in 0..soak::count(10, 500) {
        let told = wait_in_line(&mut client, "touch it; say never", json!({})).await;
        let session = named(&told);
        let behind = named(&wait_in_line(&mut client, "say never", json!({})).await);
        let state = client.ok("session.stop", json!({"session_id": session})).await;
        assert_eq!(state["state"], "ended");
        let events = client.until_ended(session).await;
        let end = ended(&events);
        assert_eq!((&end["reason"], &end["resumable"]), (&json!("cancelled"), &json!(false)), "{end}");
        assert!(!was_started(&events));
        client.until_event(behind, |event| event.kind == "session.queued" && event.data()["position"] == 1).await;
        client.ok("session.stop", json!({"session_id": behind})).await;
        client.until_ended(behind).await;
        assert_eq!(gateway.started_agents(), 1);
    }
    go(&gateway, before);
    client.until_ended(before).await;
    // Nobody who has left gets the slot.
    assert_eq!(ended(&run(&mut client, "say free").await)["result"], "free");
    assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (2, 0));
    gateway.stop().await;
}

#[tokio::test]
async fn j2_a_full_line_refuses_with_the_time_to_try_again_and_so_does_a_start_that_would_pass_it() {
    let gateway = Gateway::builder().setting("max_sessions", 1).setting("max_queue", 2).start().await;
    let mut client = gateway.client().await;
    busy(&gateway, &mut client).await;
    let first = named(&wait_in_line(&mut client, "say x", json!({})).await);
    wait_in_line(&mut client, "say y", json!({})).await;
    for queue in [true, false] {
        let error = client.error("session.start", json!({"prompt": "say z", "queue": queue})).await;
        assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32003), &json!("session_limit")));
        assert_eq!(error["data"]["retryable"], true);
        assert!((1..=60_000).contains(&error["data"]["retry_after_ms"].as_u64().expect("a time")), "{error}");
    }
    client.ok("session.stop", json!({"session_id": first})).await;
    client.until_ended(first).await;
    let told = wait_in_line(&mut client, "say z", json!({})).await;
    assert_eq!(told["queue_position"], 2);
}

#[tokio::test]
async fn j1_of_ten_times_the_cap_that_wait_never_more_than_the_cap_run_and_all_come_to_their_end() {
    const CAP: usize = 4;
    let mut gateway = Gateway::builder().setting("max_sessions", CAP).start().await;
    let mut clients = Vec::new();
    for _ in 0..CAP {
        clients.push(gateway.client().await);
    }
    for round in 1..=soak::count(1, 25) {
        let mut asked = Vec::new();
        for client in &mut clients {
            let mut calls = Vec::new();
            for _ in 0..10 {
                let params = json!({"prompt": "sleep 20ms; say x", "queue": true});
                calls.push(client.send_call("session.start", params).await);
            }
            asked.push(calls);
        }
        for (client, calls) in clients.iter_mut().zip(asked) {
            for call in calls {
                let session = named(&client.answer(call).await.expect("nobody is refused"));
                let events = client.until_ended(session).await;
                assert_eq!(ended(&events)["reason"], "completed");
                let told = places(&events);
                assert!(told.windows(2).all(|pair| pair[1] != pair[0]), "{told:?}");
            }
        }
        assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (10 * CAP * round, 0));
    }
    assert!((1..=CAP).contains(&gateway.peak_agents()), "{} agents at once", gateway.peak_agents());
    gateway.stop().await;
}

#[tokio::test]
async fn k1_a_drain_ends_who_waits_as_drained_and_lets_who_runs_finish() {
    let mut gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    let running = busy(&gateway, &mut client).await;
    let waiting = named(&wait_in_line(&mut client, "say never", json!({})).await);
    let survivor = named(&wait_in_line(&mut client, "say never", json!({"on_lost": "resume"})).await);
    gateway.signal(Signal::TERM);
    for session in [waiting, survivor] {
        let events = client.until_ended(session).await;
        let end = ended(&events);
        assert_eq!((&end["reason"], &end["resumable"]), (&json!("drained"), &json!(false)), "{end}");
        assert!(!was_started(&events));
    }
    go(&gateway, running);
    assert_eq!(ended(&client.until_ended(running).await)["result"], "worked");
    assert_eq!(gateway.exited().await.code(), Some(0));
    assert_eq!((gateway.processes(), gateway.started_agents()), (Vec::new(), 1));
}

#[tokio::test]
async fn k4_after_a_kill_who_waited_is_lost_or_waits_again_and_runs_with_its_message() {
    let mut gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    let running = busy(&gateway, &mut client).await;
    let lost = named(&wait_in_line(&mut client, "say never", json!({})).await);
    let mut resumed = Vec::new();
    for text in ["say one", "say two"] {
        resumed.push(wait_in_line(&mut client, text, json!({"on_lost": "resume"})).await);
    }
    gateway.kill9().await;
    gateway.restart().await;
    let mut client = gateway.client().await;
    for session in [running, lost] {
        client.ok("session.attach", json!({"session_id": session})).await;
        let end = ended(&client.until_ended(session).await);
        assert_eq!((&end["reason"], &end["resumable"]), (&json!("lost"), &json!(session == running)), "{end}");
    }
    for (told, text) in resumed.iter().zip(["one", "two"]) {
        let session = named(told);
        client.ok("session.attach", json!({"session_id": session})).await;
        let events = client.until_ended(session).await;
        assert_eq!(ended(&events)["result"], text);
        let answered: Vec<Uuid> = events.iter().flat_map(answers).collect();
        assert_eq!(answered, [message_id(told)], "it is still the message that was told");
        assert!(!events.iter().any(|event| event.kind == "turn.lost"));
    }
    assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (3, 0));
    gateway.stop().await;
}
