//! `cc-gateway login --oidc`: a browser logs in at the company's provider, and the tokens come here.
//!
//! Invariants:
//! - Only a one-time code comes by way of the browser, to a port of this machine; the tokens are fetched with it and
//!   with a verifier that never left this program.
//! - What asks that port and has not the form of an answer gets nothing and ends nothing.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::http::LoginResponse;
use crate::auth::random::{is_secret, kept_form, make_secret};
use crate::client;
use crate::telemetry::tasks;

use super::gateway::{FAILED, Failure, NOT_AUTHORISED, UNREACHABLE};
use super::screen;

/// How long a person may take; the gateway gives up then too.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long the browser's page may take to be sent once all is done.
const LAST_PAGE: Duration = Duration::from_secs(2);

/// What the browser brings.
#[derive(Deserialize)]
struct Brought {
    code: Option<String>,
    error: Option<String>,
}

/// Logs in by a browser. `port`: where it comes back to (0: any that is free); `opens`: try to open it.
pub(super) async fn log_in(url: &str, port: u16, opens: bool) -> Result<LoginResponse, Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| Failure::new(FAILED, format!("{what}: {error}"));
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    let listener = listener.map_err(|error| failed("this machine gives no port for the browser's way back", &error))?;
    let address = listener.local_addr().map_err(|error| failed("the port has no address", &error))?;
    let verifier = make_secret().map_err(|error| failed("this machine gives no random bytes", &error))?;
    let (port, challenge) = (address.port(), kept_form(&verifier));
    let login = format!("{}/auth/oidc/login?return={port}&challenge={challenge}", url.trim_end_matches('/'));
    // One answer is wanted; who comes later finds no room.
    let (tell, mut told) = mpsc::channel::<Brought>(1);
    let pages = Router::new().route("/callback", get(take)).with_state(Arc::new(tell));
    let over = CancellationToken::new();
    let serving = axum::serve(listener, pages).with_graceful_shutdown(over.clone().cancelled_owned());
    let serving = tasks::spawn("login-callback", serving.into_future());
    screen::info_line(&format!("log in with your browser at {login}"));
    if opens {
        open(&login);
    }
    let brought = tokio::time::timeout(PATIENCE, told.recv()).await;
    let outcome = match brought {
        Ok(Some(Brought { code: Some(code), .. })) => {
            client::login_with_code(url, &code, &verifier).await.map_err(Failure::from)
        }
        Ok(Some(Brought { error, .. })) => Err(refused(error.as_deref().unwrap_or_default())),
        Ok(None) | Err(_) => Err(Failure::new(FAILED, "nobody logged in within ten minutes; begin again")),
    };
    over.cancel();
    // The browser may still wait for its page.
    let _unsent = tokio::time::timeout(LAST_PAGE, serving).await;
    outcome
}

/// Takes what has the form of an answer; a scan of the port has not.
async fn take(
    State(tell): State<Arc<mpsc::Sender<Brought>>>,
    Query(brought): Query<Brought>,
) -> (StatusCode, &'static str) {
    let is_code = brought.code.as_deref().is_some_and(is_secret);
    let is_error = brought.code.is_none() && brought.error.is_some();
    if !(is_code || is_error) {
        return (StatusCode::NOT_FOUND, "There is nothing here.\n");
    }
    let page = if is_code {
        "You are logged in. You can close this page and go back to the terminal.\n"
    } else {
        "The login did not succeed. The terminal says why.\n"
    };
    match tell.try_send(brought) {
        Ok(()) => (StatusCode::OK, page),
        Err(_) => (StatusCode::GONE, "This login is over.\n"),
    }
}

/// What a word of the gateway's means.
fn refused(word: &str) -> Failure {
    let (code, what) = match word {
        "oidc_not_allowed" => (NOT_AUTHORISED, "your account at the provider gives you no access to this gateway"),
        "oidc_off" => (FAILED, "this gateway has no logins at a provider; log in with a name and a password"),
        "oidc_disabled" => (NOT_AUTHORISED, "your account at this gateway is disabled"),
        "oidc_denied" => (NOT_AUTHORISED, "the provider did not log you in"),
        "oidc_broken" => (FAILED, "the provider's answer can't be used; the gateway's log says why"),
        "oidc_away" | "oidc_unable" | "store_away" => {
            (UNREACHABLE, "the provider or the gateway's store does not answer; try again")
        }
        "throttled" => (UNREACHABLE, "too many logins from your address; try again later"),
        _ => (NOT_AUTHORISED, "the login was refused; the gateway's log says why"),
    };
    Failure::new(code, what)
}

/// Tries to open a browser; that there is none is no error, since the address is shown.
fn open(address: &str) {
    let program = std::env::var_os("BROWSER").filter(|name| !name.is_empty());
    let default = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = tokio::process::Command::new(program.unwrap_or_else(|| default.into()));
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(mut child) = command.spawn() {
        tasks::spawn("browser", async move { child.wait().await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_has_the_form_of_an_answer_is_taken_and_only_once() {
        let (tell, mut told) = mpsc::channel(1);
        let tell = Arc::new(tell);
        let ask = |code: Option<&str>, error: Option<&str>| {
            let brought = Brought { code: code.map(str::to_owned), error: error.map(str::to_owned) };
            take(State(Arc::clone(&tell)), Query(brought))
        };
        assert_eq!(ask(None, None).await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask(Some("short"), None).await.0, StatusCode::NOT_FOUND);
        let code = make_secret().unwrap();
        assert_eq!(ask(Some(&code), None).await.0, StatusCode::OK);
        assert_eq!(ask(None, Some("oidc_denied")).await.0, StatusCode::GONE);
        assert_eq!(told.try_recv().unwrap().code, Some(code));
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn each_refusal_has_its_exit_code() {
        assert_eq!(refused("oidc_not_allowed").code, NOT_AUTHORISED);
        assert_eq!(refused("oidc_away").code, UNREACHABLE);
        assert!(!refused("<script>").message.contains("script"));
    }
}
