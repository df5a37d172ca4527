//! Calls for which the token has no scope. A role's own tokens have every scope that a method of today needs, so
//! the tokens here are narrowed and signed anew with the gateway's secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cc_gateway::api::Scope;
use cc_gateway::api::method::TABLE;
use jsonwebtoken::{EncodingKey, decode_header, encode};
use serde_json::{Value, json};

use crate::support::{Client, Gateway};

/// `token` with these scopes only.
pub(crate) fn narrowed(gateway: &Gateway, token: &str, scopes: &str) -> String {
    let secret = std::fs::read_to_string(gateway.path("data").join("jwt-secret")).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let mut claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["scope"] = json!(scopes);
    let key = EncodingKey::from_secret(secret.trim().as_bytes());
    encode(&decode_header(token).unwrap(), &claims, &key).unwrap()
}

#[tokio::test]
async fn a_token_without_the_scope_of_a_method_is_told_which_one_it_needs() {
    let mut gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let mut refusals = 0;
    for (scopes, held) in [("watch", Scope::Watch), ("control", Scope::Control), ("run", Scope::Run)] {
        let mut client = Client::connect(gateway.ws, "/ws", &narrowed(&gateway, &token, scopes)).await;
        for method in TABLE {
            // Parameters that start nothing, wherever the scope is enough.
            let answer = client.call(method.name, json!({})).await;
            let Some(needed) = method.scope.filter(|needed| *needed != held) else {
                assert_ne!(answer.unwrap_or_else(|error| error)["code"], -32005, "{} with {scopes}", method.name);
                continue;
            };
            let error = answer.expect_err("a method without its scope");
            let word = serde_json::to_value(needed).unwrap();
            assert_eq!(error["code"], -32005, "{} with {scopes}: {error}", method.name);
            assert_eq!(error["data"], json!({"kind": "unauthorised", "retryable": false}));
            let text = format!("this method needs the scope `{}`", word.as_str().unwrap());
            assert_eq!(error["message"], text, "{} with {scopes}", method.name);
            refusals += 1;
        }
        // The refused calls cost nothing but themselves.
        assert_eq!(client.ok("server.info", json!({})).await["active_sessions"], 0);
    }
    assert!(refusals > TABLE.len(), "{refusals}");
    assert_eq!(gateway.started_agents(), 0);
    gateway.stop().await;
}
