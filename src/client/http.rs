//! One HTTP/1.1 request on a connection of its own: login, refresh, logout, and the upgrade of [`super::socket`].
//!
//! hyper and not tungstenite's handshake, because a refusal's body must be read whole: it says what to do.

use std::io;
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::api::account::Secret;
use crate::api::http::{
    LoginRequest, LoginResponse, LogoutRequest, LogoutResponse, OidcTokenRequest, PasswordLogin, Problem,
    RefreshRequest,
};
use crate::telemetry::tasks;

use super::address::Address;
use super::error::ClientError;
use super::wire;

/// No answer of the gateway that is read here is larger.
const BODY_LIMIT: usize = 256 * 1024;
/// How long a login may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(30);

/// Logs in at `base_url` (`http://host:port`, or with a path in front of `/login`).
///
/// # Errors
/// [`ClientError::Refused`] with the gateway's words for a wrong name or password or too many tries,
/// [`ClientError::Unreachable`], [`ClientError::TimedOut`] after 30 s, [`ClientError::Protocol`] when
/// something else answers there.
pub async fn login(base_url: &str, username: &str, password: &str) -> Result<LoginResponse, ClientError> {
    let (username, password) = (username.to_owned(), Secret(password.to_owned()));
    let body = LoginRequest::Password(PasswordLogin { username, password });
    post(base_url, "/login", &body, None, "the answer to the login").await
}

/// The tokens of a login at the gateway's provider, for the one-time code that it ended with and the verifier that it
/// began with.
///
/// # Errors
/// As [`login`]; [`ClientError::Refused`] with status 401 for a code that does not serve.
pub async fn login_with_code(base_url: &str, code: &str, verifier: &str) -> Result<LoginResponse, ClientError> {
    let body = OidcTokenRequest { code: Secret(code.to_owned()), verifier: Secret(verifier.to_owned()) };
    post(base_url, "/auth/oidc/token", &body, None, "the answer to the login").await
}

/// The next pair of tokens for a refresh token. It serves once: keep what comes back before anything else is done.
///
/// # Errors
/// As [`login`]; [`ClientError::Refused`] with status 401 once the login has ended.
pub async fn refresh(base_url: &str, refresh_token: &str) -> Result<LoginResponse, ClientError> {
    let body = RefreshRequest { refresh_token: refresh_token.to_owned() };
    post(base_url, "/auth/refresh", &body, None, "the new tokens").await
}

/// Ends a login: its tokens are refused from then on, and its sockets are closed.
///
/// # Errors
/// As [`login`]; [`ClientError::Refused`] with status 401 if it had ended already.
pub async fn logout(
    base_url: &str,
    access_token: &str,
    refresh_token: Option<&str>,
) -> Result<LogoutResponse, ClientError> {
    let body = LogoutRequest { refresh_token: refresh_token.map(str::to_owned) };
    post(base_url, "/auth/logout", &body, Some(access_token), "the answer to the logout").await
}

async fn post<B: Serialize, A: DeserializeOwned>(
    base_url: &str,
    path: &str,
    body: &B,
    access_token: Option<&str>,
    what: &'static str,
) -> Result<A, ClientError> {
    let address = Address::parse(base_url, "http", "/")?;
    let body = serde_json::to_vec(body).map_err(|error| ClientError::Protocol(error.to_string()))?;
    let mut request = Request::post(address.join(path))
        .header(header::HOST, &address.authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, application/problem+json");
    if let Some(token) = access_token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::from(body)).map_err(|error| ClientError::Protocol(error.to_string()))?;
    let exchange = async {
        let response = send(&address, request).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        let body = body_of(response).await?;
        wire::decode(&String::from_utf8_lossy(&body), what)
    };
    tokio::time::timeout(LOGIN_LIMIT, exchange).await.unwrap_or(Err(ClientError::TimedOut { waited_for: what }))
}

/// Connects and sends one request. The connection ends with the response, or lives on as an upgraded one.
pub(super) async fn send(address: &Address, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
    let unreachable = |source| ClientError::Unreachable { at: address.authority.clone(), source };
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(unreachable)?;
    // Calls are small and wait for their answers: none may wait for more to send.
    stream.set_nodelay(true).map_err(unreachable)?;
    let broken = |error: hyper::Error| {
        if error.is_parse() {
            ClientError::Protocol("no HTTP is spoken there".into())
        } else {
            unreachable(io::Error::other(error))
        }
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tasks::spawn("client.http", connection.with_upgrades());
    sender.send_request(request).await.map_err(broken)
}

/// What a response that is not the hoped-for one says.
pub(super) async fn refusal(response: Response<Incoming>) -> ClientError {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let body = body_of(response).await.unwrap_or_default();
    let (title, detail) = match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => (problem.title, problem.detail),
        Err(_) => (status.canonical_reason().unwrap_or("unknown status").to_owned(), plain_text(&body)),
    };
    ClientError::Refused { status: status.as_u16(), title, detail, retry_after }
}

async fn body_of(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await;
    Ok(body.map_err(|error| ClientError::Protocol(format!("an answer can't be read: {error}")))?.to_bytes())
}

/// `Retry-After` in seconds. The form with a date is not used by the gateway.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The body of somebody else's refusal (a proxy's), when it is a line that a person can read.
fn plain_text(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let readable = !text.is_empty() && text.len() <= 300 && !text.starts_with('<') && !text.contains(char::is_control);
    readable.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::test_server;

    const REFUSED: &str = concat!(
        "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/problem+json\r\ncontent-length: 106\r\n\r\n",
        r#"{"type":"about:blank","title":"Wrong username or password","status":401,"detail":"Check both; try again."}"#
    );

    #[tokio::test]
    async fn a_refused_login_says_what_the_gateway_says() {
        let (url, request) = test_server::answer_http_once(REFUSED).await;
        let error = login(&url, "alice", "wrong").await.err().unwrap();
        let ClientError::Refused { status: 401, title, detail, .. } = &error else { panic!("{error:?}") };
        assert_eq!(title, "Wrong username or password");
        assert_eq!(detail.as_deref(), Some("Check both; try again."));
        let request = request.await.unwrap();
        assert!(request.starts_with("POST /login HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with(r#"{"username":"alice","password":"wrong"}"#), "{request}");
    }

    #[tokio::test]
    async fn a_throttled_login_says_how_long_to_wait_and_is_retryable() {
        let answer = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 12\r\ncontent-length: 0\r\n\r\n";
        let (url, _request) = test_server::answer_http_once(answer).await;
        let error = login(&url, "alice", "x").await.err().unwrap();
        assert!(error.retryable());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(12)));
    }

    #[tokio::test]
    async fn a_login_gives_the_token() {
        let body = r#"{"access_token":"T","token_type":"bearer","expires_in":60,"refresh_token":"R","refresh_expires_in":90,"user":{"id":"1","username":"alice","role":"user"}}"#;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let (url, _request) = test_server::answer_http_once(&answer).await;
        assert_eq!(login(&url, "alice", "right").await.unwrap().access_token, "T");
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_unreachable() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = login(&format!("http://{free}"), "alice", "x").await.err().unwrap();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn something_else_than_http_is_named_so() {
        let (url, _request) = test_server::answer_http_once("SSH-2.0-OpenSSH_9.2\r\n").await;
        let error = login(&url, "alice", "x").await.err().unwrap();
        assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
    }
}
