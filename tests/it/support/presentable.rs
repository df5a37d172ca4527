//! Row B8: an error says what happened and what to do, and nothing of the gateway's inside. Every answer that the
//! clients here read goes through this, so that all errors of all tests are searched.

use serde::Deserialize;
use serde_json::value::RawValue;

/// What no error may hold: paths, addresses, traces, the names of our own types.
const FORBIDDEN: [&str; 20] = [
    "panicked",
    "backtrace",
    "thread \'",
    "src/",
    ".rs:",
    "unwrap()",
    "Some(",
    "Err(",
    "/tmp/",
    "/root",
    "/home/",
    "/var/",
    "/etc/",
    "/usr/",
    "/proc/",
    "/target/",
    "127.0.0.1",
    "0.0.0.0",
    "[::",
    "0x",
];

/// What is read of an answer. Its id may be what no `Value` can hold.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Fails if a JSON-RPC message, alone or a batch, holds an error that tells too much.
pub(crate) fn check_message(text: &str) {
    for error in errors(text) {
        check_text("an error", error);
    }
}

/// Fails if an HTTP answer with that status is an error that tells too much.
pub(crate) fn check_http(status: u16, body: &[u8]) {
    if status >= 400 {
        check_text("an HTTP error", &String::from_utf8_lossy(body));
    }
}

/// Fails if a close frame's reason tells too much.
pub(crate) fn check_close(reason: &str) {
    check_text("a close reason", reason);
}

fn check_text(what: &str, text: &str) {
    for forbidden in FORBIDDEN {
        assert!(!text.contains(forbidden), "b8: {what} tells `{forbidden}`: {text}");
    }
}

/// The error objects of a message. A text that can't be read is searched whole.
fn errors(text: &str) -> Vec<&str> {
    let parts = if text.trim_start().starts_with('[') {
        serde_json::from_str::<Vec<&RawValue>>(text).map(|parts| parts.into_iter().map(RawValue::get).collect())
    } else {
        Ok(vec![text])
    };
    let Ok(parts) = parts else { return vec![text] };
    parts
        .into_iter()
        .filter_map(|part| match serde_json::from_str::<Answer<'_>>(part) {
            Ok(answer) => answer.error.map(RawValue::get),
            Err(_) => Some(part),
        })
        .collect()
}
