//! What has ended is kept for a time and up to a size, and a session's log up to one of its own.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::session::{until_file, workspace};
use crate::support::client::session_id;
use crate::support::{Client, Gateway, metrics};

/// The sessions that the list holds, newest first.
async fn listed(client: &mut Client) -> Vec<Uuid> {
    let page = client.ok("session.list", json!({"limit": 500})).await;
    page["sessions"].as_array().expect("a list").iter().filter_map(session_id).collect()
}

async fn until_gone(client: &mut Client, session: Uuid) {
    while listed(client).await.contains(&session) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn f6_an_ended_session_is_removed_after_its_time_unless_its_label_keeps_it() {
    let gateway =
        Gateway::builder().setting("keep_ended_seconds", 0.5).setting("retention_interval_seconds", 0.05).start().await;
    let mut client = gateway.client().await;
    let kept = client.start(json!({"prompt": "say kept", "labels": {"keep": "yes"}})).await;
    let live = client.start(json!({"prompt": "touch there; await go; say live"})).await;
    until_file(&gateway, live, "there").await;
    let params = json!({"prompt": "say short", "idempotency_key": "k"});
    let short = client.start(params.clone()).await;
    for session in [kept, short] {
        client.until_ended(session).await;
    }
    until_gone(&mut client, short).await;
    for method in ["session.get", "session.attach", "session.events"] {
        assert_eq!(client.error(method, json!({"session_id": short})).await["code"], -32002, "{method}");
    }
    assert_eq!(listed(&mut client).await, [live, kept]);
    client.ok("session.attach", json!({"session_id": kept})).await;
    client.until_ended(kept).await;
    metrics::until(gateway.http, "cc_gateway_sessions_removed_total", 1.0).await;
    // Its key is free again.
    assert_ne!(client.start(params).await, short);
    std::fs::write(workspace(&gateway, live).join("go"), "").unwrap();
    client.until_ended(live).await;
    until_gone(&mut client, live).await;
}

#[tokio::test]
async fn beyond_the_size_the_sessions_that_ended_longest_ago_go_first() {
    let gateway =
        Gateway::builder().setting("keep_bytes", 600_000).setting("retention_interval_seconds", 0.05).start().await;
    let mut client = gateway.client().await;
    let mut made = Vec::new();
    for _ in 0..4 {
        // About 800 kB each, which are stored as 220 to 280 kB.
        let session = client.start(json!({"prompt": "lines 800 800; say end"})).await;
        client.until_ended(session).await;
        made.push(session);
    }
    until_gone(&mut client, made[1]).await;
    assert_eq!(listed(&mut client).await, [made[3], made[2]]);
    client.ok("session.attach", json!({"session_id": made[2]})).await;
    assert!(client.until_ended(made[2]).await.len() > 800);
}

#[tokio::test]
async fn f6_a_long_log_loses_its_head_and_readers_are_told_the_oldest_number_that_is_kept() {
    let gateway = Gateway::builder().setting("max_session_bytes", 1_000_000).start().await;
    let mut client = gateway.client().await;
    let script = "lines 20000 1000; touch there; await go; say end";
    let session = client.start(json!({"prompt": script, "attach": false})).await;
    until_file(&gateway, session, "there").await;
    // The numbers of the lines, and of the few events before them.
    while client.ok("session.get", json!({"session_id": session})).await["last_seq"].as_u64() < Some(20_002) {}
    let error = client.error("session.attach", json!({"session_id": session})).await;
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32009), &json!("cursor_expired")));
    let oldest = error["data"]["details"]["oldest_seq"].as_u64().expect("the oldest number");
    assert!(oldest > 15_000, "{oldest}");
    client.ok("session.attach", json!({"session_id": session, "after_seq": oldest - 1})).await;
    std::fs::write(workspace(&gateway, session).join("go"), "").unwrap();
    let events = client.until_ended(session).await;
    assert_eq!(events[0].seq, oldest, "what is kept is whole from its first number on");
    let record: Value = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(record["last_seq"], events.last().unwrap().seq);
}
