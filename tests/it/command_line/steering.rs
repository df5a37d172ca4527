//! `sessions send`, `interrupt`, `pause`, `unpause`, `configure`, `stop`: what is done to one session.

use serde_json::{Value, json};

use super::as_admin;
use crate::support::program::Finished;
use crate::support::{Gateway, eventually};

fn told(done: &Finished) -> (Option<i32>, &str) {
    (done.code, done.stdout.as_str())
}

#[tokio::test]
async fn a_message_is_sent_and_its_answer_printed_and_nothing_of_the_turns_before() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "say before; touch there; await go", "interactive": true})).await;
    let id = session.to_string();
    let workspace = gateway.path("workspaces").join(&id);
    eventually("the first turn to run", || workspace.join("there").exists().then_some(())).await;
    let behind = ["sessions", "send", &id, "say two; say lines"];
    let going_on = async {
        // The message waits behind the turn that runs.
        loop {
            let record = client.ok("session.get", json!({"session_id": session})).await;
            if record["state"] == "running" {
                break std::fs::write(workspace.join("go"), "").unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let (done, ()) = tokio::join!(as_admin(&gateway, &behind, ""), going_on);
    assert_eq!(told(&done), (Some(0), "two\nlines\n"), "{done:?}");

    let from_stdin = as_admin(&gateway, &["sessions", "send", &id], "hello there").await;
    assert_eq!(from_stdin.code, Some(0), "{from_stdin:?}");
    assert!(from_stdin.stdout.starts_with("You said: hello there"), "{from_stdin:?}");

    let failed = as_admin(&gateway, &["sessions", "send", &id, "result error no luck"], "").await;
    assert_eq!(told(&failed), (Some(1), "no luck\n"), "{failed:?}");

    let no_wait = as_admin(&gateway, &["sessions", "send", &id, "say later", "--no-wait"], "").await;
    assert_eq!(no_wait.code, Some(0), "{no_wait:?}");
    let message: uuid::Uuid = no_wait.stdout.trim().parse().expect("a message's id");
    let answered = move |event: &crate::support::event::Event| {
        event.claude_type().is_some_and(|kind| kind.starts_with("result/"))
            && event.data.get().contains(&message.to_string())
    };
    client.until_event(session, answered).await;

    let json = as_admin(&gateway, &["sessions", "send", &id, "say as json", "--json"], "").await;
    let events: Vec<Value> = json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|event| event["data"]["result"] == "as json"), "{json:?}");
    assert!(!json.stdout.contains("\"later\""), "{json:?}");

    let asked = as_admin(&gateway, &["sessions", "send", &id, "ask Bash {}; say went on"], "").await;
    assert_eq!(told(&asked), (Some(0), "went on\n"), "{asked:?}");
    assert!(asked.stderr.contains("denied, as nobody can be asked here"), "{asked:?}");

    let stopped = as_admin(&gateway, &["sessions", "stop", &id], "").await;
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    client.until_ended(session).await;
    let over = as_admin(&gateway, &["sessions", "send", &id, "say x"], "").await;
    assert_eq!(told(&over), (Some(1), ""), "{over:?}");
    assert!(over.stderr.contains("already ended"), "{over:?}");
}

#[tokio::test]
async fn a_session_is_configured_paused_unpaused_and_interrupted() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "touch there; silent", "interactive": true})).await;
    let id = session.to_string();
    let workspace = gateway.path("workspaces").join(&id);
    eventually("the turn to run", || workspace.join("there").exists().then_some(())).await;
    let run = async |what: &str| as_admin(&gateway, &["sessions", what, &id], "").await;
    assert_eq!(told(&run("pause").await), (Some(0), "paused\n"));
    assert_eq!(told(&run("unpause").await), (Some(0), "running\n"));
    let interrupted = run("interrupt").await;
    assert_eq!(interrupted.code, Some(0), "{interrupted:?}");
    client.until_state(session, "idle").await;
    let idle = run("interrupt").await;
    assert_eq!(told(&idle), (Some(1), ""), "{idle:?}");

    let change = ["sessions", "configure", &id, "--model", "haiku", "--permission-mode", "acceptEdits"];
    let changed = as_admin(&gateway, &change, "").await;
    assert_eq!(told(&changed), (Some(0), "idle\n"), "{changed:?}");
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(record["model"], "haiku", "as it is now, not as it was started");
    let nothing = as_admin(&gateway, &["sessions", "configure", &id], "").await;
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    let missing = as_admin(&gateway, &["sessions", "stop", "00000000-0000-0000-0000-000000000000"], "").await;
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert_eq!(run("stop").await.code, Some(0));
    client.until_ended(session).await;
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(record["model"], "haiku");
}
