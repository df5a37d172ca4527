//! `cc-gateway doctor`: is all in place for a gateway? Each check says what was found and what to do.
//!
//! It changes nothing that a start would not change, and goes on after a failure.

mod agent;
mod keys;
mod places;
mod ports;
pub mod report;
mod store;
mod users;

use clap::Args as ClapArgs;

use self::report::{Level, Report};
use super::settings::SettingsArgs;
use super::{Exit, output};
use crate::config::{self, Environment, Sources};

const EXAMPLES: &str = "\
Examples:
  cc-gateway doctor
  cc-gateway doctor --config /etc/cc-gateway.toml
  cc-gateway doctor --json

Run it as the user the gateway runs as, in the same environment.
Ends with 1 if any check failed; a warning is no failure.";

/// Look whether all is in place: agent, login, directories, store, ports, users.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Print the checks as JSON.
    #[arg(long)]
    pub json: bool,

    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Looks and tells.
pub async fn run(args: &Args, env: &Environment) -> Exit {
    let report = examine(&args.settings.sources(env, []), env).await;
    let told = if args.json { format!("{:#}", report.json()) } else { report.text() };
    output::say(&told).or(report.exit())
}

/// All checks.
async fn examine(sources: &Sources, env: &Environment) -> Report {
    let (loaded, problems) = config::load_what_is_right(sources);
    let settings = &loaded.settings;
    let mut checks = places::settings(&loaded, &problems);
    checks.extend(agent::agent(&settings.agent, env).await);
    checks.push(users::users(&settings.agent));
    let data_directory = places::data_directory(settings);
    let can_open_the_store = data_directory.level != Level::Fail;
    checks.push(data_directory);
    checks.push(keys::keys(settings));
    let found = ports::look(settings).await;
    let mut own_gateway_runs = false;
    if can_open_the_store {
        let (check, is_held) = store::store(settings, found.is_gateway()).await;
        own_gateway_runs = is_held;
        checks.push(check);
    }
    checks.extend(places::workspace_roots(&loaded));
    checks.extend(found.checks(own_gateway_runs));
    Report { checks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flag;

    #[tokio::test]
    async fn doctor_looks_at_everything_and_goes_on_after_a_failure() {
        let home = tempfile::tempdir().unwrap();
        let env: Environment = [("HOME", home.path())].into_iter().collect();
        let flags =
            ["agent_program=/nowhere/claude", "max_sessions=0", "http_listen=127.0.0.1:0", "ws_listen=127.0.0.1:0"];
        let flags = flags.map(|flag| Flag::set(flag).unwrap()).to_vec();
        let report = examine(&Sources { file: None, env: env.clone(), flags }, &env).await;
        let names: Vec<&str> = report.checks.iter().map(|check| check.name).collect();
        let all = [
            "settings",
            "agent",
            "Claude's login",
            "users",
            "data directory",
            "signing keys",
            "store",
            "workspaces",
            "HTTP port",
            "WebSocket port",
        ];
        assert_eq!(names, all);
        let failed: Vec<&str> =
            report.checks.iter().filter(|check| check.level == Level::Fail).map(|check| check.name).collect();
        assert_eq!(failed, ["settings", "agent", "Claude's login"]);
        assert_eq!(report.exit(), Exit::FAILURE);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "doctor changes nothing");
    }
}
