//! What tests of interactive sessions say and wait for.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{until_file, workspace};
use crate::support::event::Event;
use crate::support::{Client, Gateway};

/// Starts an interactive session with a first message and waits until it rests.
pub(crate) async fn at_rest(client: &mut Client) -> Uuid {
    at_rest_with(client, json!({})).await
}

/// The same with further parameters.
pub(crate) async fn at_rest_with(client: &mut Client, mut params: Value) -> Uuid {
    params["prompt"] = json!("hello");
    params["interactive"] = json!(true);
    let session = client.start(params).await;
    client.until_state(session, "idle").await;
    session
}

/// Starts a session that works until [`go`], and waits until it does.
pub(crate) async fn busy(gateway: &Gateway, client: &mut Client) -> Uuid {
    let session = client.start(json!({"prompt": "touch there; await go; say worked"})).await;
    until_file(gateway, session, "there").await;
    session
}

/// Lets what awaits the file `go` go on.
pub(crate) fn go(gateway: &Gateway, session: Uuid) {
    std::fs::write(workspace(gateway, session).join("go"), "").expect("a file for the agent");
}

/// Sends a message; the answer.
pub(crate) async fn send(client: &mut Client, session: Uuid, prompt: &str) -> Value {
    client.ok("session.send", json!({"session_id": session, "prompt": prompt})).await
}

/// The id of a message, out of the answer to what brought it.
pub(crate) fn message_id(told: &Value) -> Uuid {
    told["message_id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no message id in {told}"))
}

/// The messages that a result answers; nothing if the event is no result.
pub(crate) fn answers(event: &Event) -> Vec<Uuid> {
    if !event.claude_type().is_some_and(|kind| kind.starts_with("result/")) {
        return Vec::new();
    }
    let data = event.data();
    let ids = data["user_message_uuids"].as_array().cloned().unwrap_or_default();
    ids.iter().filter_map(|id| id.as_str()?.parse().ok()).collect()
}

/// The texts of all results, in order.
pub(crate) fn results(events: &[Event]) -> Vec<String> {
    let lines = events.iter().filter(|event| event.claude_type().is_some_and(|kind| kind.starts_with("result/")));
    lines.map(|event| event.data()["result"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits for the result that names the message of that answer.
pub(crate) async fn until_answered(client: &mut Client, session: Uuid, told: &Value) -> Event {
    let id = message_id(told);
    client.until_event(session, |event| answers(event).contains(&id)).await
}

/// Waits until the session's process has been put away for the `times`th time.
pub(crate) async fn until_away(client: &mut Client, session: Uuid, times: usize) -> Event {
    let seen = std::cell::Cell::new(0);
    let is_nth = |event: &Event| {
        seen.set(seen.get() + usize::from(is_away(event)));
        seen.get() == times
    };
    client.until_event(session, is_nth).await
}

/// Does the event tell that the process was put away?
pub(crate) fn is_away(event: &Event) -> bool {
    event.kind == "session.state" && event.data()["cause"] == "put_away"
}

/// The data of a session's `turn.lost` events: which message, and why.
pub(crate) fn lost_turns(events: &[Event]) -> Vec<(Uuid, String)> {
    let lost = events.iter().filter(|event| event.kind == "turn.lost").map(Event::data);
    lost.map(|data| (message_id(&data), data["cause"].as_str().unwrap_or_default().to_owned())).collect()
}

/// What the agent says of itself at the beginning of its newest turn.
pub(crate) fn newest_init(events: &[Event]) -> Value {
    let newest = events.iter().rfind(|event| event.claude_type().as_deref() == Some("system/init"));
    newest.expect("a turn").data()
}
