//! `cc-gateway chat`: a conversation on the terminal, line by line.

use std::process::ExitCode;

use uuid::Uuid;

use crate::api::event::{Event, StateChanged};
use crate::api::method::{SessionInterrupt, SessionSend, SessionStop};
use crate::api::session::{PermissionMode, Prompt, SendParams, SessionParams, StartParams};
use crate::api::{EndReason, ErrorKind, EventType, SessionState};
use crate::client::{Client, ClientError, SessionStream};
use crate::telemetry::tasks;

use super::answers::Answers;
use super::exec::permission_mode;
use super::gateway::{FAILED, Failure, GatewayArgs, OK, USAGE};
use super::screen;
use super::terminal::Terminal;
use super::watch::{Outcome, Step, Style, Watcher};

/// Stands where the next message is typed.
const PROMPT: &str = "> ";

/// Talks with Claude on the terminal: a line is a message. You are asked when Claude asks for a tool.
///
/// Ctrl-C ends the turn that runs, Ctrl-D the session. Exit codes: 0 ended by Ctrl-D, 1 ended otherwise, 2 usage, 69
/// gateway unreachable, 77 not authorised.
#[derive(Debug, Clone, clap::Args)]
pub struct ChatArgs {
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
    /// Continue the conversation of this session in a new one.
    #[arg(long, value_name = "SESSION_ID")]
    pub resume: Option<Uuid>,
}

/// Runs it.
pub async fn run(args: ChatArgs) -> ExitCode {
    match chat(args).await {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn chat(args: ChatArgs) -> Result<ExitCode, Failure> {
    let Some(terminal) = Terminal::open() else {
        return Err(Failure::new(USAGE, "there is no terminal to talk on; use `cc-gateway exec` or `sessions send`"));
    };
    let client = args.gateway.connect().await?;
    let params = StartParams {
        workspace: args.workspace,
        model: args.model,
        permission_mode: args.permission_mode,
        allowed_tools: args.allowed_tools,
        resume: args.resume,
        interactive: true,
        partial_messages: true,
        queue: true,
        ..StartParams::default()
    };
    let mut stream = client.start(params).await?;
    screen::info_line(&format!("session {}; Ctrl-C ends a turn, Ctrl-D the session", stream.session_id()));
    let interrupts = tasks::spawn("cli.interrupts", interrupts(client.clone(), stream.session_id()));
    let style = Style { from_start: true, turns: true, ..Style::default() };
    let watcher = Watcher::new(style, Answers::person(client.clone(), terminal));
    let code = talk(&client, &mut stream, watcher).await;
    interrupts.abort();
    code
}

/// Messages and their turns, until the session's end.
async fn talk(client: &Client, stream: &mut SessionStream, mut watcher: Watcher) -> Result<ExitCode, Failure> {
    let (mut rests, mut leaving) = (false, false);
    loop {
        match watcher.step(stream, rests && !leaving).await {
            Step::Event(event) => {
                let rested = rests;
                if let Some(state) = new_state(&event) {
                    rests = state == SessionState::Idle;
                }
                // A session at rest may also be put away: what is being typed stays as it is.
                if rests && !rested && !leaving {
                    let _ = watcher.view.screen.prompt(PROMPT).await;
                }
            }
            Step::Typed(None) => {
                leaving = true;
                let _ = watcher.view.screen.prompt("\n").await;
                client.call::<SessionStop>(SessionParams { session_id: stream.session_id() }).await?;
            }
            Step::Typed(Some(line)) if line.trim().is_empty() => {
                let _ = watcher.view.screen.prompt(PROMPT).await;
            }
            Step::Typed(Some(line)) => {
                rests = false;
                watcher.view.screen.waits_for("working");
                send(client, stream.session_id(), line).await?;
            }
            Step::Over(outcome) => return Ok(report(outcome, leaving)),
        }
    }
}

/// The state that an event leads to.
fn new_state(event: &Event) -> Option<SessionState> {
    let changed = || serde_json::from_str::<StateChanged>(event.data.get()).ok();
    match event.event_type {
        EventType::State => changed().map(|changed| changed.state),
        _ => None,
    }
}

async fn send(client: &Client, session_id: Uuid, text: String) -> Result<(), ClientError> {
    let (prompt, message_id) = (Prompt::Text(text), Some(Uuid::new_v4()));
    let params = SendParams { session_id, prompt, message_id, steer: false, queue: None };
    match client.call::<SessionSend>(params.clone()).await {
        // Whether it arrived is not known; the same message twice is one.
        Err(ClientError::ConnectionLost { .. }) => client.call::<SessionSend>(params).await.map(drop),
        answer => answer.map(drop),
    }
}

/// An end that was asked for is a good one.
fn report(outcome: Outcome, asked_for: bool) -> ExitCode {
    let as_asked = matches!(&outcome, Outcome::Ended(ended) if ended.reason == EndReason::Cancelled) && asked_for;
    let code = outcome.report();
    if as_asked { ExitCode::from(OK) } else { code }
}

/// Each Ctrl-C ends the turn that runs. A task of its own, so that it does not wait for output.
async fn interrupts(client: Client, session_id: Uuid) {
    while tokio::signal::ctrl_c().await.is_ok() {
        match client.call::<SessionInterrupt>(SessionParams { session_id }).await {
            Ok(_) => {}
            Err(ClientError::Rpc(error)) if error.kind() == Some(ErrorKind::WrongState) => {
                screen::info_line("no turn is running; Ctrl-D ends the session");
            }
            Err(error) => {
                screen::error_line(&format!("the turn could not be interrupted: {error}"));
                screen::info_line(&format!("left; see it again with `cc-gateway attach {session_id}`"));
                std::process::exit(i32::from(FAILED));
            }
        }
    }
}
