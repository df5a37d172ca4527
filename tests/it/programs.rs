//! The pure parts of the support programs, tested where tests run.

#[path = "../support/scripted_agent/arguments.rs"]
mod arguments;
#[path = "../support/messages_api/directive.rs"]
mod directive;
#[path = "../support/scripted_agent/script.rs"]
mod script;

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::directive::{Directive, choose};
use self::script::{Child, Command, Ignored, ResultKind, Shape};

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn request(messages: &[Value]) -> Value {
    json!({ "messages": messages })
}

fn text(text: &str) -> Directive {
    Directive::Text(text.to_owned())
}

#[test]
fn the_directives_of_a_prompt_answer_its_requests_in_turn() {
    let prompt = "do it [[bash:echo hi]] and [[text:ready]]";
    let assistant = json!({"role": "assistant", "content": []});
    let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "hi"}]});
    let mut messages = vec![user(prompt)];
    assert!(matches!(choose(&request(&messages), None).directive, Directive::Tools(calls) if calls[0].name == "Bash"));
    messages.extend([assistant.clone(), result.clone()]);
    assert_eq!(choose(&request(&messages), None).directive, text("ready"));
    messages.extend([assistant, result]);
    let chosen = choose(&request(&messages), None);
    assert_eq!(chosen.directive, text("done"));
    assert_eq!(chosen.prompt, prompt);
}

#[test]
fn the_last_prompt_with_a_directive_counts() {
    let messages = [user("[[text:old]]"), json!({"role": "assistant", "content": []}), user("[[text:new]]")];
    assert_eq!(choose(&request(&messages), None).directive, text("new"));
}

#[test]
fn a_prompt_without_a_directive_gets_the_default_or_a_friendly_answer() {
    let reminder = json!({"type": "text", "text": "<system-reminder>\nx\n</system-reminder>"});
    let messages = [json!({"role": "user", "content": [{"type": "text", "text": "hello"}, reminder]})];
    assert_eq!(choose(&request(&messages), None).directive, Directive::Friendly("hello".to_owned()));
    assert_eq!(choose(&request(&messages), Some("fixed")).directive, text("fixed"));
    let slow = Directive::Slow { pieces: 3, pause_ms: 10 };
    assert_eq!(choose(&request(&messages), Some("[[slow:3:10]]")).directive, slow);
}

#[test]
fn directives_keep_brackets_and_colons_of_their_arguments() {
    let parsed = directive::parse(r#"[[so:{"a":[[1]]}]] [[text:a:b]] [[nonsense:1]] [[err:429:2:30]]"#);
    let [Directive::Tools(calls), second, third] = parsed.as_slice() else { panic!("{parsed:?}") };
    assert_eq!(calls[0].input, json!({"a": [[1]]}));
    assert_eq!(*second, text("a:b"));
    let failure = Directive::HttpError { status: 429, times: Some(2), retry_after: Some("30".to_owned()) };
    assert_eq!(*third, failure);
}

#[test]
fn a_prompt_is_a_script_only_if_its_first_word_is_a_command() {
    assert_eq!(script::parse("hello; say x"), None);
    assert_eq!(script::parse(""), None);
    assert_eq!(
        script::parse("say a\\; b; result ok"),
        Some(Ok(vec![Command::Say("a; b".to_owned()), Command::Result(ResultKind::Ok, None),]))
    );
    assert_eq!(script::parse("say a\nnot this"), Some(Err("not a command: not this".to_owned())));
}

#[test]
fn every_command_of_a_script_is_read_with_its_numbers() {
    let commands = |text: &str| script::parse(text).expect("a script").expect("proper commands");
    let lines = |count, bytes, shape| Command::Lines { count, bytes, shape };
    assert_eq!(commands("lines 5"), [lines(5, 300, Shape::StreamEvent)]);
    assert_eq!(commands("lines 5 80 assistant"), [lines(5, 80, Shape::Assistant)]);
    let duration = Duration::from_millis(1500);
    assert_eq!(commands("rate 200 1.5s"), [Command::Rate { per_second: 200, duration, bytes: 300 }]);
    assert_eq!(commands("sleep 250ms; cut 65536"), [Command::Sleep(Duration::from_millis(250)), Command::Cut(65_536)]);
    assert_eq!(commands("raw aGkK"), [Command::Raw(b"hi\n".to_vec())]);
    assert_eq!(commands("ignore term int"), [Command::Ignore(vec![Ignored::Term, Ignored::Int])]);
    assert_eq!(
        commands("hold-stdout; child daemon"),
        [Command::Child(Child::HoldStdout), Command::Child(Child::Daemon)]
    );
    let code = 143;
    assert_eq!(commands("trap-cleanup 3"), [Command::TrapCleanup { duration: Duration::from_secs(3), code }]);
}

#[test]
fn the_agents_command_line_follows_the_rules_of_the_cli() {
    let parse = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        arguments::parse(&words)
    };
    let arguments = parse("-p --output-format=stream-json --verbose --allowedTools Bash Read -- -prompt").unwrap();
    assert_eq!(arguments.prompt.as_deref(), Some("-prompt"));
    assert!(arguments.stream_output && !arguments.stream_input);
    assert_eq!(parse("--bogus").unwrap_err(), "error: unknown option '--bogus'");
    assert!(parse("-p --output-format stream-json").unwrap_err().contains("requires --verbose"));
    assert!(parse("--session-id=x").unwrap_err().contains("Must be a valid UUID"));
    assert_eq!(parse("-p hello --max-turns 3").unwrap().prompt.as_deref(), Some("hello"));
}

/// Runs the scripted agent with a prompt argument; what it printed and its exit code.
fn agent(script: &str) -> (Vec<u8>, Option<i32>) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_scripted-agent"))
        .env_clear()
        .args(["-p", "--output-format=stream-json", "--verbose", script])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    (output.stdout, output.status.code())
}

#[test]
fn the_scripted_agent_tells_the_hash_of_exactly_what_it_printed() {
    let (printed, code) = agent("crc; lines 50 300; lines 20 700 assistant; bigline 100000; raw aGkK; say bye");
    assert_eq!(code, Some(0));
    let lines: Vec<&[u8]> = printed.split_inclusive(|&byte| byte == b'\n').collect();
    let (result, before) = lines.split_last().unwrap();
    let result: Value = serde_json::from_slice(result).unwrap();
    let digest: String = Sha256::digest(before.concat()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(result["scripted"]["sha256"], digest);
    assert_eq!(result["scripted"]["lines"], before.len());
    let count = |length: usize| before.iter().filter(|line| line.len() == length + 1).count();
    assert_eq!((count(300), count(700), count(100_000)), (50, 20, 1));
}

#[test]
fn the_scripted_agent_cuts_its_output_where_it_is_told() {
    let (printed, code) = agent("say something first; cut 65536");
    assert_eq!((printed.len(), code), (65_536, Some(0)));
    assert!(!printed.ends_with(b"\n"));
}

#[test]
fn the_scripted_agent_exits_as_its_last_result_says() {
    assert_eq!(agent("result ok").1, Some(0));
    assert_eq!(agent("result error_max_turns").1, Some(1));
    assert_eq!(agent("exit 7").1, Some(7));
    assert_eq!(agent("kill-self 9").1, None);
}
