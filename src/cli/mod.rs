//! The command line: one file a subcommand, each with its arguments and a `run`.
//!
//! Commands of operators (`serve`, `user`, `keys`, `healthcheck`, `doctor`, `credentials`, `store`, `config`) read the settings and work on
//! this machine. `protocol` prints a document and needs nothing. Commands of callers (`exec`, `chat`, `attach`,
//! `sessions`, `login`, `logout`) talk to a gateway through [`crate::client`] and know no settings. What people see goes
//! through `output` or `screen`.

pub mod attach;
pub mod chat;
pub mod config;
pub mod credentials;
pub mod doctor;
pub mod exec;
pub mod exit;
pub mod healthcheck;
pub mod keys;
pub mod login;
pub mod logout;
pub mod protocol;
pub mod serve;
pub mod sessions;
pub mod settings;
pub mod store;
pub mod user;

mod answers;
mod ask;
mod examples;
mod gateway;
mod login_oidc;
mod output;
mod probe;
mod question;
mod saved_token;
mod screen;
mod send;
mod steer;
mod terminal;
mod transcript;
mod view;
mod watch;

#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

pub use exit::Exit;

use crate::config::Environment;
use crate::process::sweep::{HELPER_ARGUMENT, helper_main};

const FIRST_STEPS: &str = "\
First steps:
  cc-gateway doctor                        is all in place? Claude Code, its login, directories, ports
  cc-gateway serve --log-format text       run the gateway; the first start shows the password of `admin`
  cc-gateway login --username admin        in another terminal; then
  cc-gateway exec \"Say hello\"

Settings come from a TOML file, from CC_GATEWAY_* variables and from flags; `cc-gateway config` shows them.
`cc-gateway <command> --help` has examples for each command.";

/// Runs Claude Code for programs: JSON-RPC sessions over WebSocket, logged, capped and never lost.
#[derive(Debug, Parser)]
#[command(name = "cc-gateway", version, after_help = FIRST_STEPS, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a subcommand's help is the text of its arguments; one here would hide it")]
pub enum Command {
    Serve(serve::Args),
    #[command(after_help = examples::EXEC)]
    Exec(exec::ExecArgs),
    #[command(after_help = examples::CHAT)]
    Chat(chat::ChatArgs),
    #[command(after_help = examples::ATTACH)]
    Attach(attach::AttachArgs),
    #[command(after_help = examples::SESSIONS)]
    Sessions(sessions::SessionsArgs),
    #[command(after_help = examples::LOGIN)]
    Login(login::LoginArgs),
    #[command(after_help = examples::LOGOUT)]
    Logout(logout::LogoutArgs),
    User(user::Args),
    Keys(keys::Args),
    Healthcheck(healthcheck::Args),
    Doctor(doctor::Args),
    Credentials(credentials::Args),
    Store(store::Args),
    Config(config::Args),
    Protocol(protocol::Args),
}

/// Threads for work that blocks, at most.
const BLOCKING_THREADS: usize = 16;

/// The whole program: reads the command line, does what it says, gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // The sweep's helper runs as the agents' user and needs no command line, settings or runtime.
    if args.next().is_some_and(|first| first == HELPER_ARGUMENT) {
        return ExitCode::from(helper_main(args));
    }
    let command = Cli::parse().command;
    match runtime() {
        Ok(runtime) => runtime.block_on(run(command, &Environment::of_process())),
        Err(error) => {
            output::complain(&format!("cc-gateway: the program can't be started: {error}"));
            Exit::FAILURE.into()
        }
    }
}

/// How many threads work on sessions and connections: half as many as there are processors, which the agents, the
/// clients and the store's own threads need too, but both of two. Measured on two: with a second thread fifty sessions
/// take a fifth more processor time, as the two wake each other; but what stops one thread does not stop the other, a
/// single line comes sooner, and a burst is read while it is sent.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| {
        let processors = processors.get();
        processors.min(2).max(processors.div_ceil(2))
    })
}

/// The runtime; one of a single thread shares nothing with others and is this thread. Its threads for work that blocks
/// (reads of the embedded store) are few and stay once they are there, one from the start: to want a thread when the
/// machine gives none is fatal only while there is not one.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match workers() {
        1 => tokio::runtime::Builder::new_current_thread(),
        workers => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(workers);
            builder
        }
    };
    let runtime =
        builder.enable_all().max_blocking_threads(BLOCKING_THREADS).thread_keep_alive(Duration::MAX).build()?;
    runtime.spawn_blocking(|| {});
    Ok(runtime)
}

/// Does what the command line says.
pub async fn run(command: Command, env: &Environment) -> ExitCode {
    match command {
        Command::Serve(args) => serve::run(&args, env).await.into(),
        Command::Exec(args) => exec::run(args).await,
        Command::Chat(args) => chat::run(args).await,
        Command::Attach(args) => attach::run(args).await,
        Command::Sessions(args) => sessions::run(args).await,
        Command::Login(args) => login::run(args).await,
        Command::Logout(args) => logout::run(args).await,
        Command::User(args) => user::run(&args, env).await.into(),
        Command::Keys(args) => keys::run(&args, env).await.into(),
        Command::Healthcheck(args) => healthcheck::run(&args, env).await.into(),
        Command::Doctor(args) => doctor::run(&args, env).await.into(),
        Command::Credentials(args) => credentials::run(&args, env).await.into(),
        Command::Store(args) => store::run(&args, env).await.into(),
        Command::Config(args) => config::run(&args, env).into(),
        Command::Protocol(args) => protocol::run(&args).into(),
    }
}
