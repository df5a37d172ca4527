//! JSON-RPC frames: what is sent and what comes in. Pure.
//!
//! Takes more than it needs to: unknown fields, unknown notifications and error kinds of a newer gateway do
//! not break a reader.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use crate::api::RpcError;
use crate::api::event::{Event, EventType};

use super::error::ClientError;

/// A frame from the gateway.
#[derive(Debug)]
pub(super) enum Incoming<'a> {
    /// The answer to the call with that id; `None` where the gateway could not tell which call it was.
    Answer { id: Option<u64>, outcome: Result<&'a RawValue, RpcError> },
    /// A message without a call.
    Notification { method: Cow<'a, str>, params: &'a RawValue },
}

/// What a `session.event` holds.
#[derive(Debug)]
pub(super) enum EventFrame {
    /// An event.
    Known(Event),
    /// An event of a type that this client does not know: its number counts, its content does not.
    Unknown(EventHead),
}

/// The numbers of an event.
#[derive(Debug, Deserialize)]
pub(super) struct EventHead {
    pub(super) session_id: Uuid,
    pub(super) prev_seq: u64,
    pub(super) seq: u64,
    #[serde(rename = "type")]
    event_type: String,
}

/// `params` of `session.cursor`.
#[derive(Debug, Deserialize)]
pub(super) struct CursorFrame {
    pub(super) session_id: Uuid,
    pub(super) seq: u64,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// Reads one text frame.
pub(super) fn parse(text: &str) -> Result<Incoming<'_>, ClientError> {
    let frame: Frame<'_> = serde_json::from_str(text)
        .map_err(|error| ClientError::Protocol(format!("a frame is not JSON-RPC: {error}")))?;
    if let Some(method) = frame.method {
        return Ok(Incoming::Notification { method, params: frame.params.unwrap_or(RawValue::NULL) });
    }
    if frame.result.is_none() && frame.error.is_none() && frame.id.is_none() {
        return Err(ClientError::Protocol("a frame is neither an answer nor a notification".into()));
    }
    let id = frame.id.and_then(|id| id.get().parse().ok());
    let outcome = match frame.error {
        Some(error) => Err(rpc_error(error)?),
        None => Ok(frame.result.unwrap_or(RawValue::NULL)),
    };
    Ok(Incoming::Answer { id, outcome })
}

/// An error object; its `data` is left out when it is not as this client knows it.
fn rpc_error(raw: &RawValue) -> Result<RpcError, ClientError> {
    #[derive(Deserialize)]
    struct Plain {
        code: i32,
        message: String,
    }
    if let Ok(error) = serde_json::from_str(raw.get()) {
        return Ok(error);
    }
    let Plain { code, message } = decode(raw.get(), "an error object")?;
    Ok(RpcError { code, message, data: None })
}

/// Reads the `params` of `session.event`.
pub(super) fn event(params: &RawValue) -> Result<EventFrame, ClientError> {
    let wrong = match serde_json::from_str::<Event>(params.get()) {
        Ok(event) => return Ok(EventFrame::Known(event)),
        Err(error) => error,
    };
    match serde_json::from_str::<EventHead>(params.get()) {
        Ok(head) if EventType::ALL.iter().all(|known| known.as_str() != head.event_type) => {
            Ok(EventFrame::Unknown(head))
        }
        _ => Err(ClientError::Protocol(format!("an event can't be read: {wrong}"))),
    }
}

/// Reads a result or the `params` of a notification as `T`.
pub(super) fn decode<T: DeserializeOwned>(json: &str, what: &str) -> Result<T, ClientError> {
    serde_json::from_str(json).map_err(|error| ClientError::Protocol(format!("{what} can't be read: {error}")))
}

/// A call's parameters as JSON.
pub(super) fn params_of<P: Serialize>(params: &P) -> Result<Box<RawValue>, ClientError> {
    to_raw_value(params).map_err(|error| ClientError::Protocol(format!("the parameters are not JSON: {error}")))
}

/// A call as a text frame.
pub(super) fn request(id: u64, method: &str, params: &RawValue) -> Result<String, ClientError> {
    #[derive(Serialize)]
    struct Request<'a> {
        jsonrpc: &'static str,
        id: u64,
        method: &'a str,
        params: &'a RawValue,
    }
    serde_json::to_string(&Request { jsonrpc: "2.0", id, method, params })
        .map_err(|error| ClientError::Protocol(format!("the call is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ErrorKind;

    #[test]
    fn an_answer_is_told_from_a_notification() {
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","id":7,"result":{"a":1}}"#).unwrap(),
            Incoming::Answer { id: Some(7), outcome: Ok(raw) } if raw.get() == r#"{"a":1}"#
        ));
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","method":"ping","params":{"timestamp":1.5}}"#).unwrap(),
            Incoming::Notification { method, .. } if method == "ping"
        ));
        assert!(matches!(parse("[]").unwrap_err(), ClientError::Protocol(_)));
    }

    #[test]
    fn an_error_object_keeps_its_kind() {
        let text = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32002,"message":"No such session","data":{"kind":"no_such_session","retryable":false}}}"#;
        let Incoming::Answer { id: None, outcome: Err(error) } = parse(text).unwrap() else { panic!("not an error") };
        assert_eq!(error.kind(), Some(ErrorKind::NoSuchSession));
    }

    #[test]
    fn an_error_object_of_an_unknown_kind_keeps_its_code_and_message() {
        let text =
            r#"{"id":1,"error":{"code":-32099,"message":"New","data":{"kind":"from_the_future","retryable":true}}}"#;
        let Incoming::Answer { outcome: Err(error), .. } = parse(text).unwrap() else { panic!("not an error") };
        assert_eq!((error.code, error.message.as_str(), error.kind()), (-32099, "New", None));
    }

    #[test]
    fn an_event_of_an_unknown_type_counts_and_a_broken_one_is_an_error() {
        let params = |event_type: &str, data: &str| {
            let json = format!(
                r#"{{"prev_seq":1,"session_id":"{}","seq":2,"at":"x","type":"{event_type}"{data}}}"#,
                Uuid::nil()
            );
            RawValue::from_string(json).unwrap()
        };
        assert!(matches!(event(&params("claude", r#","data":{}"#)).unwrap(), EventFrame::Known(_)));
        assert!(
            matches!(event(&params("session.dreamt", r#","data":{}"#)).unwrap(), EventFrame::Unknown(head) if head.seq == 2)
        );
        assert!(matches!(event(&params("claude", "")).unwrap_err(), ClientError::Protocol(_)));
    }

    #[test]
    fn a_call_is_one_json_object() {
        let params = params_of(&serde_json::json!({"a": "b"})).unwrap();
        assert_eq!(
            request(3, "session.get", &params).unwrap(),
            r#"{"jsonrpc":"2.0","id":3,"method":"session.get","params":{"a":"b"}}"#
        );
    }
}
