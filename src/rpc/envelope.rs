//! The JSON-RPC envelope: one text in, calls or refusals out.
//!
//! Parsed by ourselves, because ids may be any JSON number and are echoed as they came, and because what
//! is not a request must be answered exactly as the specification says.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::api::{ErrorKind, RpcError};

/// One call.
#[derive(Debug)]
pub struct Call {
    /// Its id as it came; none for a notification.
    pub id: Option<Box<RawValue>>,
    /// The method's name.
    pub method: String,
    /// Its parameters as they came: an object or an array.
    pub params: Option<Box<RawValue>>,
}

/// Something that is not a call, and its answer.
#[derive(Debug)]
pub struct Refusal {
    /// The id to answer with, where one could be made out.
    pub id: Option<Box<RawValue>>,
    /// What is wrong.
    pub error: RpcError,
}

/// What a text holds.
#[derive(Debug)]
pub enum Message {
    /// One call, or what is wrong with it.
    Single(Result<Call, Refusal>),
    /// A batch of one or more.
    Batch(Vec<Result<Call, Refusal>>),
}

/// Reads a text. A batch of more than `max_batch_calls` is refused whole.
#[must_use]
pub fn parse(text: &str, max_batch_calls: usize) -> Message {
    let trimmed = text.trim_ascii_start();
    if !trimmed.starts_with('[') {
        return Message::Single(match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) => parse_call(raw),
            Err(_) => Err(refusal(None, ErrorKind::ParseError, "the message is not valid JSON")),
        });
    }
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Err(_) => Message::Single(Err(refusal(None, ErrorKind::ParseError, "the message is not valid JSON"))),
        Ok(calls) if calls.is_empty() => {
            Message::Single(Err(refusal(None, ErrorKind::InvalidRequest, "the batch is empty")))
        }
        Ok(calls) if calls.len() > max_batch_calls => Message::Single(Err(refusal(
            None,
            ErrorKind::BatchTooLarge,
            &format!("the batch holds {} calls; at most {max_batch_calls} are allowed", calls.len()),
        ))),
        Ok(calls) => Message::Batch(calls.into_iter().map(parse_call).collect()),
    }
}

fn parse_call(raw: &RawValue) -> Result<Call, Refusal> {
    let invalid = |id: Option<Box<RawValue>>, text: &str| refusal(id, ErrorKind::InvalidRequest, text);
    if !raw.get().starts_with('{') {
        return Err(invalid(None, "a request is a JSON object"));
    }
    let members: Members<'_> =
        serde_json::from_str(raw.get()).map_err(|_| invalid(None, "the request has a member twice"))?;
    let id = match members.id.map(RawValue::get) {
        None => None,
        Some(text) if text.starts_with(['"', '-', 'n']) || text.starts_with(|first: char| first.is_ascii_digit()) => {
            members.id.map(ToOwned::to_owned)
        }
        Some(_) => return Err(invalid(None, "`id` must be a string, a number or null")),
    };
    if members.version.map(RawValue::get) != Some("\"2.0\"") {
        return Err(invalid(id, "`jsonrpc` must be \"2.0\""));
    }
    let Some(method) = members.method else {
        return Err(invalid(id, "`method` is missing"));
    };
    let Ok(method) = serde_json::from_str::<String>(method.get()) else {
        return Err(invalid(id, "`method` must be a string"));
    };
    if members.params.is_some_and(|params| !params.get().starts_with(['{', '['])) {
        return Err(invalid(id, "`params` must be an object or an array"));
    }
    Ok(Call { id, method, params: members.params.map(ToOwned::to_owned) })
}

fn refusal(id: Option<Box<RawValue>>, kind: ErrorKind, message: &str) -> Refusal {
    Refusal { id, error: RpcError::new(kind, message) }
}

/// The members of a request, unread. A member that comes twice is an error: which one counts would be a guess.
#[derive(Default)]
struct Members<'a> {
    version: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
}

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON-RPC request")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    let member = match name.as_ref() {
                        "jsonrpc" => &mut members.version,
                        "id" => &mut members.id,
                        "method" => &mut members.method,
                        "params" => &mut members.params,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    if member.replace(map.next_value::<&'de RawValue>()?).is_some() {
                        return Err(serde::de::Error::custom("twice"));
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

/// The answer with a result.
#[must_use]
pub fn answer(id: Option<&RawValue>, result: &str) -> String {
    let id = id.map_or("null", RawValue::get);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

/// The answer with an error.
#[must_use]
pub fn error_answer(id: Option<&RawValue>, error: &RpcError) -> String {
    let id = id.map_or("null", RawValue::get);
    // An error of ours always serialises; the fallback keeps the promise that every id is answered.
    let error =
        serde_json::to_string(error).unwrap_or_else(|_| r#"{"code":-32603,"message":"internal error"}"#.to_owned());
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
}

/// A notification.
#[must_use]
pub fn notification<T: serde::Serialize>(method: &str, params: &T) -> String {
    let params = serde_json::to_string(params).unwrap_or_else(|_| "{}".to_owned());
    format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text comes to: for each part `ok <id> <method>` or `<code> <id>`.
    fn read(text: &str) -> Vec<String> {
        let id = |id: &Option<Box<RawValue>>| id.as_ref().map_or("-".to_owned(), |id| id.get().to_owned());
        let one = |part: Result<Call, Refusal>| match part {
            Ok(call) => format!("ok {} {}", id(&call.id), call.method),
            Err(refusal) => format!("{} {}", refusal.error.code, id(&refusal.id)),
        };
        match parse(text, 3) {
            Message::Single(part) => vec![one(part)],
            Message::Batch(parts) => parts.into_iter().map(one).collect(),
        }
    }

    #[test]
    fn ids_are_kept_as_they_came() {
        for id in ["1", "-1", "1.50", "1e999", "\"a\\u00e9\"", "null", "18446744073709551616", "\"\\ud800\""] {
            assert_eq!(read(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#)), [format!("ok {id} m")]);
        }
        assert_eq!(read(r#"{"jsonrpc":"2.0","method":"m"}"#), ["ok - m"]);
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_id_where_there_is_a_valid_one() {
        for (text, expected) in [
            ("", "-32700 -"),
            ("nonsense", "-32700 -"),
            ("{\"jsonrpc\":", "-32700 -"),
            ("\u{feff}{}", "-32700 -"),
            ("[1,2", "-32700 -"),
            ("1", "-32600 -"),
            ("\"text\"", "-32600 -"),
            ("null", "-32600 -"),
            ("[]", "-32600 -"),
            ("{}", "-32600 -"),
            (r#"{"jsonrpc":"1.0","id":7,"method":"m"}"#, "-32600 7"),
            (r#"{"jsonrpc":2.0,"id":7,"method":"m"}"#, "-32600 7"),
            (r#"{"id":7,"method":"m"}"#, "-32600 7"),
            (r#"{"jsonrpc":"2.0","id":true,"method":"m"}"#, "-32600 -"),
            (r#"{"jsonrpc":"2.0","id":{},"method":"m"}"#, "-32600 -"),
            (r#"{"jsonrpc":"2.0","id":[1],"method":"m"}"#, "-32600 -"),
            (r#"{"jsonrpc":"2.0","id":7,"method":1}"#, "-32600 7"),
            (r#"{"jsonrpc":"2.0","id":7}"#, "-32600 7"),
            (r#"{"jsonrpc":"2.0","id":7,"method":"m","params":"p"}"#, "-32600 7"),
            (r#"{"jsonrpc":"2.0","id":7,"method":"m","params":null}"#, "-32600 7"),
            (r#"{"jsonrpc":"2.0","id":7,"result":1}"#, "-32600 7"),
            (r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"m"}"#, "-32600 -"),
            ("[{},{},{},{}]", "-32600 -"),
        ] {
            assert_eq!(read(text), [expected], "{text}");
        }
    }

    #[test]
    fn each_part_of_a_batch_is_judged_alone() {
        assert_eq!(read("[1,2,3]"), ["-32600 -"; 3]);
        assert_eq!(read(r#" [ {"jsonrpc":"2.0","id":1,"method":"m"}, [] ]"#), ["ok 1 m", "-32600 -"]);
    }

    #[test]
    fn deep_nesting_neither_overflows_the_stack_nor_is_refused_by_the_envelope() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(read(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{deep}}}"#)), ["ok 1 m"]);
    }

    #[test]
    fn escaped_member_names_count_like_plain_ones() {
        assert_eq!(read(r#"{"jsonrpc":"2.0","\u0069d":4,"method":"m"}"#), ["ok 4 m"]);
    }
}
