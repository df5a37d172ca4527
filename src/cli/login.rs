//! `cc-gateway login`: logs in and keeps the login for the other client commands, which renew it by themselves.

use std::path::PathBuf;
use std::process::ExitCode;

use secrecy::ExposeSecret;

use crate::client;

use super::gateway::{Failure, OK};
use super::{ask, saved_token, screen};

/// Logs in at a gateway and saves the login, readable by you only. Other commands renew it when they need to.
#[derive(Debug, Clone, clap::Args)]
pub struct LoginArgs {
    /// The gateway's HTTP address.
    #[arg(long, env = "CC_GATEWAY_URL", default_value = "http://127.0.0.1:8001", value_name = "URL")]
    pub url: String,
    /// The account; without it the name is asked for.
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// A file that holds the password; without it the password is asked for.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// Runs it. Exit codes: 0 logged in, 2 usage, 69 unreachable, 77 refused.
pub async fn run(args: LoginArgs) -> ExitCode {
    match log_in(args).await {
        Ok(()) => ExitCode::from(OK),
        Err(failure) => failure.report(),
    }
}

async fn log_in(args: LoginArgs) -> Result<(), Failure> {
    let username = match args.username {
        Some(name) => name,
        None => ask::username().await?,
    };
    let password = ask::password(args.password_file.as_deref()).await?;
    let login = client::login(&args.url, &username, password.expose_secret()).await?;
    let path = saved_token::save(&args.url, &login).await?;
    let lasts = humantime::format_duration(std::time::Duration::from_secs(
        login.refresh_expires_in.unwrap_or(login.expires_in),
    ));
    let (name, role) = (&login.user.username, login.user.role);
    screen::info_line(&format!(
        "logged in as {name} ({role}); renewed when used, it lasts {lasts} unused; the login is in {}",
        path.display()
    ));
    Ok(())
}
