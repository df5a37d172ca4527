//! Claude's question whether it may use a tool.

use serde_json::value::RawValue;

use super::members::{members, owned, read};
use crate::api::event::PermissionRequested;

/// Claude's question, in the form in which a client is shown it.
pub type PermissionQuestion = PermissionRequested;

impl PermissionRequested {
    /// The question that a `can_use_tool` request is; `None` if it names no tool.
    #[must_use]
    pub fn from_request(request_id: &str, request: &RawValue) -> Option<Self> {
        let [tool_name, input, tool_use_id, display_name, title, description] =
            members(request.get(), &["tool_name", "input", "tool_use_id", "display_name", "title", "description"])?;
        let [blocked_path, decision_reason, suggestions, agent_id, interaction] = members(
            request.get(),
            &["blocked_path", "decision_reason", "permission_suggestions", "agent_id", "requires_user_interaction"],
        )?;
        Some(Self {
            request_id: request_id.to_owned(),
            tool_name: owned(tool_name)?,
            input: read(input).unwrap_or_default(),
            tool_use_id: owned(tool_use_id),
            display_name: owned(display_name),
            title: owned(title),
            description: owned(description),
            blocked_path: owned(blocked_path),
            decision_reason: read(decision_reason),
            suggestions: read(suggestions),
            agent_id: owned(agent_id),
            requires_user_interaction: read(interaction).unwrap_or_default(),
            expires_at: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::claude::{ClaudeLine, parse_line};

    #[test]
    fn a_recorded_question_is_understood() {
        let line = include_str!("../../tests/fixtures/claude/permission.jsonl")
            .lines()
            .find(|line| line.contains("can_use_tool"))
            .unwrap();
        let Some(ClaudeLine::ControlRequest { request_id, subtype, request }) = parse_line(line.as_bytes()) else {
            panic!("not a control request")
        };
        assert_eq!(subtype, "can_use_tool");
        let question = PermissionQuestion::from_request(&request_id, &request).unwrap();
        assert_eq!(question.request_id, "ad5a3cfe-d755-41bd-a18c-e62a732bb92e");
        assert_eq!(question.tool_name, "Bash");
        assert_eq!(question.input, json!({"command": "touch /w/y", "description": "stub command"}));
        assert_eq!(question.tool_use_id.as_deref(), Some("toolu_3e50270a889b427bbc44146b"));
        assert_eq!(question.blocked_path.as_deref(), Some("/w/y"));
        assert_eq!(question.suggestions.as_ref().and_then(Value::as_array).map(Vec::len), Some(3));
        assert!(!question.requires_user_interaction);
    }

    #[test]
    fn what_is_absent_is_left_out_for_the_client() {
        let request = RawValue::from_string(r#"{"subtype":"can_use_tool","tool_name":"T","input":{}}"#.into()).unwrap();
        let question = PermissionQuestion::from_request("r", &request).unwrap();
        let shown = serde_json::to_value(&question).unwrap();
        assert_eq!(shown, json!({"request_id": "r", "tool_name": "T", "input": {}}));
    }

    #[test]
    fn a_request_without_a_tool_is_no_question() {
        let request = RawValue::from_string(r#"{"subtype":"can_use_tool"}"#.into()).unwrap();
        assert_eq!(PermissionQuestion::from_request("r", &request), None);
    }
}
