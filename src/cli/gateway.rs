//! How a client command finds its gateway and says who it is; and the exit codes of all client commands.

use std::path::PathBuf;
use std::process::ExitCode;

use secrecy::SecretString;

use crate::client::{Client, ClientError, LoginTokens, TokenSource};

use super::{ask, saved_token};

/// The command did what it was asked, and a session it followed has completed.
pub(super) const OK: u8 = 0;
/// Anything else that has no code of its own: a session that failed, a call that was refused.
pub(super) const FAILED: u8 = 1;
/// The command line can't be understood.
pub(super) const USAGE: u8 = 2;
/// The gateway can't be reached (`EX_UNAVAILABLE`).
pub(super) const UNREACHABLE: u8 = 69;
/// Not logged in, or not allowed (`EX_NOPERM`).
pub(super) const NOT_AUTHORISED: u8 = 77;

/// Where the gateway's HTTP side listens unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8001";
/// The default port of its WebSocket side.
const DEFAULT_WS_PORT: u16 = 8003;
const TOKEN_VARIABLE: &str = "CC_GATEWAY_TOKEN";
const URL_VARIABLE: &str = "CC_GATEWAY_URL";
const WS_URL_VARIABLE: &str = "CC_GATEWAY_WS_URL";
/// Every variable that client commands read.
#[cfg(test)]
pub(super) const VARIABLES: [&str; 3] = [TOKEN_VARIABLE, URL_VARIABLE, WS_URL_VARIABLE];

/// Why a command stops: a sentence for stderr and an exit code.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) code: u8,
}

impl Failure {
    pub(super) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), code }
    }

    /// Tells it and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        super::screen::error_line(&self.message);
        ExitCode::from(self.code)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            _ if error.not_authorised() => NOT_AUTHORISED,
            ClientError::Address { .. } => USAGE,
            ClientError::Unreachable { .. } | ClientError::TimedOut { .. } | ClientError::GaveUp { .. } => UNREACHABLE,
            ClientError::Refused { .. } if error.retryable() => UNREACHABLE,
            _ => FAILED,
        };
        Self { message: error.to_string(), code }
    }
}

/// Which gateway, and as whom.
#[derive(Debug, Clone, clap::Args)]
pub struct GatewayArgs {
    /// The gateway's HTTP address [variable: `CC_GATEWAY_URL`] [default: `http://127.0.0.1:8001`].
    #[arg(long, value_name = "URL", global = true)]
    pub url: Option<String>,
    /// The gateway's WebSocket address [variable: `CC_GATEWAY_WS_URL`] [default: the same host, port 8003].
    #[arg(long, value_name = "URL", global = true)]
    pub ws_url: Option<String>,
    /// The access token. Others can see it in the process list: prefer --token-file, the variable
    /// `CC_GATEWAY_TOKEN` or `cc-gateway login`.
    #[arg(long, value_name = "TOKEN", global = true, conflicts_with_all = ["token_file", "username"])]
    pub token: Option<SecretString>,
    /// A file that holds the access token; read again for each connection.
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "username")]
    pub token_file: Option<PathBuf>,
    /// Log in with this account, for this command only.
    #[arg(long, value_name = "NAME", global = true)]
    pub username: Option<String>,
    /// A file that holds the password; without it the password is asked for.
    #[arg(long, value_name = "FILE", global = true, requires = "username")]
    pub password_file: Option<PathBuf>,
}

/// The value of an environment variable.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What was given, or what the variable says; empty is not given. Not left to clap: it would call an option needed that
/// a variable has filled in.
fn given(option: Option<&str>, name: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    option.map(str::to_owned).filter(|url| !url.is_empty()).or_else(|| variable(name).filter(|url| !url.is_empty()))
}

/// The HTTP address of the gateway that is meant, by `--url` or without.
pub(super) fn http_address(option: Option<&str>) -> String {
    given(option, URL_VARIABLE, variable).unwrap_or_else(|| DEFAULT_URL.to_owned())
}

/// The WebSocket address: the given one, or the HTTP address's host with the default port.
fn ws_address(option: Option<&str>, http: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    given(option, WS_URL_VARIABLE, variable).unwrap_or_else(|| {
        let host = http.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        // Without a host the HTTP address is wrong too; connecting says so.
        host.map_or_else(|| http.to_owned(), |host| format!("ws://{host}:{DEFAULT_WS_PORT}"))
    })
}

impl GatewayArgs {
    fn http(&self) -> String {
        http_address(self.url.as_deref())
    }

    /// Connects as whom the arguments, the environment or the saved token say.
    pub(super) async fn connect(&self) -> Result<Client, Failure> {
        let tokens = self.tokens().await?;
        let address = ws_address(self.ws_url.as_deref(), &self.http(), variable);
        Client::connect(&address, tokens).await.map_err(|error| {
            let refused = matches!(error, ClientError::Refused { status: 401, .. });
            let mut failure = Failure::from(error);
            if refused {
                failure.message.push_str("\nLog in with `cc-gateway login`, or check the token.");
            }
            failure
        })
    }

    /// What is given on the command line comes before the environment, and that before the saved token.
    async fn tokens(&self) -> Result<Box<dyn TokenSource>, Failure> {
        if let Some(token) = &self.token {
            return Ok(Box::new(token.clone()));
        }
        if let Some(path) = self.token_file.clone() {
            return Ok(Box::new(move || {
                ask::token_from_file(&path).map_err(|error| ClientError::Token(error.message))
            }));
        }
        if let Some(username) = &self.username {
            let password = ask::password(self.password_file.as_deref()).await?;
            return Ok(Box::new(LoginTokens::new(self.http(), username, password)));
        }
        if let Some(token) = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()) {
            return Ok(Box::new(SecretString::from(token)));
        }
        Ok(Box::new(saved_token::load(&self.http())?))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        gateway: GatewayArgs,
    }

    fn args(words: &[&str]) -> GatewayArgs {
        Line::try_parse_from(std::iter::once(&"x").chain(words)).unwrap().gateway
    }

    #[test]
    fn the_websocket_is_looked_for_on_the_same_host() {
        let at = |url| ws_address(None, url, |_| None);
        assert_eq!(at("http://gate.example:9000"), "ws://gate.example:8003");
        assert_eq!(at("http://[::1]:9000"), "ws://[::1]:8003");
        assert_eq!(ws_address(Some("ws://h:1/ws"), "http://gate.example", |_| None), "ws://h:1/ws");
    }

    #[test]
    fn a_variable_stands_in_for_an_option_and_an_empty_one_for_none() {
        let full = |_: &str| Some("http://there".to_owned());
        assert_eq!(given(None, URL_VARIABLE, full).as_deref(), Some("http://there"));
        assert_eq!(given(Some("http://here"), URL_VARIABLE, full).as_deref(), Some("http://here"));
        assert_eq!(given(None, URL_VARIABLE, |_| Some(String::new())), None);
        assert_eq!(given(Some(""), URL_VARIABLE, |_| None), None);
    }

    #[test]
    fn two_ways_to_say_who_one_is_contradict_each_other() {
        for words in [
            &["--token", "a", "--token-file", "b"][..],
            &["--token", "a", "--username", "b"],
            &["--password-file", "b"],
        ] {
            assert!(Line::try_parse_from(std::iter::once(&"x").chain(words)).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_token_is_not_shown_by_debug() {
        assert!(!format!("{:?}", args(&["--token", "hunter2"])).contains("hunter2"));
    }

    #[test]
    fn each_kind_of_failure_has_its_exit_code() {
        let refused = |status| ClientError::Refused { status, title: String::new(), detail: None, retry_after: None };
        assert_eq!(Failure::from(refused(401)).code, NOT_AUTHORISED);
        assert_eq!(Failure::from(refused(503)).code, UNREACHABLE);
        assert_eq!(Failure::from(refused(404)).code, FAILED);
        assert_eq!(Failure::from(ClientError::TimedOut { waited_for: "x" }).code, UNREACHABLE);
        assert_eq!(Failure::from(ClientError::Address { url: String::new(), reason: "" }).code, USAGE);
    }

    #[tokio::test]
    async fn a_gateway_that_is_not_there_gives_69() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failure = args(&["--token", "t", "--ws-url", &format!("ws://{free}")]).connect().await.unwrap_err();
        assert_eq!(failure.code, UNREACHABLE);
    }

    #[tokio::test]
    async fn a_token_file_that_is_not_there_gives_77_and_names_the_file() {
        let failure = args(&["--token-file", "/nonexistent/token"]).connect().await.unwrap_err();
        assert_eq!(failure.code, NOT_AUTHORISED);
        assert!(failure.message.contains("/nonexistent/token"));
    }
}
