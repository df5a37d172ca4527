//! The cap: never more agents at once than slots, counted by the agents themselves.

use std::time::Duration;

use serde_json::{Value, json};

use uuid::Uuid;

use super::{ended, slots_taken, until_file};
use crate::support::{Client, Gateway, soak};

#[tokio::test]
async fn over_the_cap_a_start_is_refused_and_after_an_end_the_next_one_works() {
    let mut gateway = Gateway::builder().setting("max_sessions", 2).start().await;
    let mut client = gateway.client().await;
    let mut running = Vec::new();
    for _ in 0..2 {
        let session = client.start(json!({"prompt": "touch there; silent"})).await;
        until_file(&gateway, session, "there").await;
        running.push(session);
    }
    assert_eq!((gateway.running_agents(), slots_taken(&gateway).await), (2, 2));
    for params in [json!({"prompt": "say x"}), json!({"interactive": true})] {
        let error = client.error("session.start", params).await;
        assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32003), &json!("session_limit")));
        assert_eq!(error["data"]["retryable"], true);
        assert!((1..=60_000).contains(&error["data"]["retry_after_ms"].as_u64().unwrap()), "{error}");
    }
    let dialect = client.error("execute", json!({"command": "claude -p hello"})).await;
    assert_eq!(dialect["code"], -32003, "the dialect counts too: {dialect}");
    client.expect_silence(Duration::from_millis(50)).await;

    client.ok("session.stop", json!({"session_id": running[0]})).await;
    client.until_ended(running[0]).await;
    // The terminal event means that the slot is free: no waiting, no trying again.
    let next = client.start(json!({"prompt": "say next"})).await;
    assert_eq!(ended(&client.until_ended(next).await)["result"], "next");
    assert_eq!((gateway.peak_agents(), gateway.started_agents()), (2, 3));
    client.ok("session.stop", json!({"session_id": running[1]})).await;
    client.until_ended(running[1]).await;
    assert_eq!(slots_taken(&gateway).await, 0);
    gateway.stop().await;
}

/// One caller's answer: the session, or nothing if the cap was reached.
async fn started(client: &mut Client, call: u64) -> Option<Uuid> {
    match client.answer(call).await {
        Ok(result) => Some(crate::support::client::session_id(&result).expect("a session's id")),
        Err(error) => {
            assert_eq!((&error["code"], &error["data"]["retryable"]), (&json!(-32003), &Value::Bool(true)), "{error}");
            None
        }
    }
}

#[tokio::test]
async fn j1_of_ten_times_the_cap_at_once_never_more_than_the_cap_run_and_all_come_to_their_end() {
    const CAP: usize = 4;
    let mut gateway = Gateway::builder().setting("max_sessions", CAP).start().await;
    let mut clients = Vec::new();
    for _ in 0..CAP {
        clients.push(gateway.client().await);
    }
    for round in 1..=soak::count(1, 25) {
        // Each caller asks for ten at once, and again for those that were refused.
        let (mut wanted, mut refused) = ([10; CAP], 0);
        while wanted.iter().sum::<usize>() > 0 {
            let mut asked = Vec::new();
            for (client, wanted) in clients.iter_mut().zip(wanted) {
                let mut calls = Vec::new();
                for _ in 0..wanted {
                    calls.push(client.send_call("session.start", json!({"prompt": "sleep 20ms; say x"})).await);
                }
                asked.push(calls);
            }
            for ((client, calls), wanted) in clients.iter_mut().zip(asked).zip(&mut wanted) {
                let mut sessions = Vec::new();
                for call in calls {
                    sessions.extend(started(client, call).await);
                }
                refused += *wanted - sessions.len();
                *wanted -= sessions.len();
                for session in sessions {
                    assert_eq!(ended(&client.until_ended(session).await)["reason"], "completed");
                }
            }
        }
        assert!(refused > 0, "there was no contest");
        assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (10 * CAP * round, 0));
    }
    assert!((1..=CAP).contains(&gateway.peak_agents()), "{} agents at once", gateway.peak_agents());
    assert_eq!(gateway.running_agents(), 0);
    gateway.stop().await;
}

#[tokio::test]
async fn however_many_callers_ask_at_once_the_cap_holds_and_every_slot_comes_back() {
    let mut gateway = Gateway::builder().setting("max_sessions", 3).start().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(gateway.client().await);
    }
    let (mut started, mut refused) = (0, 0);
    for _ in 0..soak::count(4, 100) {
        let mut asked = Vec::new();
        for client in &mut clients {
            for _ in 0..3 {
                asked.push(client.send_call("session.start", json!({"prompt": "sleep 20ms; say x"})).await);
            }
        }
        let mut sessions = Vec::new();
        for (number, id) in asked.into_iter().enumerate() {
            match clients[number / 3].answer(id).await {
                Ok(result) => sessions.push((number / 3, crate::support::client::session_id(&result).unwrap())),
                Err(error) => {
                    assert_eq!(error["code"], -32003, "{error}");
                    refused += 1;
                }
            }
        }
        assert!(!sessions.is_empty(), "with free slots somebody gets one");
        started += sessions.len();
        for (client, session) in sessions {
            assert_eq!(ended(&clients[client].until_ended(session).await)["reason"], "completed");
        }
        assert_eq!(slots_taken(&gateway).await, 0);
    }
    assert!(refused > 0, "there was no contest");
    assert_eq!(gateway.started_agents(), started);
    assert!((1..=3).contains(&gateway.peak_agents()), "{} agents at once", gateway.peak_agents());
    gateway.stop().await;
}
