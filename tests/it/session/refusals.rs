//! What the policy refuses, and that nothing is started then.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ended, run, slots_taken};
use crate::support::program::add_user;
use crate::support::{Client, Gateway, http};

/// The password of the second principal.
pub(super) const PASSWORD: &str = "bobs-long-password";

/// A connection of the second principal.
pub(super) async fn bob(gateway: &Gateway) -> Client {
    let token = http::login(gateway.http, "bob", PASSWORD).await.expect("bob can log in");
    Client::connect(gateway.ws, "/ws", &token).await
}

/// The start must be refused with this code and start nothing.
async fn refused(client: &mut Client, params: Value, code: i64, kind: &str) -> String {
    let error = client.error("session.start", params.clone()).await;
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(code), &json!(kind)), "{params}: {error}");
    assert_eq!(error["data"]["retryable"], false);
    error["message"].as_str().expect("why").to_owned()
}

#[tokio::test]
async fn with_one_uid_a_second_principal_may_not_start_sessions_also_after_a_restart() {
    let mut gateway = Gateway::builder().start().await;
    add_user(&mut gateway, "bob", PASSWORD).await;
    let mut admin = gateway.client().await;
    run(&mut admin, "say first come").await;
    let why = refused(&mut bob(&gateway).await, json!({"prompt": "say x"}), -32001, "not_allowed").await;
    assert!(why.contains("agent_user") && why.contains("shared_uid_accepted"), "{why}");
    let dialect = bob(&gateway).await.error("execute", json!({"command": "claude -p x"})).await;
    assert_eq!(dialect["code"], -32001, "the other door is no wider");
    gateway.restart().await;
    refused(&mut bob(&gateway).await, json!({"prompt": "say x"}), -32001, "not_allowed").await;
    let mut admin = gateway.client().await;
    assert_eq!(ended(&run(&mut admin, "say again").await)["reason"], "completed");
    assert_eq!(gateway.started_agents(), 2);
}

#[tokio::test]
async fn several_principals_may_start_sessions_if_the_operator_accepts_it() {
    let mut gateway = Gateway::builder().setting("shared_uid_accepted", true).start().await;
    add_user(&mut gateway, "bob", PASSWORD).await;
    let (mut admin, mut bob) = (gateway.client().await, bob(&gateway).await);
    assert_eq!(ended(&run(&mut admin, "say one").await)["reason"], "completed");
    assert_eq!(ended(&run(&mut bob, "say two").await)["reason"], "completed");
}

#[tokio::test]
async fn bypassing_permissions_is_not_allowed_unless_the_settings_say_so() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let params = json!({"prompt": "dump facts.json", "permission_mode": "bypassPermissions"});
    refused(&mut client, params.clone(), -32001, "not_allowed").await;
    for flag in ["--permission-mode bypassPermissions", "--dangerously-skip-permissions"] {
        let error = client.error("execute", json!({"command": format!("claude -p x {flag}")})).await;
        assert_eq!(error["code"], -32001, "{flag}: {error}");
    }
    assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (0, 0));

    let mut gateway = Gateway::builder().setting("bypass_permissions", "admin").start().await;
    add_user(&mut gateway, "bob", PASSWORD).await;
    refused(&mut bob(&gateway).await, params.clone(), -32001, "not_allowed").await;
    // A start that was refused has not made bob the one principal who may start sessions here.
    let mut admin = gateway.client().await;
    let session = admin.start(params).await;
    assert_eq!(ended(&admin.until_ended(session).await)["reason"], "completed");
    let facts = super::agent_start::facts(&gateway, session);
    assert!(facts["argv"].to_string().contains("\"--permission-mode=bypassPermissions\""), "{}", facts["argv"]);
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_refused_by_name() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    for (field, value) in [
        ("on_disconnect", json!("explode")),
        ("on_lost", json!("resurrect")),
        ("permission_mode", json!("yolo")),
        ("promt", json!("x")),
    ] {
        refused(&mut client, json!({"prompt": "say x", field: value}), -32602, "invalid_params").await;
    }
    refused(&mut client, json!({}), -32602, "invalid_params").await;
    refused(&mut client, json!({"prompt": "say x", "resume": uuid::Uuid::new_v4()}), -32002, "no_such_session").await;
    assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (0, 0));
    client.expect_silence(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn only_an_ended_conversation_is_resumed_and_only_if_there_is_one() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let live = client.start(json!({"interactive": true})).await;
    client.until_state(live, "idle").await;
    refused(&mut client, json!({"prompt": "say x", "resume": live}), -32006, "wrong_state").await;
    client.ok("session.stop", json!({"session_id": live})).await;
    client.until_ended(live).await;
    let command = client.ok("execute", json!({"command": "claude -p 'say done'"})).await;
    client.notification("process.completed").await;
    let params = json!({"prompt": "say x", "resume": command["session_id"]});
    refused(&mut client, params, -32006, "wrong_state").await;

    let first = client.start(json!({"prompt": "hello"})).await;
    client.until_ended(first).await;
    let second = client.start(json!({"prompt": "and again", "resume": first})).await;
    assert_eq!(ended(&client.until_ended(second).await)["result"], "You said: and again (after 1 earlier)");
    let third = client.start(json!({"prompt": "once more", "resume": first})).await;
    assert_eq!(ended(&client.until_ended(third).await)["result"], "You said: once more (after 1 earlier)");
}

#[tokio::test]
async fn stdio_mcp_servers_need_the_scope_raw_at_every_door() {
    let mut gateway = Gateway::builder().start().await;
    add_user(&mut gateway, "bob", PASSWORD).await;
    let mut client = bob(&gateway).await;
    let stdio = json!({"evil": {"command": "sh", "args": ["-c", "touch pwned"]}});
    for servers in [stdio.clone(), json!({"evil": {"type": "stdio", "command": "sh"}}), json!({"odd": {"type": "new"}})]
    {
        let why = refused(&mut client, json!({"prompt": "say x", "mcp_config": servers}), -32001, "not_allowed").await;
        assert!(why.contains("raw"), "{why}");
    }
    let config = json!({"mcpServers": stdio}).to_string();
    let error = client.error("execute", json!({"command": format!("claude -p x --mcp-config '{config}'")})).await;
    assert_eq!(error["code"], -32001, "{error}");
    assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (0, 0));
    let plain = json!({"good": {"type": "http", "url": "http://127.0.0.1:1/"}});
    let session = client.start(json!({"prompt": "say x", "mcp_config": plain})).await;
    assert_eq!(ended(&client.until_ended(session).await)["reason"], "completed");
}
