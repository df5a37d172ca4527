//! Pause and unpause: the whole tree stands still, and so do the clocks that judge it.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::conversation::{answers, at_rest, busy, go, message_id, send, until_answered};
use super::{ended, until_file};
use crate::support::{Client, Gateway, eventually, proc};

async fn call(client: &mut Client, method: &str, session: Uuid) -> String {
    let told = client.ok(method, json!({"session_id": session})).await;
    told["state"].as_str().expect("a state").to_owned()
}

/// Asks for what the session's state does not allow; the state that the refusal names.
async fn refused(client: &mut Client, method: &str, session: Uuid) -> Value {
    let error = client.error(method, json!({"session_id": session})).await;
    assert_eq!(error["code"], -32006, "{method}: {error}");
    error["data"]["details"]["state"].clone()
}

/// All of the session's processes stand still.
async fn until_frozen(gateway: &Gateway, others: &[u32]) {
    eventually("the whole tree to stand still", || {
        let all = gateway.processes().into_iter().chain(others.iter().copied());
        let awake = all.filter(|&pid| !proc::stands_still(pid)).count();
        (awake == 0).then_some(())
    })
    .await;
}

/// An agent with every kind of child; what the children told their ids to be.
async fn with_children(gateway: &Gateway, client: &mut Client) -> (Uuid, Vec<u32>) {
    let kinds = ["sleep", "setsid", "daemon", "ignoreterm", "forker", "cleanenv"];
    let children: Vec<String> = kinds.iter().map(|kind| format!("child {kind}")).collect();
    let script = format!("{}; touch there; await go; say on", children.join("; "));
    let session = client.start(json!({"prompt": script})).await;
    until_file(gateway, session, "there").await;
    client.until_event(session, |event| event.data.get().contains(r#""kind":"cleanenv""#)).await;
    let told = client.events(session).into_iter().map(|event| event.data());
    let pids = told.filter(|line| line["subtype"] == "scripted_child");
    let pids = pids.map(|line| line["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a process id"));
    (session, pids.collect())
}

#[tokio::test]
async fn a_pause_stops_the_whole_tree_and_an_unpause_lets_it_go_on() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let (session, children) = with_children(&gateway, &mut client).await;
    for _ in 0..3 {
        assert_eq!(call(&mut client, "session.pause", session).await, "paused");
        until_frozen(&gateway, &children).await;
        assert_eq!(call(&mut client, "session.unpause", session).await, "running");
        // The forker, which never stops making processes, shows that they run.
        eventually("the tree to go on", || {
            gateway.processes().into_iter().all(|pid| proc::state(pid) != Some('T')).then_some(())
        })
        .await;
    }
    go(&gateway, session);
    let events = client.until_ended(session).await;
    assert_eq!((&ended(&events)["reason"], &ended(&events)["result"]), (&json!("completed"), &json!("on")));
    let states: Vec<_> =
        events.iter().filter(|event| event.kind == "session.state").map(|event| event.data()).collect();
    let told: Vec<_> = states.iter().filter_map(|data| data["state"].as_str()).collect();
    assert_eq!(told, ["paused", "running", "paused", "running", "paused", "running"]);
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    gateway.stop().await;
}

#[tokio::test]
async fn a_paused_session_that_is_stopped_leaves_nothing_behind() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let (session, children) = with_children(&gateway, &mut client).await;
    call(&mut client, "session.pause", session).await;
    until_frozen(&gateway, &children).await;
    assert_eq!(call(&mut client, "session.stop", session).await, "stopping");
    assert_eq!(ended(&client.until_ended(session).await)["reason"], "cancelled");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    assert!(!children.iter().any(|&pid| proc::alive(pid)));
    gateway.stop().await;
}

#[tokio::test]
async fn the_silence_of_a_paused_session_is_not_its_own() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let prompt = "touch there; await go; say on";
    let session = client.start(json!({"prompt": prompt, "idle_timeout_seconds": 6})).await;
    until_file(&gateway, session, "there").await;
    call(&mut client, "session.pause", session).await;
    // Longer than it may be silent.
    tokio::time::sleep(Duration::from_millis(6_500)).await;
    go(&gateway, session);
    assert_eq!(call(&mut client, "session.unpause", session).await, "running");
    let events = client.until_ended(session).await;
    assert_eq!(ended(&events)["reason"], "completed");
}

#[tokio::test]
async fn a_message_for_a_paused_session_waits_until_it_goes_on() {
    let gateway = Gateway::builder().setting("idle_process_seconds", 0.2).start().await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client).await;
    // At rest it may be put away at any moment: the message makes sure that it has a process.
    let script = "touch there; await go; say first";
    let first = send(&mut client, session, script).await;
    until_file(&gateway, session, "there").await;
    assert_eq!(call(&mut client, "session.pause", session).await, "paused");
    let message = send(&mut client, session, "say second").await;
    assert_eq!(message["state"], "paused");
    until_frozen(&gateway, &[]).await;
    go(&gateway, session);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(client.ok("session.get", json!({"session_id": session})).await["state"], "paused");
    assert!(!client.events(session).iter().any(|event| answers(event).contains(&message_id(&first))));
    assert_eq!(call(&mut client, "session.unpause", session).await, "running");
    until_answered(&mut client, session, &message).await;
    let answered: Vec<Uuid> = client.events(session).iter().flat_map(answers).collect();
    assert!(answered.ends_with(&[message_id(&first), message_id(&message)]), "{answered:?}");
}

#[tokio::test]
async fn only_what_runs_is_paused_and_only_what_is_paused_goes_on() {
    let gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    let session = busy(&gateway, &mut client).await;
    let waiting = client.start(json!({"prompt": "say x", "queue": true})).await;
    assert_eq!(refused(&mut client, "session.pause", waiting).await, "queued");
    assert_eq!(refused(&mut client, "session.unpause", session).await, "running");
    call(&mut client, "session.pause", session).await;
    assert_eq!(refused(&mut client, "session.pause", session).await, "paused");
    call(&mut client, "session.unpause", session).await;
    go(&gateway, session);
    client.until_ended(session).await;
    for method in ["session.pause", "session.unpause"] {
        assert_eq!(refused(&mut client, method, session).await, "ended");
    }
    assert_eq!(ended(&client.until_ended(waiting).await)["reason"], "completed");
}
