//! Dispatch against the specification: its 15 examples, then thousands of damaged texts.

use jsonrpsee::RpcModule;
use jsonrpsee::types::ErrorObjectOwned;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::{Principal, Role};
use crate::rpc::envelope::parse;

fn peer() -> Arc<Peer> {
    let principal = Principal {
        subject: "s".to_owned(),
        username: "u".to_owned(),
        role: Role::User,
        scopes: Role::User.scopes(),
        expires_at: u64::MAX,
        token_id: "t".to_owned(),
        login: crate::api::Login { began_ms: 0, key: String::new() },
        issuer: None,
    };
    Arc::new(Peer::new(uuid::Uuid::nil(), Arc::new(principal), 10, false))
}

/// The methods that the specification's examples call.
fn examples() -> Methods {
    type Answer = Result<Value, ErrorObjectOwned>;
    let mut module = RpcModule::new(());
    module
        .register_async_method("subtract", |params, _, _| async move {
            let params: Value = params.parse()?;
            let number =
                |index: usize, name: &str| params.get(index).or_else(|| params.get(name)).and_then(Value::as_i64);
            Answer::Ok(json!(number(0, "minuend").unwrap_or(0) - number(1, "subtrahend").unwrap_or(0)))
        })
        .unwrap();
    module
        .register_async_method("sum", |params, _, _| async move {
            Answer::Ok(json!(params.parse::<Vec<i64>>()?.iter().sum::<i64>()))
        })
        .unwrap();
    module.register_async_method("get_data", |_, _, _| async { Answer::Ok(json!(["hello", 5])) }).unwrap();
    module.register_async_method("null", |_, _, _| async { Answer::Ok(Value::Null) }).unwrap();
    module
        .register_async_method("panics", |_, _, _| async {
            if true { panic!("on purpose") } else { Answer::Ok(json!(1)) }
        })
        .unwrap();
    module.register_async_method("large", |_, _, _| async { Answer::Ok(json!("x".repeat(5_000))) }).unwrap();
    for name in ["update", "notify_hello", "notify_sum"] {
        module.register_async_method(name, |_, _, _| async { Answer::Ok(Value::Null) }).unwrap();
    }
    module.into()
}

async fn say(text: &str) -> Option<Value> {
    let dispatcher = Dispatcher::new(examples(), 4_000);
    let reply = dispatcher.dispatch(parse(text, 10), &peer()).await;
    reply.text.map(|text| serde_json::from_str(&text).unwrap())
}

/// The answer with only what the specification prescribes of an error: its code.
fn plain(mut answer: Value) -> Value {
    match &mut answer {
        Value::Array(answers) => answers.iter_mut().for_each(|answer| *answer = plain(answer.take())),
        answer => {
            if let Some(error) = answer.get_mut("error") {
                *error = json!({"code": error["code"]});
            }
        }
    }
    answer
}

#[tokio::test]
async fn b1_the_fifteen_examples_of_the_specification_are_answered_as_it_says() {
    let error = |code: i32, id: Value| json!({"jsonrpc": "2.0", "error": {"code": code}, "id": id});
    let invalid = || error(-32600, Value::Null);
    let examples: [(&str, Option<Value>); 15] = [
        (
            r#"{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}"#,
            Some(json!({"jsonrpc": "2.0", "result": 19, "id": 1})),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}"#,
            Some(json!({"jsonrpc": "2.0", "result": -19, "id": 2})),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}"#,
            Some(json!({"jsonrpc": "2.0", "result": 19, "id": 3})),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}"#,
            Some(json!({"jsonrpc": "2.0", "result": 19, "id": 4})),
        ),
        (r#"{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}"#, None),
        (r#"{"jsonrpc": "2.0", "method": "foobar"}"#, None),
        (r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#, Some(error(-32601, json!("1")))),
        (r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#, Some(error(-32700, Value::Null))),
        (r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#, Some(invalid())),
        (
            r#"[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method""#,
            Some(error(-32700, Value::Null)),
        ),
        ("[]", Some(invalid())),
        ("[1]", Some(json!([invalid()]))),
        ("[1,2,3]", Some(json!([invalid(), invalid(), invalid()]))),
        (
            r#"[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
                {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
                {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
                {"foo": "boo"},
                {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
                {"jsonrpc": "2.0", "method": "get_data", "id": "9"}]"#,
            Some(json!([
                {"jsonrpc": "2.0", "result": 7, "id": "1"},
                {"jsonrpc": "2.0", "result": 19, "id": "2"},
                invalid(),
                error(-32601, json!("5")),
                {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}
            ])),
        ),
        (
            r#"[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]}, {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]"#,
            None,
        ),
    ];
    for (text, expected) in examples {
        assert_eq!(say(text).await.map(plain), expected, "{text}");
    }
}

#[tokio::test]
async fn a_result_that_is_null_is_a_result() {
    let answer = say(r#"{"jsonrpc":"2.0","method":"null","id":1}"#).await.unwrap();
    assert_eq!(answer, json!({"jsonrpc": "2.0", "id": 1, "result": null}));
}

#[tokio::test]
async fn a_method_that_panics_is_an_internal_error_that_tells_nothing() {
    let answer = say(r#"{"jsonrpc":"2.0","method":"panics","id":1}"#).await.unwrap();
    assert_eq!(answer["error"]["code"], -32603);
    assert!(!answer.to_string().contains("purpose"));
}

#[tokio::test]
async fn b4_an_answer_over_the_limit_becomes_an_error_alone_and_in_a_batch() {
    let call = r#"{"jsonrpc":"2.0","method":"large","id":1}"#;
    let alone = say(call).await.unwrap();
    assert_eq!((&alone["error"]["code"], &alone["error"]["data"]["kind"]), (&json!(-32600), &json!("too_large")));
    let data = r#"{"jsonrpc":"2.0","method":"get_data","id":2}"#;
    let batch = say(&format!("[{call},{data}]")).await.unwrap();
    assert_eq!(batch[0]["error"]["data"]["kind"], "too_large");
    assert_eq!(batch[1]["result"], json!(["hello", 5]));
}

/// Valid texts to damage.
const SEEDS: [&str; 4] = [
    r#"{"jsonrpc":"2.0","method":"subtract","params":[42,23],"id":1}"#,
    r#"{"jsonrpc":"2.0","method":"null","params":{"a":{"b":[1,2,"é"]}},"id":"x"}"#,
    r#"[{"jsonrpc":"2.0","method":"sum","params":[1,2],"id":1},{"jsonrpc":"2.0","method":"update"},5]"#,
    r#"{"jsonrpc":"2.0","method":"notify_hello","params":[7]}"#,
];

fn any_text() -> impl Strategy<Value = String> {
    let damaged =
        (0..SEEDS.len(), proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..6))
            .prop_map(|(seed, damages)| {
                let mut bytes = SEEDS[seed].as_bytes().to_vec();
                for (at, byte, kind) in damages {
                    let at = at.index(bytes.len().max(1));
                    match kind {
                        0 if at < bytes.len() => bytes[at] = byte,
                        1 => bytes.insert(at.min(bytes.len()), byte),
                        _ if at < bytes.len() => drop(bytes.remove(at)),
                        _ => {}
                    }
                }
                String::from_utf8_lossy(&bytes).into_owned()
            });
    prop_oneof![3 => damaged, 1 => ".{0,80}", 1 => "[\\[\\]{}\",:0-9a-z ]{0,60}"]
}

/// How many answers the specification owes for a text, and the ids of those that carry one.
fn owed(text: &str) -> Option<Vec<Option<String>>> {
    let one = |part: &Result<Call, Refusal>| match part {
        Ok(Call { id: None, .. }) => None,
        Ok(Call { id, .. }) | Err(Refusal { id, .. }) => Some(id.as_ref().map(|id| id.get().to_owned())),
    };
    match parse(text, 10) {
        Message::Single(part) => one(&part).map(|id| vec![id]),
        Message::Batch(parts) => Some(parts.iter().filter_map(one).collect::<Vec<_>>()).filter(|ids| !ids.is_empty()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if std::env::var_os("SOAK").is_some() { 100_000 } else { 10_000 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn b3_whatever_is_sent_every_id_is_answered_once_and_no_notification_is(text in any_text()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dispatcher = Dispatcher::new(examples(), 4_000);
        let reply = runtime.block_on(dispatcher.dispatch(parse(&text, 10), &peer())).text;
        let owed = owed(&text);
        prop_assert_eq!(reply.is_some(), owed.is_some(), "{:?} for {}", reply, text);
        if let (Some(reply), Some(owed)) = (reply, owed) {
            // Each answer holds its id as it came; an answer without one says null.
            let answers: Vec<Box<RawValue>> = if reply.starts_with('[') { serde_json::from_str(&reply).unwrap() } else { vec![serde_json::from_str(&reply).unwrap()] };
            prop_assert_eq!(answers.len(), owed.len());
            for (answer, id) in answers.iter().zip(owed) {
                let wanted = format!("\"id\":{},", id.as_deref().unwrap_or("null"));
                prop_assert!(answer.get().contains(&wanted), "{} lacks {}", answer.get(), wanted);
            }
        }
    }
}
