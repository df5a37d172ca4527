//! The Messages API stand-in as a process of a test.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A running stand-in; it ends with this value.
pub(crate) struct MessagesApi {
    process: Child,
    port: u16,
    log: PathBuf,
    _directory: tempfile::TempDir,
}

impl MessagesApi {
    /// Starts one on a free port.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further arguments, such as `--default TEXT`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = directory.path().join("requests.jsonl");
        let mut process = Command::new(env!("CARGO_BIN_EXE_messages-api"))
            .env_clear()
            .args(["--exit-with-stdin", "--log"])
            .arg(&log)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Messages API stand-in starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("the line with its port");
        let ready: Value = serde_json::from_str(&line).expect("the line with its port is JSON");
        let port = ready["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        Self { process, port, log, _directory: directory }
    }

    /// What `ANTHROPIC_BASE_URL` must be.
    pub(crate) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every request so far: `{method, path, login, prompt, last_user_texts, model, stream, tools, messages,
    /// user_texts}`.
    pub(crate) fn requests(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a recorded request is JSON")).collect()
    }

    /// Waits for the request whose answer that prompt chose, as [`MessagesApi::requests`] shows it.
    pub(crate) async fn until_asked(&self, prompt: &str) -> Value {
        let asked = || self.requests().into_iter().find(|request| request["prompt"] == prompt);
        super::eventually(&format!("a request with the prompt {prompt:?}"), asked).await
    }

    /// The prompts that chose the answers so far, byte for byte.
    pub(crate) fn prompts(&self) -> Vec<String> {
        self.requests().iter().filter_map(|request| request["prompt"].as_str().map(str::to_owned)).collect()
    }
}

impl Drop for MessagesApi {
    fn drop(&mut self) {
        let _already_gone = self.process.kill();
        let _status = self.process.wait();
    }
}
