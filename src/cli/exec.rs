//! `cc-gateway exec`: one prompt, one session, its text on stdout.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use uuid::Uuid;

use crate::api::method::SessionStop;
use crate::api::session::{PermissionMode, Prompt, SessionParams, StartParams};
use crate::client::{Client, SessionStream};
use crate::telemetry::tasks;

use super::answers::{Answers, QuestionArgs};
use super::gateway::{FAILED, Failure, GatewayArgs, USAGE};
use super::screen;
use super::watch::{self, Outcome, Style};

/// Runs Claude Code on one prompt and prints its text as it comes.
///
/// When Claude asks whether it may use a tool, you are asked on the terminal. Without one, or with --json, the answer
/// is no at once: allow what it needs with --allowed-tools.
///
/// Exit codes: 0 completed, 1 ended otherwise, 2 usage, 69 gateway unreachable, 77 not authorised. Ctrl-C
/// stops the session, a second one leaves it to the gateway.
#[derive(Debug, Clone, clap::Args)]
pub struct ExecArgs {
    /// The prompt; `-` or nothing reads it from stdin.
    pub prompt: Option<String>,
    /// Which gateway, and as whom.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// The directory to work in, on the gateway's machine; inside an allowed root.
    #[arg(long, short = 'C', value_name = "DIR")]
    pub workspace: Option<String>,
    /// Model alias or name.
    #[arg(long)]
    pub model: Option<String>,
    /// `default`, `acceptEdits`, `plan`, `dontAsk` or `bypassPermissions`.
    #[arg(long, value_name = "MODE", value_parser = permission_mode)]
    pub permission_mode: Option<PermissionMode>,
    /// Tools that need no question, as `Read,Bash(git:*)`; may be repeated.
    #[arg(long = "allowed-tools", value_name = "TOOLS", value_delimiter = ',')]
    pub allowed_tools: Vec<String>,
    /// Tools that are never used; may be repeated.
    #[arg(long = "disallowed-tools", value_name = "TOOLS", value_delimiter = ',')]
    pub disallowed_tools: Vec<String>,
    /// End after so many model turns.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_turns: Option<u32>,
    /// End once it has cost more, in US dollars.
    #[arg(long, value_name = "USD", value_parser = budget)]
    pub max_budget_usd: Option<f64>,
    /// Replaces Claude's system prompt.
    #[arg(long, value_name = "TEXT")]
    pub system_prompt: Option<String>,
    /// Is added to Claude's system prompt.
    #[arg(long, value_name = "TEXT")]
    pub append_system_prompt: Option<String>,
    /// Continue the conversation of this session in a new one.
    #[arg(long, value_name = "SESSION_ID")]
    pub resume: Option<Uuid>,
    /// Wall-clock limit: seconds, or as `10m`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub timeout: Option<Duration>,
    /// Limit for silence: seconds, or as `10m`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub idle_timeout: Option<Duration>,
    /// Wait for a slot instead of failing when all are taken.
    #[arg(long)]
    pub queue: bool,
    /// For how long to wait for a slot: seconds, or as `10m`.
    #[arg(long, value_name = "TIME", value_parser = time, requires = "queue")]
    pub queue_timeout: Option<Duration>,
    /// A word about it for `sessions --label`; may be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// The same key with the same arguments gives the same session.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// What becomes of Claude's questions.
    #[command(flatten)]
    pub questions: QuestionArgs,
    /// Print each event as a line of JSON instead of the text.
    #[arg(long)]
    pub json: bool,
    /// Print only whole texts: nothing on stdout is taken back when Claude starts an answer over.
    #[arg(long)]
    pub whole_texts: bool,
}

/// Runs it.
pub async fn run(args: ExecArgs) -> ExitCode {
    match execute(args).await {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn execute(args: ExecArgs) -> Result<ExitCode, Failure> {
    let style = Style { json: args.json, whole_texts: args.whole_texts, from_start: true, turns: false };
    let (gateway, questions) = (args.gateway.clone(), args.questions);
    let params = start_params(args).await?;
    let client = gateway.connect().await?;
    let mut stream = client.start(params).await?;
    screen::info_line(&format!("session {}", stream.session_id()));
    let interrupts = tasks::spawn("cli.interrupts", interrupts(client.clone(), stream.session_id()));
    let answers =
        Answers::choose(&client, questions, style.json, |tool| format!("allow it with --allowed-tools={tool}"));
    let outcome = watch::watch(&mut stream, style, answers).await;
    interrupts.abort();
    if matches!(outcome, Outcome::OutputGone) {
        stop_unread(&client, &stream).await;
    }
    Ok(outcome.report())
}

async fn start_params(args: ExecArgs) -> Result<StartParams, Failure> {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let labels: BTreeMap<_, _> = args.labels.into_iter().collect();
    Ok(StartParams {
        prompt: Some(Prompt::Text(prompt(args.prompt).await?)),
        workspace: args.workspace,
        model: args.model,
        permission_mode: args.permission_mode,
        allowed_tools: args.allowed_tools,
        disallowed_tools: args.disallowed_tools,
        max_turns: args.max_turns,
        max_budget_usd: args.max_budget_usd,
        system_prompt: args.system_prompt,
        append_system_prompt: args.append_system_prompt,
        partial_messages: !args.whole_texts,
        resume: args.resume,
        timeout_seconds: seconds(args.timeout),
        idle_timeout_seconds: seconds(args.idle_timeout),
        queue: args.queue,
        queue_timeout_seconds: seconds(args.queue_timeout),
        idempotency_key: args.idempotency_key,
        labels,
        ..StartParams::default()
    })
}

/// The prompt as given, or all of stdin.
pub(super) async fn prompt(given: Option<String>) -> Result<String, Failure> {
    let text = match given {
        Some(text) if text != "-" => text,
        _ => {
            if std::io::stdin().is_terminal() {
                screen::info_line("Type the prompt; end it with Ctrl-D.");
            }
            let mut bytes = Vec::new();
            let read = tokio::io::stdin().read_to_end(&mut bytes).await;
            read.map_err(|error| Failure::new(FAILED, format!("stdin can't be read: {error}")))?;
            String::from_utf8(bytes).map_err(|_| Failure::new(USAGE, "the prompt on stdin is not UTF-8 text"))?
        }
    };
    if text.trim().is_empty() {
        return Err(Failure::new(USAGE, "the prompt is empty"));
    }
    Ok(text)
}

/// Ctrl-C stops the session, a second one leaves. A task of its own, so that neither waits for output that
/// nobody reads.
async fn interrupts(client: Client, session_id: Uuid) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    screen::info_line("stopping the session; Ctrl-C again leaves it to the gateway");
    let stopping = async {
        if let Err(error) = client.call::<SessionStop>(SessionParams { session_id }).await {
            screen::error_line(&format!("the session could not be stopped: {error}"));
        }
        // Its end comes with the events.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stopping => {}
        _ = tokio::signal::ctrl_c() => {
            screen::info_line(&format!("left; see it again with `cc-gateway attach {session_id}`"));
            std::process::exit(i32::from(FAILED));
        }
    }
}

/// Nobody reads the text any more (`exec … | head`): the work is of no use.
async fn stop_unread(client: &Client, stream: &SessionStream) {
    let session_id = stream.session_id();
    if let Err(error) = client.call::<SessionStop>(SessionParams { session_id }).await {
        screen::error_line(&format!("nobody reads the output, and the session could not be stopped: {error}"));
    }
}

pub(super) fn permission_mode(word: &str) -> Result<PermissionMode, String> {
    serde_json::from_value(serde_json::Value::from(word))
        .map_err(|_| "use default, acceptEdits, plan, dontAsk or bypassPermissions".to_owned())
}

/// Seconds as a number, or a time with units.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "use seconds (`90`) or a time (`10m`, `1h 30m`)".to_owned();
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| wrong()),
        Err(_) => humantime::parse_duration(text).map_err(|_| wrong()),
    }
}

/// What is no number would be no limit.
fn budget(text: &str) -> Result<f64, String> {
    let amount = text.parse::<f64>().ok().filter(|amount| amount.is_finite() && *amount > 0.0);
    amount.ok_or_else(|| "use a number of US dollars above 0, such as 2.50".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("use NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        exec: ExecArgs,
    }

    fn parse(words: &[&str]) -> Result<ExecArgs, clap::Error> {
        Line::try_parse_from(std::iter::once(&"x").chain(words)).map(|line| line.exec)
    }

    #[tokio::test]
    async fn the_arguments_become_the_parameters_of_the_start() {
        let words = [
            "do it",
            "--model",
            "haiku",
            "--permission-mode",
            "acceptEdits",
            "--allowed-tools",
            "Read,Bash(git:*)",
            "--timeout",
            "10m",
            "--idle-timeout",
            "1.5",
            "--label",
            "team=a",
            "--label",
            "run=7",
            "--max-turns",
            "3",
        ];
        let params = start_params(parse(&words).unwrap()).await.unwrap();
        assert_eq!(params.prompt, Some(Prompt::Text("do it".into())));
        assert_eq!(params.permission_mode, Some(PermissionMode::AcceptEdits));
        assert_eq!(params.allowed_tools, ["Read", "Bash(git:*)"]);
        assert_eq!((params.timeout_seconds, params.idle_timeout_seconds), (Some(600.0), Some(1.5)));
        assert_eq!(params.labels.get("run").map(String::as_str), Some("7"));
        assert!(params.partial_messages && !params.queue);
    }

    #[test]
    fn what_can_not_be_understood_is_refused_by_the_command_line() {
        for words in [
            &["p", "--permission-mode", "yolo"][..],
            &["p", "--timeout", "soon"],
            &["p", "--timeout", "-1"],
            &["p", "--label", "x"],
            &["p", "--max-turns", "0"],
            &["p", "--max-budget-usd", "nan"],
            &["p", "--max-budget-usd", "inf"],
            &["p", "--max-budget-usd", "0"],
            &["p", "--max-budget-usd", "-1"],
            &["p", "--queue-timeout", "5"],
            &["p", "--resume", "x"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }

    #[tokio::test]
    async fn an_empty_prompt_is_a_usage_error() {
        assert_eq!(prompt(Some("  \n".into())).await.unwrap_err().code, USAGE);
    }
}
