//! Permission questions: asked, answered once, taken back, or denied for want of an answer.

use serde_json::{Value, json};
use uuid::Uuid;

use super::ended;
use crate::support::Gateway;
use crate::support::client::Client;
use crate::support::event::Event;

const ASK: &str = r#"ask Bash {"command":"ls"}; say asked"#;

async fn asked(client: &mut Client, session: Uuid) -> Value {
    client.until_event(session, |event| event.kind == "permission.requested").await.data()
}

fn resolved(events: &[Event]) -> Vec<Value> {
    events.iter().filter(|event| event.kind == "permission.resolved").map(Event::data).collect()
}

/// What the agent was answered, as it prints it.
fn told(events: &[Event]) -> String {
    let lines = events.iter().filter(|event| event.claude_type().as_deref() == Some("user/"));
    lines.map(|event| event.data.get().to_owned()).collect()
}

#[tokio::test]
async fn a_question_waits_for_its_answer_and_the_answer_reaches_the_agent() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": ASK})).await;
    let question = asked(&mut client, session).await;
    assert_eq!((&question["tool_name"], &question["input"]), (&json!("Bash"), &json!({"command": "ls"})));
    assert!(question["expires_at"].is_string());
    client.until_state(session, "awaiting_permission").await;
    let answer = json!({"session_id": session, "request_id": question["request_id"], "behavior": "allow",
        "updated_input": {"command": "ls -l"}});
    let state = client.ok("session.respond", answer.clone()).await;
    assert_eq!(state["state"], "running");
    let late = client.error("session.respond", answer).await;
    assert_eq!(late["code"], -32006);
    let events = client.until_ended(session).await;
    assert_eq!(ended(&events)["reason"], "completed");
    assert!(told(&events).contains("ls -l"), "{}", told(&events));
    let expected =
        json!({"request_id": question["request_id"], "behavior": "allow", "by": "caller", "username": "admin"});
    assert_eq!(resolved(&events), [expected]);
}

#[tokio::test]
async fn of_several_watchers_the_first_to_answer_wins_also_after_the_asker_was_cut_off() {
    let gateway = Gateway::builder().start().await;
    let (mut first, mut second, mut third) = (gateway.client().await, gateway.client().await, gateway.client().await);
    let session = first.start(json!({"prompt": ASK})).await;
    let question = asked(&mut first, session).await;
    first.reset();
    second.ok("session.attach", json!({"session_id": session})).await;
    third.ok("session.attach", json!({"session_id": session})).await;
    assert_eq!(asked(&mut second, session).await, question);
    let answer = json!({"session_id": session, "request_id": question["request_id"], "behavior": "deny",
        "message": "better not"});
    second.ok("session.respond", answer.clone()).await;
    assert_eq!(third.error("session.respond", answer).await["code"], -32006);
    let events = third.until_ended(session).await;
    assert_eq!(
        (&resolved(&events)[0]["behavior"], &resolved(&events)[0]["message"]),
        (&json!("deny"), &json!("better not"))
    );
    assert!(told(&events).contains("better not"));
}

#[tokio::test]
async fn a_question_that_nobody_answers_is_denied_and_the_idle_clock_stood_still_meanwhile() {
    let gateway = Gateway::builder().setting("permission_timeout_seconds", 5).start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": ASK, "idle_timeout_seconds": 4})).await;
    let events = client.until_ended(session).await;
    assert_eq!(ended(&events)["reason"], "completed");
    assert_eq!((&resolved(&events)[0]["behavior"], &resolved(&events)[0]["by"]), (&json!("deny"), &json!("timeout")));
}

#[tokio::test]
async fn an_interrupt_takes_the_open_question_back() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": ASK, "interactive": true})).await;
    let question = asked(&mut client, session).await;
    client.ok("session.interrupt", json!({"session_id": session})).await;
    client.until_state(session, "idle").await;
    let events = client.events(session);
    assert_eq!(resolved(&events), [json!({"request_id": question["request_id"], "by": "agent"})]);
}

#[tokio::test]
async fn a_denial_can_end_the_turn() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": ASK, "interactive": true})).await;
    let question = asked(&mut client, session).await;
    let answer =
        json!({"session_id": session, "request_id": question["request_id"], "behavior": "deny", "interrupt": true});
    client.ok("session.respond", answer).await;
    client.until_state(session, "idle").await;
    assert!(!told(&client.events(session)).contains("say asked"));
}

#[tokio::test]
async fn rules_that_would_reach_other_sessions_are_refused_and_the_question_stays_open() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": ASK})).await;
    let question = asked(&mut client, session).await;
    let answer = |updates: Value| {
        json!({"session_id": session, "request_id": question["request_id"], "behavior": "allow",
            "updated_permissions": updates})
    };
    let rule = |destination: &str| json!([{"type": "addRules", "rules": [{"toolName": "Bash"}], "behavior": "allow", "destination": destination}]);
    for (updates, code) in [
        (rule("userSettings"), -32001),
        (json!([{"type": "setMode", "mode": "bypassPermissions", "destination": "session"}]), -32001),
        (json!([{"type": "addDirectories", "directories": ["/etc"], "destination": "session"}]), -32001),
        (json!([{"type": "grant"}]), -32602),
    ] {
        assert_eq!(client.error("session.respond", answer(updates.clone())).await["code"], code, "{updates}");
    }
    let mixed = json!({"session_id": session, "request_id": question["request_id"], "behavior": "deny",
        "updated_input": {}});
    assert_eq!(client.error("session.respond", mixed).await["code"], -32602);
    client.ok("session.respond", answer(rule("session"))).await;
    let events = client.until_ended(session).await;
    assert!(told(&events).contains("addRules"), "{}", told(&events));
}
