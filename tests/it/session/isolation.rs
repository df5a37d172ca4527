//! What an agent sees of the gateway and of the machine: nothing that is not meant for it.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;

use super::agent_start::facts;
use crate::support::gateway::ADMIN_PASSWORD;
use crate::support::{Gateway, proc};

#[tokio::test]
async fn e12_the_agents_environment_is_exactly_the_allow_list_whatever_the_gateways_is() {
    let builder = Gateway::builder()
        .env("LD_PRELOAD", "/nonexistent/evil.so")
        .env("NODE_OPTIONS", "--require=/evil.js")
        .env("ANTHROPIC_BASE_URL", "http://evil.example")
        .env("ANTHROPIC_API_KEY", "sk-ant-of-the-gateway")
        .env("CLAUDECODE", "1")
        .env("CLAUDE_CODE_ENTRYPOINT", "cli")
        .env("BASH_ENV", "/evil.sh")
        .env("AWS_SECRET_ACCESS_KEY", "x")
        .env("LANG", "C.UTF-8")
        .env("TZ", "Asia/Kathmandu");
    let gateway = builder.start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "dump facts.json"})).await;
    client.until_ended(session).await;
    let found: BTreeMap<String, String> = serde_json::from_value(facts(&gateway, session)["env"].clone()).unwrap();
    let path = |name: &str| gateway.path(name).display().to_string();
    let instance = fs::read_to_string(gateway.path("data").join("node-id"));
    let expected: BTreeMap<String, String> = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TZ", "Asia/Kathmandu".to_owned()),
        ("HOME", path("home")),
        ("CLAUDE_CONFIG_DIR", path("claude")),
        ("CLAUDE_CODE_MAX_RETRIES", "4".to_owned()),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
        ("SCRIPTED_AGENT_COUNT_DIR", path("agents")),
        ("CC_TEST_RUN", found["CC_TEST_RUN"].clone()),
        ("CC_GATEWAY_SESSION", session.to_string()),
        ("CC_GATEWAY_INSTANCE", instance.unwrap_or_default().trim().to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn h12_the_agent_has_three_descriptors_a_session_of_its_own_and_no_secret_of_ours() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    // A second one beside it: nothing of it may be seen either.
    let other = client.start(json!({"prompt": "touch there; silent"})).await;
    super::until_file(&gateway, other, "there").await;
    let session = client.start(json!({"prompt": "dump facts.json"})).await;
    let events = client.until_ended(session).await;
    let facts = facts(&gateway, session);
    let fds: Vec<&String> = facts["fds"].as_object().unwrap().keys().collect();
    assert_eq!(fds, ["0", "1", "2"], "{}", facts["fds"]);
    for fd in ["0", "1", "2"] {
        assert!(facts["fds"][fd].as_str().unwrap().starts_with("pipe:"), "{}", facts["fds"]);
    }
    assert_eq!(facts["umask"], "0022");
    let started = events.iter().find(|event| event.kind == "session.started").unwrap().data();
    for id in ["pid", "pgid", "sid"] {
        assert_eq!(facts[id], started["pid"], "{id}");
    }
    // Rust's own start ignores SIGPIPE (13); nothing else is ignored, and nothing blocked.
    assert_eq!(facts["signals"], json!({"blocked": "0000000000000000", "ignored": "0000000000001000"}));
    assert_eq!(facts["capabilities"]["ambient"], "0000000000000000");
    let mut limits: BTreeMap<String, [String; 2]> = serde_json::from_value(facts["limits"].clone()).unwrap();
    let mark = limits.remove("Max realtime timeout").unwrap();
    assert!(mark.iter().all(|limit| limit.parse::<u64>().is_ok_and(|limit| limit > 1 << 62)), "{mark:?}");
    let mut gateways: BTreeMap<String, [String; 2]> = proc::limits(gateway.pid()).into_iter().collect();
    assert!(gateways.remove("Max realtime timeout").is_some());
    assert_eq!(limits, gateways, "but for the mark, the agent has the gateway's own limits");
    assert_eq!(facts["cwd"], super::workspace(&gateway, session).display().to_string());

    let secret = fs::read_to_string(gateway.path("data").join("jwt-secret")).unwrap();
    let token = gateway.login().await;
    let everything = facts.to_string();
    for secret in [secret.trim(), ADMIN_PASSWORD, &token, "CC_GATEWAY_JWT", "CC_GATEWAY_STORE", "gateway.db"] {
        assert!(!secret.is_empty() && !everything.contains(secret), "{secret} can be seen");
    }
    client.ok("session.stop", json!({"session_id": other})).await;
    client.until_ended(other).await;
}
