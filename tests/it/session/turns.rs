//! Interactive sessions: messages one after the other, rest without a process, and the way back.

use serde_json::{Value, json};
use uuid::Uuid;

use super::conversation::{at_rest, results, send, until_answered, until_away};
use super::{ended, run, until_file, workspace};
use crate::support::client::Client;
use crate::support::{Gateway, metrics};

#[tokio::test]
async fn each_message_has_one_answer_in_the_order_in_which_they_were_sent() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "touch there; await go; say first", "interactive": true})).await;
    until_file(&gateway, session, "there").await;
    let mut sent = Vec::new();
    for text in ["say second", "say third", "say fourth"] {
        let told = send(&mut client, session, text).await;
        assert_eq!(told["state"], "running");
        sent.push(told);
    }
    std::fs::write(workspace(&gateway, session).join("go"), "").unwrap();
    for message in &sent {
        until_answered(&mut client, session, message).await;
    }
    client.until_state(session, "idle").await;
    client.ok("session.stop", json!({"session_id": session})).await;
    let events = client.until_ended(session).await;
    assert_eq!(results(&events), ["first", "second", "third", "fourth"]);
    // Each turn's beginning names its message.
    let begun: Vec<_> = events
        .iter()
        .filter(|event| event.kind == "session.state")
        .filter_map(|event| event.data()["message_id"].as_str().map(str::to_owned))
        .collect();
    let ids: Vec<_> = sent.iter().map(|message| message["message_id"].as_str().unwrap().to_owned()).collect();
    assert!(begun.ends_with(&ids), "{begun:?} {ids:?}");
    assert_eq!(ended(&events)["reason"], "cancelled");
}

#[tokio::test]
async fn a_message_that_is_sent_twice_is_one() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client).await;
    let message = json!({"session_id": session, "prompt": "say once", "message_id": Uuid::new_v4()});
    let told = client.ok("session.send", message.clone()).await;
    assert_eq!(told["message_id"], message["message_id"]);
    client.ok("session.send", message).await;
    let last = send(&mut client, session, "say last").await;
    until_answered(&mut client, session, &last).await;
    assert_eq!(results(&client.events(session)).len(), 3);
}

#[tokio::test]
async fn a_message_that_is_sent_again_after_its_session_was_put_away_is_one_too() {
    let gateway = Gateway::builder().setting("idle_process_seconds", 0.1).start().await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client).await;
    let message = json!({"session_id": session, "prompt": "say once", "message_id": Uuid::new_v4()});
    let told = client.ok("session.send", message.clone()).await;
    let answer = until_answered(&mut client, session, &told).await;
    client.until_event(session, |event| event.seq > answer.seq && event.data.get().contains("put_away")).await;
    let again = client.ok("session.send", message.clone()).await;
    assert_eq!((&again["message_id"], &again["state"]), (&message["message_id"], &json!("idle")));
    let last = send(&mut client, session, "say last").await;
    client.ok("session.send", message).await;
    until_answered(&mut client, session, &last).await;
    assert_eq!(results(&client.events(session)).len(), 3);
}

#[tokio::test]
async fn a_message_that_steers_joins_the_running_turn() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "touch there; await go; say first", "interactive": true})).await;
    until_file(&gateway, session, "there").await;
    let params = json!({"session_id": session, "prompt": "say joined", "steer": true});
    let told = client.ok("session.send", params).await;
    std::fs::write(workspace(&gateway, session).join("go"), "").unwrap();
    until_answered(&mut client, session, &told).await;
    client.until_state(session, "idle").await;
}

#[tokio::test]
async fn a_message_that_has_joined_a_turn_is_known_also_after_the_process_has_gone() {
    let gateway = Gateway::builder().setting("idle_process_seconds", 0.2).start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "touch there; await go; say first", "interactive": true})).await;
    until_file(&gateway, session, "there").await;
    let params = json!({"session_id": session, "prompt": "say joined", "steer": true, "message_id": Uuid::new_v4()});
    let told = client.ok("session.send", params.clone()).await;
    let joined = client.until_event(session, |event| event.data.get().contains("steered")).await;
    assert_eq!(joined.data(), json!({"state": "running", "cause": "steered", "message_id": told["message_id"]}));
    std::fs::write(workspace(&gateway, session).join("go"), "").unwrap();
    until_answered(&mut client, session, &told).await;
    until_away(&mut client, session, 1).await;
    assert_eq!(client.ok("session.send", params).await["message_id"], told["message_id"]);
    // Nothing was done with it: the next thing that happens is what another message brings.
    let last = send(&mut client, session, "say last").await;
    until_answered(&mut client, session, &last).await;
    assert_eq!(results(&client.events(session)).iter().filter(|text| *text == "joined").count(), 1);
}

#[tokio::test]
async fn a_turn_that_is_interrupted_or_fails_ends_only_itself() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client).await;
    send(&mut client, session, "touch there; silent").await;
    until_file(&gateway, session, "there").await;
    let waiting = send(&mut client, session, "result error went wrong").await;
    client.ok("session.interrupt", json!({"session_id": session})).await;
    let failed = until_answered(&mut client, session, &waiting).await;
    assert_eq!(failed.data()["is_error"], true);
    let last = send(&mut client, session, "say still here").await;
    until_answered(&mut client, session, &last).await;
    let interrupt = client.error("session.interrupt", json!({"session_id": Uuid::new_v4()})).await;
    assert_eq!(interrupt["code"], -32002);
}

#[tokio::test]
async fn a_session_at_rest_gives_its_process_up_and_goes_on_with_the_next_message() {
    let mut gateway = Gateway::builder().setting("idle_process_seconds", 0.2).start().await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client).await;
    let away = client.until_event(session, |event| event.data.get().contains("put_away")).await;
    assert_eq!(away.data(), json!({"state": "idle", "cause": "put_away"}));
    metrics::until(gateway.http, r#"cc_gateway_sessions{state="idle"}"#, 0.0).await;
    assert_eq!(gateway.running_agents(), 0);
    let info = client.ok("server.info", json!({})).await;
    assert_eq!(info["active_sessions"], 0, "its slot is free");
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!((&record["state"], &record["ended"]), (&json!("idle"), &Value::Null));

    // The same connection sees it go on, without a gap, with its conversation.
    let message = send(&mut client, session, "and more").await;
    let answer = until_answered(&mut client, session, &message).await;
    assert!(answer.data()["result"].as_str().unwrap().contains("after 1 earlier"), "{}", answer.data());
    client.until_event(session, |event| event.seq > answer.seq && event.data.get().contains("put_away")).await;
    client.ok("session.stop", json!({"session_id": session})).await;
    let events = client.until_ended(session).await;
    assert_eq!((&ended(&events)["reason"], &ended(&events)["resumable"]), (&json!("cancelled"), &json!(true)));
    let again = client.error("session.send", json!({"session_id": session, "prompt": "x"})).await;
    assert_eq!(again["code"], -32006);
    gateway.stop().await;
}

#[tokio::test]
async fn messages_sent_at_once_to_a_session_that_is_put_away_bring_it_back_once() {
    let gateway = Gateway::builder().setting("idle_process_seconds", 0.1).start().await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client).await;
    client.until_event(session, |event| event.data.get().contains("put_away")).await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(gateway.client().await);
    }
    let sends = others.iter_mut().map(|other| send(other, session, "say hi"));
    let sent = futures_util::future::join_all(sends).await;
    for message in &sent {
        until_answered(&mut client, session, message).await;
    }
    let events = client.events(session);
    assert_eq!(results(&events).len(), 6);
}

#[tokio::test]
async fn a_session_that_is_put_away_survives_a_restart_and_a_kill_of_the_gateway() {
    let mut gateway = Gateway::builder().setting("idle_process_seconds", 0.1).start().await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client).await;
    client.until_event(session, |event| event.data.get().contains("put_away")).await;
    metrics::until(gateway.http, r#"cc_gateway_sessions{state="idle"}"#, 0.0).await;
    let seen = client.position(session);
    for kill in [true, false] {
        if kill {
            gateway.kill9().await;
        } else {
            gateway.stop().await;
        }
        gateway.restart().await;
        let mut client = gateway.client().await;
        let record = client.ok("session.get", json!({"session_id": session})).await;
        assert_eq!((&record["state"], record["last_seq"].as_u64()), (&json!("idle"), Some(seen)));
    }
    let mut client = gateway.client().await;
    client.ok("session.attach", json!({"session_id": session, "after_seq": seen})).await;
    let message = send(&mut client, session, "still there?").await;
    let answer = until_answered(&mut client, session, &message).await;
    assert!(answer.data()["result"].as_str().unwrap().contains("after 1 earlier"), "{}", answer.data());
}

#[tokio::test]
async fn a_start_that_needs_a_slot_puts_away_what_has_rested_longest() {
    let gateway = Gateway::builder().setting("max_sessions", 2).start().await;
    let mut client = gateway.client().await;
    let (first, second) = (at_rest(&mut client).await, at_rest(&mut client).await);
    assert_eq!(ended(&run(&mut client, "say there was room").await)["result"], "there was room");
    let is_away =
        |client: &Client, session| client.events(session).iter().any(|event| event.data.get().contains("put_away"));
    assert!(is_away(&client, first) && !is_away(&client, second));
    let message = send(&mut client, first, "back?").await;
    until_answered(&mut client, first, &message).await;
}

#[tokio::test]
async fn a_session_that_is_not_interactive_takes_no_more_messages() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "touch there; silent"})).await;
    until_file(&gateway, session, "there").await;
    let error = client.error("session.send", json!({"session_id": session, "prompt": "more"})).await;
    assert_eq!((&error["code"], &error["data"]["details"]["state"]), (&json!(-32006), &json!("running")));
    let empty = client.error("session.send", json!({"session_id": session, "prompt": ""})).await;
    assert_eq!(empty["code"], -32602);
}
