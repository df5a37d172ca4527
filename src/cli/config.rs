//! `cc-gateway config`: the settings in force, or the table of all settings.

use clap::Args as ClapArgs;

use super::settings::SettingsArgs;
use super::{Exit, output, settings};
use crate::config::{self, Environment};

const EXAMPLES: &str = "\
Examples:
  cc-gateway config                            what is in force, and where it was said
  cc-gateway config --set max_sessions=20      try a setting out
  cc-gateway config > cc-gateway.toml          a settings file to begin with (secrets are left out)
  cc-gateway config --markdown                 every setting with its default and meaning

Ends with 78 and tells every problem if the settings are wrong.";

/// Show the settings in force and where each was said.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Print the table of all settings as Markdown; reads no settings.
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,

    /// Print the settings in force as JSON.
    #[arg(long)]
    pub json: bool,

    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Prints what was asked for.
#[must_use]
pub fn run(args: &Args, env: &Environment) -> Exit {
    if args.markdown {
        return output::say(&config::markdown());
    }
    match settings::load(&args.settings.sources(env, [])) {
        Err(exit) => exit,
        Ok(loaded) if args.json => output::say(&format!("{:#}", config::show_json(&loaded))),
        Ok(loaded) => output::say(&config::show(&loaded)),
    }
}
