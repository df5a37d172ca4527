//! The real Claude Code against a stand-in of its API: a session that gets a warm process, beside the program
//! started by hand.

use std::io::{BufRead, BufReader, Split, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::options::Size;
use crate::server::{Gateway, answer, call, start};
use crate::socket::Socket;
use crate::statistics::Samples;
use crate::table::{Peer, Row, Target};

/// What both ask.
const PROMPT: &str = "say hello";
/// What the first piece of Claude's answer has in it.
const PIECE: &[u8] = br#""type":"stream_event""#;
/// Each run takes seconds; the median is of so many.
const ROUNDS: u64 = 7;
/// What a warm process does to come to rest is not part of anybody's measurement.
const COMES_TO_REST: Duration = Duration::from_millis(500);

/// From the wish to Claude's first words.
pub(crate) fn measure(size: Size) -> Vec<Row> {
    let Some(program) = claude() else {
        println!("The pinned Claude Code is not installed (make tools): its row is left out.");
        return Vec::new();
    };
    let api = Api::start();
    let variables = api.environment();
    let agent_env: toml::Table =
        variables.iter().map(|(name, value)| (name.clone(), toml::Value::from(value.as_str()))).collect();
    let settings = [
        ("agent_program", program.display().to_string()),
        ("agent_env", toml::Value::from(agent_env).to_string()),
        ("warm_processes", "1".to_owned()),
    ];
    let gateway = Gateway::start(&settings);
    let mut client = gateway.connect();
    let rounds = size.count(1, ROUNDS);
    // The first one says what is asked for most.
    from_gateway(&mut client);
    let [mut ours, mut cold, mut warm] = [Samples::default(), Samples::default(), Samples::default()];
    for _ in 0..rounds {
        until_ready(&mut client);
        ours.push(from_gateway(&mut client).as_secs_f64() * 1e3);
        until_ready(&mut client);
        cold.push(cold_by_hand(&program, &variables).as_secs_f64() * 1e3);
        warm.push(warm_by_hand(&program, &variables).as_secs_f64() * 1e3);
    }
    let row = |name, samples, target| Row {
        work: "the real Claude Code, warm".to_owned(),
        measure: "from session.start to its first stream_event, ms",
        ours: ours.clone(),
        peer: Some(Peer { name, samples }),
        target,
    };
    vec![
        row("started cold by hand", cold, Target::AtMost(0.25)),
        row("warmed by hand, from the message on", warm, Target::None),
    ]
}

/// The pinned one.
fn claude() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/claude-program.sh");
    let output = Command::new(script).stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

fn from_gateway(client: &mut Socket) -> Duration {
    let begun = Instant::now();
    client.send(&start(&json!({"prompt": PROMPT, "partial_messages": true})));
    let read_at = client.until(PIECE);
    client.until(br#""type":"session.ended""#);
    read_at - begun
}

/// Waits until a process is warm.
fn until_ready(client: &mut Socket) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        client.send(&call("server.info", &json!({})));
        if answer(client)["warm"]["ready"] == 1 {
            std::thread::sleep(COMES_TO_REST);
            return;
        }
        assert!(Instant::now() < deadline, "no process gets warm");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn cold_by_hand(program: &Path, variables: &[(String, String)]) -> Duration {
    let directory = tempfile::tempdir().expect("a directory");
    let begun = Instant::now();
    let mut process = by_hand(program, variables, directory.path(), &[PROMPT], Stdio::null());
    let lines = lines_of(&mut process);
    first_piece(process, lines) - begun
}

/// The same as a warm session's process, without a gateway: how much of a warm start is Claude Code's own.
fn warm_by_hand(program: &Path, variables: &[(String, String)]) -> Duration {
    let directory = tempfile::tempdir().expect("a directory");
    let options = ["--input-format=stream-json", "--permission-prompt-tool=stdio", "--setting-sources=user"];
    let mut process = by_hand(program, variables, directory.path(), &options, Stdio::piped());
    let mut input = process.stdin.take().expect("its input");
    let mut say = |line: Value| input.write_all(format!("{line}\n").as_bytes()).expect("it reads its input");
    say(json!({"type": "control_request", "request_id": "1", "request": {"subtype": "initialize"}}));
    let mut lines = lines_of(&mut process);
    assert!(lines.next().is_some(), "no answer to initialize");
    std::thread::sleep(COMES_TO_REST);
    let begun = Instant::now();
    say(json!({"type": "user", "message": {"role": "user", "content": PROMPT}, "parent_tool_use_id": null}));
    drop(input);
    first_piece(process, lines) - begun
}

fn by_hand(
    program: &Path,
    variables: &[(String, String)],
    directory: &Path,
    arguments: &[&str],
    input: Stdio,
) -> Child {
    Command::new(program)
        .args(["--print", "--output-format=stream-json", "--verbose", "--include-partial-messages"])
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .envs(variables.iter().cloned())
        .current_dir(directory)
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("Claude Code starts")
}

type Lines = Split<BufReader<ChildStdout>>;

fn lines_of(process: &mut Child) -> Lines {
    BufReader::new(process.stdout.take().expect("its output")).split(b'\n')
}

/// When the first piece of the answer came; then reads on to the process's end.
fn first_piece(mut process: Child, mut lines: Lines) -> Instant {
    let read_at = lines.find_map(|line| {
        let line = line.expect("its output");
        memchr::memmem::find(&line, PIECE).map(|_| Instant::now())
    });
    lines.for_each(drop);
    let _ended = process.wait();
    read_at.expect("a stream event")
}

/// The stand-in of Claude's API, and a home for those who ask it.
struct Api {
    process: Child,
    port: u64,
    home: tempfile::TempDir,
}

impl Api {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_messages-api"))
            .env_clear()
            .args(["--exit-with-stdin", "--default", "hello"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the stand-in of the API starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("its output")).read_line(&mut line).expect("its port");
        let ready: Value = serde_json::from_str(&line).expect("its port");
        let port = ready["port"].as_u64().expect("its port");
        Self { process, port, home: tempfile::tempdir().expect("a directory") }
    }

    /// What makes Claude Code ask it, and nobody else.
    fn environment(&self) -> Vec<(String, String)> {
        let home = self.home.path().display().to_string();
        [
            ("HOME", home.clone()),
            ("TMPDIR", home.clone()),
            ("CLAUDE_CODE_TMPDIR", home),
            ("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{}", self.port)),
            ("ANTHROPIC_API_KEY", "sk-ant-benchmark".to_owned()),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _already_gone = self.process.kill();
        let _ended = self.process.wait();
    }
}
