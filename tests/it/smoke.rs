//! The shortest way through everything: log in, start a session, read it to its end.

use serde_json::json;

use crate::support::{Gateway, MessagesApi};

#[tokio::test]
async fn a_session_of_the_scripted_agent_runs_to_its_end() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "say hello"})).await;
    let events = client.until_ended(session).await;
    let said: Vec<String> = events.iter().filter_map(|event| event.claude_type()).collect();
    assert_eq!(said.iter().filter(|said| *said == "assistant/").count(), 1, "{said:?}");
    let ended = events.last().expect("a terminal event").data();
    assert_eq!(ended["reason"], "completed");
    assert_eq!(ended["result"], "hello");
    assert_eq!(gateway.started_agents(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_of_the_real_cli_runs_to_its_end() {
    let api = MessagesApi::start();
    let mut gateway = Gateway::builder().real_agent(&api).start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "Hi! [[text:hello from the stand-in]]"})).await;
    let events = client.until_ended(session).await;
    let ended = events.last().expect("a terminal event").data();
    assert_eq!(ended["reason"], "completed");
    assert_eq!(ended["result"], "hello from the stand-in");
    assert_eq!(api.prompts(), ["Hi! [[text:hello from the stand-in]]"]);
    gateway.stop().await;
}
