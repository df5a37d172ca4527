//! Sessions of the real Claude Code, against a stand-in of its API.

mod ending;
mod prompts;
mod turn;

use serde_json::Value;

use crate::support::event::Event;
use crate::support::{Gateway, MessagesApi};

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
