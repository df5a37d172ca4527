//! `cc-gateway serve`: runs the gateway until a signal ends it.

use clap::Args as ClapArgs;
use secrecy::ExposeSecret;

use super::settings::SettingsArgs;
use super::{Exit, output, settings};
use crate::app::{App, AppError, Ready};
use crate::config::{Environment, Flag, Sources};
use crate::telemetry::logging;

const EXAMPLES: &str = "\
Examples:
  cc-gateway serve                                   on 127.0.0.1:8001 (HTTP) and 127.0.0.1:8003 (WebSocket)
  cc-gateway serve --log-format text                 log lines for people
  cc-gateway serve --config /etc/cc-gateway.toml --set agent_user=claude
  CC_GATEWAY_MAX_SESSIONS=20 cc-gateway serve

The first start makes a signing secret and the account `admin`, whose password is shown once.
`cc-gateway config` lists every setting, `cc-gateway doctor` looks whether all is in place.
SIGTERM or Ctrl-C: no new work, running sessions may finish, then the end. A second one ends at once.";

/// Run the gateway until a signal ends it.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where login, health and metrics are served; the setting `http_listen`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http_listen: Option<String>,

    /// Where sessions are served; the setting `ws_listen`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub ws_listen: Option<String>,

    /// The gateway's own directory; the setting `data_dir`.
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<String>,

    /// Where facts are kept; the setting `store_url`.
    #[arg(long, value_name = "sqlite:FILE")]
    pub store_url: Option<String>,

    /// Sessions with a live process at once; the setting `max_sessions`.
    #[arg(long, value_name = "COUNT")]
    pub max_sessions: Option<String>,

    /// How log lines look, json or text; the setting `log_format`.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

impl Args {
    /// What to read settings from. Texts are judged there, so that a wrong flag is told together with
    /// every other problem.
    #[must_use]
    pub fn sources(&self, env: &Environment) -> Sources {
        let flags = [
            ("--http-listen", "http_listen", &self.http_listen),
            ("--ws-listen", "ws_listen", &self.ws_listen),
            ("--data-dir", "data_dir", &self.data_dir),
            ("--store-url", "store_url", &self.store_url),
            ("--max-sessions", "max_sessions", &self.max_sessions),
            ("--log-format", "log_format", &self.log_format),
        ];
        let given = flags.into_iter().filter_map(|(name, leaf, text)| Some(Flag::typed(name, leaf, text.as_ref()?)));
        self.settings.sources(env, given)
    }
}

/// Starts, serves and drains. 78: the settings are wrong, or what they name; 1: the gateway can't start for another
/// reason. The log says why.
pub async fn run(args: &Args, env: &Environment) -> Exit {
    let loaded = match settings::load(&args.sources(env)) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    if let Err(error) = logging::start(&loaded.settings.log) {
        output::complain(&format!("cc-gateway: log_filter: {error}"));
        return Exit::SETTINGS;
    }
    match App::start(loaded.settings, env, announce).await {
        Ok(app) => {
            app.run().await;
            Exit::SUCCESS
        }
        // Nothing has begun, and it does what it was told.
        Err(AppError::Stopped) => {
            tracing::info!("stopped before the store was there");
            Exit::SUCCESS
        }
        Err(error) => {
            tracing::error!(%error, "the gateway can't start");
            if error.is_about_settings() { Exit::SETTINGS } else { Exit::FAILURE }
        }
    }
}

/// Tells that it listens, and the first password.
fn announce(ready: &Ready) -> std::io::Result<()> {
    // One line for programs that start a gateway on free ports and wait until it listens.
    let mut text = serde_json::json!({
        "ready": true, "http": ready.http, "ws": ready.ws, "pid": std::process::id(),
    })
    .to_string();
    if let Some(password) = &ready.first_password {
        // To standard output, because the log must not have it.
        let password = password.expose_secret();
        text.push_str(&format!("\nFirst start: log in as `admin` with the password {password} (not shown again)."));
    }
    output::try_to_say(&text)
}
