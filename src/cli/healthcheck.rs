//! `cc-gateway healthcheck`: is the gateway on this machine alive, or ready? For containers and scripts.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::settings::{self, SettingsArgs};
use super::{Exit, output, probe};
use crate::api::http::Readiness;
use crate::config::{self, Environment, Flag};

const EXAMPLES: &str = "\
Examples:
  cc-gateway healthcheck                                 alive? (GET /livez)
  cc-gateway healthcheck --ready                         can it take work? (GET /readyz)
  cc-gateway healthcheck --http-listen 127.0.0.1:8000    of another listener

Ends with 0 if yes, with 1 if no. Needs no setting but http_listen.";

/// Ask the gateway on this machine whether it is alive or ready.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Ask whether it is ready for work, not only alive.
    #[arg(long)]
    pub ready: bool,

    /// How long to wait for an answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,

    /// The HTTP listener to ask; the setting `http_listen`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http_listen: Option<String>,

    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Asks and says the answer.
pub async fn run(args: &Args, env: &Environment) -> Exit {
    let flag = args.http_listen.as_ref().map(|text| Flag::typed("--http-listen", "http_listen", text));
    let (loaded, mut problems) = config::load_what_is_right(&args.settings.sources(env, flag));
    // A wrong setting elsewhere is no reason to call a running gateway dead.
    problems.retain(|problem| problem.leaf == Some("http_listen"));
    if !problems.is_empty() {
        output::complain(&settings::told(&problems));
        return Exit::SETTINGS;
    }
    match ask(loaded.settings.http.http_listen, args.ready, Duration::from_secs(args.timeout)).await {
        // How it ends is the answer: a gateway must not be called dead because nobody reads the word.
        Ok(answer) => {
            drop(output::try_to_say(&answer));
            Exit::SUCCESS
        }
        Err(reason) => {
            output::complain(&reason);
            Exit::FAILURE
        }
    }
}

async fn ask(listen: SocketAddr, ready: bool, within: Duration) -> Result<String, String> {
    let (path, word) = if ready { ("/readyz", "ready") } else { ("/livez", "alive") };
    let answer = probe::get(listen, path, within).await.map_err(|error| format!("not {word}: {error}"))?;
    if (200..300).contains(&answer.status) {
        return Ok(word.to_owned());
    }
    let reasons = serde_json::from_slice::<Readiness>(&answer.body).map(|readiness| readiness.reasons.join(", "));
    Err(match reasons {
        Ok(reasons) if !reasons.is_empty() => format!("not {word}: {}", output::plain_line(&reasons)),
        _ => format!("not {word}: {path} answered {}", answer.status),
    })
}

#[cfg(test)]
mod tests {
    use super::super::probe::answering;
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn an_answer_of_200_is_yes() {
        let listen = answering("200 OK", "").await;
        assert_eq!(ask(listen, false, SOON).await, Ok("alive".to_owned()));
        assert_eq!(ask(listen, true, SOON).await, Ok("ready".to_owned()));
    }

    #[tokio::test]
    async fn a_refusal_says_the_reasons() {
        let listen = answering("503 Service Unavailable", r#"{"ready":false,"reasons":["store","draining"]}"#).await;
        assert_eq!(ask(listen, true, SOON).await, Err("not ready: store, draining".to_owned()));
    }

    #[tokio::test]
    async fn other_settings_may_be_wrong() {
        let listen = answering("200 OK", "").await;
        let env = [("CC_GATEWAY_HTTP_LISTEN", listen.to_string()), ("CC_GATEWAY_JWT_SECRET", "short".to_owned())];
        let env: Environment = env.into_iter().collect();
        let args = Args { ready: false, timeout: 10, http_listen: None, settings: SettingsArgs::default() };
        assert_eq!(run(&args, &env).await, Exit::SUCCESS);
        let wrong = Args { http_listen: Some("nowhere".to_owned()), ..args };
        assert_eq!(run(&wrong, &env).await, Exit::SETTINGS);
    }
}
