//! The dialect of cc_executor's clients, over the wire as they see it.

mod clients;
mod flow;
mod limits;

use serde_json::Value;

use crate::support::{Client, Gateway};

/// Connects where cc_executor's clients do.
async fn connect(gateway: &Gateway) -> Client {
    let token = gateway.login().await;
    Client::connect(gateway.ws, "/ws/mcp", &token).await
}

/// A command line of the agent that carries out this script.
fn command(script: &str) -> String {
    format!("claude -p \"{script}\" --output-format stream-json --verbose")
}

/// Reads on to `process.completed`: the output before it, and its parameters.
async fn to_the_end(client: &mut Client) -> (Vec<Value>, Value) {
    let mut output = Vec::new();
    loop {
        let mut frame = client.next_frame().await;
        match frame["method"].as_str() {
            Some("process.output") => output.push(frame["params"].take()),
            Some("process.completed") => return (output, frame["params"].take()),
            Some("ping") => {}
            _ => panic!("unexpected: {frame}"),
        }
    }
}
