//! Reads a JSON body: called so, within the limit, within the time, of the right form.
//!
//! Problems never repeat what was sent: it may hold a password.

use std::error::Error as _;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::problem::HttpProblem;
use super::state::RequestLimits;

/// Reads a body as `T`; `form` tells a person what it must look like.
pub(super) async fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limits: RequestLimits,
    form: &'static str,
) -> Result<T, HttpProblem> {
    if !is_json(headers) {
        return Err(HttpProblem::of(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    parse(&read(body, limits).await?, form)
}

/// The same for a body that may be left out.
pub(super) async fn read_json_if_any<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: Body,
    limits: RequestLimits,
    form: &'static str,
) -> Result<T, HttpProblem> {
    let bytes = read(body, limits).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    if !is_json(headers) {
        return Err(HttpProblem::of(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    parse(&bytes, form)
}

async fn read(body: Body, limits: RequestLimits) -> Result<Bytes, HttpProblem> {
    match timeout(limits.body_timeout, to_bytes(body, limits.body_bytes)).await {
        Err(_) => Err(HttpProblem::of(StatusCode::REQUEST_TIMEOUT)),
        Ok(Err(error)) if error.source().is_some_and(|source| source.is::<LengthLimitError>()) => {
            Err(too_large(limits))
        }
        Ok(Err(_)) => Err(HttpProblem::of(StatusCode::BAD_REQUEST)),
        Ok(Ok(bytes)) => Ok(bytes),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8], form: &'static str) -> Result<T, HttpProblem> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            HttpProblem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", "The body has another form").detail(form)
        }
        _ => HttpProblem::new(StatusCode::BAD_REQUEST, "invalid_json", "The body is not JSON").detail(form),
    })
}

/// The answer to a body over the limit.
pub(super) fn too_large(limits: RequestLimits) -> HttpProblem {
    HttpProblem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large")
        .detail(format!("Send at most {} bytes.", limits.body_bytes))
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next().and_then(|kind| kind.to_str().ok()), kinds.next()) else {
        return false;
    };
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_content_type_of_json_is_json() {
        let called = |kinds: &[&str]| {
            let mut headers = HeaderMap::new();
            for kind in kinds {
                headers.append(CONTENT_TYPE, kind.parse().unwrap());
            }
            is_json(&headers)
        };
        assert!(called(&["application/json"]) && called(&["Application/JSON; charset=utf-8"]));
        assert!(!called(&[]) && !called(&["text/plain"]) && !called(&["application/jsonp"]));
        assert!(!called(&["application/json", "text/plain"]));
    }
}
