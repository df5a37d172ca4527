//! One turn: text, tools, permissions, structured output, and a conversation that goes on.

use serde_json::json;

use super::{blocks, ended, gateway};
use crate::support::MessagesApi;

#[tokio::test]
async fn a_text_answer_comes_through_from_end_to_end() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "Say it. [[text:forty-two]]", "labels": {"a": "b"}})).await;
    let events = client.until_ended(session).await;

    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).filter(|kind| *kind != "claude").collect();
    assert_eq!(kinds, ["session.started", "session.ended"]);
    let started = events.iter().find(|event| event.kind == "session.started").unwrap().data();
    assert_eq!(started["agent_version"].as_str().unwrap(), crate::support::cli::VERSION);
    let texts = blocks(&events, "assistant", "text");
    assert_eq!(texts, [json!({"type": "text", "text": "forty-two"})]);
    let init = events.iter().find(|event| event.claude_type().as_deref() == Some("system/init")).unwrap().data();
    assert_eq!(init["session_id"], session.to_string());
    assert_eq!(init["cwd"], started["workspace"]);

    let ended = ended(&events);
    assert_eq!((&ended["reason"], &ended["is_error"]), (&json!("completed"), &json!(false)));
    assert_eq!(ended["result"], "forty-two");
    assert_eq!((&ended["num_turns"], &ended["resumable"]), (&json!(1), &json!(true)));
    assert_eq!((&ended["exit_code"], &ended["forced_exit"]), (&json!(0), &json!(null)));
    assert!(ended["total_cost_usd"].as_f64().unwrap() > 0.0, "{ended}");
    assert!(ended["usage"]["output_tokens"].as_u64().unwrap() > 0, "{ended}");

    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!((&record["state"], &record["ended"]), (&json!("ended"), &ended));
    assert_eq!(record["last_seq"], events.last().unwrap().seq);
    gateway.stop().await;
}

#[tokio::test]
async fn an_allowed_tool_runs_without_a_question_and_its_result_is_in_the_events() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let prompt = "Run it. [[bash:echo tool-$((40+2)) > made; cat made]] [[text:it ran]]";
    let session = client.start(json!({"prompt": prompt, "allowed_tools": ["Bash"]})).await;
    let events = client.until_ended(session).await;
    let results = blocks(&events, "user", "tool_result");
    assert_eq!(results.len(), 1);
    assert!(results[0]["content"].to_string().contains("tool-42"), "{results:?}");
    assert_ne!(results[0]["is_error"], true);
    assert!(!events.iter().any(|event| event.kind.starts_with("permission.")), "nothing was asked");
    assert_eq!((&ended(&events)["reason"], &ended(&events)["result"]), (&json!("completed"), &json!("it ran")));
    let workspace = gateway.path("workspaces").join(session.to_string());
    assert_eq!(std::fs::read_to_string(workspace.join("made")).unwrap(), "tool-42\n");
}

#[tokio::test]
async fn partial_messages_stream_the_text_as_it_is_made() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let with = client.start(json!({"prompt": "[[slow:4:20]]", "partial_messages": true})).await;
    let events = client.until_ended(with).await;
    let deltas: Vec<String> = events
        .iter()
        .filter(|event| event.claude_type().as_deref() == Some("stream_event/"))
        .filter_map(|event| event.data()["event"]["delta"]["text"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(deltas.len(), 4, "{deltas:?}");
    assert_eq!(ended(&events)["result"], deltas.concat());

    let without = client.start(json!({"prompt": "[[slow:4:20]]"})).await;
    let events = client.until_ended(without).await;
    assert!(!events.iter().any(|event| event.claude_type().as_deref() == Some("stream_event/")));
}

#[tokio::test]
async fn structured_output_that_fits_the_schema_is_in_the_end() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let schema = json!({"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"],
        "additionalProperties": false});
    let prompt = r#"How many? [[so:{"answer":42}]]"#;
    let session = client.start(json!({"prompt": prompt, "json_schema": schema})).await;
    let ended = ended(&client.until_ended(session).await);
    assert_eq!((&ended["reason"], &ended["structured_output"]), (&json!("completed"), &json!({"answer": 42})));
}

#[tokio::test]
async fn max_turns_ends_the_session_with_its_own_reason() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let prompt = "[[bash:echo one]] [[bash:echo two]] [[text:never]]";
    let params = json!({"prompt": prompt, "allowed_tools": ["Bash"], "max_turns": 1});
    let session = client.start(params).await;
    let events = client.until_ended(session).await;
    let ended = ended(&events);
    assert_eq!((&ended["reason"], &ended["is_error"]), (&json!("max_turns"), &json!(true)));
    assert!(!api.requests().iter().any(|request| request.to_string().contains("\"two\"")));
}

#[tokio::test]
async fn a_resumed_conversation_goes_on_in_a_session_of_its_own() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let first = client.start(json!({"prompt": "The word is one. [[text:noted]]"})).await;
    client.until_ended(first).await;
    let second = client.start(json!({"prompt": "Which word? [[text:that one]]", "resume": first})).await;
    assert_ne!(first, second);
    let events = client.until_ended(second).await;
    assert_eq!((&ended(&events)["reason"], &ended(&events)["result"]), (&json!("completed"), &json!("that one")));
    let record = client.ok("session.get", json!({"session_id": second})).await;
    assert_eq!(record["resumed_from"], first.to_string());
    let before = client.ok("session.get", json!({"session_id": first})).await;
    assert_eq!(record["workspace"], before["workspace"]);
    let messages: Vec<u64> = api.requests().iter().filter_map(|request| request["messages"].as_u64()).collect();
    assert!(
        messages.last() >= messages.first().map(|first| first + 2).as_ref(),
        "nothing was sent again: {messages:?}"
    );
}

#[tokio::test]
async fn an_interactive_session_without_a_prompt_waits_idle_and_is_stopped() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"interactive": true})).await;
    client.until_state(session, "idle").await;
    assert_eq!(client.ok("session.get", json!({"session_id": session})).await["state"], "idle");
    let nothing_runs = client.error("session.interrupt", json!({"session_id": session})).await;
    assert_eq!(nothing_runs["code"], -32006, "{nothing_runs}");
    client.ok("session.stop", json!({"session_id": session})).await;
    let events = client.until_ended(session).await;
    assert_eq!(ended(&events)["reason"], "cancelled");
    assert_eq!(api.prompts().len(), 0, "nothing was asked of the model");
    gateway.until_no_processes().await;
    gateway.stop().await;
}
