//! While Claude's login is about to be renewed, agents start one at a time.

use serde_json::json;

use super::{HOUR, credentials, put, scripted};
use crate::session::ended;
use crate::support::{Gateway, eventually};

/// How many agents have been started, once a session more has been asked for than may start.
async fn until_started(gateway: &Gateway, count: usize) {
    eventually(&format!("{count} agents"), || (gateway.started_agents() >= count).then_some(())).await;
}

#[tokio::test]
async fn agents_start_one_at_a_time_until_the_login_is_renewed() {
    let mut gateway = scripted().start().await;
    let directory = gateway.path("claude");
    put(&directory, ".credentials.json", &credentials(60_000, |_| ()));
    let mut client = gateway.client().await;
    let first = client.start(json!({"prompt": "await go"})).await;
    until_started(&gateway, 1).await;
    let mut others = Vec::new();
    for number in 0..5 {
        others.push(client.start(json!({"prompt": format!("say {number}")})).await);
    }
    // All have their slots, and none has been started: each would have been there by now, one after the other.
    for session in &others {
        let record = client.ok("session.get", json!({"session_id": session})).await;
        assert_eq!(record["state"], "starting", "{record}");
    }
    assert_eq!(gateway.started_agents(), 1);
    put(&directory, ".credentials.json", &credentials(8 * HOUR, |_| ()));
    for session in others {
        assert_eq!(ended(&client.until_ended(session).await)["reason"], "completed");
    }
    assert_eq!(gateway.started_agents(), 6);
    client.ok("session.stop", json!({"session_id": first})).await;
    client.until_ended(first).await;
    gateway.stop().await;
}

#[tokio::test]
async fn whoever_waits_for_the_renewal_can_be_stopped_and_the_next_goes_when_the_one_before_has_ended() {
    let mut gateway = scripted().start().await;
    put(&gateway.path("claude"), ".credentials.json", &credentials(60_000, |_| ()));
    let mut client = gateway.client().await;
    let first = client.start(json!({"prompt": "await go"})).await;
    until_started(&gateway, 1).await;
    let stopped = client.start(json!({"prompt": "say x"})).await;
    let next = client.start(json!({"prompt": "say y"})).await;
    client.ok("session.stop", json!({"session_id": stopped})).await;
    assert_eq!(ended(&client.until_ended(stopped).await)["reason"], "cancelled");
    assert_eq!(gateway.started_agents(), 1);
    client.ok("session.stop", json!({"session_id": first})).await;
    client.until_ended(first).await;
    assert_eq!(ended(&client.until_ended(next).await)["reason"], "completed");
    assert_eq!(gateway.started_agents(), 2);
    gateway.stop().await;
}
