//! A gateway in the foreground of a terminal: its keys reach the gateway and nobody else.

use serde_json::json;

use super::resources::agent;
use super::{ended, until_file, workspace};
use crate::support::event::Event;
use crate::support::{Gateway, eventually, proc};

const CTRL_C: &[u8] = b"\x03";

/// The processes that the session's script has left behind.
fn children(events: &[Event]) -> Vec<u32> {
    let told = events.iter().map(Event::data).filter(|line| line["subtype"] == "scripted_child");
    told.map(|line| line["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a process id")).collect()
}

#[tokio::test]
async fn h14_ctrl_c_drains_the_gateway_and_its_sessions_get_only_what_the_stop_sequence_sends() {
    let mut gateway = Gateway::builder().terminal().start().await;
    let mut client = gateway.client().await;
    let script = "child sleep; touch there; await go; say undisturbed";
    let gentle = client.start(json!({"prompt": script})).await;
    // A SIGINT would end it, with code 0.
    let deaf = client.start(json!({"prompt": "ignore interrupt end_session eof; touch there; silent"})).await;
    for session in [gentle, deaf] {
        until_file(&gateway, session, "there").await;
        client.until_event(session, |event| event.claude_type().as_deref() == Some("system/init")).await;
    }
    client.until_event(gentle, |event| event.claude_type().as_deref() == Some("system/scripted_child")).await;
    let (agents, tools) = ([gentle, deaf].map(|id| agent(&client.events(id))), children(&client.events(gentle)));
    assert!(proc::has_terminal(gateway.pid()), "the gateway has the terminal");
    assert_eq!(tools.len(), 1);
    for pid in agents.iter().chain(&tools) {
        assert!(!proc::has_terminal(*pid), "process {pid} has a terminal");
    }

    gateway.press(CTRL_C);
    client.notification("server.draining").await;
    // The signal has reached the gateway, so it would have reached the others.
    for pid in agents.iter().chain(&tools) {
        assert!(proc::alive(*pid), "process {pid} got the key");
    }
    std::fs::write(workspace(&gateway, gentle).join("go"), "").expect("a file for the agent");
    let end = ended(&client.until_ended(gentle).await);
    assert_eq!((&end["reason"], &end["result"]), (&json!("completed"), &json!("undisturbed")));

    gateway.press(CTRL_C);
    // The second one leaves no time for the gentle steps.
    let end = ended(&client.until_ended(deaf).await);
    assert_eq!((&end["reason"], &end["exit_code"], &end["signal"]), (&json!("drained"), &json!(null), &json!(9)));
    assert_eq!(client.until_closed().await.code, Some(1001));
    assert_eq!(gateway.exited().await.code(), Some(0));
    eventually("all to be gone", || gateway.processes().is_empty().then_some(())).await;
}
