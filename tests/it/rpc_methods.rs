//! Every method of the table with parameters that do not fit, and a client library of somebody else.

use cc_gateway::api::method::TABLE;
use serde_json::{Value, json};

use crate::support::Gateway;

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// For each method: parameters that are wrong, and the name that the error must hold. A new method fails the
/// test until it has its rows.
fn wrong_params(method: &str) -> Vec<(Value, &'static str)> {
    let session = |more: Value| {
        let mut params = json!({"session_id": NOBODY});
        params.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        params
    };
    let only_session = vec![
        (json!({}), "session_id"),
        (json!({"session_id": 5}), "session_id"),
        (json!({"session_id": "not-a-uuid"}), "session_id"),
        (session(json!({"extra": 1})), "extra"),
    ];
    match method {
        "session.start" => vec![
            (json!({}), "prompt"),
            (json!({"prompt": 5}), "prompt"),
            (json!({"prompt": ""}), "prompt"),
            (json!({"prompt": "a\u{0}b"}), "prompt"),
            (json!({"prompt": []}), "prompt"),
            (json!({"prompt": [{"text": "no type"}]}), "prompt"),
            (json!({"prompt": "p", "promt": "p"}), "promt"),
            (json!({"prompt": "p", "max_turns": -1}), "max_turns"),
            (json!({"prompt": "p", "max_turns": 1.5}), "max_turns"),
            (json!({"prompt": "p", "allowed_tools": "Bash"}), "allowed_tools"),
            (json!({"prompt": "p", "permission_mode": "god"}), "permission_mode"),
            (json!({"prompt": "p", "on_disconnect": "explode"}), "on_disconnect"),
            (json!({"prompt": "p", "timeout_seconds": 0}), "timeout_seconds"),
            (json!({"prompt": "p", "timeout_seconds": -3}), "timeout_seconds"),
            (json!({"prompt": "p", "idle_timeout_seconds": 1e12}), "idle_timeout_seconds"),
            (json!({"prompt": "p", "workspace": "no/such/place"}), "workspace"),
            (json!({"prompt": "p", "workspace": 5}), "workspace"),
            (json!({"prompt": "p", "labels": {"a=b": "c"}}), "labels"),
            (json!({"prompt": "p", "labels": {"a": 5}}), "labels"),
            (json!({"prompt": "p", "idempotency_key": ""}), "idempotency_key"),
            (json!({"prompt": "p", "resume": "x"}), "resume"),
        ],
        "session.attach" => [
            only_session,
            vec![
                (session(json!({"after_seq": -1})), "after_seq"),
                (session(json!({"after_seq": "1"})), "after_seq"),
                (session(json!({"types": "claude"})), "types"),
                (session(json!({"types": ["nothing"]})), "types"),
            ],
        ]
        .concat(),
        "session.events" => {
            [only_session, vec![(session(json!({"limit": 0})), "limit"), (session(json!({"limit": "1"})), "limit")]]
                .concat()
        }
        "session.detach" | "session.get" | "session.interrupt" | "session.stop" => only_session,
        "session.list" => vec![
            (json!({"state": "sleeping"}), "state"),
            (json!({"limit": 0}), "limit"),
            (json!({"limit": 501}), "limit"),
            (json!({"cursor": "nonsense"}), "cursor"),
            (json!({"label": 5}), "label"),
            (json!({"extra": 1}), "extra"),
        ],
        "server.info" | "rpc.discover" => vec![(json!({"extra": 1}), "extra")],
        "execute" => vec![
            (json!({}), "command"),
            (json!({"command": 5}), "command"),
            (json!({"command": ""}), "command"),
            (json!({"command": "claude 'open"}), "command"),
            (json!({"command": "claude", "timeout": "soon"}), "timeout"),
            (json!({"command": "claude", "extra": 1}), "extra"),
        ],
        "control" => vec![
            (json!({}), "type"),
            (json!({"type": "DANCE"}), "type"),
            (json!({"type": "PAUSE", "extra": 1}), "extra"),
        ],
        // These take anything, as cc_executor does.
        "pong" | "hook_status" => Vec::new(),
        other => panic!("the method {other} has no rows here"),
    }
}

#[tokio::test]
async fn b7_every_method_names_the_parameter_that_does_not_fit() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    for method in TABLE {
        for (params, name) in wrong_params(method.name) {
            let error = client.error(method.name, params.clone()).await;
            let message = error["message"].as_str().unwrap_or_default();
            // A session that nobody has can only be told after all other parameters were found right.
            assert_eq!(error["code"], -32602, "{} {params}: {error}", method.name);
            assert!(message.contains(name), "{} {params}: `{message}` does not name `{name}`", method.name);
            assert_eq!(error["data"]["retryable"], false);
        }
        if !wrong_params(method.name).is_empty() {
            let error = client.error(method.name, json!([1])).await;
            assert_eq!(error["code"], -32602, "{} by position", method.name);
        }
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
