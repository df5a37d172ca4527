//! `cc-gateway sessions send`: a message to a session that is there already, and its answer.

use std::process::ExitCode;

use serde_json::Value;
use uuid::Uuid;

use crate::api::event::{Event, StateChanged, TurnLost};
use crate::api::method::{SessionGet, SessionSend};
use crate::api::session::{Prompt, SendParams, SessionParams};
use crate::api::{EventFilter, EventType, SessionState};
use crate::client::SessionStream;

use super::answers::{Answers, QuestionArgs};
use super::exec;
use super::gateway::{FAILED, Failure, GatewayArgs, OK};
use super::screen;
use super::view::value;
use super::watch::{Outcome, Step, Style, Watcher};

/// A message and how its answer is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct SendArgs {
    /// The session's id.
    #[arg(value_name = "SESSION_ID")]
    pub session_id: Uuid,
    /// The message; `-` or nothing reads it from stdin.
    pub prompt: Option<String>,
    /// Do not wait for the answer: print the message's id.
    #[arg(long)]
    pub no_wait: bool,
    /// Fail instead of waiting for a slot, if the session has none and all are taken.
    #[arg(long)]
    pub no_queue: bool,
    /// What becomes of Claude's questions.
    #[command(flatten)]
    pub questions: QuestionArgs,
    /// Print each event of the turn as a line of JSON instead of the text.
    #[arg(long)]
    pub json: bool,
    /// Print only whole texts: nothing on stdout is taken back when Claude starts an answer over.
    #[arg(long)]
    pub whole_texts: bool,
}

/// How far the message's turn has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Ahead,
    Runs,
    /// Was it without an error?
    Over(bool),
}

pub(super) async fn send(gateway: &GatewayArgs, args: SendArgs) -> Result<ExitCode, Failure> {
    let (session_id, message_id) = (args.session_id, Uuid::new_v4());
    let text = exec::prompt(args.prompt).await?;
    let client = gateway.connect().await?;
    let params = SendParams {
        session_id,
        prompt: Prompt::Text(text),
        message_id: Some(message_id),
        steer: false,
        queue: args.no_queue.then_some(false),
    };
    if args.no_wait {
        client.call::<SessionSend>(params).await?;
        let _ = screen::print_line(&message_id.to_string());
        return Ok(ExitCode::from(OK));
    }
    // Its turn's events come after these.
    let seen = client.call::<SessionGet>(SessionParams { session_id }).await?.last_seq;
    let mut stream = client.attach(session_id, seen, EventFilter::default()).await?;
    client.call::<SessionSend>(params).await?;
    let style = Style { json: args.json, whole_texts: args.whole_texts, from_start: false, turns: true };
    let answers = Answers::choose(&client, args.questions, args.json, |tool| {
        format!("use `sessions configure --permission-mode`, or start a session that allows {tool}")
    });
    let mut watcher = Watcher::new(style, answers);
    tokio::select! {
        code = until_answered(&mut watcher, &mut stream, message_id) => Ok(code),
        _ = tokio::signal::ctrl_c() => {
            screen::info_line(&format!("left; the turn goes on until `cc-gateway sessions interrupt {session_id}`"));
            Ok(ExitCode::from(FAILED))
        }
    }
}

/// Shows the turn of that message. A session that ends tells how.
async fn until_answered(watcher: &mut Watcher, stream: &mut SessionStream, message_id: Uuid) -> ExitCode {
    let mut turn = Turn::Ahead;
    let mut failed = false;
    watcher.view.muted = true;
    watcher.view.screen.waits_for("waiting for its turn");
    loop {
        let event = match watcher.step(stream, false).await {
            Step::Event(event) => event,
            Step::Typed(_) => continue,
            Step::Over(outcome) => return outcome.report(),
        };
        failed = is_failed_result(&event).unwrap_or(failed);
        turn = after(turn, &event, message_id, failed);
        watcher.view.muted = turn == Turn::Ahead;
        if let Turn::Over(good) = turn {
            if watcher.view.screen.end_line().await.is_err() || watcher.view.screen.flush().await.is_err() {
                return Outcome::OutputGone.report();
            }
            return ExitCode::from(if good { OK } else { FAILED });
        }
    }
}

/// Where the message's turn is after that event.
fn after(turn: Turn, event: &Event, message_id: Uuid, failed: bool) -> Turn {
    match event.event_type {
        EventType::State => {
            let Ok(changed) = serde_json::from_str::<StateChanged>(event.data.get()) else { return turn };
            let begins = changed.state == SessionState::Running && changed.message_id.is_some();
            match turn {
                Turn::Ahead if begins && changed.message_id == Some(message_id) => Turn::Runs,
                Turn::Runs if begins || changed.state == SessionState::Idle => Turn::Over(!failed),
                _ => turn,
            }
        }
        EventType::TurnLost => match serde_json::from_str::<TurnLost>(event.data.get()) {
            Ok(lost) if lost.message_id == message_id => Turn::Over(false),
            _ => turn,
        },
        _ => turn,
    }
}

/// For a result: is it an error?
fn is_failed_result(event: &Event) -> Option<bool> {
    if event.event_type != EventType::Claude {
        return None;
    }
    let line: Value = value(&event.data);
    (line["type"] == "result").then(|| line["is_error"] == true)
}
