//! Calls about one session that are sent without waiting: they keep their order, and those about another
//! session do not wait for them.

use serde_json::{Value, json};

use super::{ended, until_file};
use crate::support::{Gateway, proc, soak};

#[tokio::test]
async fn b9_calls_sent_back_to_back_are_answered_in_their_order() {
    let mut gateway = Gateway::builder().start().await;
    let mut clients = [gateway.client().await, gateway.client().await];
    for round in 0..soak::count(25, 1_000) {
        // Two sessions, each of a connection of its own, at the same time.
        let mut sessions = Vec::new();
        for client in &mut clients {
            sessions.push(client.start(json!({"prompt": "silent"})).await);
        }
        let mut asked = Vec::new();
        for (client, session) in clients.iter_mut().zip(&sessions) {
            let params = json!({"session_id": session});
            let mut calls = Vec::new();
            for method in ["session.interrupt", "session.stop", "session.get"] {
                calls.push(client.send_call(method, params.clone()).await);
            }
            asked.push(calls);
        }
        for ((client, session), calls) in clients.iter_mut().zip(&sessions).zip(asked) {
            let mut answers: Vec<Value> = Vec::new();
            while answers.len() < calls.len() {
                answers.push(client.next_frame().await);
            }
            let ids: Vec<u64> = answers.iter().filter_map(|answer| answer["id"].as_u64()).collect();
            assert_eq!(ids, calls, "round {round}: {answers:?}");
            // A turn that has not begun can't be interrupted; that is an answer too.
            let interrupted = &answers[0];
            assert!(interrupted["error"].is_null() || interrupted["error"]["code"] == -32006, "{interrupted}");
            let events = client.until_ended(*session).await;
            assert_eq!(ended(&events)["reason"], "cancelled", "round {round}");
            // Also where the interrupt has ended the turn already, and with it the session but for its exit.
            for answer in &answers[1..] {
                let state = answer["result"]["state"].as_str().expect("a state");
                assert!(["stopping", "ended"].contains(&state), "round {round}: {answer}");
            }
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn b9_a_session_that_takes_long_to_stop_keeps_no_other_waiting() {
    // It would not end by itself for the length of this test.
    let gateway = Gateway::builder().setting("sigterm_grace_seconds", 600).start().await;
    let mut client = gateway.client().await;
    let stubborn = client.start(json!({"prompt": "ignore all; touch there; silent"})).await;
    until_file(&gateway, stubborn, "there").await;
    let agents = gateway.processes();
    let stop = client.send_call("session.stop", json!({"session_id": stubborn})).await;
    let start = client.send_call("session.start", json!({"prompt": "touch there; silent"})).await;
    assert_eq!(client.answer(stop).await.expect("a result")["state"], "stopping");
    let other = crate::support::client::session_id(&client.answer(start).await.expect("a result")).expect("an id");
    until_file(&gateway, other, "there").await;
    client.ok("session.interrupt", json!({"session_id": other})).await;
    client.ok("session.stop", json!({"session_id": other})).await;
    client.until_ended(other).await;
    let record = client.ok("session.get", json!({"session_id": stubborn})).await;
    assert_eq!(record["state"], "stopping", "the other one has started and ended meanwhile");
    agents.into_iter().for_each(|pid| proc::signal(pid, rustix::process::Signal::KILL));
    client.until_ended(stubborn).await;
}
