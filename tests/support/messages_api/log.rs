//! The record of requests, for tests that check what reached the API: one JSON object a line, never headers.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use parking_lot::Mutex;
use serde_json::{Value, json};

/// Where requests are recorded, if anywhere.
pub(crate) struct RequestLog {
    /// Shared by all connections: lines must not mix.
    file: Option<Mutex<File>>,
}

impl RequestLog {
    /// Appends to `path`; without one nothing is recorded.
    pub(crate) fn open(path: Option<&Path>) -> std::io::Result<Self> {
        let open = |path| File::options().create(true).append(true).open(path);
        Ok(Self { file: path.map(open).transpose()?.map(Mutex::new) })
    }

    /// Records a request. `prompt` is the text that chose the answer, byte for byte; `login` the kind of the
    /// caller's login, never the login itself.
    pub(crate) fn request(&self, method: &str, path: &str, login: &str, prompt: Option<&str>, body: &Value) {
        let Some(file) = &self.file else { return };
        let field = |name: &str| body.get(name).cloned().unwrap_or(Value::Null);
        let texts: Vec<&str> = body["messages"]
            .as_array()
            .and_then(|messages| messages.iter().rev().find(|message| message["role"] == "user"))
            .map(crate::directive::texts)
            .unwrap_or_default();
        let conversation = body["messages"].as_array().map(|messages| crate::directive::user_texts(messages));
        let tools: Vec<&Value> = body["tools"].as_array().into_iter().flatten().map(|tool| &tool["name"]).collect();
        let line = json!({
            "method": method, "path": path, "login": login, "prompt": prompt, "last_user_texts": texts,
            "model": field("model"), "stream": field("stream"), "tools": tools,
            "messages": body["messages"].as_array().map(Vec::len), "user_texts": conversation,
        });
        // A record that can't be written shows as a test that misses it.
        let _unwritten = file.lock().write_all(format!("{line}\n").as_bytes());
    }
}
