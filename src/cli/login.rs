//! `cc-gateway login`: logs in and keeps the login for the other client commands, which renew it by themselves.

use std::path::PathBuf;
use std::process::ExitCode;

use secrecy::ExposeSecret;

use crate::api::http::LoginResponse;
use crate::client;

use super::gateway::{Failure, OK, http_address};
use super::{ask, login_oidc, saved_token, screen};

/// Logs in at a gateway and saves the login, readable by you only. Other commands renew it when they need to.
#[derive(Debug, Clone, clap::Args)]
pub struct LoginArgs {
    /// The gateway's HTTP address [variable: `CC_GATEWAY_URL`] [default: `http://127.0.0.1:8001`].
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The account; without it the name is asked for.
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// A file that holds the password; without it the password is asked for.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Log in at your company's provider, with a browser.
    #[arg(long, conflicts_with_all = ["username", "password_file"])]
    pub oidc: bool,
    /// With --oidc: only show the address, open no browser.
    #[arg(long, requires = "oidc")]
    pub no_browser: bool,
    /// With --oidc: the port of 127.0.0.1 that the browser comes back to, to be forwarded if the browser is elsewhere
    /// [default: any that is free].
    #[arg(long, requires = "oidc", value_name = "PORT")]
    pub port: Option<u16>,
}

/// Runs it. Exit codes: 0 logged in, 2 usage, 69 unreachable, 77 refused.
pub async fn run(args: LoginArgs) -> ExitCode {
    match log_in(args).await {
        Ok(()) => ExitCode::from(OK),
        Err(failure) => failure.report(),
    }
}

async fn log_in(args: LoginArgs) -> Result<(), Failure> {
    let url = http_address(args.url.as_deref());
    let login = if args.oidc {
        login_oidc::log_in(&url, args.port.unwrap_or_default(), !args.no_browser).await?
    } else {
        log_in_by_password(&url, &args).await?
    };
    let path = saved_token::save(&url, &login).await?;
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

async fn log_in_by_password(url: &str, args: &LoginArgs) -> Result<LoginResponse, Failure> {
    let username = match args.username.clone() {
        Some(name) => name,
        None => ask::username().await?,
    };
    let password = ask::password(args.password_file.as_deref()).await?;
    Ok(client::login(url, &username, password.expose_secret()).await?)
}
