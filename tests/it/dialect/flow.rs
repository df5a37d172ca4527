//! The published flow: execute, output, pause, resume, cancel.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{command, connect, to_the_end};
use crate::support::client::session_id;
use crate::support::{Client, Gateway, eventually, proc};

/// Starts a command; its process id and its session.
async fn execute(client: &mut Client, command: &str) -> (u32, Uuid) {
    let result = client.ok("execute", json!({"command": command, "timeout": 120})).await;
    assert_eq!((&result["status"], &result["pid"]), (&json!("started"), &result["pgid"]));
    let started = client.next_frame().await;
    let expected =
        json!({"status": "started", "pid": result["pid"], "pgid": result["pid"], "exit_code": null, "error": null});
    assert_eq!(started, json!({"jsonrpc": "2.0", "method": "process.started", "params": expected}));
    (u32::try_from(result["pid"].as_u64().unwrap()).unwrap(), session_id(&result).unwrap())
}

fn status(method: &str, word: &str, pid: u32) -> Value {
    let params = json!({"status": word, "pid": pid, "pgid": pid, "exit_code": null, "error": null});
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

#[tokio::test]
async fn a_command_runs_and_its_frames_are_those_of_the_published_flow() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = connect(&gateway).await;
    let connected = client.connected.clone();
    assert!(connected["session_id"].as_str().is_some_and(|id| id.parse::<Uuid>().is_ok()), "{connected}");
    let capabilities: Vec<&str> =
        connected["capabilities"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(capabilities[..3], ["execute", "control", "stream"]);

    let (pid, session) = execute(&mut client, &command("say hello; stderr oops")).await;
    let (output, completed) = to_the_end(&mut client).await;
    for piece in &output {
        assert!(piece["data"].as_str().unwrap().ends_with('\n'), "{piece}");
        assert_eq!(
            (&piece["truncated"], &piece["chunk_index"], &piece["total_chunks"]),
            (&json!(false), &json!(null), &json!(null))
        );
        assert_eq!(piece.as_object().unwrap().len(), 5, "{piece}");
    }
    let of = |stream: &str| -> Vec<&str> {
        output.iter().filter(|piece| piece["type"] == stream).filter_map(|piece| piece["data"].as_str()).collect()
    };
    assert_eq!(of("stderr"), ["oops\n"]);
    let lines: Vec<Value> = of("stdout").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["subtype"], &lines.last().unwrap()["result"]), (&json!("init"), &json!("hello")));
    let time = completed["execution_time"].as_f64().unwrap();
    assert!((0.0..60.0).contains(&time));
    let expected = json!({"status": "completed", "pid": pid, "pgid": pid, "exit_code": 0, "error": null,
        "execution_time": time, "early_completion_detected": false, "early_completion_time": null, "time_saved": 0,
        "completion_marker": null});
    assert_eq!(completed, expected);

    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(
        (&record["kind"], &record["state"], &record["on_disconnect"]),
        (&json!("command"), &json!("ended"), &json!("stop"))
    );
    assert_eq!((&record["ended"]["reason"], &record["ended"]["resumable"]), (&json!("completed"), &json!(false)));
    gateway.stop().await;
}

#[tokio::test]
async fn a_command_is_paused_and_resumed_and_runs_to_its_end() {
    let gateway = Gateway::builder().start().await;
    let mut client = connect(&gateway).await;
    let (pid, session) = execute(&mut client, &command("touch there; await go; say done")).await;
    let workspace = gateway.path("workspaces").join(session.to_string());
    eventually("the command to run", || workspace.join("there").exists().then_some(())).await;
    assert_eq!(client.ok("control", json!({"type": "PAUSE"})).await, json!({"status": "paused"}));
    assert_eq!(client.notification("process.paused").await, status("", "paused", pid)["params"]);
    eventually("the process to stop", || (proc::state(pid) == Some('T')).then_some(())).await;
    let twice = client.error("control", json!({"type": "PAUSE"})).await;
    assert_eq!(twice["code"], -32006, "{twice}");
    assert_eq!(client.ok("control", json!({"type": "RESUME"})).await, json!({"status": "resumed"}));
    assert_eq!(client.notification("process.resumed").await, status("", "resumed", pid)["params"]);
    std::fs::write(workspace.join("go"), "").unwrap();
    assert_eq!(client.notification("process.completed").await["exit_code"], 0);
}

#[tokio::test]
async fn a_cancel_is_told_first_and_the_end_after_it_also_for_a_paused_command() {
    let gateway = Gateway::builder().start().await;
    let mut client = connect(&gateway).await;
    for paused in [false, true] {
        let (pid, session) = execute(&mut client, &command("child setsid; touch there; silent")).await;
        let workspace = gateway.path("workspaces").join(session.to_string());
        eventually("the command to run", || workspace.join("there").exists().then_some(())).await;
        if paused {
            client.ok("control", json!({"type": "PAUSE"})).await;
            client.notification("process.paused").await;
        }
        assert_eq!(client.ok("control", json!({"type": "CANCEL"})).await, json!({"status": "canceled"}));
        let mut told = Vec::new();
        while told.last() != Some(&json!("process.completed")) {
            let frame = client.next_frame().await;
            if frame["method"] == "process.canceled" {
                assert_eq!(frame, status("process.canceled", "canceled", pid));
            }
            if frame["method"] == "process.completed" {
                assert_eq!(
                    (&frame["params"]["status"], &frame["params"]["exit_code"]),
                    (&json!("failed"), &json!(143))
                );
            }
            if frame["method"] != "process.output" {
                told.push(frame["method"].clone());
            }
        }
        assert_eq!(told, ["process.canceled", "process.completed"]);
        assert_eq!(gateway.processes(), Vec::<u32>::new());
        let record = client.ok("session.get", json!({"session_id": session})).await;
        assert_eq!(record["ended"]["reason"], "cancelled");
    }
}

#[tokio::test]
async fn one_command_runs_at_a_time_and_the_next_may_follow_at_once() {
    let gateway = Gateway::builder().start().await;
    let mut client = connect(&gateway).await;
    let none = client.error("control", json!({"type": "PAUSE"})).await;
    assert_eq!((&none["code"], &none["message"]), (&json!(-32002), &json!("No process is running")));
    let silent = json!({"command": command("silent")});
    // Sent together: only one of them may win.
    let (first, second) =
        (client.send_call("execute", silent.clone()).await, client.send_call("execute", silent).await);
    client.answer(first).await.unwrap();
    let refused = client.answer(second).await.unwrap_err();
    assert_eq!((&refused["code"], &refused["message"]), (&json!(-32602), &json!("A process is already running")));
    assert_eq!(gateway.processes().len(), 1);
    // Another connection has a place of its own.
    let mut other = connect(&gateway).await;
    execute(&mut other, &command("say x")).await;
    to_the_end(&mut other).await;
    client.ok("control", json!({"type": "CANCEL"})).await;
    client.notification("process.completed").await;
    for _ in 0..20 {
        client.ok("execute", json!({"command": "claude --version"})).await;
        assert_eq!(client.notification("process.completed").await["status"], "completed");
    }
    let none = client.error("control", json!({"type": "CANCEL"})).await;
    assert_eq!(none["code"], -32002);
}

#[tokio::test]
async fn a_command_that_fails_says_its_exit_code_or_signal() {
    let gateway = Gateway::builder().start().await;
    let mut client = connect(&gateway).await;
    for (script, code) in [("exit 7", 7), ("kill-self 9", -9)] {
        execute(&mut client, &command(script)).await;
        let (_, completed) = to_the_end(&mut client).await;
        assert_eq!((&completed["status"], &completed["exit_code"]), (&json!("failed"), &json!(code)), "{script}");
    }
    // By then the agent must catch the signal, or it would die of it.
    let params = json!({"command": command("silent"), "timeout": 4});
    client.ok("execute", params).await;
    client.notification("process.started").await;
    let completed = client.notification("process.completed").await;
    assert_eq!((&completed["status"], &completed["exit_code"]), (&json!("failed"), &json!(143)));
}

#[tokio::test]
async fn a_command_ends_with_its_connection() {
    let gateway = Gateway::builder().start().await;
    let mut watcher = gateway.client().await;
    for reset in [true, false] {
        let mut client = connect(&gateway).await;
        let (_, session) = execute(&mut client, &command("child setsid; touch there; silent")).await;
        let workspace = gateway.path("workspaces").join(session.to_string());
        eventually("the command to run", || workspace.join("there").exists().then_some(())).await;
        if reset {
            client.reset();
        } else {
            client.close().await;
        }
        watcher.ok("session.attach", json!({"session_id": session})).await;
        let events = watcher.until_ended(session).await;
        assert_eq!(events.last().unwrap().data()["reason"], "cancelled");
        assert_eq!(gateway.processes(), Vec::<u32>::new());
    }
}
