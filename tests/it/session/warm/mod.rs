//! Agents that are started ahead of sessions: who gets them, what they cost, and what becomes of them.

mod going;
mod handing_out;

use std::path::PathBuf;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::gateway::Builder;
use crate::support::{Client, Gateway, metrics};

/// A gateway that is to keep so many.
fn builder(wanted: u32) -> Builder {
    Gateway::builder().setting("warm_processes", wanted).setting("end_session_grace_seconds", 10)
}

/// Waits until so many can be handed out.
async fn until_ready(gateway: &Gateway, count: u32) {
    metrics::until(gateway.http, "cc_gateway_warm_processes{state=\"ready\"}", f64::from(count)).await;
}

/// Runs a session with these parameters, so that one like it is started ahead, and waits until it is there.
async fn warmed(gateway: &Gateway, client: &mut Client, params: Value) {
    run(client, params).await;
    until_ready(gateway, 1).await;
}

/// Runs a session to its end.
async fn run(client: &mut Client, mut params: Value) -> Uuid {
    params["prompt"] = json!("say done");
    let session = client.start(params).await;
    assert_eq!(super::ended(&client.until_ended(session).await)["result"], "done");
    session
}

/// The one agent that lives, and where it works.
fn the_agent(gateway: &Gateway) -> (u32, PathBuf) {
    let agents = gateway.processes();
    let [agent] = agents.as_slice() else { panic!("not one agent: {agents:?}") };
    (*agent, std::fs::read_link(format!("/proc/{agent}/cwd")).expect("where a living process works"))
}

/// The process of a session.
fn pid(client: &Client, session: Uuid) -> u32 {
    let events = client.events(session);
    let started = events.iter().find(|event| event.kind == "session.started").expect("a session that was started");
    started.data()["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a process id")
}

/// How many starts have had one that was started ahead, and how many have not.
async fn warm_and_cold(gateway: &Gateway) -> (f64, f64) {
    let count =
        async |agent| metrics::value(gateway.http, &format!("cc_gateway_warm_starts_total{{agent=\"{agent}\"}}")).await;
    (count("warm").await, count("cold").await)
}

/// Waits until so many have gone without a session, for that reason.
async fn until_put_away(gateway: &Gateway, reason: &str, count: u32) {
    let series = format!("cc_gateway_warm_put_away_total{{reason=\"{reason}\"}}");
    metrics::until(gateway.http, &series, f64::from(count)).await;
}

/// The names of the workspaces that there are.
fn workspaces(gateway: &Gateway) -> Vec<String> {
    let entries = std::fs::read_dir(gateway.path("workspaces")).expect("the workspaces");
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
