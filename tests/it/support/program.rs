//! Programs that a test runs to their end: the gateway's own command line, and client examples.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{Gateway, within};

/// What a program came to.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit code; `None`: a signal ended it.
    pub(crate) code: Option<i32>,
    /// All that it printed.
    pub(crate) stdout: String,
    /// All that it said beside.
    pub(crate) stderr: String,
}

/// Runs a program with an environment of its own and `input` on its standard input.
pub(crate) async fn run(mut command: Command, env: &[(String, String)], input: &str) -> Finished {
    let what = format!("{command:?} to end");
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").envs(env.iter().cloned()).kill_on_drop(true);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut stdin = child.stdin.take().expect("its input");
    // A program that does not read its input may be gone already.
    let _unread = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = within(&what, child.wait_with_output()).await.expect("its output");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("a program prints text"),
        stderr: String::from_utf8(output.stderr).expect("a program prints text"),
    }
}

/// `cc-gateway` with these arguments, in this environment.
pub(crate) async fn cc_gateway(arguments: &[&str], env: &[(String, String)], input: &str) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cc-gateway"));
    command.args(arguments);
    run(command, env, input).await
}

/// The same with a standard output that takes nothing; its exit code, and what it said beside.
pub(crate) async fn with_full_output(arguments: &[&str], environment: &[(String, String)]) -> (Option<i32>, String) {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cc-gateway"));
    command.args(arguments).env_clear().envs(environment.iter().cloned()).kill_on_drop(true);
    let started = command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).spawn().expect("the program starts");
    let ended = within("it to end", started.wait_with_output()).await.expect("its end");
    (ended.status.code(), String::from_utf8(ended.stderr).expect("a program prints text"))
}

/// `cc-gateway` as an operator runs it beside a gateway: with the same settings.
pub(crate) async fn as_operator(gateway: &Gateway, arguments: &[&str]) -> Finished {
    cc_gateway(arguments, &gateway.environment(), "").await
}

/// The environment of a caller: where the gateway is, and a home of their own.
pub(crate) fn caller_environment(gateway: &Gateway) -> Vec<(String, String)> {
    let home = gateway.path("caller-home").display().to_string();
    let url = format!("http://{}", gateway.http);
    let ws_url = format!("ws://{}", gateway.ws);
    [("HOME", home), ("CC_GATEWAY_URL", url), ("CC_GATEWAY_WS_URL", ws_url)]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
}

/// Adds an account while the gateway is down, and brings the gateway back.
pub(crate) async fn add_user(gateway: &mut Gateway, name: &str, password: &str) {
    gateway.stop().await;
    let environment = gateway.environment();
    let arguments = ["user", "add", name, "--password-file", "-"];
    let added = cc_gateway(&arguments, &environment, password).await;
    assert_eq!(added.code, Some(0), "{added:?}");
    gateway.restart().await;
}
