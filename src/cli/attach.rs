//! `cc-gateway attach`: shows a session that runs, or has run.

use std::process::ExitCode;

use uuid::Uuid;

use super::answers::Answers;
use super::gateway::{FAILED, Failure, GatewayArgs, USAGE};
use super::screen;
use super::terminal::Terminal;
use super::watch::{self, Style};
use crate::api::EventFilter;

/// Shows a session's events, from the first or a later one on, until its end. Ctrl-C leaves; the session
/// goes on.
///
/// Exit codes: 0 the session has completed, 1 it ended otherwise, 2 usage, 69 gateway unreachable, 77 not
/// authorised.
#[derive(Debug, Clone, clap::Args)]
pub struct AttachArgs {
    /// The session's id.
    #[arg(value_name = "SESSION_ID")]
    pub session_id: Uuid,
    /// Which gateway, and as whom.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// Only events after this number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub after_seq: u64,
    /// Ask on the terminal when Claude asks, and give it the answer. Without this, questions are only shown.
    #[arg(long, conflicts_with = "json")]
    pub answer: bool,
    /// Print each event as a line of JSON instead of the text.
    #[arg(long)]
    pub json: bool,
    /// Print only whole texts: nothing on stdout is taken back when Claude starts an answer over.
    #[arg(long)]
    pub whole_texts: bool,
}

/// Runs it.
pub async fn run(args: AttachArgs) -> ExitCode {
    match attach(args).await {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn attach(args: AttachArgs) -> Result<ExitCode, Failure> {
    let style = Style { json: args.json, whole_texts: args.whole_texts, from_start: args.after_seq == 0, turns: false };
    let terminal = match args.answer.then(Terminal::open) {
        Some(None) => {
            return Err(Failure::new(USAGE, "there is no terminal to ask on; use `cc-gateway sessions respond`"));
        }
        Some(terminal) => terminal,
        None => None,
    };
    let client = args.gateway.connect().await?;
    let answers = terminal.map_or_else(Answers::others, |terminal| Answers::person(client.clone(), terminal));
    let mut stream = client.attach(args.session_id, args.after_seq, EventFilter::default()).await?;
    let outcome = tokio::select! {
        outcome = watch::watch(&mut stream, style, answers) => Some(outcome),
        _ = tokio::signal::ctrl_c() => None,
    };
    Ok(match outcome {
        Some(outcome) => outcome.report(),
        None => {
            let (id, seq) = (args.session_id, stream.last_seq());
            screen::info_line(&format!("left; go on with `cc-gateway attach {id} --after-seq {seq}`"));
            ExitCode::from(FAILED)
        }
    })
}
