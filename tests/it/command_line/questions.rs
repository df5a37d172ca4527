//! Claude's questions at the command line: asked on a terminal, denied at once where nobody can be asked, or left to
//! others.

use serde_json::{Value, json};
use uuid::Uuid;

use super::as_admin;
use crate::support::client::Client;
use crate::support::terminal::AtTerminal;
use crate::support::{Gateway, eventually};

const ASK: &str = r#"ask Bash {"command":"ls"}; say asked"#;
const CHOICE: &str =
    r#"ask AskUserQuestion {"questions":[{"question":"Which?","options":[{"label":"A"},{"label":"B"}]}]}"#;

/// The session that was started last, and its events of that type.
async fn newest(client: &mut Client, kind: &str) -> (Uuid, Vec<Value>) {
    let listed = client.ok("session.list", json!({"limit": 1})).await;
    let id: Uuid = listed["sessions"][0]["session_id"].as_str().unwrap().parse().unwrap();
    let page = client.ok("session.events", json!({"session_id": id})).await;
    let events = page["events"].as_array().unwrap().iter().filter(|event| event["type"] == kind);
    (id, events.map(|event| event["data"].clone()).collect())
}

#[tokio::test]
async fn on_a_terminal_exec_asks_and_gives_the_answer() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    for (keys, behavior, message) in [("y\n", "allow", Value::Null), ("n  use git\n", "deny", json!("use git"))] {
        let mut terminal = AtTerminal::start(&gateway, &["exec", ASK]).await;
        terminal.sees("Claude asks whether it may use Bash ls").await;
        terminal.sees("Allow it? ").await;
        terminal.types("perhaps\n");
        terminal.sees("Allow it? ").await;
        terminal.types(keys);
        let (code, stdout, shown) = terminal.finished().await;
        assert_eq!((code, stdout.as_str()), (Some(0), "asked\n"), "{shown}");
        let (_, resolved) = newest(&mut client, "permission.resolved").await;
        assert_eq!((&resolved[0]["behavior"], &resolved[0]["message"]), (&json!(behavior), &message));
        assert_eq!(resolved.len(), 1);
    }
}

#[tokio::test]
async fn on_a_terminal_the_choices_of_a_question_are_shown_and_the_chosen_one_is_the_answer() {
    let gateway = Gateway::builder().start().await;
    let mut terminal = AtTerminal::start(&gateway, &["exec", CHOICE]).await;
    for text in ["Which?", "1. A", "2. B", "A number"] {
        terminal.sees(text).await;
    }
    terminal.types("2\n");
    let (code, _, shown) = terminal.finished().await;
    assert_eq!(code, Some(0), "{shown}");
    let (_, lines) = newest(&mut gateway.client().await, "claude").await;
    let told = lines.iter().filter(|line| line["type"] == "user").map(Value::to_string).collect::<String>();
    assert!(told.contains(r#"\"answers\":{\"Which?\":\"B\"}"#), "{told}");
}

#[tokio::test]
async fn without_a_terminal_a_question_is_denied_at_once_with_the_flag_that_allows_the_tool() {
    // Nobody answers in time: a test that waits for that fails.
    let gateway = Gateway::builder().setting("permission_timeout_seconds", 3600).start().await;
    let mut client = gateway.client().await;
    let denied = as_admin(&gateway, &["exec", ASK], "").await;
    assert_eq!((denied.code, denied.stdout.as_str()), (Some(0), "asked\n"), "{denied:?}");
    assert!(denied.stderr.contains("allow it with --allowed-tools=Bash"), "{denied:?}");
    let (_, resolved) = newest(&mut client, "permission.resolved").await;
    assert_eq!((&resolved[0]["behavior"], &resolved[0]["by"]), (&json!("deny"), &json!("caller")));

    let person = as_admin(&gateway, &["exec", CHOICE], "").await;
    assert!(person.stderr.contains("needs a person"), "{person:?}");

    // A program reads the output, also where there is a terminal.
    let terminal = AtTerminal::start(&gateway, &["exec", "--json", ASK]).await;
    let (code, stdout, shown) = terminal.finished().await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(stdout.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{stdout}");
    assert!(shown.contains("--allowed-tools=Bash") && !shown.contains("Allow it?"), "{shown}");
}

#[tokio::test]
async fn questions_can_be_left_to_others_who_answer_by_their_own_command() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let arguments = ["exec", "--leave-questions", ASK];
    let answering = async {
        let asked = async |client: &mut Client| loop {
            let listed = client.ok("session.list", json!({"state": "awaiting_permission"})).await;
            if !listed["sessions"].as_array().unwrap().is_empty() {
                return newest(client, "permission.requested").await;
            }
            tokio::task::yield_now().await;
        };
        let (session, asked) = asked(&mut client).await;
        let (session, request) = (session.to_string(), asked[0]["request_id"].as_str().unwrap().to_owned());
        let arguments = ["sessions", "respond", &session, &request, "deny", "--message", "better not"];
        let first = as_admin(&gateway, &arguments, "").await;
        assert_eq!((first.code, first.stdout.as_str()), (Some(0), "running\n"), "{first:?}");
        let late = as_admin(&gateway, &arguments, "").await;
        assert_eq!(late.code, Some(1), "{late:?}");
    };
    let (done, ()) = tokio::join!(as_admin(&gateway, &arguments, ""), answering);
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "asked\n"), "{done:?}");
    let (_, resolved) = newest(&mut client, "permission.resolved").await;
    assert_eq!(resolved[0]["message"], "better not");
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_no_failure() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let mut terminal = AtTerminal::start(&gateway, &["exec", ASK]).await;
    terminal.sees("Allow it? ").await;
    let (session, asked) = newest(&mut client, "permission.requested").await;
    let answer = json!({"session_id": session, "request_id": asked[0]["request_id"], "behavior": "allow"});
    client.ok("session.respond", answer).await;
    let (code, stdout, shown) = terminal.finished().await;
    assert_eq!((code, stdout.as_str()), (Some(0), "asked\n"), "{shown}");
    assert!(shown.contains("somebody else has allowed it"), "{shown}");
}

#[tokio::test]
async fn attach_answers_only_when_it_is_asked_to() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": ASK})).await;
    client.until_event(session, |event| event.kind == "permission.requested").await;
    let id = session.to_string();
    let nobody = as_admin(&gateway, &["attach", &id, "--answer"], "").await;
    assert_eq!(nobody.code, Some(2), "{nobody:?}");
    assert!(nobody.stderr.contains("no terminal"), "{nobody:?}");

    let mut watcher = AtTerminal::start(&gateway, &["attach", &id]).await;
    watcher.sees("Claude asks whether it may use Bash ls").await;
    let mut answerer = AtTerminal::start(&gateway, &["attach", &id, "--answer"]).await;
    answerer.sees("Allow it? ").await;
    answerer.types("y\n");
    let (code, stdout, shown) = answerer.finished().await;
    assert_eq!((code, stdout.as_str()), (Some(0), "asked\n"), "{shown}");
    let (code, stdout, shown) = watcher.finished().await;
    assert_eq!((code, stdout.as_str()), (Some(0), "asked\n"), "{shown}");
    assert!(!shown.contains("Allow it?"), "{shown}");
}

#[tokio::test]
async fn the_places_in_the_line_are_shown_while_exec_waits_for_a_slot() {
    let gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    let first = client.start(json!({"prompt": "touch there; await go"})).await;
    let workspace = gateway.path("workspaces").join(first.to_string());
    eventually("the first to run", || workspace.join("there").exists().then_some(())).await;
    let refused = as_admin(&gateway, &["exec", "say x"], "").await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let making_room = async {
        loop {
            let listed = client.ok("session.list", json!({"state": "queued"})).await;
            if !listed["sessions"].as_array().unwrap().is_empty() {
                break std::fs::write(workspace.join("go"), "").unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let (done, ()) = tokio::join!(as_admin(&gateway, &["exec", "--queue", "say x"], ""), making_room);
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "x\n"), "{done:?}");
    assert!(done.stderr.contains("waiting for a slot, place 1"), "{done:?}");
}
