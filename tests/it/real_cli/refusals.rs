//! Refusals of the API that say something about Claude's account: its usage limit, its login.

use serde_json::{Value, json};

use super::{ask, at_rest, ended};
use crate::support::event::Event;
use crate::support::{Gateway, MessagesApi};

/// A moment far ahead, in seconds since the Unix epoch, and as it is told.
const LATER: (u64, &str) = (4_102_444_800, "2100-01-01T00:00:00");

/// A gateway whose Claude has a subscription's login.
async fn subscribed(api: &MessagesApi) -> Gateway {
    let builder = Gateway::builder().real_agent(api).agent_env("ANTHROPIC_API_KEY", "");
    builder.agent_env("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-test-canary-77d0").start().await
}

#[tokio::test]
async fn a_subscription_at_its_limit_ends_the_session_rate_limited_and_says_until_when() {
    let api = MessagesApi::start();
    let mut gateway = subscribed(&api).await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": format!("[[limit:{}]]", LATER.0)})).await;
    let events = client.until_ended(session).await;
    let end = ended(&events);
    assert_eq!((&end["reason"], &end["is_error"]), (&json!("rate_limited"), &json!(true)), "{end}");
    let resets_at = end["resets_at"].as_str().unwrap_or_default();
    assert!(resets_at.starts_with(LATER.1), "{end}");
    assert!(end["message"].as_str().unwrap().contains(LATER.1), "{end}");
    let told = |event: &Event| event.claude_type().as_deref() == Some("rate_limit_event/");
    assert!(events.iter().any(told), "Claude's own line is there too");
    assert_eq!(api.requests()[0]["login"], "bearer");
    gateway.stop().await;
}

#[tokio::test]
async fn an_interactive_session_outlives_a_turn_at_the_limit() {
    let api = MessagesApi::start();
    let gateway = subscribed(&api).await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client, json!({"prompt": format!("[[limit:{}]]", LATER.0)})).await;
    let next = ask(&mut client, session, "[[text:lifted]]").await;
    assert_eq!((&next["result"], &next["is_error"]), (&json!("lifted"), &json!(false)));
}

#[tokio::test]
async fn a_key_at_its_limit_ends_the_session_rate_limited() {
    let api = MessagesApi::start();
    let gateway = Gateway::builder().real_agent(&api).setting("api_max_retries", 1).start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "[[err:429]]"})).await;
    let end = ended(&client.until_ended(session).await);
    assert_eq!((&end["reason"], &end["resets_at"]), (&json!("rate_limited"), &Value::Null), "{end}");
}

#[tokio::test]
async fn a_subscriptions_login_that_is_refused_ends_the_session_auth_failed() {
    let api = MessagesApi::start();
    let gateway = subscribed(&api).await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "[[err:401]]"})).await;
    let end = ended(&client.until_ended(session).await);
    assert_eq!((&end["reason"], &end["is_error"]), (&json!("auth_failed"), &json!(true)), "{end}");
}

#[tokio::test]
async fn without_a_login_no_session_is_started_and_no_request_is_made() {
    let api = MessagesApi::start();
    let gateway = Gateway::builder().real_agent(&api).agent_env("ANTHROPIC_API_KEY", "").start().await;
    let mut client = gateway.client().await;
    let error = client.error("session.start", json!({"prompt": "[[text:never]]"})).await;
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32012), &json!("claude_login")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("/auth/status"), "{error}");
    assert_eq!(client.ok("session.list", json!({})).await["sessions"], json!([]));
    assert_eq!(api.requests(), Vec::<Value>::new());
}
