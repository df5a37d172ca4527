//! Errors as `application/problem+json` (RFC 9457): made by a route, or made of what a library answered.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{StatusCode, header};

use crate::api::http::Problem;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error answer. Becomes a response with a [`Problem`] as its body.
///
/// A 401 names the scheme in `WWW-Authenticate`. Texts are for the caller: no path, no address, nothing inner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProblem {
    status: StatusCode,
    kind: Option<&'static str>,
    title: Cow<'static, str>,
    detail: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
}

impl HttpProblem {
    /// The problem that the status alone tells, in general words.
    #[must_use]
    pub fn of(status: StatusCode) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").into();
        let detail = general_advice(status).map(Cow::Borrowed);
        Self { status, kind: None, title, detail, retry_after: None }
    }

    /// A problem with a word for programs (`urn:cc-gateway:<kind>`) and a title of its own.
    #[must_use]
    pub fn new(status: StatusCode, kind: &'static str, title: impl Into<Cow<'static, str>>) -> Self {
        Self { status, kind: Some(kind), title: title.into(), detail: None, retry_after: None }
    }

    /// Says what to do.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says when to try again; whole seconds, rounded up, at least one.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The word for programs, if it has one of its own.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        self.kind
    }

    fn body(&self) -> Body {
        let problem = Problem {
            problem_type: self.kind.map_or_else(|| "about:blank".to_owned(), |kind| format!("urn:cc-gateway:{kind}")),
            title: self.title.clone().into_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone().map(Cow::into_owned),
        };
        serde_json::to_vec(&problem).map_or_else(|_| Body::empty(), Body::from)
    }
}

impl IntoResponse for HttpProblem {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.body());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1_000).clamp(1, 86_400) as u32));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Gives an error that a library answered in its own words (a text, or nothing) the body of a problem. Its
/// headers stay: `Allow`, for one. Errors that are JSON already are left alone.
pub(super) fn translate(mut response: Response) -> Response {
    let status = response.status();
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().ends_with(b"json"));
    if !(status.is_client_error() || status.is_server_error()) || is_json {
        return response;
    }
    let mut answer = HttpProblem::of(status).into_response();
    for name in [CONTENT_TYPE, CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        response.headers_mut().remove(name);
    }
    for (name, value) in response.headers() {
        answer.headers_mut().append(name, value.clone());
    }
    answer
}

fn general_advice(status: StatusCode) -> Option<&'static str> {
    Some(match status {
        StatusCode::BAD_REQUEST => "The request is malformed.",
        StatusCode::NOT_FOUND => "There is no such route; /openapi.json lists them.",
        StatusCode::METHOD_NOT_ALLOWED => "The header Allow names the methods that this route takes.",
        StatusCode::REQUEST_TIMEOUT => "The request did not arrive in time. Send it again.",
        StatusCode::PAYLOAD_TOO_LARGE => "Send a smaller body.",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "Send JSON with `Content-Type: application/json`.",
        StatusCode::INTERNAL_SERVER_ERROR => "The gateway failed. Its log says more.",
        StatusCode::SERVICE_UNAVAILABLE => "The gateway can't answer now. Try again later.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn problem_of(response: Response) -> Problem {
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn a_problem_of_its_own_kind_says_what_to_do_and_when() {
        let problem = HttpProblem::new(StatusCode::TOO_MANY_REQUESTS, "throttled", "Too many failed logins")
            .detail("Wait.")
            .retry_after(Duration::from_millis(1_001));
        let response = problem.into_response();
        assert_eq!((response.status().as_u16(), &response.headers()[RETRY_AFTER]), (429, &"2".parse().unwrap()));
        let body = problem_of(response).await;
        assert_eq!((body.problem_type.as_str(), body.status), ("urn:cc-gateway:throttled", 429));
        assert_eq!(body.detail.as_deref(), Some("Wait."));
    }

    #[test]
    fn a_wait_is_never_told_as_zero_seconds() {
        let response = HttpProblem::of(StatusCode::SERVICE_UNAVAILABLE).retry_after(Duration::ZERO).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }

    #[test]
    fn a_401_names_the_scheme_and_no_other_status_does() {
        let challenge = |status| HttpProblem::of(status).into_response().headers().get(WWW_AUTHENTICATE).cloned();
        assert_eq!(challenge(StatusCode::UNAUTHORIZED).unwrap(), "Bearer");
        assert!(challenge(StatusCode::FORBIDDEN).is_none());
    }

    #[tokio::test]
    async fn a_librarys_text_becomes_a_problem_and_its_headers_stay() {
        let theirs = (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET,HEAD")], "inner words").into_response();
        let ours = translate(theirs);
        assert_eq!(ours.headers()[header::ALLOW], "GET,HEAD");
        assert_eq!(ours.headers().get_all(CONTENT_TYPE).iter().count(), 1);
        let body = problem_of(ours).await;
        assert_eq!((body.status, body.problem_type.as_str()), (405, "about:blank"));
        assert!(!format!("{body:?}").contains("inner words"));
    }

    #[tokio::test]
    async fn an_answer_that_is_no_error_or_is_json_already_is_left_alone() {
        for theirs in [
            (StatusCode::OK, [(CONTENT_TYPE, "text/plain")], "words"),
            (StatusCode::SERVICE_UNAVAILABLE, [(CONTENT_TYPE, "application/json")], "words"),
        ] {
            let ours = translate(theirs.into_response());
            assert_eq!(axum::body::to_bytes(ours.into_body(), 100).await.unwrap(), "words");
        }
    }
}
