//! Sessions of the real Claude Code, against a stand-in of its API.

mod background;
mod ending;
mod interrupts;
mod lost;
mod messages;
mod money;
mod old_cli;
mod permissions;
mod prompts;
mod put_away;
mod questions;
mod refusals;
mod turn;
mod warm;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::event::Event;
use crate::support::{Client, Gateway, MessagesApi};

/// A command that runs until it is ended. The CLI refuses a `sleep` that stands alone.
const RUN_ON: &str = "perl -e 'sleep 600'";

/// A gateway that runs the real CLI against `api`.
async fn gateway(api: &MessagesApi) -> Gateway {
    Gateway::builder().real_agent(api).start().await
}

/// The data of the terminal event.
fn ended(events: &[Event]) -> Value {
    let last = events.last().expect("a terminal event");
    assert_eq!(last.kind, "session.ended");
    last.data()
}

/// The blocks of that type in the messages that Claude printed as `role`.
fn blocks(events: &[Event], role: &str, block: &str) -> Vec<Value> {
    let messages = events.iter().filter(|event| event.kind == "claude").map(Event::data);
    let contents = messages.filter(|line| line["type"] == role).map(|line| line["message"]["content"].clone());
    let all = contents.flat_map(|content| content.as_array().cloned().unwrap_or_default());
    all.filter(|found| found["type"] == block).collect()
}

/// The data of the events of that type.
fn of_kind(events: &[Event], kind: &str) -> Vec<Value> {
    events.iter().filter(|event| event.kind == kind).map(Event::data).collect()
}

fn is_result(event: &Event) -> bool {
    event.claude_type().is_some_and(|kind| kind.starts_with("result/"))
}

/// Claude's results, in order.
fn results(events: &[Event]) -> Vec<Value> {
    events.iter().filter(|event| is_result(event)).map(Event::data).collect()
}

/// Sends a message; its id.
async fn send(client: &mut Client, session: Uuid, prompt: &str) -> Value {
    client.ok("session.send", json!({"session_id": session, "prompt": prompt})).await["message_id"].clone()
}

/// Waits for the result that names that message.
async fn until_answered(client: &mut Client, session: Uuid, message: &Value) -> Value {
    let names = |event: &Event| {
        is_result(event) && event.data()["user_message_uuids"].as_array().is_some_and(|ids| ids.contains(message))
    };
    client.until_event(session, names).await.data()
}

/// Sends a message and waits for its result.
async fn ask(client: &mut Client, session: Uuid, prompt: &str) -> Value {
    let message = send(client, session, prompt).await;
    until_answered(client, session, &message).await
}

/// Starts an interactive session with `params` and waits until it rests.
async fn at_rest(client: &mut Client, mut params: Value) -> Uuid {
    params["interactive"] = json!(true);
    let session = client.start(params).await;
    client.until_state(session, "idle").await;
    session
}

/// Waits until the session's process has been put away for the `count`th time.
async fn until_put_away(client: &mut Client, session: Uuid, count: usize) {
    let mut after = 0;
    for _ in 0..count {
        let away =
            |event: &Event| event.seq > after && event.kind == "session.state" && event.data()["cause"] == "put_away";
        after = client.until_event(session, away).await.seq;
    }
}

/// The model and the permission mode of the newest turn, as Claude tells them at its beginning.
fn newest_turn(events: &[Event]) -> (Value, Value) {
    let mut inits = events.iter().filter(|event| event.claude_type().as_deref() == Some("system/init"));
    let init = inits.next_back().expect("a turn").data();
    (init["model"].clone(), init["permissionMode"].clone())
}
