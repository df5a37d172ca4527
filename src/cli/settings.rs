//! The flags that say where settings come from, and how a command reads them.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, output};
use crate::config::{self, Environment, Flag, Loaded, Problem, Sources};

/// Flags of every command that reads the gateway's settings.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingsArgs {
    /// Settings file (TOML).
    ///
    /// Without it `CC_GATEWAY_CONFIG` names one; without that, ~/.config/cc-gateway/cc-gateway.toml
    /// is read if it exists.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Any setting, such as `--set max_sessions=20`; may be repeated.
    ///
    /// `cc-gateway config` lists them all. A flag wins over the variable `CC_GATEWAY_<LEAF>`, which wins
    /// over the file.
    #[arg(long, value_name = "LEAF=VALUE", value_parser = Flag::set)]
    pub set: Vec<Flag>,
}

impl SettingsArgs {
    /// What to read settings from. `more` are the command's own flags, which win over `--set`.
    #[must_use]
    pub fn sources(&self, env: &Environment, more: impl IntoIterator<Item = Flag>) -> Sources {
        Sources { file: self.config.clone(), env: env.clone(), flags: self.set.iter().cloned().chain(more).collect() }
    }
}

/// Reads the settings, or tells every problem and says which code to end with.
///
/// # Errors
/// [`Exit::SETTINGS`].
pub fn load(sources: &Sources) -> Result<Loaded, Exit> {
    config::load(sources).map_err(|problems| {
        output::complain(&told(&problems));
        Exit::SETTINGS
    })
}

/// The problems as text for people.
#[must_use]
pub fn told(problems: &[Problem]) -> String {
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    let lines: String = problems.iter().map(|problem| format!("  {problem}\n")).collect();
    format!("cc-gateway: {count} with the settings:\n{lines}")
}
