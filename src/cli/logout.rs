//! `cc-gateway logout`: ends the saved login, here and at the gateway.

use std::process::ExitCode;

use secrecy::ExposeSecret;

use crate::client::{self, ClientError};

use super::gateway::{Failure, OK, http_address};
use super::{saved_token, screen};

/// Ends the saved login at a gateway: its tokens are refused from then on, and its connections are closed.
#[derive(Debug, Clone, clap::Args)]
pub struct LogoutArgs {
    /// The gateway's HTTP address [variable: `CC_GATEWAY_URL`] [default: `http://127.0.0.1:8001`].
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Runs it. Exit codes: 0 logged out, 2 usage, 69 unreachable (the login is kept then), 77 not logged in.
pub async fn run(args: LogoutArgs) -> ExitCode {
    match log_out(&http_address(args.url.as_deref())).await {
        Ok(()) => ExitCode::from(OK),
        Err(failure) => failure.report(),
    }
}

async fn log_out(url: &str) -> Result<(), Failure> {
    let (access, refresh) = saved_token::tokens(url)?;
    let refresh = refresh.as_ref().map(ExposeSecret::expose_secret);
    match client::logout(url, access.expose_secret(), refresh).await {
        // Refused: the gateway has ended it before.
        Ok(_) | Err(ClientError::Refused { status: 401, .. }) => {}
        Err(error) => return Err(error.into()),
    }
    saved_token::forget(url).await?;
    screen::info_line(&format!("logged out at {url}"));
    Ok(())
}
