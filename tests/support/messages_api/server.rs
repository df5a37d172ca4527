//! The routes: which request gets which kind of answer.

use std::collections::HashMap;
use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;

use crate::answer::{Break, answer};
use crate::directive::{Chosen, Directive, choose};
use crate::log::RequestLog;
use crate::stream::{id, message, stream};

/// Tokens that begin so have ended, as the API sees it.
const ENDED_TOKEN: &str = "Bearer sk-ant-oat01-ended";

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What all connections share.
pub(crate) struct Server {
    /// The answer to prompts without a directive; friendly if there is none.
    pub(crate) default: Option<String>,
    /// The record of requests.
    pub(crate) log: RequestLog,
    /// How often each prompt has met its `err` directive: the count goes over connections.
    pub(crate) failures: Mutex<HashMap<String, u32>>,
}

impl Server {
    /// Answers one request.
    pub(crate) async fn serve(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = head.uri.path();
        let chosen = (path == "/v1/messages").then(|| choose(&body, self.default.as_deref()));
        let login = if head.headers.contains_key("x-api-key") {
            "api_key"
        } else if head.headers.contains_key(header::AUTHORIZATION) {
            "bearer"
        } else {
            "none"
        };
        let prompt = chosen.as_ref().map(|chosen| chosen.prompt.as_str());
        self.log.request(head.method.as_str(), path, login, prompt, &body);
        let bearer = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let has_ended = bearer.is_some_and(|value| value.starts_with(ENDED_TOKEN));
        Ok(match chosen {
            _ if head.method == Method::HEAD => reply(StatusCode::OK, Bytes::new()),
            Some(_) if has_ended => api_error(401, None),
            Some(chosen) => self.messages(chosen, &body).await,
            None if path == "/v1/messages/count_tokens" => reply_json(StatusCode::OK, &json!({"input_tokens": 42})),
            None if path.ends_with("/oauth/token") => reply_json(
                StatusCode::OK,
                &json!({
                    "token_type": "Bearer", "expires_in": 28_800, "scope": "user:inference user:profile",
                    "access_token": id("sk-ant-oat01-"), "refresh_token": id("sk-ant-ort01-"),
                }),
            ),
            None => reply_json(StatusCode::OK, &json!({})),
        })
    }

    async fn messages(&self, chosen: Chosen, body: &Value) -> Response<Body> {
        let mut directive = chosen.directive;
        if let Directive::HttpError { status, times, retry_after } = &directive {
            let count = {
                let mut failures = self.failures.lock();
                let count = failures.entry(chosen.prompt).or_default();
                *count += 1;
                *count
            };
            match times {
                Some(times) if count > *times => directive = Directive::Text(format!("ok after {times}")),
                _ => return api_error(*status, retry_after.as_deref()),
            }
        }
        if let Directive::UsageLimit { resets_at } = directive {
            return usage_limit(resets_at);
        }
        let streamed = body["stream"] == json!(true);
        if !streamed && matches!(directive, Directive::CloseMidway | Directive::ErrorMidway) {
            directive = Directive::Text("the answer that was not streamed".to_owned());
        }
        let answer = answer(&directive).filter(|answer| streamed || answer.breaks != Some(Break::Silence));
        let Some(answer) = answer else {
            return std::future::pending().await;
        };
        let model = body["model"].as_str().unwrap_or("unknown");
        if !streamed {
            return reply_json(StatusCode::OK, &message(&answer, model));
        }
        let (parts, body) = tokio::sync::mpsc::channel(4);
        cc_gateway::telemetry::tasks::spawn("answer", stream(answer, model.to_owned(), parts));
        let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(ReceiverStream::new(body))));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-cache"));
        with_request_id(response)
    }
}

fn api_error(status: u16, retry_after: Option<&str>) -> Response<Body> {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let message = format!("error {status} as the prompt asked");
    let body = json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": id("req_")});
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = reply_json(status, &body);
    if let Some(value) = retry_after.and_then(|value| value.parse().ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// What a subscription's account reads at its limit.
fn usage_limit(resets_at: u64) -> Response<Body> {
    let mut response = api_error(429, None);
    let headers = response.headers_mut();
    for (name, value) in [
        ("anthropic-ratelimit-unified-status", "rejected".to_owned()),
        ("anthropic-ratelimit-unified-reset", resets_at.to_string()),
        ("anthropic-ratelimit-unified-representative-claim", "five_hour".to_owned()),
    ] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    response
}

fn reply_json(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = reply(status, Bytes::from(body.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn reply(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    with_request_id(response)
}

fn with_request_id(mut response: Response<Body>) -> Response<Body> {
    if let Ok(value) = id("req_").parse() {
        response.headers_mut().insert("request-id", value);
    }
    response
}
