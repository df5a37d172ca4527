//! `cc-gateway sessions <what> ID`: what is done to one session while it lives.

use std::process::ExitCode;

use clap::{ArgGroup, ValueEnum};
use uuid::Uuid;

use crate::api::method::{
    SessionConfigure, SessionInterrupt, SessionPause, SessionRespond, SessionStop, SessionUnpause,
};
use crate::api::session::{Behavior, ConfigureParams, PermissionMode, RespondParams, SessionParams, StateResult};

use super::exec::permission_mode;
use super::gateway::{Failure, GatewayArgs, OK};
use super::screen;
use super::send::{self, SendArgs};

/// What is done to one session. All but `send` print the state that it led to.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum SteerCommand {
    /// Send it the next message and print the answer as it comes.
    Send(SendArgs),
    /// Answer a question of Claude's.
    Respond(RespondArgs),
    /// End the turn that runs; an interactive session goes on.
    Interrupt(OneSession),
    /// Stop its processes where they are, until it is unpaused.
    Pause(OneSession),
    /// Let a paused session go on.
    Unpause(OneSession),
    /// Change the model or the permission mode.
    Configure(ConfigureArgs),
    /// End it.
    Stop(OneSession),
}

/// Which session.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct OneSession {
    /// The session's id.
    #[arg(value_name = "SESSION_ID")]
    pub session_id: Uuid,
}

/// The answer to a question.
#[derive(Debug, Clone, clap::Args)]
pub struct RespondArgs {
    /// The session's id.
    #[arg(value_name = "SESSION_ID")]
    pub session_id: Uuid,
    /// Which question: `request_id` of `permission.requested`.
    #[arg(value_name = "REQUEST_ID")]
    pub request_id: String,
    /// The answer.
    #[arg(value_name = "ANSWER")]
    pub answer: Answer,
    /// With `allow`: what the tool is given instead, as a JSON object.
    #[arg(long, value_name = "JSON", value_parser = object)]
    pub input: Option<serde_json::Map<String, serde_json::Value>>,
    /// With `deny`: what Claude is told.
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
    /// With `deny`: also end the turn.
    #[arg(long)]
    pub interrupt: bool,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Answer {
    /// Claude may use the tool.
    Allow,
    /// It may not.
    Deny,
}

/// What is to be changed.
#[derive(Debug, Clone, clap::Args)]
#[command(group(ArgGroup::new("change").required(true).multiple(true).args(["model", "permission_mode"])))]
pub struct ConfigureArgs {
    /// The session's id.
    #[arg(value_name = "SESSION_ID")]
    pub session_id: Uuid,
    /// Model alias or name; `default` for Claude's own.
    #[arg(long)]
    pub model: Option<String>,
    /// `default`, `acceptEdits`, `plan`, `dontAsk` or `bypassPermissions`.
    #[arg(long, value_name = "MODE", value_parser = permission_mode)]
    pub permission_mode: Option<PermissionMode>,
}

/// Does it.
pub(super) async fn steer(gateway: &GatewayArgs, command: SteerCommand) -> Result<ExitCode, Failure> {
    if let SteerCommand::Send(args) = command {
        return send::send(gateway, args).await;
    }
    let client = gateway.connect().await?;
    let StateResult { state } = match command {
        SteerCommand::Send(_) => return Ok(ExitCode::from(OK)),
        SteerCommand::Respond(args) => client.call::<SessionRespond>(answer(args)).await,
        SteerCommand::Interrupt(one) => client.call::<SessionInterrupt>(params(one)).await,
        SteerCommand::Pause(one) => client.call::<SessionPause>(params(one)).await,
        SteerCommand::Unpause(one) => client.call::<SessionUnpause>(params(one)).await,
        SteerCommand::Configure(ConfigureArgs { session_id, model, permission_mode }) => {
            client.call::<SessionConfigure>(ConfigureParams { session_id, model, permission_mode }).await
        }
        SteerCommand::Stop(one) => client.call::<SessionStop>(params(one)).await,
    }?;
    screen::print_line(state.as_str())?;
    Ok(ExitCode::from(OK))
}

fn params(one: OneSession) -> SessionParams {
    SessionParams { session_id: one.session_id }
}

fn answer(args: RespondArgs) -> RespondParams {
    RespondParams {
        session_id: args.session_id,
        request_id: args.request_id,
        behavior: match args.answer {
            Answer::Allow => Behavior::Allow,
            Answer::Deny => Behavior::Deny,
        },
        updated_input: args.input,
        updated_permissions: None,
        message: args.message,
        interrupt: args.interrupt,
    }
}

fn object(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: SteerCommand,
    }

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    fn parse(words: &[&str]) -> Result<SteerCommand, clap::Error> {
        Line::try_parse_from(std::iter::once(&"x").chain(words)).map(|line| line.command)
    }

    #[test]
    fn an_answer_becomes_the_parameters_of_the_call() {
        let words = ["respond", ID, "r-1", "deny", "--message", "not now", "--interrupt"];
        let SteerCommand::Respond(args) = parse(&words).unwrap() else { panic!("respond is respond") };
        let params = answer(args);
        assert_eq!((params.request_id.as_str(), params.behavior), ("r-1", Behavior::Deny));
        assert_eq!((params.message.as_deref(), params.interrupt), (Some("not now"), true));
        let words = ["respond", ID, "r-1", "allow", "--input", r#"{"command":"ls"}"#];
        let SteerCommand::Respond(args) = parse(&words).unwrap() else { panic!("respond is respond") };
        assert_eq!(answer(args).updated_input.unwrap()["command"], "ls");
    }

    #[test]
    fn what_can_not_be_understood_is_refused_by_the_command_line() {
        for words in [
            &["configure", ID][..],
            &["configure", ID, "--permission-mode", "yolo"],
            &["respond", ID, "r-1", "maybe"],
            &["respond", ID, "r-1", "allow", "--input", "[]"],
            &["stop", "x"],
            &["pause"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        assert!(parse(&["configure", ID, "--model", "haiku", "--permission-mode", "plan"]).is_ok());
        assert!(parse(&["configure", ID, "--permission-mode", "plan"]).is_ok());
        let told = parse(&["configure", ID]).unwrap_err().to_string();
        assert!(told.contains("<--model <MODEL>|--permission-mode <MODE>>"), "one of the two is needed: {told}");
    }
}
