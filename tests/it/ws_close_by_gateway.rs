//! Every reason to close for which the gateway is the cause: restart, end, damage.

use cc_gateway::ws::Close;
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{Gateway, metrics};

/// The log tells of exactly so many connections that ended for this reason.
fn assert_logged(gateway: &Gateway, close: Close, times: usize) {
    let reason = format!("\"reason\":\"{}\"", close.word());
    let log = gateway.log();
    let told = log.lines().filter(|line| line.contains("connection closed") && line.contains(&reason)).count();
    assert_eq!(told, times, "{close:?}");
}

#[tokio::test]
async fn a9_a_stop_tells_every_client_to_come_back() {
    let mut gateway = Gateway::builder().start().await;
    let mut clients = [gateway.client().await, gateway.client().await];
    gateway.signal(Signal::TERM);
    for client in &mut clients {
        assert!(client.notification("server.draining").await["deadline"].is_string());
        let closed = client.until_closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (Some(1012), Close::Restart.text().as_ref()));
    }
    assert_eq!(gateway.exited().await.code(), Some(0));
    assert_logged(&gateway, Close::Restart, 2);
}

#[tokio::test]
async fn a9_a_second_signal_ends_at_once_and_says_so() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "silent"})).await;
    client.until_event(session, |event| event.kind == "session.started").await;
    gateway.signal(Signal::TERM);
    client.notification("server.draining").await;
    gateway.signal(Signal::TERM);
    let closed = client.until_closed().await;
    assert_eq!((closed.code, closed.reason.as_str()), (Some(1001), Close::GoingAway.text().as_ref()));
    assert_eq!(client.events(session).last().unwrap().kind, "session.ended", "its end is told before the goodbye");
    assert_eq!(gateway.exited().await.code(), Some(0));
    assert_logged(&gateway, Close::GoingAway, 1);
    assert_logged(&gateway, Close::Restart, 0);
}

#[tokio::test]
async fn a9_a_damaged_log_closes_with_an_internal_error_and_harms_no_other_session() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let damaged = client.start(json!({"prompt": "say one"})).await;
    client.until_ended(damaged).await;
    let whole = client.start(json!({"prompt": "say two"})).await;
    client.until_ended(whole).await;
    client.close().await;
    gateway.stop().await;
    let file = Connection::open(gateway.path("data").join("gateway.db")).unwrap();
    let changed = file
        .execute(
            "UPDATE batches SET payload = x'ff' WHERE session = (SELECT key FROM sessions WHERE id = ?1)",
            [damaged.as_bytes().as_slice()],
        )
        .unwrap();
    assert!(changed > 0, "there was something to damage");
    drop(file);
    gateway.restart().await;

    let mut client = gateway.client().await;
    client.ok("session.attach", json!({"session_id": damaged})).await;
    let closed = client.until_closed().await;
    assert_eq!((closed.code, closed.reason.as_str()), (Some(1011), Close::Internal.text().as_ref()));
    assert_eq!(client.events(damaged).len(), 0, "nothing made up was sent");
    metrics::until(gateway.http, "cc_gateway_connections_closed_total{reason=\"internal\"}", 1.0).await;

    let mut client = gateway.client().await;
    client.ok("session.attach", json!({"session_id": whole})).await;
    assert_eq!(client.until_ended(whole).await.last().unwrap().data()["result"], "two");
}
