//! The official Agent SDK for Python, whose Claude Code runs on a gateway: the transport of the client examples.
//! `make tools` installs what it needs.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Notify;

use crate::support::program::{Finished, caller_environment, run};
use crate::support::proxy::cuttable;
use crate::support::{Gateway, MessagesApi, eventually};

/// Runs a Python program as a caller of that gateway.
async fn python(gateway: &Gateway, program: &str, arguments: &[&str]) -> Finished {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".tools/venv/bin/python");
    assert!(python.exists(), "{} is not there; run `make tools`", python.display());
    let mut command = Command::new(python);
    // `-B`: nothing is written beside the sources.
    command.arg("-B").arg(root.join(program)).args(arguments);
    let mut env = caller_environment(gateway);
    env.push(("CC_GATEWAY_TOKEN".to_owned(), gateway.login().await));
    run(command, &env, "").await
}

/// The record of a session.
async fn record(gateway: &Gateway, session: &Value) -> Value {
    gateway.client().await.ok("session.get", json!({"session_id": session})).await
}

#[tokio::test]
async fn the_agent_sdk_has_its_permissions_hooks_tools_and_controls_on_a_gateway() {
    let api = MessagesApi::start();
    let mut gateway = Gateway::builder().real_agent(&api).start().await;
    let finished = python(&gateway, "tests/support/agent_sdk/check.py", &[]).await;
    assert_eq!(finished.code, Some(0), "{finished:?}\n{}", gateway.log());
    let facts: Value = serde_json::from_str(&finished.stdout).expect("one JSON object");
    let said = |turn: &str| (&facts[turn]["texts"], &facts[turn]["is_error"]);
    assert_eq!(said("text"), (&json!(["forty-two"]), &json!(false)));
    assert_eq!(said("permissions"), (&json!(["both asked"]), &json!(false)));
    assert_eq!(said("mcp"), (&json!(["added"]), &json!(false)));
    assert_eq!(facts["interrupted"]["subtype"], "error_during_execution", "{facts:#}");
    assert_eq!(said("after"), (&json!(["still here"]), &json!(false)));

    let asked = json!([["Bash", "touch allowed"], ["Bash", "touch must-not-be"], ["mcp__sums__add", null]]);
    assert_eq!(facts["asked"], asked);
    assert_eq!(facts["hooked"], json!(["Bash", "Bash"]));
    assert_eq!(facts["permissions"]["tools"][1], "not that one", "{facts:#}");
    assert_eq!(facts["added"], json!([{"a": 40, "b": 2}]));
    assert!(facts["mcp"]["tools"][0].as_str().unwrap().contains("sum-42"), "{facts:#}");
    let session = facts["session"].as_str().unwrap();
    let workspace = gateway.path("workspaces").join(session);
    assert!(workspace.join("allowed").exists() && !workspace.join("must-not-be").exists());
    for turn in ["text", "permissions", "mcp", "interrupted", "after"] {
        assert_eq!(facts[turn]["session"], session, "{turn}");
    }
    assert!(api.requests().iter().any(|request| request["model"] == "claude-haiku-4-5"), "{:?}", api.requests());

    let refused = facts["refused_mode"].as_str().unwrap();
    assert!(refused.starts_with("CLIConnectionError") && refused.contains("bypassPermissions"), "{refused}");
    let refused = facts["refused_option"].as_str().unwrap();
    assert!(refused.ends_with("a gateway does not take these options: add_dirs, env"), "{refused}");

    assert_eq!(facts["once"], "only once");
    for session in [&facts["session"], &facts["once_session"]] {
        let record = record(&gateway, session).await;
        assert_eq!((&record["state"], &record["ended"]["reason"]), (&json!("ended"), &json!("cancelled")));
    }
    gateway.until_no_processes().await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_agent_sdks_example_comes_back_after_lost_connections_and_misses_nothing() {
    let gateway = Gateway::builder().start().await;
    let cut = Arc::new(Notify::new());
    let proxy = cuttable(gateway.ws, Arc::clone(&cut)).await;
    let workspaces = gateway.path("workspaces");
    let cutting = async {
        let found = || {
            let mut entries = std::fs::read_dir(&workspaces).unwrap().filter_map(Result::ok).map(|entry| entry.path());
            entries.find(|path| path.join("there").exists())
        };
        let workspace = eventually("the session to be half-way", found).await;
        cut.notify_waiters();
        std::fs::write(workspace.join("go"), "").unwrap();
    };
    let ws_url = format!("ws://{proxy}");
    let long = r#"say one; lines 300; touch there; await go; lines 300; ask Bash {"command":"ls"}; say two"#;
    let arguments = [long, "say three", "--allow", "Bash", "--ws-url", ws_url.as_str()];
    let (finished, ()) = tokio::join!(python(&gateway, "client-examples/python/agent_sdk.py", &arguments), cutting);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "one\ntwo\nthree\n"), "{finished:?}");
    assert!(finished.stderr.contains("[allowed: Bash]"), "{finished:?}");
    assert_eq!(gateway.started_agents(), 1);
    gateway.until_no_processes().await;
}

#[tokio::test]
async fn the_agent_sdks_example_says_what_went_wrong() {
    let gateway = Gateway::builder().start().await;
    let example = "client-examples/python/agent_sdk.py";
    let failed = python(&gateway, example, &["result error no luck"]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let died = python(&gateway, example, &["say x; exit 3"]).await;
    assert_eq!(died.code, Some(1), "{died:?}");
    assert!(died.stderr.contains("the session has ended: no_result"), "{died:?}");
    let away = python(&gateway, example, &["say x", "--ws-url", "ws://127.0.0.1:1"]).await;
    assert_eq!(away.code, Some(1), "{away:?}");
    assert!(away.stderr.contains("no way to the gateway") && !away.stderr.contains("Traceback"), "{away:?}");
    gateway.until_no_processes().await;
}
