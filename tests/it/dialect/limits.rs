//! What `execute` does not run, that no shell is ever involved, and the small methods.

use std::time::Duration;

use serde_json::{Value, json};

use super::{connect, to_the_end};
use crate::support::client::session_id;
use crate::support::{Client, Gateway, http};

#[tokio::test]
async fn e11_a_program_or_a_flag_that_is_not_allowed_starts_nothing() {
    let gateway = Gateway::builder().start().await;
    let mut client = connect(&gateway).await;
    let not_allowed = [
        "bash -c 'touch pwned'",
        "python -c 1",
        "/bin/sh",
        "./claude -p x",
        "../claude -p x",
        "env claude -p x",
        "claude; touch pwned -p x",
        "PATH=. claude -p x",
        "claude -p x --settings /tmp/evil.json",
        "claude -p x --no-such-flag",
        "claude -p x --add-dir /etc",
        "claude -p x --permission-prompt-tool mcp__x",
        "claude --input-format=stream-json -p",
        "claude mcp list",
    ];
    for command in not_allowed {
        let error = client.error("execute", json!({"command": command})).await;
        assert_eq!(
            (&error["code"], &error["data"]["kind"]),
            (&json!(-32001), &json!("not_allowed")),
            "{command}: {error}"
        );
    }
    for params in [
        json!({}),
        json!({"command": ""}),
        json!({"command": "   "}),
        json!({"command": "claude -p 'open"}),
        json!({"command": "claude -p \u{0}"}),
        json!({"command": ["claude"]}),
        json!({"command": "claude -p x", "timeout": -1}),
        json!({"command": "claude -p x", "timeout": "10"}),
        json!({"command": "claude -p x", "shell": true}),
    ] {
        let error = client.error("execute", params.clone()).await;
        assert_eq!(error["code"], -32602, "{params}: {error}");
    }
    for params in [json!({}), json!({"type": "KILL"}), json!({"type": 1})] {
        assert_eq!(client.error("control", params.clone()).await["code"], -32602, "{params}");
    }
    assert_eq!(gateway.started_agents(), 0);
    assert_eq!(http::get(gateway.ws, "/health").await.json()["active_sessions"], 0);
    client.expect_silence(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn e11_shell_characters_are_plain_words_of_the_prompt() {
    let gateway = Gateway::builder().start().await;
    let mut client = connect(&gateway).await;
    let prompts = [
        ("'$(touch pwned) `touch pwned` $HOME'", "$(touch pwned) `touch pwned` $HOME"),
        ("\"a; touch pwned && b | c > pwned\"", "a; touch pwned && b | c > pwned"),
        ("hello;touch\\ pwned", "hello;touch pwned"),
        ("'*' ", "*"),
        ("'two\nlines'", "two\nlines"),
    ];
    for (written, meant) in prompts {
        let result = client.ok("execute", json!({"command": format!("claude -p {written}")})).await;
        client.notification("process.started").await;
        let (output, completed) = to_the_end(&mut client).await;
        assert_eq!(completed["exit_code"], 0, "{written}");
        let text: String = output.iter().filter_map(|piece| piece["data"].as_str()).collect();
        assert_eq!(text, format!("You said: {meant}\n"), "{written}");
        let workspace = gateway.path("workspaces").join(session_id(&result).unwrap().to_string());
        assert_eq!(std::fs::read_dir(workspace).unwrap().count(), 0, "{written} made something");
    }
}

#[tokio::test]
async fn e11_a_prompt_after_the_flags_stands_behind_the_separator_and_stdin_is_empty() {
    let gateway = Gateway::builder().start().await;
    let mut client = connect(&gateway).await;
    let command = "claude --output-format stream-json --verbose -p 'dump facts.json' --allowedTools Read,Grep";
    let result = client.ok("execute", json!({"command": command, "model": "ignored", "temperature": 1, "id": 7})).await;
    client.notification("process.completed").await;
    let workspace = gateway.path("workspaces").join(session_id(&result).unwrap().to_string());
    let facts: Value = serde_json::from_str(&std::fs::read_to_string(workspace.join("facts.json")).unwrap()).unwrap();
    let words: Vec<&str> = facts["argv"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(words[words.len() - 2..], ["--", "dump facts.json"]);
    assert!(words.contains(&"--setting-sources=user"), "{words:?}");
    assert!(words[1..words.len() - 2].iter().all(|word| word.starts_with("--")), "{words:?}");
    assert_eq!(facts["fds"]["0"], "/dev/null");
}

#[tokio::test]
async fn long_lines_are_cut_into_pieces_that_make_them_whole_again() {
    let gateway = Gateway::builder().start().await;
    let mut client = connect(&gateway).await;
    client.ok("execute", json!({"command": super::command("bigline 200000; bigline 65535; bigline 65536")})).await;
    client.notification("process.started").await;
    let (output, _) = to_the_end(&mut client).await;
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    for piece in output {
        let more = piece["truncated"] == true;
        line.push(piece);
        if !more {
            lines.push(std::mem::take(&mut line));
        }
    }
    assert!(line.is_empty(), "a line was not finished");
    let long: Vec<&Vec<Value>> =
        lines.iter().filter(|pieces| pieces[0]["data"].as_str().unwrap().len() > 60_000).collect();
    let whole = |pieces: &[Value]| pieces.iter().filter_map(|piece| piece["data"].as_str()).collect::<String>();
    let sizes: Vec<(usize, usize)> = long.iter().map(|pieces| (pieces.len(), whole(pieces).len())).collect();
    assert_eq!(sizes, [(4, 200_001), (1, 65_536), (2, 65_537)]);
    for pieces in long.iter().filter(|pieces| pieces.len() > 1) {
        for (index, piece) in pieces.iter().enumerate() {
            assert_eq!((&piece["chunk_index"], &piece["total_chunks"]), (&json!(index), &json!(pieces.len())));
        }
        serde_json::from_str::<Value>(&whole(pieces)).unwrap();
    }
}

#[tokio::test]
async fn pings_come_to_the_dialects_door_and_an_unanswered_one_closes_nothing() {
    let gateway = Gateway::builder().setting("ping_interval_seconds", 2).start().await;
    let token = gateway.login().await;
    let mut client = Client::connect(gateway.ws, "/ws/mcp", &token).await;
    let mut plain = Client::connect(gateway.ws, "/ws", &token).await;
    // Whoever is silent is given up before the third.
    let three = async {
        let mut last = 0.0;
        for _ in 0..3 {
            let timestamp = client.notification("ping").await["timestamp"].as_f64().unwrap();
            assert!(timestamp > last, "{timestamp} after {last}");
            last = timestamp;
        }
    };
    // At the other door they come only to those who have used the dialect.
    tokio::join!(three, plain.expect_silence(Duration::from_secs(5)));
    client.notify("pong", json!({})).await;
    assert_eq!(client.ok("pong", json!({})).await, json!({"status": "ok"}));
    assert_eq!(client.ok("hook_status", json!({})).await["enabled"], false);

    plain.error("control", json!({"type": "PAUSE"})).await;
    plain.notification("ping").await;
}

#[tokio::test]
async fn hook_status_says_that_there_are_no_hooks() {
    let gateway = Gateway::builder().start().await;
    let mut client = connect(&gateway).await;
    let status = client.ok("hook_status", json!({})).await;
    assert_eq!(status["enabled"], false);
    assert!(status["message"].as_str().is_some_and(|message| !message.is_empty()), "{status}");
    assert_eq!(client.error("status", json!({})).await["code"], -32601);
}
