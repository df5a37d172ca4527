//! `GET /auth/oidc/login`, `GET /auth/oidc/callback` and `POST /auth/oidc/token`: logins at a provider outside.
//!
//! Invariants: a browser is sent to the provider or to its own machine, and nowhere else; no address holds a token. A
//! browser that is to get the tokens itself is known by a cookie that no script can read and no other site's request
//! brings but the provider's way back.

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde::Deserialize;

use super::body::read_json;
use super::connection::PeerAddr;
use super::login::logged_in;
use super::problem::HttpProblem;
use super::state::HttpState;
use crate::api::account::Secret;
use crate::api::http::{LoginResponse, OidcTokenRequest};
use crate::auth::oidc::{Brought, Finished, LOGIN_SECONDS, OidcError, OidcLogins, Return};
use crate::auth::random::{kept_form, make_secret};

const FORM: &str = "Send {\"code\": \"…\", \"verifier\": \"…\"} and nothing else.";
/// The browser's half of a login under way.
const COOKIE_NAME: &str = "cc_gateway_oidc";
/// Hexadecimal digits of a SHA-256.
const CHALLENGE_CHARACTERS: usize = 64;

/// Of `/auth/oidc/login`.
#[derive(Deserialize)]
pub(super) struct LoginQuery {
    #[serde(rename = "return")]
    port: Option<String>,
    challenge: Option<String>,
}

/// Of `/auth/oidc/callback`. Providers add members of their own.
#[derive(Deserialize)]
pub(super) struct CallbackQuery {
    #[serde(default)]
    state: String,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

pub(super) async fn login(
    State(state): State<HttpState>,
    Extension(PeerAddr(peer)): Extension<PeerAddr>,
    Query(query): Query<LoginQuery>,
) -> Result<Response, HttpProblem> {
    let address = peer.ip().to_canonical();
    match (query.port, query.challenge) {
        (None, None) => {
            let oidc = logins(&state)?;
            let cookie = make_secret().map_err(|_| OidcError::Random)?;
            let to = oidc.begin(Return::Browser { cookie: kept_form(&cookie) }, address).await?;
            let mut response = redirect(&to)?;
            response.headers_mut().insert(SET_COOKIE, set_cookie(oidc.base(), &cookie, LOGIN_SECONDS)?);
            Ok(response)
        }
        (Some(port), Some(challenge)) => {
            let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad_return)?;
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            if challenge.len() != CHALLENGE_CHARACTERS || !challenge.bytes().all(is_digit) {
                return Err(bad_return());
            }
            let begun = match logins(&state) {
                Ok(oidc) => oidc.begin(Return::CommandLine { port, challenge }, address).await.map_err(Into::into),
                Err(problem) => Err(problem),
            };
            match begun {
                Ok(to) => redirect(&to),
                Err(problem) => tell_command_line(port, &problem),
            }
        }
        _ => Err(bad_return()),
    }
}

pub(super) async fn callback(
    State(state): State<HttpState>,
    Extension(PeerAddr(peer)): Extension<PeerAddr>,
    headers: HeaderMap,
    Query(query): Query<CallbackQuery>,
) -> Result<Response, HttpProblem> {
    let oidc = logins(&state)?;
    let outcome = match (query.code, query.error) {
        (Some(code), None) => Ok(code),
        (_, error) => Err(error.unwrap_or_default()),
    };
    let brought = Brought { state: query.state, outcome, issuer: query.iss, cookie: cookie(&headers) };
    let Finished { to, outcome } = oidc.finish(brought, peer.ip().to_canonical()).await;
    match (to, outcome) {
        (Some(Return::CommandLine { port, challenge }), Ok(account)) => {
            match oidc.code_for(&account, &challenge).await {
                Ok(code) => redirect(&format!("http://127.0.0.1:{port}/callback?code={code}")),
                Err(error) => tell_command_line(port, &error.into()),
            }
        }
        (Some(Return::CommandLine { port, .. }), Err(error)) => tell_command_line(port, &error.into()),
        (_, Ok(account)) => {
            let mut response = logged_in(&state, account).await?.into_response();
            response.headers_mut().insert(SET_COOKIE, set_cookie(oidc.base(), "", 0)?);
            Ok(response)
        }
        (_, Err(error)) => Err(error.into()),
    }
}

pub(super) async fn token(
    State(state): State<HttpState>,
    Extension(PeerAddr(peer)): Extension<PeerAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LoginResponse>, HttpProblem> {
    let oidc = logins(&state)?;
    let request: OidcTokenRequest = read_json(&headers, body, state.limits, FORM).await?;
    let (Secret(code), Secret(verifier)) = (request.code, request.verifier);
    let account = oidc.redeem(&code, &verifier, peer.ip().to_canonical()).await?;
    logged_in(&state, account).await
}

fn logins(state: &HttpState) -> Result<&OidcLogins, HttpProblem> {
    state.oidc.as_deref().ok_or_else(|| {
        HttpProblem::new(StatusCode::NOT_IMPLEMENTED, "oidc_off", "This gateway has no logins at a provider")
            .detail("Log in with a name and a password: POST /login. An operator can set oidc_issuer.")
    })
}

fn bad_return() -> HttpProblem {
    HttpProblem::new(StatusCode::BAD_REQUEST, "oidc_return", "The tokens can't be sent there").detail(
        "Give `return` (a port of your own machine) and `challenge` (the SHA-256 of your verifier in hex), or neither.",
    )
}

fn redirect(to: &str) -> Result<Response, HttpProblem> {
    let to = HeaderValue::from_str(to).map_err(|_| HttpProblem::of(StatusCode::INTERNAL_SERVER_ERROR))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(LOCATION, to);
    Ok(response)
}

/// Who waits there would wait for ever, whatever the browser shows. The word is one of ours.
fn tell_command_line(port: u16, problem: &HttpProblem) -> Result<Response, HttpProblem> {
    redirect(&format!("http://127.0.0.1:{port}/callback?error={}", problem.kind().unwrap_or("failed")))
}

/// `base`: the address by which browsers reach us, with the path that a proxy puts before ours, and only by TLS if that
/// is TLS. `Lax`: the way back from the provider is a navigation from its site.
fn set_cookie(base: &str, value: &str, seconds: u64) -> Result<HeaderValue, HttpProblem> {
    let base: Uri = base.parse().map_err(|_| HttpProblem::of(StatusCode::INTERNAL_SERVER_ERROR))?;
    let secure = if base.scheme() == Some(&Scheme::HTTPS) { "; Secure" } else { "" };
    let path = format!("{}/auth/oidc", base.path().trim_end_matches('/'));
    let cookie = format!("{COOKIE_NAME}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&cookie).map_err(|_| HttpProblem::of(StatusCode::INTERNAL_SERVER_ERROR))
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, v)| v.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; xcc_gateway_oidc=2"));
        assert_eq!(cookie(&headers), None);
        headers.append(COOKIE, HeaderValue::from_static("b=3; cc_gateway_oidc=mine; c=4"));
        assert_eq!(cookie(&headers).as_deref(), Some("mine"));
    }

    #[test]
    fn the_cookie_goes_where_the_provider_sends_the_browser() {
        let cookie = |base: &str| set_cookie(base, "mine", 600).unwrap().to_str().unwrap().to_owned();
        let plain = cookie("http://gateway.example.com:8001");
        assert_eq!(plain, "cc_gateway_oidc=mine; Path=/auth/oidc; Max-Age=600; HttpOnly; SameSite=Lax");
        let below = cookie("https://example.com/gateway/");
        assert!(below.contains("; Path=/gateway/auth/oidc; ") && below.ends_with("; Secure"), "{below}");
    }
}
