//! What Claude works on in the background after its result.

use serde_json::json;

use super::{RUN_ON, ask, at_rest, ended, gateway, is_result, results};
use crate::support::event::Event;
use crate::support::{Gateway, MessagesApi, eventually};

/// A task that is done a moment after the turn that started it: the turn's result is waited for, not guessed.
const TASK: &str = "until test -e go; do perl -e 'select undef, undef, undef, .02'; done; echo the task is done";

#[tokio::test]
async fn a_session_waits_for_its_background_task_and_ends_with_what_came_of_it() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let prompt = format!("[[bgbash:{TASK}]] [[text:it runs]] [[text:it ran]]");
    let session = client.start(json!({"prompt": prompt, "allowed_tools": ["Bash"]})).await;
    let first = client.until_event(session, is_result).await;
    assert_eq!(first.data()["result"], "it runs");
    std::fs::write(gateway.path("workspaces").join(session.to_string()).join("go"), "").unwrap();
    let events = client.until_ended(session).await;
    let end = ended(&events);
    assert_eq!((&end["reason"], &end["result"]), (&json!("completed"), &json!("it ran")));
    assert_eq!(end["forced_exit"], json!(null));
    let results = results(&events);
    assert_eq!((results.len(), &results[1]["origin"]["kind"]), (2, &json!("task-notification")));
    gateway.stop().await;
}

#[tokio::test]
async fn a_background_task_that_takes_too_long_is_ended_and_the_session_completes() {
    let api = MessagesApi::start();
    // By then the task must have begun: that is waited for below.
    let mut gateway = Gateway::builder().real_agent(&api).setting("background_grace_seconds", 4).start().await;
    let mut client = gateway.client().await;
    let prompt = format!("[[bgbash:touch begun; {RUN_ON}]] [[text:it runs]]");
    let session = client.start(json!({"prompt": prompt, "allowed_tools": ["Bash"]})).await;
    let begun = gateway.path("workspaces").join(session.to_string()).join("begun");
    eventually("the task to run", || begun.exists().then_some(())).await;
    let end = ended(&client.until_ended(session).await);
    assert_eq!((&end["reason"], &end["result"]), (&json!("completed"), &json!("it runs")));
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    gateway.stop().await;
}

#[tokio::test]
async fn a_background_task_keeps_a_session_at_rest_from_being_put_away() {
    let api = MessagesApi::start();
    let gateway = Gateway::builder().real_agent(&api).setting("idle_process_seconds", 0.2).start().await;
    let mut client = gateway.client().await;
    let prompt = format!("[[bgbash:{TASK}]] [[text:it runs]] [[text:it ran]]");
    let session = at_rest(&mut client, json!({"prompt": prompt, "allowed_tools": ["Bash"]})).await;
    // Longer than it may rest: another turn is asked for and answered meanwhile, by the same process.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert_eq!(ask(&mut client, session, "[[text:meanwhile]]").await["result"], "meanwhile");
    let away = |event: &Event| event.data.get().contains("put_away");
    assert!(!client.events(session).iter().any(away), "its task still runs");
    std::fs::write(gateway.path("workspaces").join(session.to_string()).join("go"), "").unwrap();
    let by_itself = |event: &Event| is_result(event) && event.data()["origin"]["kind"] == "task-notification";
    client.until_event(session, by_itself).await;
    client.until_event(session, away).await;
    assert_eq!(results(&client.events(session)).len(), 3);
}
