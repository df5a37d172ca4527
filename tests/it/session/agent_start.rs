//! What an agent is started with, where it may work, and what happens if it can't be started.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{ended, slots_taken};
use crate::support::{Client, Gateway, eventually, proc, soak};

const SCRIPTED: &str = env!("CARGO_BIN_EXE_scripted-agent");

/// Makes an executable script.
pub(super) fn script(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("agent-script");
    fs::write(&path, text).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
    path
}

/// The arguments of every session that names nothing but a prompt.
fn plain_arguments(session: Uuid) -> Vec<String> {
    let fixed = ["--print", "--output-format=stream-json", "--verbose", "--input-format=stream-json"];
    let mut words: Vec<String> = std::iter::once(SCRIPTED).chain(fixed).map(str::to_owned).collect();
    words.extend(["--permission-prompt-tool=stdio".to_owned(), format!("--session-id={session}")]);
    words.push("--setting-sources=user".to_owned());
    words
}

#[tokio::test]
async fn e11_no_prompt_is_ever_an_argument_and_each_arrives_as_it_is() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let megabyte = "a megabyte \u{e9}\n".repeat(76_000);
    let prompts = [
        "-p",
        "--",
        "--dangerously-skip-permissions",
        "-\n--resume=x",
        "line\nline\r\nline\n",
        "$(touch pwned) `touch pwned`; touch pwned | touch pwned && 'x' \"y\" \\ > pwned",
        "\u{1F600}\u{202e}\u{1b}[2J\u{7f}",
        megabyte.as_str(),
    ];
    for prompt in prompts {
        let shown: String = prompt.chars().take(30).collect();
        let session = client.start(json!({"prompt": prompt, "interactive": true})).await;
        client.until_state(session, "idle").await;
        let events = client.events(session);
        let started = events.iter().find(|event| event.kind == "session.started").unwrap().data();
        let pid = u32::try_from(started["pid"].as_u64().unwrap()).unwrap();
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let words: Vec<String> =
            line.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        assert_eq!(words[..words.len() - 1], plain_arguments(session), "{shown:?}");
        let result = events.iter().find(|event| event.claude_type().as_deref() == Some("result/success")).unwrap();
        assert!(result.data()["result"] == format!("You said: {prompt}"), "{shown:?} came as something else");
        client.ok("session.stop", json!({"session_id": session})).await;
        client.until_ended(session).await;
        let left = fs::read_dir(super::workspace(&gateway, session)).unwrap().count();
        assert_eq!(left, 0, "{shown:?} made something");
    }
    for prompt in [json!("a\u{0}b"), json!(""), json!([]), json!(7), json!(null)] {
        let error = client.error("session.start", json!({"prompt": prompt})).await;
        assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32602), &json!("invalid_params")), "{prompt}");
    }
    assert_eq!(gateway.started_agents(), prompts.len());
    gateway.stop().await;
}

#[tokio::test]
async fn e11_every_parameter_stands_in_its_own_argument() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let params = json!({"prompt": "dump facts.json", "model": "--help", "system_prompt": "-x\n$(reboot)",
        "append_system_prompt": "--", "allowed_tools": ["Bash(git log:*)", "-p"], "disallowed_tools": ["Web Fetch"],
        "permission_mode": "plan", "max_turns": 3, "max_budget_usd": 0.5, "partial_messages": true,
        "json_schema": {"type": "object"}, "mcp_config": {"a": {"type": "http", "url": "http://127.0.0.1:1/"}}});
    let session = client.start(params).await;
    client.until_ended(session).await;
    let facts = facts(&gateway, session);
    let mut expected = plain_arguments(session);
    let last = expected.pop().unwrap();
    let values = [
        "--model=--help",
        "--permission-mode=plan",
        "--allowedTools=Bash(git log:*)",
        "--allowedTools=-p",
        "--disallowedTools=Web Fetch",
        "--max-turns=3",
        "--max-budget-usd=0.5",
        "--system-prompt=-x\n$(reboot)",
        "--append-system-prompt=--",
        r#"--mcp-config={"mcpServers":{"a":{"type":"http","url":"http://127.0.0.1:1/"}}}"#,
        r#"--json-schema={"type":"object"}"#,
        "--include-partial-messages",
    ];
    expected.extend(values.map(str::to_owned));
    expected.push(last);
    assert_eq!(facts["argv"], json!(expected));
    let too_long = "x".repeat(200_000);
    for name in ["model", "system_prompt", "append_system_prompt"] {
        for value in [too_long.as_str(), "a\u{0}b"] {
            let error = client.error("session.start", json!({"prompt": "say x", name: value})).await;
            assert_eq!(error["code"], -32602, "{name}");
            assert!(error["message"].as_str().unwrap().contains(name), "{error}");
        }
    }
    assert_eq!(gateway.started_agents(), 1);
}

/// What the agent was started with.
pub(super) fn facts(gateway: &Gateway, session: Uuid) -> Value {
    let text = fs::read_to_string(super::workspace(gateway, session).join("facts.json")).expect("the agent's facts");
    serde_json::from_str(&text).expect("the agent's facts are JSON")
}

#[tokio::test]
async fn e12_a_workspace_lies_inside_the_roots_whatever_its_name() {
    let gateway = Gateway::builder().start().await;
    let root = gateway.path("workspaces");
    fs::create_dir_all(root.join("inside/deep")).unwrap();
    fs::write(root.join("file"), "").unwrap();
    std::os::unix::fs::symlink("/", root.join("out")).unwrap();
    std::os::unix::fs::symlink(root.join("inside"), root.join("within")).unwrap();
    let mut client = gateway.client().await;
    let elsewhere = gateway.path("data").display().to_string();
    for name in ["..", "../..", "/", "/etc", "out", "out/etc", "inside/../../data", "/nonexistent", &elsewhere] {
        let error = client.error("session.start", json!({"prompt": "say x", "workspace": name})).await;
        assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32001), &json!("not_allowed")), "{name}");
        assert!(!error.to_string().contains(&root.display().to_string()), "a path leaks: {error}");
    }
    for name in ["vanished", "file", "", "a\u{0}b"] {
        let error = client.error("session.start", json!({"prompt": "say x", "workspace": name})).await;
        assert_eq!(error["code"], -32602, "{name:?}: {error}");
    }
    assert_eq!(gateway.started_agents(), 0);
    let absolute = root.join("inside").display().to_string();
    for (name, real) in [("inside/deep", "inside/deep"), ("within/deep/..", "inside"), (&absolute, "inside"), (".", "")]
    {
        let session = client.start(json!({"prompt": "dump facts.json", "workspace": name})).await;
        assert_eq!(ended(&client.until_ended(session).await)["reason"], "completed", "{name}");
        let real = root.join(real).canonicalize().unwrap();
        let text = fs::read_to_string(real.join("facts.json")).unwrap();
        let facts: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(facts["cwd"], real.display().to_string(), "{name}");
        fs::remove_file(real.join("facts.json")).unwrap();
    }
}

#[tokio::test]
async fn h9_a_workspace_that_vanishes_before_the_start_gives_a_clear_end() {
    let builder = Gateway::builder().setting("max_concurrent_starts", 1);
    // The first agent holds the only leave to start until it is let go.
    let gate = builder.directory().join("go").display().to_string();
    let text = format!("#!/bin/sh\nwhile [ ! -e {gate} ]; do sleep 0.02; done\nexec {SCRIPTED} \"$@\"\n");
    let program = script(builder.directory(), &text);
    let gateway = builder.setting("agent_program", program.display()).start().await;
    let place = gateway.path("workspaces").join("brief");
    fs::create_dir(&place).unwrap();
    let mut client = gateway.client().await;
    let first = client.start(json!({"prompt": "say first"})).await;
    eventually("the first agent", || (!gateway.processes().is_empty()).then_some(())).await;
    let second = client.start(json!({"prompt": "say second", "workspace": "brief"})).await;
    fs::remove_dir(&place).unwrap();
    fs::write(&gate, "").unwrap();
    assert_eq!(ended(&client.until_ended(first).await)["result"], "first");
    let end = ended(&client.until_ended(second).await);
    assert_eq!((&end["reason"], &end["message"]), (&json!("spawn_failed"), &json!("the workspace can't be entered")));
    assert_eq!(slots_taken(&gateway).await, 0);
    let error = client.error("session.start", json!({"prompt": "say x", "resume": first, "workspace": "brief"})).await;
    assert_eq!(error["code"], -32602, "{error}");
}

/// Starts a session that must end `spawn_failed`; why.
async fn failed_start(client: &mut Client) -> String {
    let session = client.start(json!({"prompt": "say x"})).await;
    let events = client.until_ended(session).await;
    let end = ended(&events);
    assert_eq!(
        (&end["reason"], &end["is_error"], &end["resumable"]),
        (&json!("spawn_failed"), &json!(true), &json!(false))
    );
    assert_eq!(events.len(), 1, "nothing but the end is told: {events:?}");
    end["message"].as_str().expect("why").to_owned()
}

#[tokio::test]
async fn h9_an_agent_that_can_not_be_started_says_why_and_leaves_nothing_behind() {
    let builder = Gateway::builder().setting("max_sessions", 2);
    let program = script(builder.directory(), "#!/nonexistent/interpreter\n");
    let mut gateway = builder.setting("agent_program", program.display()).start().await;
    let mut client = gateway.client().await;
    assert!(failed_start(&mut client).await.contains("is not there"), "its interpreter is not");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(failed_start(&mut client).await.contains("can't be executed"));
    fs::remove_file(&program).unwrap();
    assert!(failed_start(&mut client).await.contains("is not there"));
    std::os::unix::fs::symlink("/bin/true", &program).unwrap();
    assert!(failed_start(&mut client).await.contains("exit code 0"));

    fs::remove_file(&program).unwrap();
    let before = proc::fd_count(gateway.pid());
    for _ in 0..soak::count(50, 1_000) {
        failed_start(&mut client).await;
    }
    assert_eq!(slots_taken(&gateway).await, 0);
    assert_eq!(proc::zombies(gateway.pid()), Vec::<u32>::new());
    let after = proc::fd_count(gateway.pid());
    assert!(after <= before + 5, "{before} descriptors before, {after} after");

    std::os::unix::fs::symlink(SCRIPTED, &program).unwrap();
    let events = super::run(&mut client, "say it works again").await;
    assert_eq!(ended(&events)["reason"], "completed");
    gateway.stop().await;
}
