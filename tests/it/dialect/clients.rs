//! The client examples, run as people run them. `make tools` installs what they need.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::process::Command;
use tokio::sync::Notify;

use crate::support::program::{Finished, caller_environment, run};
use crate::support::proxy::cuttable;
use crate::support::{Gateway, eventually};

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("client-examples").join(path)
}

fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/venv/bin").join(name);
    assert!(path.exists(), "{} is not there; run `make tools`", path.display());
    path
}

/// Runs a Python example against the gateway, with a token in its environment if one is given.
async fn python(gateway: &Gateway, script: &str, arguments: &[&str], token: Option<&str>) -> Finished {
    let mut command = Command::new(tool("python"));
    command.arg(example("python").join(script)).args(arguments);
    let mut env = caller_environment(gateway);
    env.extend(token.map(|token| ("CC_GATEWAY_TOKEN".to_owned(), token.to_owned())));
    run(command, &env, "").await
}

#[tokio::test]
async fn the_python_session_example_logs_in_runs_and_prints_the_text() {
    let gateway = Gateway::builder().start().await;
    let password = gateway.path("admin-password").display().to_string();
    let by_password = ["--username", "admin", "--password-file", &password];
    let arguments = [&["say hello; say and bye"][..], &by_password].concat();
    let good = python(&gateway, "run_session.py", &arguments, None).await;
    assert_eq!((good.code, good.stdout.as_str()), (Some(0), "hello\nand bye\n"), "{good:?}");
    assert!(good.stderr.contains("[completed, $0.00"), "{good:?}");
    let token = gateway.login().await;
    let failed = python(&gateway, "run_session.py", &["result error no luck"], Some(&token)).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("[failed"), "{failed:?}");
    let refused = python(&gateway, "run_session.py", &["say x"], Some("not-a-token")).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("refused (401)") && !refused.stderr.contains("Traceback"), "{refused:?}");
}

#[tokio::test]
async fn the_python_session_example_comes_back_after_a_lost_connection_and_misses_nothing() {
    let gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let cut = Arc::new(Notify::new());
    let proxy = cuttable(gateway.ws, Arc::clone(&cut)).await;
    let workspaces = gateway.path("workspaces");
    let cutting = async {
        let found = || {
            let mut entries = std::fs::read_dir(&workspaces).unwrap().filter_map(Result::ok).map(|entry| entry.path());
            entries.find(|path| path.join("there").exists())
        };
        let workspace = eventually("the session to be half-way", found).await;
        cut.notify_one();
        std::fs::write(workspace.join("go"), "").unwrap();
    };
    let script = "say one; lines 300; touch there; await go; lines 300; say two";
    let ws_url = format!("ws://{proxy}");
    let arguments = [script, "--ws-url", ws_url.as_str()];
    let (finished, ()) = tokio::join!(python(&gateway, "run_session.py", &arguments, Some(&token)), cutting);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "one\ntwo\n"), "{finished:?}");
    assert!(finished.stderr.contains("coming back after event"), "{finished:?}");
}

#[tokio::test]
async fn the_dialects_python_example_runs_and_cancels_commands() {
    let gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let ws_url = format!("ws://{}/ws/mcp", gateway.ws);
    let at = ["--ws-url", ws_url.as_str()];
    let run = |words: &[&'static str]| {
        let arguments: Vec<&str> = words.iter().copied().chain(at).collect();
        let (gateway, token) = (&gateway, token.clone());
        async move { python(gateway, "cc_executor_client.py", &arguments, Some(&token)).await }
    };
    let good = run(&["claude -p 'What is 2+2?'", "--timeout", "60"]).await;
    assert_eq!((good.code, good.stdout.as_str()), (Some(0), "You said: What is 2+2?\n"), "{good:?}");
    assert!(good.stderr.contains("[completed,"), "{good:?}");
    // By then the agent must catch the signal, or it would die of it.
    let cancelled = run(&["claude -p silent", "--cancel-after", "4"]).await;
    assert_eq!(cancelled.code, Some(143), "{cancelled:?}");
    assert!(cancelled.stderr.contains("[canceled, pid") && cancelled.stderr.contains("[failed,"), "{cancelled:?}");
    let refused = run(&["rm -rf x"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("-32001"), "{refused:?}");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
}

#[tokio::test]
async fn the_shell_example_logs_in_runs_and_prints_the_text() {
    for program in ["curl", "jq"] {
        assert!(Path::new("/usr/bin").join(program).exists(), "{program} is missing: install it");
    }
    let gateway = Gateway::builder().start().await;
    let mut env = caller_environment(&gateway);
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", tool("websocat").parent().unwrap().display());
    env.extend([
        ("PATH".to_owned(), path),
        ("CC_GATEWAY_USERNAME".to_owned(), "admin".to_owned()),
        ("CC_GATEWAY_PASSWORD_FILE".to_owned(), gateway.path("admin-password").display().to_string()),
    ]);
    let session = |prompt: &'static str| {
        let mut command = Command::new("/bin/bash");
        command.arg(example("shell/session.sh")).arg(prompt);
        run(command, &env, "")
    };
    let good = session("say hello; say and \"bye\"").await;
    assert_eq!((good.code, good.stdout.as_str()), (Some(0), "hello\nand \"bye\"\n"), "{good:?}");
    assert!(good.stderr.contains("[completed,"), "{good:?}");
    let failed = session("exit 0").await;
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""), "{failed:?}");
    assert!(failed.stderr.contains("[no_result,"), "{failed:?}");
}
