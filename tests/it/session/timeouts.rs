//! The clocks of a session.

use std::time::Duration;

use serde_json::json;

use super::{ended, milliseconds};
use crate::support::Gateway;
use crate::support::event::Event;

#[tokio::test]
async fn h6_a_session_that_runs_longer_than_its_limit_ends_timed_out() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let params = json!({"prompt": "child setsid; rate 50 300s", "timeout_seconds": 1});
    let session = client.start(params).await;
    let events = client.until_ended(session).await;
    let end = ended(&events);
    assert_eq!((&end["reason"], &end["is_error"]), (&json!("timed_out"), &json!(true)));
    let took = end["duration_ms"].as_u64().unwrap();
    // Exact to the second by the row; a busy machine may make the end late, never early.
    assert!((1_000..31_000).contains(&took), "{end}");
    let stopping = events.iter().find(|event| event.kind == "session.state").unwrap();
    assert_eq!(stopping.data()["state"], "stopping");
    assert!(!events.iter().any(|event| event.kind == "session.stalled"), "it was never silent");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
}

#[tokio::test]
async fn f13_silence_is_warned_of_and_then_ends_the_session() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let params = json!({"prompt": "child setsid; child ignoreterm; say before; silent", "idle_timeout_seconds": 4});
    let session = client.start(params).await;
    let events = client.until_ended(session).await;
    assert_eq!(ended(&events)["reason"], "idle_timed_out");
    let (last_words, stopping) = assert_warned(&gateway, &events, 4);
    let silent = milliseconds(stopping) - milliseconds(last_words);
    // Taken in a moment after it was read: the clock may seem that much shorter.
    assert!((3_500..34_000).contains(&silent), "ended after {silent} ms of silence");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
}

/// The silence that an idle limit of so many seconds has ended was warned of between its halves, after the agent's
/// last words: these, and where the session was told to stop.
pub(super) fn assert_warned<'a>(gateway: &Gateway, events: &'a [Event], limit: u64) -> (&'a Event, &'a Event) {
    let is_stopping = |event: &&Event| event.kind == "session.state" && event.data()["state"] == "stopping";
    let stopping = events.iter().find(is_stopping).expect("a stop");
    // While its children were made it may have been silent too.
    let last_words = events.iter().rfind(|event| event.kind == "claude" && event.seq < stopping.seq).unwrap();
    let silence = last_words.seq..stopping.seq;
    let warnings: Vec<_> =
        events.iter().filter(|event| event.kind == "session.stalled" && silence.contains(&event.seq)).collect();
    // Where the gateway itself has stood still, the silence begins anew, and so does the warning.
    let begun_anew = gateway.log().matches("rang late").count();
    assert!((1..=1 + begun_anew).contains(&warnings.len()), "{warnings:?}");
    for warning in warnings {
        let data = warning.data();
        let silent = data["silent_seconds"].as_u64().expect("a number of seconds");
        assert!((limit / 2..limit).contains(&silent), "{data}");
        assert_eq!(data, json!({"silent_seconds": silent, "last_type": "assistant"}));
    }
    (last_words, stopping)
}

#[tokio::test]
async fn an_agent_that_goes_on_speaking_never_runs_into_its_idle_limit() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let params = json!({"prompt": "rate 20 7s 200", "idle_timeout_seconds": 3});
    let session = client.start(params).await;
    let events = client.until_ended(session).await;
    assert_eq!(ended(&events)["reason"], "completed");
    assert!(events.len() >= 140, "{} events", events.len());
}

#[tokio::test]
async fn an_agent_that_never_answers_is_given_up_at_the_start_limit() {
    let program = "#!/bin/sh\nexec sleep 300\n";
    let builder = Gateway::builder().setting("start_timeout_seconds", 0.5).setting("max_sessions", 1);
    let path = super::agent_start::script(builder.directory(), program);
    let gateway = builder.setting("agent_program", path.display()).start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "say unheard"})).await;
    let end = ended(&client.until_ended(session).await);
    assert_eq!((&end["reason"], &end["resumable"]), (&json!("idle_timed_out"), &json!(false)), "{end}");
    assert_eq!(super::slots_taken(&gateway).await, 0);
}

#[tokio::test]
async fn limits_that_make_no_sense_are_refused_and_start_nothing() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    for name in ["timeout_seconds", "idle_timeout_seconds"] {
        for value in [json!(0), json!(-1), json!(1e9), json!("10")] {
            let error = client.error("session.start", json!({"prompt": "say x", name: value})).await;
            assert_eq!(error["code"], -32602, "{name} {value}: {error}");
        }
    }
    assert_eq!(gateway.started_agents(), 0);
    client.expect_silence(Duration::from_millis(100)).await;
}
