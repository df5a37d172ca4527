//! Methods with values that make no sense, and a client library of somebody else.

use serde_json::{Value, json};

use crate::support::Gateway;

/// Values that a parameter's type allows and its method does not, and the name that the error must hold. The
/// types themselves, and bounds that the document tells, are tried in `rpc_params`.
fn wrong_values() -> Vec<(&'static str, Value, &'static str)> {
    let start = |more: Value| {
        let mut params = json!({"prompt": "p"});
        params.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        params
    };
    vec![
        ("session.start", json!({}), "prompt"),
        ("session.start", json!({"prompt": null}), "prompt"),
        ("session.start", json!({"prompt": ""}), "prompt"),
        ("session.start", json!({"prompt": "a\u{0}b"}), "prompt"),
        ("session.start", json!({"prompt": []}), "prompt"),
        ("session.start", json!({"prompt": [{"text": "no type"}]}), "prompt"),
        ("session.start", json!({"prompt": "p", "promt": "p"}), "promt"),
        ("session.start", start(json!({"timeout_seconds": 0})), "timeout_seconds"),
        ("session.start", start(json!({"timeout_seconds": -3})), "timeout_seconds"),
        ("session.start", start(json!({"idle_timeout_seconds": 1e12})), "idle_timeout_seconds"),
        ("session.start", start(json!({"max_budget_usd": 0})), "max_budget_usd"),
        ("session.start", start(json!({"max_budget_usd": -0.5})), "max_budget_usd"),
        ("session.start", start(json!({"workspace": "no/such/place"})), "workspace"),
        ("session.start", start(json!({"workspace": ""})), "workspace"),
        ("session.start", start(json!({"labels": {"a=b": "c"}})), "labels"),
        ("session.start", start(json!({"labels": {"": "c"}})), "labels"),
        ("session.start", start(json!({"model": "a\u{0}b"})), "model"),
        ("session.start", start(json!({"system_prompt": "x".repeat(200_000)})), "system_prompt"),
        ("session.list", json!({"cursor": "nonsense"}), "cursor"),
        ("execute", json!({"command": ""}), "command"),
        ("execute", json!({"command": "claude 'open"}), "command"),
        ("execute", json!({"command": "claude \u{0}"}), "command"),
        ("execute", json!({"command": "claude -p x", "timeout": 0}), "timeout"),
        ("control", json!({"action": "DANCE"}), "action"),
    ]
}

#[tokio::test]
async fn b7_a_value_that_its_type_allows_and_its_method_does_not_is_refused_by_name() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    for (method, params, name) in wrong_values() {
        let error = client.error(method, params).await;
        let message = error["message"].as_str().unwrap_or_default();
        assert_eq!(error["code"], -32602, "{method} {name}: {error}");
        assert_eq!(message.split('`').nth(1), Some(name), "{method}: {message}");
        assert_eq!(error["data"]["retryable"], false);
    }
    assert_eq!(gateway.started_agents(), 0, "nothing of this may start an agent");
    gateway.stop().await;
}

#[tokio::test]
async fn an_independent_client_library_can_call() {
    use jsonrpsee::core::client::ClientT as _;
    use jsonrpsee::core::params::ObjectParams;
    use jsonrpsee::ws_client::{HeaderMap, HeaderValue, WsClientBuilder};
    let mut gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {token}")).expect("a header"));
    let client = WsClientBuilder::default()
        .set_headers(headers)
        .build(format!("ws://{}/ws", gateway.ws))
        .await
        .expect("a connection");
    let info: Value = client.request("server.info", ObjectParams::new()).await.expect("the server's facts");
    assert_eq!(info["name"], "cc-gateway");
    let mut by_name = ObjectParams::new();
    by_name.insert("limit", 5).expect("a parameter");
    let list: Value = client.request("session.list", by_name).await.expect("a list");
    assert_eq!(list, json!({"sessions": []}));
    gateway.stop().await;
}

#[tokio::test]
async fn calls_that_wait_for_their_turn_keep_no_other_call_waiting() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "ignore settings; touch there; await go; say x"})).await;
    crate::session::until_file(&gateway, session, "there").await;
    let mut changes = Vec::new();
    for _ in 0..40 {
        let params = json!({"session_id": session, "permission_mode": "plan"});
        changes.push(client.send_call("session.configure", params).await);
    }
    let started = std::time::Instant::now();
    client.ok("server.info", json!({})).await;
    // The agent answers no change, and the first of them is given ten seconds.
    assert!(started.elapsed() < std::time::Duration::from_secs(8), "{:?}", started.elapsed());
}
