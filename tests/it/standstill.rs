//! While the gateway itself stands still (a container that is paused, a machine without a processor for it), nobody is
//! blamed for the silence: neither an agent nor a client.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::session::conversation::go;
use crate::session::{ended, until_file};
use crate::support::{Gateway, proc};

async fn stand_still(gateway: &Gateway, time: Duration) {
    gateway.signal(Signal::STOP);
    tokio::time::sleep(time).await;
    gateway.signal(Signal::CONT);
}

#[tokio::test]
async fn what_an_agent_prints_meanwhile_lies_in_its_pipe_and_is_no_silence() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let prompt = "touch there; rate 20 14s 200; say done";
    let session = client.start(json!({"prompt": prompt, "idle_timeout_seconds": 4})).await;
    until_file(&gateway, session, "there").await;
    // Less than a second too long for half of it, so that only the pipe can tell; then long enough for the clock to tell.
    for seconds in [2.5, 6.0] {
        let seen = client.position(session);
        stand_still(&gateway, Duration::from_secs_f64(seconds)).await;
        client.until_event(session, |event| event.seq > seen + 20).await;
    }
    let events = client.until_ended(session).await;
    assert_eq!(ended(&events)["reason"], "completed");
    assert!(!events.iter().any(|event| event.kind == "session.stalled"), "it was never silent");
}

#[tokio::test]
async fn an_agent_that_stood_still_with_the_gateway_gets_its_whole_time_again() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let prompt = "touch there; await go; say done";
    let session = client.start(json!({"prompt": prompt, "idle_timeout_seconds": 4})).await;
    until_file(&gateway, session, "there").await;
    let agents = gateway.processes();
    assert!(!agents.is_empty());
    let all = |signal| agents.iter().for_each(|&agent| proc::signal(agent, signal));
    all(Signal::STOP);
    stand_still(&gateway, Duration::from_secs(6)).await;
    // By its answer its clocks have rung.
    assert_eq!(client.ok("session.get", json!({"session_id": session})).await["state"], "running");
    all(Signal::CONT);
    go(&gateway, session);
    assert_eq!(ended(&client.until_ended(session).await)["result"], "done");
}

#[tokio::test]
async fn a_client_that_was_not_asked_whether_it_lives_stays() {
    let interval = Duration::from_secs(2);
    let gateway = Gateway::builder().setting("ping_interval_seconds", interval.as_secs()).start().await;
    let mut client = gateway.client().await;
    // More than a peer may be silent for.
    stand_still(&gateway, interval * 3).await;
    client.expect_silence(interval * 3).await;
    assert_eq!(client.ok("server.info", json!({})).await["connections"], 1);
}
