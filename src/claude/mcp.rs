//! MCP configurations that callers give: their shape, and which of their servers ask for more than a connection.

use serde_json::{Map, Value};

/// The members of a server entry that do no more than say where it is. `headersHelper` and the like run commands.
const PLAIN_MEMBERS: [&str; 4] = ["type", "url", "headers", "timeout"];

/// The map of servers by name, whether the caller gave that or the object around it (`{"mcpServers": {…}}`).
#[must_use]
pub fn servers(config: &Map<String, Value>) -> &Map<String, Value> {
    match config.get("mcpServers") {
        Some(Value::Object(inner)) if config.len() == 1 => inner,
        _ => config,
    }
}

/// The value of `--mcp-config`.
#[must_use]
pub fn config_text(config: &Map<String, Value>) -> String {
    let mut whole = Map::new();
    whole.insert("mcpServers".to_owned(), Value::Object(servers(config).clone()));
    Value::Object(whole).to_string()
}

/// The names of the servers that are not plain remote ones: those that start a program (stdio, helpers), that
/// talk to the host (`sdk`), that are of an unknown kind, or that take values from Claude's environment (`${…}`).
/// They need the scope `raw`.
#[must_use]
pub fn servers_needing_raw(config: &Map<String, Value>) -> Vec<&str> {
    servers(config).iter().filter(|(_, server)| !is_plain_remote(server)).map(|(name, _)| name.as_str()).collect()
}

fn is_plain_remote(server: &Value) -> bool {
    let Value::Object(members) = server else { return false };
    let remote = matches!(members.get("type").and_then(Value::as_str), Some("http" | "sse"));
    remote && members.keys().all(|name| PLAIN_MEMBERS.contains(&name.as_str())) && !expands(server)
}

/// Would Claude put something of its environment into this?
fn expands(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(values) => values.iter().any(expands),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains("${") || expands(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn needing_raw(config: &Value) -> Vec<&str> {
        servers_needing_raw(config.as_object().unwrap())
    }

    #[test]
    fn a_plain_remote_server_needs_nothing() {
        assert!(needing_raw(&json!({"a": {"type": "http", "url": "https://x", "headers": {"X": "y"}}})).is_empty());
        assert!(needing_raw(&json!({"mcpServers": {"a": {"type": "sse", "url": "https://x"}}})).is_empty());
    }

    #[test]
    fn whatever_runs_a_program_or_is_unknown_needs_raw() {
        for server in [
            json!({"command": "sh"}),
            json!({"type": "stdio", "command": "sh"}),
            json!({"type": "http", "url": "https://x", "command": "sh"}),
            json!({"type": "http", "url": "https://x", "headersHelper": "sh"}),
            json!({"type": "sdk", "name": "x"}),
            json!({"type": "new", "url": "https://x"}),
            json!({"url": "https://x"}),
            json!("sh"),
        ] {
            assert_eq!(needing_raw(&json!({"a": server})), ["a"], "{server}");
            assert_eq!(needing_raw(&json!({"mcpServers": {"a": server}})), ["a"], "{server}");
        }
    }

    #[test]
    fn whatever_reads_the_environment_needs_raw() {
        assert_eq!(needing_raw(&json!({"a": {"type": "http", "url": "https://x/${HOME}"}})), ["a"]);
        assert_eq!(needing_raw(&json!({"a": {"type": "http", "url": "u", "headers": {"X": "${HOME}"}}})), ["a"]);
        assert_eq!(needing_raw(&json!({"a": {"type": "http", "url": "u", "headers": {"${HOME}": "x"}}})), ["a"]);
    }

    #[test]
    fn both_shapes_give_the_same_argument() {
        let inner = json!({"a": {"type": "http", "url": "u"}});
        let outer = json!({"mcpServers": inner});
        assert_eq!(config_text(inner.as_object().unwrap()), config_text(outer.as_object().unwrap()));
        assert_eq!(config_text(inner.as_object().unwrap()), r#"{"mcpServers":{"a":{"type":"http","url":"u"}}}"#);
    }
}
