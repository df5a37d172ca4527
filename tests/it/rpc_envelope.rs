//! JSON-RPC as strangers send it: malformed texts, floods, ids that meet each other. The connection stays open.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::Gateway;

/// A text and what it must be answered with: error code and id (`ok` where it is a valid call), or nothing.
const FIXTURES: &[(&str, &str)] = &[
    // Not JSON.
    ("", "-32700 null"),
    (" ", "-32700 null"),
    ("nonsense", "-32700 null"),
    ("{", "-32700 null"),
    ("[", "-32700 null"),
    ("{}}", "-32700 null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":1", "-32700 null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":1,}", "-32700 null"),
    ("{'jsonrpc':'2.0'}", "-32700 null"),
    ("{\"jsonrpc\":\"2.0\" \"method\":\"pong\"}", "-32700 null"),
    ("\u{feff}{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":1}", "-32700 null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":01}", "-32700 null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":1.}", "-32700 null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":+1}", "-32700 null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":NaN}", "-32700 null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"po\nng\",\"id\":1}", "-32700 null"),
    ("undefined", "-32700 null"),
    ("[1,2", "-32700 null"),
    ("[{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":1},", "-32700 null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":1}{}", "-32700 null"),
    ("// comment\n{}", "-32700 null"),
    // JSON, but no request.
    ("null", "-32600 null"),
    ("true", "-32600 null"),
    ("0", "-32600 null"),
    ("-1.5e3", "-32600 null"),
    ("\"text\"", "-32600 null"),
    ("{}", "-32600 null"),
    ("[]", "-32600 null"),
    ("[ ]", "-32600 null"),
    ("{\"method\":\"pong\",\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2.0\",\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"1.0\",\"method\":\"pong\",\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2\",\"method\":\"pong\",\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2.00\",\"method\":\"pong\",\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":2.0,\"method\":\"pong\",\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":2,\"method\":\"pong\",\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":null,\"method\":\"pong\",\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":[\"2.0\"],\"method\":\"pong\",\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":1,\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":null,\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":true,\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":{},\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":[\"pong\"],\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"\\ud800\",\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":1}", "-32600 null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":true}", "-32600 null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":false}", "-32600 null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":{}}", "-32600 null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":[1]}", "-32600 null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"params\":1,\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"params\":\"x\",\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"params\":null,\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"params\":true,\"id\":1}", "-32600 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"params\":\"bar\"}", "-32600 null"),
    ("{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"pong\"}", "-32600 null"),
    ("{\"jsonrpc\":\"2.0\",\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pong\"}", "-32600 null"),
    ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pong\",\"m\\u0065thod\":\"pong\"}", "-32600 null"),
    ("{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1}", "-32600 7"),
    ("{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":1,\"message\":\"m\"}}", "-32600 7"),
    ("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":1,\"message\":\"m\"}}", "-32600 null"),
    ("{\"Jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pong\"}", "-32600 1"),
    ("{\"jsonrpc\":\"2.0\",\"id\":1,\"Method\":\"pong\"}", "-32600 1"),
    // Requests that can't be carried out.
    ("{\"jsonrpc\":\"2.0\",\"method\":\"\",\"id\":1}", "-32601 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"rpc.nothing\",\"id\":1}", "-32601 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"rpc.\",\"id\":1}", "-32601 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"Pong\",\"id\":1}", "-32601 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong \",\"id\":1}", "-32601 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"session.start\\u0000\",\"id\":1}", "-32601 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"initialize\",\"id\":\"a\"}", "-32601 \"a\""),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"server.info\",\"params\":[],\"id\":1}", "-32602 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"server.info\",\"params\":[[[[]]]],\"id\":1}", "-32602 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"server.info\",\"params\":{\"x\":1},\"id\":1}", "-32602 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"session.get\",\"params\":{\"session_id\":\"\\ud800\"},\"id\":1}", "-32602 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"session.get\",\"params\":{},\"id\":1}", "-32602 1"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"session.get\",\"id\":1}", "-32602 1"),
    // Unusual, but calls: the id comes back as it came.
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":1.50}", "ok 1.50"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":-0}", "ok -0"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":1e999}", "ok 1e999"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":18446744073709551616}", "ok 18446744073709551616"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":null}", "ok null"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":\"\"}", "ok \"\""),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"id\":\"\\u00e9\\n\"}", "ok \"\\u00e9\\n\""),
    ("{\"id\":3,\"extra\":{\"a\":[1,2,{}]},\"method\":\"pong\",\"jsonrpc\":\"2.0\"}", "ok 3"),
    ("\n\t {\"jsonrpc\" : \"2.0\" ,\"method\":\"pong\",\"id\":4}\r\n", "ok 4"),
    ("{\"jsonrpc\":\"2.0\",\"m\\u0065thod\":\"p\\u006fng\",\"id\":5}", "ok 5"),
    ("{\"jsonrpc\":\"2.0\",\"method\":\"pong\",\"params\":{\"a\":1e999},\"id\":6}", "-32602 6"),
];

/// What an answer says: error code, or `ok`, and its id as it was written.
fn summary(text: &str) -> String {
    let id = text.split_once("\"id\":").expect("an id").1;
    let end = id.find([',', '}']).expect("an end of the id");
    // A lone surrogate or a huge number has no `Value`; the code is read from the text.
    let code = text.split_once("\"error\":{\"code\":").map(|(_, rest)| rest.split(',').next().unwrap_or_default());
    format!("{} {}", code.unwrap_or("ok"), &id[..end])
}

#[tokio::test]
async fn b2_each_malformed_text_is_answered_as_the_specification_says_and_the_connection_stays() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    assert!(FIXTURES.len() >= 80);
    for (text, expected) in FIXTURES {
        client.send_raw(*text).await;
        assert_eq!(summary(&client.next_text().await), *expected, "{text}");
    }
    for depth in [128, 100_000] {
        let deep = "[".repeat(depth) + &"]".repeat(depth);
        client.send_raw(deep.clone()).await;
        assert_eq!(summary(&client.next_text().await), "-32600 null", "a batch of a batch, {depth} deep");
        client.send_raw(format!(r#"{{"jsonrpc":"2.0","method":"server.info","params":{{"x":{deep}}},"id":9}}"#)).await;
        assert_eq!(summary(&client.next_text().await), "-32602 9", "parameters {depth} deep");
    }
    client.ok("server.info", json!({})).await;
    gateway.stop().await;
}

#[tokio::test]
async fn b4_batches_are_answered_up_to_the_limit_and_notifications_never() {
    let mut gateway = Gateway::builder().setting("max_batch_calls", 5).start().await;
    let mut client = gateway.client().await;
    let batch = |count: usize| {
        json!((0..count).map(|id| json!({"jsonrpc": "2.0", "method": "pong", "id": id})).collect::<Vec<_>>())
            .to_string()
    };
    client.send_raw(batch(5)).await;
    assert_eq!(client.next_frame().await.as_array().map(Vec::len), Some(5));
    client.send_raw(batch(6)).await;
    let refused = client.next_frame().await;
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["data"]["kind"]),
        (&json!(-32600), &json!("batch_too_large"))
    );
    client.send_raw(r#"[{"jsonrpc":"2.0","method":"pong"},{"jsonrpc":"2.0","method":"nothing"}]"#).await;
    // Whatever would answer the notifications would come before this.
    client.send_raw(batch(1)).await;
    assert_eq!(client.next_frame().await, json!([{"jsonrpc": "2.0", "id": 0, "result": {"status": "ok"}}]));
    gateway.stop().await;
}

#[tokio::test]
async fn b4_a_batch_of_nothing_but_errors_is_answered_however_small_the_buffers_are() {
    let mut gateway =
        Gateway::builder().setting("max_response_bytes", 1_024).setting("outbox_bytes", 1_024).start().await;
    let mut client = gateway.client().await;
    let call = json!({"jsonrpc": "2.0", "method": "nothing", "id": "i".repeat(100)});
    client.send_raw(Value::from(vec![call; 100]).to_string()).await;
    let answers = client.next_frame().await;
    let codes: Vec<_> = answers.as_array().expect("a batch").iter().map(|answer| &answer["error"]["code"]).collect();
    assert_eq!(codes.len(), 100);
    // The first few say what is wrong; the others that the answer has grown too large.
    assert_eq!((codes[0], codes[99]), (&json!(-32601), &json!(-32600)));
    client.ok("hook_status", json!({})).await;
    gateway.stop().await;
}

#[tokio::test]
async fn b5_of_1000_requests_in_flight_each_is_answered_once() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    for id in 0..1_000 {
        client.send_raw(json!({"jsonrpc": "2.0", "method": "server.info", "id": id}).to_string()).await;
    }
    let mut answers = BTreeMap::new();
    for _ in 0..1_000 {
        let answer = client.next_frame().await;
        assert!(answer["result"].is_object(), "{answer}");
        *answers.entry(answer["id"].as_u64().expect("an id")).or_insert(0) += 1;
    }
    assert_eq!(answers.len(), 1_000);
    assert!(answers.values().all(|count| *count == 1));
    gateway.stop().await;
}

#[tokio::test]
async fn b6_the_same_id_on_two_sockets_and_twice_on_one_is_never_crossed() {
    let mut gateway = Gateway::builder().start().await;
    let (mut one, mut other) = (gateway.client().await, gateway.client().await);
    one.send_raw(r#"{"jsonrpc":"2.0","method":"pong","id":"same"}"#).await;
    other.send_raw(r#"{"jsonrpc":"2.0","method":"hook_status","id":"same"}"#).await;
    assert_eq!(one.next_frame().await["result"], json!({"status": "ok"}));
    assert_eq!(other.next_frame().await["result"]["enabled"], false);
    for _ in 0..2 {
        one.send_raw(r#"{"jsonrpc":"2.0","method":"pong","id":"same"}"#).await;
    }
    for _ in 0..2 {
        let answer: Value = one.next_frame().await;
        assert_eq!((&answer["id"], &answer["result"]["status"]), (&json!("same"), &json!("ok")));
    }
    gateway.stop().await;
}
