//! Where an access token may travel, and what becomes of one that is not valid.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::client::Refused;
use crate::support::{Client, Gateway};

fn bearer(token: &str) -> Vec<(&'static str, String)> {
    vec![("authorization", format!("Bearer {token}"))]
}

async fn refused(gateway: &Gateway, path: &str, headers: &[(&str, String)]) -> Refused {
    match Client::try_connect(gateway.ws, path, headers).await {
        Err(refused) => refused,
        Ok(_) => panic!("{path} with {headers:?} was upgraded"),
    }
}

/// Tokens that look like `good` and are not valid.
fn bad_tokens(good: &str) -> Vec<(&'static str, String)> {
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("a token has three parts") };
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let decode = |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let with = |part: &str, name: &str, value: Value| {
        let mut changed = decode(part);
        changed[name] = value;
        encode(&changed)
    };
    let none = with(header, "alg", json!("none"));
    let later = with(payload, "exp", json!(4_000_000_000_u64));
    let other = with(payload, "sub", json!("somebody-else"));
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[0] ^= 1;
    vec![
        ("no token at all but words", "not-a-token".to_owned()),
        ("the algorithm none", format!("{none}.{payload}.")),
        ("the algorithm none, signed", format!("{none}.{payload}.{signature}")),
        ("another algorithm", format!("{}.{payload}.{signature}", with(header, "alg", json!("HS384")))),
        ("a key of its own", format!("{}.{payload}.{signature}", with(header, "jwk", json!({"kty": "oct"})))),
        ("another key's name", format!("{}.{payload}.{signature}", with(header, "kid", json!("../../etc/passwd")))),
        ("a later end", format!("{header}.{later}.{signature}")),
        ("another subject", format!("{header}.{other}.{signature}")),
        ("a changed signature", format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(flipped))),
        ("no signature", format!("{header}.{payload}.")),
        ("two parts", format!("{header}.{payload}")),
        ("padding", format!("{good}=")),
        ("9,000 bytes", "a".repeat(9_000)),
    ]
}

#[tokio::test]
async fn c1_every_bad_token_is_refused_in_the_same_words() {
    let gateway = Gateway::builder().start().await;
    let good = gateway.login().await;
    let mut bodies = Vec::new();
    for (name, token) in bad_tokens(&good) {
        let refused = refused(&gateway, "/ws", &bearer(&token)).await;
        assert_eq!(refused.status.as_u16(), 401, "{name}");
        assert_eq!(refused.headers["www-authenticate"], "Bearer", "{name}");
        bodies.push(refused.body);
    }
    let twice: Vec<_> = [bearer(&good), bearer(&good)].concat();
    bodies.push(refused(&gateway, "/ws", &twice).await.body);
    let first = bodies.first().unwrap().clone();
    assert!(bodies.iter().all(|body| *body == first), "{bodies:?}");
    let problem: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(problem["type"], "urn:cc-gateway:unauthorised");
    assert!(!gateway.log().contains("connection opened"));
    Client::connect(gateway.ws, "/ws", &good).await;
}

#[tokio::test]
async fn without_a_token_the_refusal_says_how_to_get_one() {
    let gateway = Gateway::builder().start().await;
    let refused = refused(&gateway, "/ws", &[]).await;
    assert_eq!(refused.status.as_u16(), 401);
    assert!(refused.body.contains("/login") && refused.body.contains("Bearer"), "{}", refused.body);
}

#[tokio::test]
async fn c10_a_token_travels_in_the_header_and_never_into_the_log() {
    let mut gateway = Gateway::builder().setting("log_filter", "trace").start().await;
    let token = gateway.login().await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let headers = [("authorization", format!("{scheme} {token}"))];
        let mut client = Client::try_connect(gateway.ws, "/ws", &headers).await.unwrap();
        client.ok("server.info", json!({})).await;
        assert!(!client.upgrade.contains_key("sec-websocket-protocol"));
        client.close().await;
    }
    let in_query = format!("/ws?access_token={token}");
    let refused_query = refused(&gateway, &in_query, &[]).await;
    assert_eq!(refused_query.status.as_u16(), 401);
    assert!(refused_query.body.contains("query"), "{}", refused_query.body);
    let offered = [("sec-websocket-protocol", format!("cc-gateway.v1, {token}"))];
    assert_eq!(refused(&gateway, "/ws", &offered).await.status.as_u16(), 401);
    gateway.stop().await;
    let log = gateway.log();
    assert!(log.contains("connection opened") && log.contains("DEBUG"), "the log must tell much here");
    let signature = token.rsplit('.').next().unwrap();
    assert!(!log.contains(signature), "the log holds the token");
}

#[tokio::test]
async fn c10_only_our_subprotocol_is_echoed() {
    let gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let offers = |offered: &str| [bearer(&token), vec![("sec-websocket-protocol", offered.to_owned())]].concat();
    let client = Client::try_connect(gateway.ws, "/ws", &offers("mqtt, cc-gateway.v1, soap")).await.unwrap();
    let echoed: Vec<_> = client.upgrade.get_all("sec-websocket-protocol").iter().collect();
    assert_eq!(echoed, ["cc-gateway.v1"]);
}

#[tokio::test]
async fn c10_a_token_in_the_query_is_taken_where_the_settings_allow_it() {
    let mut gateway = Gateway::builder().setting("query_token", true).setting("log_filter", "trace").start().await;
    let token = gateway.login().await;
    let path = format!("/ws?access_token={token}");
    let mut client = Client::try_connect(gateway.ws, &path, &[]).await.unwrap();
    client.ok("server.info", json!({})).await;
    let twice = refused(&gateway, &path, &bearer(&token)).await;
    assert_eq!(twice.status.as_u16(), 401, "one token, in one place");
    gateway.stop().await;
    assert!(!gateway.log().contains(token.rsplit('.').next().unwrap()), "the log holds the token");
}
