//! Row E8: one attachment too many of a connection, one session too many of a principal.

use serde_json::{Value, json};

use super::conversation::{busy, go};
use super::refusals::{PASSWORD, bob};
use super::{ended, slots_taken, until_file};
use crate::support::program::add_user;
use crate::support::{Client, Gateway};

/// One attachment too many: the documented error.
fn is_too_many(error: &Value) {
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32010), &json!("too_many_requests")), "{error}");
    assert_eq!(error["data"]["retryable"], true, "{error}");
    assert!(error["message"].as_str().is_some_and(|why| why.contains("detach one")), "{error}");
}

#[tokio::test]
async fn e8_one_attachment_too_many_of_a_connection_is_refused_until_another_one_ends() {
    let mut gateway = Gateway::builder().setting("max_attachments", 2).start().await;
    let (mut client, mut other) = (gateway.client().await, gateway.client().await);
    assert_eq!(client.ok("server.info", json!({})).await["limits"]["max_attachments"], 2);
    let (one, two) = (busy(&gateway, &mut client).await, busy(&gateway, &mut client).await);
    // Through each door, and nothing is started behind the error.
    is_too_many(&client.error("session.start", json!({"prompt": "say x"})).await);
    is_too_many(&client.error("execute", json!({"command": "claude -p x"})).await);
    assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (2, 2));
    let unwatched = client.ok("session.start", json!({"prompt": "touch there; await go", "attach": false})).await;
    let three = crate::support::client::session_id(&unwatched).unwrap();
    until_file(&gateway, three, "there").await;
    is_too_many(&client.error("session.attach", json!({"session_id": three})).await);
    // Again to one that it is attached to already takes no further place.
    client.ok("session.attach", json!({"session_id": two, "after_seq": client.position(two)})).await;
    // The limit is the connection's own.
    other.ok("session.attach", json!({"session_id": three})).await;
    // Those that it has go on, and the end of one makes room.
    go(&gateway, one);
    assert_eq!(ended(&client.until_ended(one).await)["result"], "worked");
    client.ok("session.attach", json!({"session_id": three})).await;
    let four = client.ok("session.start", json!({"prompt": "say four", "attach": false})).await;
    let four = crate::support::client::session_id(&four).unwrap();
    is_too_many(&client.error("session.attach", json!({"session_id": four})).await);
    assert_eq!(client.ok("session.detach", json!({"session_id": three})).await["detached"], true);
    client.ok("session.attach", json!({"session_id": four})).await;
    assert_eq!(ended(&client.until_ended(four).await)["result"], "four");
    go(&gateway, two);
    assert_eq!(ended(&client.until_ended(two).await)["result"], "worked");
    go(&gateway, three);
    other.until_ended(three).await;
    gateway.stop().await;
}

#[tokio::test]
async fn e8_a_connection_of_old_clients_may_watch_no_more_than_others() {
    let gateway = Gateway::builder().setting("max_attachments", 1).start().await;
    let token = gateway.login().await;
    let mut client = Client::connect(gateway.ws, "/ws/mcp", &token).await;
    let session = busy(&gateway, &mut client).await;
    is_too_many(&client.error("execute", json!({"command": "claude -p x"})).await);
    assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (1, 1));
    go(&gateway, session);
    client.until_ended(session).await;
    client.ok("execute", json!({"command": "claude -p x"})).await;
    client.notification("process.completed").await;
    gateway.until_no_processes().await;
}

#[tokio::test]
async fn e8_one_session_too_many_of_a_principal_is_refused_until_another_one_ends_and_others_start() {
    let builder = Gateway::builder().setting("max_sessions", 10).setting("max_sessions_per_principal", 2);
    let mut gateway = builder.setting("shared_uid_accepted", true).start().await;
    add_user(&mut gateway, "bob", PASSWORD).await;
    let (mut client, mut second, mut bob) = (gateway.client().await, gateway.client().await, bob(&gateway).await);
    let (one, two) = (busy(&gateway, &mut client).await, busy(&gateway, &mut second).await);
    // It is the principal's limit, on whichever connection and through whichever door.
    for client in [&mut client, &mut second] {
        for (method, params) in [
            ("session.start", json!({"prompt": "say x"})),
            ("session.start", json!({"interactive": true})),
            ("execute", json!({"command": "claude -p x"})),
        ] {
            let error = client.error(method, params).await;
            assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32003), &json!("session_limit")), "{error}");
            assert_eq!(error["data"]["retryable"], true, "{error}");
            assert!(error["data"]["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{error}");
            assert!(error["message"].as_str().is_some_and(|why| why.contains("your own limit")), "{error}");
        }
    }
    assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (2, 2));
    let bobs = (busy(&gateway, &mut bob).await, busy(&gateway, &mut bob).await);
    let error = bob.error("session.start", json!({"prompt": "say x"})).await;
    assert_eq!(error["code"], -32003, "{error}");
    // The terminal event means that there is room: no waiting, no trying again.
    go(&gateway, one);
    assert_eq!(ended(&client.until_ended(one).await)["result"], "worked");
    let next = client.start(json!({"prompt": "say next"})).await;
    assert_eq!(ended(&client.until_ended(next).await)["result"], "next");
    assert_eq!(bob.error("session.start", json!({"prompt": "say x"})).await["code"], -32003, "bob's are bob's");
    for session in [two, bobs.0, bobs.1] {
        go(&gateway, session);
    }
    assert_eq!(ended(&second.until_ended(two).await)["result"], "worked");
    for session in [bobs.0, bobs.1] {
        assert_eq!(ended(&bob.until_ended(session).await)["result"], "worked");
    }
    assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (5, 0));
    gateway.stop().await;
}
