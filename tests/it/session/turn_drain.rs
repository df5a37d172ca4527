//! A drain with interactive sessions: they are put away, and there again after the restart.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use super::conversation::{
    answers, at_rest, go, is_away, lost_turns, message_id, results, send, until_answered, until_away,
};
use super::{ended, until_file};
use crate::support::event::Event;
use crate::support::{Client, Gateway};

/// An interactive session in its second turn, which ends with [`go`]; its answer's message.
async fn in_turn(gateway: &Gateway, client: &mut Client) -> (Uuid, Value) {
    let session = at_rest(client).await;
    let message = send(client, session, "child setsid; touch there; await go; say worked").await;
    until_file(gateway, session, "there").await;
    (session, message)
}

/// The session is there after a restart, with its conversation.
async fn goes_on(client: &mut Client, session: Uuid, earlier: u64) {
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!((&record["state"], &record["ended"]), (&json!("idle"), &Value::Null));
    client.ok("session.attach", json!({"session_id": session})).await;
    let message = send(client, session, "still there?").await;
    let answer = until_answered(client, session, &message).await;
    let text = answer.data()["result"].as_str().unwrap_or_default().to_owned();
    assert!(text.contains(&format!("after {earlier} earlier")), "{text}");
}

fn has_ended(events: &[Event]) -> bool {
    events.iter().any(|event| event.kind == "session.ended")
}

#[tokio::test]
async fn k1_a_drain_puts_away_what_rests_and_what_runs_after_its_turn_and_tells_which_messages_are_lost() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let resting = at_rest(&mut client).await;
    let (running, message) = in_turn(&gateway, &mut client).await;
    let waiting = [send(&mut client, running, "say too late").await, send(&mut client, running, "say too").await];
    gateway.signal(Signal::TERM);
    client.notification("server.draining").await;
    until_away(&mut client, resting, 1).await;
    go(&gateway, running);
    let answer = until_answered(&mut client, running, &message).await;
    assert_eq!(answer.data()["result"], "worked");
    until_away(&mut client, running, 1).await;
    assert_eq!(client.until_closed().await.code, Some(1012));
    assert_eq!(gateway.exited().await.code(), Some(0));
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    let events = client.events(running);
    let lost = waiting.each_ref().map(|told| (message_id(told), "drained".to_owned()));
    assert_eq!(lost_turns(&events), lost);
    assert_eq!(results(&events).len(), 2, "what waited was not begun");
    assert!(!has_ended(&events) && !has_ended(&client.events(resting)));

    gateway.restart().await;
    let mut client = gateway.client().await;
    goes_on(&mut client, resting, 1).await;
    goes_on(&mut client, running, 2).await;
    gateway.stop().await;
}

#[tokio::test]
async fn k1_a_session_that_can_not_be_put_away_ends_drained_after_its_turn() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let mut sessions = Vec::new();
    for params in [json!({"raw": true}), json!({"on_disconnect": "stop"})] {
        let mut params = params;
        params["prompt"] = json!("touch there; await go; say worked");
        params["interactive"] = json!(true);
        let session = client.start(params).await;
        until_file(&gateway, session, "there").await;
        sessions.push(session);
    }
    gateway.signal(Signal::TERM);
    client.notification("server.draining").await;
    for session in sessions {
        go(&gateway, session);
        let events = client.until_ended(session).await;
        let end = ended(&events);
        assert_eq!((&end["reason"], &end["resumable"]), (&json!("drained"), &json!(true)), "{end}");
        assert_eq!(results(&events), ["worked"]);
    }
    assert_eq!(gateway.exited().await.code(), Some(0));
    assert_eq!(gateway.processes(), Vec::<u32>::new());
}

#[tokio::test]
async fn k2_turns_that_run_longer_than_the_grace_end_their_sessions_drained_and_resumable() {
    let mut gateway = Gateway::builder().setting("drain_grace_seconds", 0.3).start().await;
    let mut client = gateway.client().await;
    let resting = at_rest(&mut client).await;
    let (running, message) = in_turn(&gateway, &mut client).await;
    let waiting = send(&mut client, running, "say too late").await;
    let asked = Instant::now();
    gateway.signal(Signal::TERM);
    let events = client.until_ended(running).await;
    let end = ended(&events);
    assert_eq!((&end["reason"], &end["is_error"], &end["resumable"]), (&json!("drained"), &json!(true), &json!(true)));
    assert_eq!(client.until_closed().await.code, Some(1012));
    assert_eq!(gateway.exited().await.code(), Some(0));
    let took = asked.elapsed();
    // By the row the grace and three seconds; a busy machine may need some more.
    assert!((Duration::from_millis(300)..Duration::from_secs(30)).contains(&took), "it took {took:?}");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    let answered: Vec<Uuid> = events.iter().flat_map(answers).collect();
    assert!(answered.contains(&message_id(&message)), "the interrupted turn has its result: {answered:?}");
    assert!(!answered.contains(&message_id(&waiting)));
    assert!(client.events(resting).iter().any(is_away));

    gateway.restart().await;
    let mut client = gateway.client().await;
    goes_on(&mut client, resting, 1).await;
    let next = client.start(json!({"prompt": "go on", "resume": running})).await;
    assert_eq!(ended(&client.until_ended(next).await)["result"], "You said: go on (after 2 earlier)");
    gateway.stop().await;
}

#[tokio::test]
async fn k3_a_second_signal_kills_whole_trees_at_once_and_spares_what_is_put_away() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let resting = at_rest(&mut client).await;
    let running = at_rest(&mut client).await;
    send(&mut client, running, "ignore all; child setsid; child ignoreterm; child daemon; touch there; silent").await;
    until_file(&gateway, running, "there").await;
    gateway.signal(Signal::TERM);
    client.notification("server.draining").await;
    until_away(&mut client, resting, 1).await;
    let asked = Instant::now();
    gateway.signal(Signal::TERM);
    let end = ended(&client.until_ended(running).await);
    assert_eq!(
        (&end["reason"], &end["signal"], &end["resumable"]),
        (&json!("drained"), &json!(9), &json!(true)),
        "{end}"
    );
    assert_eq!(client.until_closed().await.code, Some(1001));
    assert_eq!(gateway.exited().await.code(), Some(0));
    let took = asked.elapsed();
    // Two seconds by the row; the ladder, which it leaves out, would take more than ten.
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    gateway.restart().await;
    goes_on(&mut gateway.client().await, resting, 1).await;
    gateway.stop().await;
}
