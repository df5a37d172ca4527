//! The newest version for Node.js 20, which leaves its commands behind when it is ended by a signal.

use serde_json::json;
use uuid::Uuid;

use super::{at_rest, ended};
use crate::support::event::Event;
use crate::support::{Client, Gateway, MessagesApi, cli, eventually, soak};

async fn gateway(api: &MessagesApi) -> Gateway {
    Gateway::builder().real_agent(api).setting("agent_program", cli::old_cli().display()).start().await
}

/// A tree of which little heeds a signal: a child, one that has escaped into a session of its own, a daemon, one
/// that ignores SIGTERM, and one that goes on making children.
const TREE: &str = "perl -e 'sleep 600' & setsid perl -e 'sleep 600' & (setsid sh -c 'sleep 600 & exit' &) ; \
    perl -e '$SIG{TERM} = $SIG{INT} = q(IGNORE); sleep 1 while 1' & \
    (while true; do perl -e 'select undef, undef, undef, .05'; done) & touch begun; perl -e 'sleep 600'";

/// Starts a session whose command runs; the session.
async fn in_a_command(gateway: &Gateway, client: &mut Client, command: &str) -> Uuid {
    let prompt = format!("[[bash:{command}]]");
    let session = client.start(json!({"prompt": prompt, "allowed_tools": ["Bash"]})).await;
    let begun = gateway.path("workspaces").join(session.to_string()).join("begun");
    eventually("the command to run", || begun.exists().then_some(())).await;
    session
}

#[tokio::test]
async fn the_old_cli_has_turns_and_remembers_them() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client, json!({"prompt": "One. [[text:first]]"})).await;
    let started = super::of_kind(&client.events(session), "session.started");
    assert!(started[0]["agent_version"].is_null() || started[0]["agent_version"] == cli::OLD_VERSION, "{started:?}");
    super::send(&mut client, session, "Two. [[text:second]]").await;
    // Its results name no messages.
    let second = |event: &Event| super::is_result(event) && event.data()["result"] == "second";
    let answered = client.until_event(session, second).await.seq;
    client.until_event(session, |event| event.seq > answered && event.data()["state"] == "idle").await;
    let asked = api.until_asked("Two. [[text:second]]").await;
    assert!(asked["user_texts"].as_array().unwrap().contains(&json!("One. [[text:first]]")), "{asked}");
    gateway.stop().await;
}

#[tokio::test]
async fn h2_a_stop_of_the_old_cli_leaves_nothing_of_its_commands() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    for _ in 0..soak::count(1, 20) {
        let session = in_a_command(&gateway, &mut client, TREE).await;
        client.ok("session.stop", json!({"session_id": session})).await;
        let end = ended(&client.until_ended(session).await);
        assert_eq!(end["reason"], "cancelled", "{end}");
        assert_eq!(gateway.processes(), Vec::<u32>::new(), "a terminal event means that nothing is left");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn h2_a_kill_of_the_old_cli_by_a_signal_leaves_nothing_of_its_commands() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
        let session = in_a_command(&gateway, &mut client, TREE).await;
        let started = client.until_event(session, |event| event.kind == "session.started").await.data();
        let pid = started["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a process id");
        crate::support::proc::signal(pid, signal);
        ended(&client.until_ended(session).await);
        assert_eq!(gateway.processes(), Vec::<u32>::new(), "after {signal:?}");
    }
    gateway.stop().await;
}
