//! `chat`: an interactive session on a terminal.

use serde_json::json;

use super::as_admin;
use crate::support::Gateway;
use crate::support::terminal::AtTerminal;

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

#[tokio::test]
async fn a_chat_goes_on_line_by_line_is_asked_interrupted_and_stopped() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let mut terminal = AtTerminal::start(&gateway, &["chat"]).await;
    terminal.sees("> ").await;
    terminal.types("say one\n");
    terminal.sees("> ").await;
    terminal.types(CTRL_C);
    terminal.sees("no turn is running").await;
    terminal.types("ask Bash {\"command\":\"ls\"}; say two\n");
    terminal.sees("Allow it? ").await;
    terminal.types("y\n");
    terminal.sees("> ").await;
    terminal.types("say three; silent\n");
    let id = client.ok("session.list", json!({})).await["sessions"][0]["session_id"].as_str().unwrap().to_owned();
    let session = id.parse().unwrap();
    client.ok("session.attach", json!({"session_id": session})).await;
    client.until_event(session, |event| event.data.get().contains("three") && event.kind == "claude").await;
    terminal.types(CTRL_C);
    terminal.sees("this turn has ended with error_during_execution").await;
    terminal.sees("> ").await;
    terminal.types(CTRL_D);
    let (code, stdout, shown) = terminal.finished().await;
    assert_eq!((code, stdout.as_str()), (Some(0), "one\ntwo\nthree\n"), "{shown}");
    assert!(shown.contains("cancelled"), "{shown}");
    let events = client.until_ended(session).await;
    assert_eq!(events.iter().filter(|event| event.kind == "permission.resolved").count(), 1);
}

#[tokio::test]
async fn a_chat_whose_session_ends_by_itself_ends_with_1() {
    let gateway = Gateway::builder().start().await;
    let mut terminal = AtTerminal::start(&gateway, &["chat"]).await;
    terminal.sees("> ").await;
    terminal.types("kill-self 9\n");
    let (code, _, shown) = terminal.finished().await;
    assert_eq!((code, shown.contains("killed")), (Some(1), true), "{shown}");
}

#[tokio::test]
async fn without_a_terminal_there_is_no_chat() {
    let gateway = Gateway::builder().start().await;
    let refused = as_admin(&gateway, &["chat"], "hello\n").await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:?}");
    assert!(refused.stderr.contains("no terminal"), "{refused:?}");
    assert_eq!(gateway.started_agents(), 0);
}
