//! `cc-gateway credentials`: Claude's own login on this machine. Looks at it, or puts one in its place.
//!
//! Works on the files and needs no running gateway; one that runs notices by itself.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};
use secrecy::{ExposeSecret, SecretString};

use super::settings::SettingsArgs;
use super::{Exit, output};
use crate::api::http::AuthStatus;
use crate::claude::credentials::{Installed, install};
use crate::claude::{Inspector, child_environment};
use crate::config::settings::AgentSettings;
use crate::config::{self, Environment};
use crate::process::{RunAs, UserThread};
use crate::session::login::{inspector, look_once};
use crate::telemetry::time::now_ms;

const EXAMPLES: &str = "\
Examples:
  cc-gateway credentials status                                  which login Claude has, and whether it serves
  cc-gateway credentials status --json                           the same as GET /auth/status has it
  cc-gateway credentials install ~/.claude/.credentials.json     make that file Claude's login
  ssh laptop cat .claude/.credentials.json | cc-gateway credentials install -

Run it as the user the gateway runs as, in the same environment. It needs no running gateway.
`status` ends with 1 if there is no login that serves, `install` if the file is refused.";

/// Largest file that is read: more than any credentials file has.
const MAX_BYTES: u64 = 1024 * 1024;

/// Look at Claude's own login on this machine, or install one.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with a login.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Tell which login Claude would use and whether it serves; changes and spends nothing.
    Status {
        /// Print the status as JSON.
        #[arg(long)]
        json: bool,
        /// Where settings come from.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Make a credentials file Claude's login: checked first, then put in place whole, mode 0600, for the agents' user.
    Install {
        /// The file; `-` for standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Install it also if it is older than the login that there is.
        #[arg(long)]
        force: bool,
        /// Where settings come from.
        #[command(flatten)]
        settings: SettingsArgs,
    },
}

/// Does it and says what came of it.
pub async fn run(args: &Args, env: &Environment) -> Exit {
    match &args.action {
        Action::Status { json, settings } => match agent(settings, env) {
            Ok(agent) => status(&agent, *json).await,
            Err(exit) => exit,
        },
        Action::Install { file, force, settings } => match agent(settings, env) {
            Ok(agent) => match bring(&agent, file, *force).await {
                Ok(told) => output::say(&told),
                Err(reason) => {
                    output::complain(&reason);
                    Exit::FAILURE
                }
            },
            Err(exit) => exit,
        },
    }
}

/// Whose login it is.
struct Agent {
    inspector: Inspector,
    user: Option<RunAs>,
}

/// Reads of the settings what says whose login it is; others may be wrong.
fn agent(args: &SettingsArgs, env: &Environment) -> Result<Agent, Exit> {
    let (loaded, mut problems) = config::load_what_is_right(&args.sources(env, []));
    let leaves = ["agent_user", "claude_config_dir", "agent_env", "agent_env_pass", "login_warning_seconds"];
    problems.retain(|problem| problem.leaf.is_none_or(|leaf| leaves.contains(&leaf)));
    if !problems.is_empty() {
        output::complain(&super::settings::told(&problems));
        return Err(Exit::SETTINGS);
    }
    let settings: &AgentSettings = &loaded.settings.agent;
    let user = settings.agent_user.as_deref().map(RunAs::lookup).transpose().map_err(|error| {
        output::complain(&format!("agent_user can't be used: {error}"));
        Exit::SETTINGS
    })?;
    let inherited = env.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let named = user.as_ref().map(|user| (user.name.as_str(), user.home.as_path()));
    let child_env = child_environment(inherited, settings, named);
    Ok(Agent { inspector: inspector(settings, child_env, user.as_ref()), user })
}

async fn status(agent: &Agent, json: bool) -> Exit {
    let status = look_once(&agent.inspector, agent.user.as_ref()).await.status;
    let told = if json {
        let value = serde_json::to_value(&status).unwrap_or_default();
        output::say(&format!("{value:#}"))
    } else {
        output::say(&text(&status))
    };
    told.or(if status.usable { Exit::SUCCESS } else { Exit::FAILURE })
}

/// For people.
fn text(status: &AuthStatus) -> String {
    let mut lines = vec![format!("{}: {}", status.status.as_str(), status.message)];
    if let Some(path) = &status.path {
        lines.push(format!("file     {path}"));
    }
    if let Some(file) = &status.file {
        let link = if file.symlink { ", a symbolic link" } else { "" };
        lines.push(format!("         owner {}, mode {}{link}", file.owner_uid, file.mode));
    }
    if let Some(end) = &status.expires_at {
        lines.push(format!("ends     {end}{}", if status.refreshable { ", renews itself" } else { "" }));
    }
    if let Some(subscription) = &status.subscription_type {
        lines.push(format!("plan     {subscription}"));
    }
    lines.extend(status.warnings.iter().map(|warning| format!("warning  {warning}")));
    lines.extend(status.instructions.iter().flatten().map(|step| format!("to do    {step}")));
    lines.iter().map(|line| output::plain_line(line)).collect::<Vec<_>>().join("\n")
}

async fn bring(agent: &Agent, file: &Path, force: bool) -> Result<String, String> {
    let text = read(file).map_err(|error| format!("{} can't be read: {error}", file.display()))?;
    let thread = UserThread::start("login-files", agent.user.as_ref())
        .map_err(|error| format!("the login can't be installed as the user that agents run as: {error}"))?;
    let inspector = agent.inspector.clone();
    let done = thread.run(move || install(&inspector, text.expose_secret(), now_ms(), force)).await;
    match done {
        Some(Ok(Installed::Written)) => Ok("The login is installed.".to_owned()),
        Some(Ok(Installed::Unchanged)) => Ok("That login is installed already.".to_owned()),
        Some(Err(refusal)) => Err(format!("refused: {refusal}")),
        None => Err("the login could not be installed; this is a bug".to_owned()),
    }
}

fn read(file: &Path) -> std::io::Result<SecretString> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text)?
    } else {
        std::fs::File::open(file)?.take(MAX_BYTES + 1).read_to_string(&mut text)?
    };
    let text = SecretString::from(text);
    if read as u64 > MAX_BYTES { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}
