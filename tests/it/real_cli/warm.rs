//! The real Claude Code, started ahead of its session.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{ask, at_rest, ended, newest_turn};
use crate::support::{Builder, Client, Gateway, MessagesApi, cli, metrics};

async fn until_ready(gateway: &Gateway) {
    metrics::until(gateway.http, "cc_gateway_warm_processes{state=\"ready\"}", 1.0).await;
}

/// The process of a session.
fn pid(client: &Client, session: Uuid) -> Value {
    let events = client.events(session);
    events.iter().find(|event| event.kind == "session.started").expect("a session that was started").data()["pid"]
        .clone()
}

/// How often the API was asked for something; an old Claude also looks whether it is there.
fn asked(api: &MessagesApi) -> usize {
    api.requests().iter().filter(|request| request["method"] == "POST").count()
}

/// A gateway with one Claude that was started ahead for sessions with these parameters; its process.
async fn warmed(api: &MessagesApi, params: &Value) -> (Gateway, Client, u32) {
    warmed_by(Gateway::builder().real_agent(api), params).await
}

/// The same of any Claude.
async fn warmed_by(builder: Builder, params: &Value) -> (Gateway, Client, u32) {
    let gateway = builder.setting("warm_processes", 1).start().await;
    let mut client = gateway.client().await;
    let session = client.start(params.clone()).await;
    client.until_ended(session).await;
    until_ready(&gateway).await;
    let agents = gateway.processes();
    let [agent] = agents.as_slice() else { panic!("not one agent: {agents:?}") };
    (gateway, client, *agent)
}

#[tokio::test]
async fn a_claude_that_was_started_ahead_answers_with_its_stream_and_works_in_its_own_workspace() {
    let api = MessagesApi::start();
    let params = json!({"prompt": "[[slow:3:5]]", "partial_messages": true, "allowed_tools": ["Bash"]});
    let (mut gateway, mut client, agent) = warmed(&api, &params).await;
    assert_eq!(asked(&api), 1, "what is started ahead asks for nothing");
    let params = json!({"prompt": "[[bash:pwd > where]] [[text:done]]", "partial_messages": true,
        "allowed_tools": ["Bash"]});
    let session = client.start(params).await;
    let events = client.until_ended(session).await;
    assert_eq!(pid(&client, session), agent);
    assert!(events.iter().any(|event| event.claude_type().as_deref() == Some("stream_event/")));
    assert_eq!((&ended(&events)["result"], &ended(&events)["reason"]), (&json!("done"), &json!("completed")));
    let workspace = gateway.path("workspaces").join(session.to_string());
    let told = std::fs::read_to_string(workspace.join("where")).unwrap();
    assert_eq!(std::path::Path::new(told.trim()), workspace.canonicalize().unwrap());
    // The conversation has the session's id: it can be continued.
    let next = client.start(json!({"prompt": "Go on. [[text:more]]", "resume": session})).await;
    assert_eq!(ended(&client.until_ended(next).await)["result"], "more");
    gateway.stop().await;
}

#[tokio::test]
async fn model_and_permission_mode_are_set_on_a_claude_that_was_started_ahead_before_it_is_asked_anything() {
    let api = MessagesApi::start();
    let first = json!({"prompt": "[[text:one]]", "model": "sonnet", "permission_mode": "plan"});
    let (mut gateway, mut client, agent) = warmed(&api, &first).await;
    let session = at_rest(&mut client, json!({"model": "haiku", "permission_mode": "acceptEdits"})).await;
    assert_eq!(pid(&client, session), agent);
    ask(&mut client, session, "Which one? [[text:two]]").await;
    let (model, mode) = newest_turn(&client.events(session));
    assert!(model.as_str().is_some_and(|model| model.contains("haiku")), "{model}");
    assert_eq!(mode, "acceptEdits");
    let request = api.until_asked("Which one? [[text:two]]").await;
    assert!(request["model"].as_str().is_some_and(|model| model.contains("haiku")), "{request}");
    let cold = api.until_asked("[[text:one]]").await;
    assert_eq!(request["messages"], cold["messages"], "Claude is told nothing of the change");
    gateway.stop().await;
}

#[tokio::test]
async fn an_old_claude_can_be_started_ahead_too() {
    let api = MessagesApi::start();
    let builder = Gateway::builder().real_agent(&api).setting("agent_program", cli::old_cli().display());
    let (mut gateway, mut client, agent) = warmed_by(builder, &json!({"prompt": "[[text:one]]"})).await;
    assert_eq!(asked(&api), 1, "what is started ahead asks for nothing");
    let session = client.start(json!({"prompt": "[[text:two]]"})).await;
    assert_eq!(ended(&client.until_ended(session).await)["result"], "two");
    assert_eq!(pid(&client, session), agent);
    gateway.stop().await;
}
