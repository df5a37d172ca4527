//! The command line of a session of kind `claude`.
//!
//! Every value stands in its flag's own argument (`--flag=value`), so that no value can become a flag. Prompts are
//! not here: they go through stdin.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::mcp;
use crate::api::session::PermissionMode;

/// The longest single argument that Linux takes, in bytes, without its closing NUL.
pub const MAX_ARGUMENT_BYTES: usize = 128 * 1024 - 1;

/// How much all arguments may take together, in bytes: well below what Linux takes with the environment beside it.
pub const MAX_COMMAND_LINE_BYTES: usize = 1024 * 1024;

/// Why the operating system would not take a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// One parameter is too long.
    #[error("`{parameter}` is too long: {bytes} bytes, {limit} are possible")]
    ArgumentTooLong {
        /// The parameter of `session.start`.
        parameter: &'static str,
        /// Its length, its flag included.
        bytes: usize,
        /// What is possible.
        limit: usize,
    },
    /// All parameters together are too long.
    #[error("the parameters are too long together: {bytes} bytes, {MAX_COMMAND_LINE_BYTES} are possible")]
    TooLongTogether {
        /// Their length.
        bytes: usize,
    },
    /// A parameter holds a NUL character, which no argument can.
    #[error("`{parameter}` holds a NUL character")]
    Nul {
        /// The parameter of `session.start`.
        parameter: &'static str,
    },
}

/// Which conversation a process works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversation {
    /// A new one.
    New {
        /// Its id.
        session_id: Uuid,
    },
    /// A new one that begins as a copy of another.
    Fork {
        /// The one to copy; it is left as it is.
        from: Uuid,
        /// The new one's id.
        session_id: Uuid,
    },
    /// One that there is, going on under its own id.
    Continue {
        /// Its id.
        session_id: Uuid,
    },
}

/// The command line of a session of kind `claude`.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandLine {
    /// Which conversation.
    pub conversation: Conversation,
    /// Model alias or name.
    pub model: Option<String>,
    /// Permission mode; Claude's default is `default`.
    pub permission_mode: Option<PermissionMode>,
    /// Rules that need no question.
    pub allowed_tools: Vec<String>,
    /// Tools that are never used.
    pub disallowed_tools: Vec<String>,
    /// Model turns for one message.
    pub max_turns: Option<u32>,
    /// Cost limit in US dollars; greater than 0.
    pub max_budget_usd: Option<f64>,
    /// Replaces Claude's system prompt.
    pub system_prompt: Option<String>,
    /// Is added to it.
    pub append_system_prompt: Option<String>,
    /// MCP servers.
    pub mcp_config: Option<Map<String, Value>>,
    /// The result must fit it.
    pub json_schema: Option<Map<String, Value>>,
    /// Print text as it is generated.
    pub partial_messages: bool,
    /// Leave the project's own settings, hooks and MCP servers alone: the workspace is not trusted.
    pub user_settings_only: bool,
}

impl CommandLine {
    /// A command line with nothing but the conversation.
    #[must_use]
    pub const fn new(conversation: Conversation) -> Self {
        Self {
            conversation,
            model: None,
            permission_mode: None,
            allowed_tools: Vec::new(),
            disallowed_tools: Vec::new(),
            max_turns: None,
            max_budget_usd: None,
            system_prompt: None,
            append_system_prompt: None,
            mcp_config: None,
            json_schema: None,
            partial_messages: false,
            user_settings_only: false,
        }
    }

    /// The arguments, without the program itself.
    ///
    /// # Errors
    /// [`CommandLineError`], naming the parameter, if the operating system would refuse it.
    pub fn arguments(&self) -> Result<Vec<String>, CommandLineError> {
        let mut arguments = Arguments::default();
        for flag in [
            "--print",
            "--output-format=stream-json",
            "--verbose",
            "--input-format=stream-json",
            "--permission-prompt-tool=stdio",
        ] {
            arguments.flag(flag);
        }
        match self.conversation {
            Conversation::New { session_id } => {
                arguments.add("session_id", "--session-id", &session_id.to_string())?;
            }
            Conversation::Fork { from, session_id } => {
                arguments.add("resume", "--resume", &from.to_string())?;
                arguments.flag("--fork-session");
                arguments.add("session_id", "--session-id", &session_id.to_string())?;
            }
            Conversation::Continue { session_id } => {
                arguments.add("session_id", "--resume", &session_id.to_string())?;
            }
        }
        arguments.add_some("model", "--model", self.model.as_deref())?;
        arguments.add_some("permission_mode", "--permission-mode", self.permission_mode.map(PermissionMode::as_str))?;
        for rule in &self.allowed_tools {
            arguments.add("allowed_tools", "--allowedTools", rule)?;
        }
        for rule in &self.disallowed_tools {
            arguments.add("disallowed_tools", "--disallowedTools", rule)?;
        }
        arguments.add_some("max_turns", "--max-turns", self.max_turns.map(|turns| turns.to_string()).as_deref())?;
        let budget = self.max_budget_usd.map(|dollars| dollars.to_string());
        arguments.add_some("max_budget_usd", "--max-budget-usd", budget.as_deref())?;
        arguments.add_some("system_prompt", "--system-prompt", self.system_prompt.as_deref())?;
        arguments.add_some("append_system_prompt", "--append-system-prompt", self.append_system_prompt.as_deref())?;
        arguments.add_some("mcp_config", "--mcp-config", self.mcp_config.as_ref().map(mcp::config_text).as_deref())?;
        let schema = self.json_schema.as_ref().map(|schema| Value::Object(schema.clone()).to_string());
        arguments.add_some("json_schema", "--json-schema", schema.as_deref())?;
        if self.partial_messages {
            arguments.flag("--include-partial-messages");
        }
        if self.user_settings_only {
            arguments.flag(USER_SETTINGS_ONLY);
        }
        arguments.finish()
    }
}

/// The flag that leaves a project's own settings, hooks and MCP servers alone.
pub(super) const USER_SETTINGS_ONLY: &str = "--setting-sources=user";

/// Arguments as they are collected, each checked.
#[derive(Default)]
pub(super) struct Arguments(Vec<String>);

impl Arguments {
    pub(super) fn flag(&mut self, flag: &str) {
        self.0.push(flag.to_owned());
    }

    /// Adds `flag=value`.
    pub(super) fn add(&mut self, parameter: &'static str, flag: &str, value: &str) -> Result<(), CommandLineError> {
        self.push(parameter, format!("{flag}={value}"))
    }

    pub(super) fn add_some(
        &mut self,
        parameter: &'static str,
        flag: &str,
        value: Option<&str>,
    ) -> Result<(), CommandLineError> {
        value.map_or(Ok(()), |value| self.add(parameter, flag, value))
    }

    /// Adds an argument as it is.
    pub(super) fn push(&mut self, parameter: &'static str, argument: String) -> Result<(), CommandLineError> {
        if argument.contains('\0') {
            return Err(CommandLineError::Nul { parameter });
        }
        if argument.len() > MAX_ARGUMENT_BYTES {
            let bytes = argument.len();
            return Err(CommandLineError::ArgumentTooLong { parameter, bytes, limit: MAX_ARGUMENT_BYTES });
        }
        self.0.push(argument);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Vec<String>, CommandLineError> {
        // The kernel counts the closing NUL and a pointer for each.
        let bytes = self.0.iter().map(|argument| argument.len() + 1 + size_of::<usize>()).sum();
        if bytes > MAX_COMMAND_LINE_BYTES {
            return Err(CommandLineError::TooLongTogether { bytes });
        }
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALWAYS: [&str; 5] = [
        "--print",
        "--output-format=stream-json",
        "--verbose",
        "--input-format=stream-json",
        "--permission-prompt-tool=stdio",
    ];

    fn with_always(rest: &[&str]) -> Vec<String> {
        ALWAYS.iter().chain(rest).map(|&argument| argument.to_owned()).collect()
    }

    #[test]
    fn each_conversation_has_its_flags() {
        let (from, session_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let old = "--resume=00000000-0000-0000-0000-000000000001";
        let new = "--session-id=00000000-0000-0000-0000-000000000002";
        let arguments = |conversation| CommandLine::new(conversation).arguments().unwrap();
        assert_eq!(arguments(Conversation::New { session_id }), with_always(&[new]));
        assert_eq!(arguments(Conversation::Fork { from, session_id }), with_always(&[old, "--fork-session", new]));
        assert_eq!(arguments(Conversation::Continue { session_id: from }), with_always(&[old]));
    }

    #[test]
    fn e11_every_value_stands_in_its_flags_own_argument_whatever_it_is() {
        let command_line = CommandLine {
            model: Some("--dangerously-skip-permissions".to_owned()),
            permission_mode: Some(PermissionMode::Plan),
            allowed_tools: vec!["Bash(echo a, b:*)".to_owned(), "-p".to_owned()],
            disallowed_tools: vec!["WebFetch".to_owned()],
            max_turns: Some(3),
            max_budget_usd: Some(0.1),
            system_prompt: Some("-x\n$(reboot) 'y' \"z\"".to_owned()),
            append_system_prompt: Some("--".to_owned()),
            mcp_config: json!({"a": {"type": "http", "url": "u"}}).as_object().cloned(),
            json_schema: json!({"type": "object"}).as_object().cloned(),
            partial_messages: true,
            user_settings_only: true,
            ..CommandLine::new(Conversation::New { session_id: Uuid::nil() })
        };
        assert_eq!(
            command_line.arguments().unwrap(),
            with_always(&[
                "--session-id=00000000-0000-0000-0000-000000000000",
                "--model=--dangerously-skip-permissions",
                "--permission-mode=plan",
                "--allowedTools=Bash(echo a, b:*)",
                "--allowedTools=-p",
                "--disallowedTools=WebFetch",
                "--max-turns=3",
                "--max-budget-usd=0.1",
                "--system-prompt=-x\n$(reboot) 'y' \"z\"",
                "--append-system-prompt=--",
                r#"--mcp-config={"mcpServers":{"a":{"type":"http","url":"u"}}}"#,
                r#"--json-schema={"type":"object"}"#,
                "--include-partial-messages",
                "--setting-sources=user",
            ])
        );
    }

    #[test]
    fn a_value_that_no_argument_can_hold_is_refused_with_its_parameters_name() {
        let base = CommandLine::new(Conversation::New { session_id: Uuid::nil() });
        let fits = MAX_ARGUMENT_BYTES - "--system-prompt=".len();
        let with_prompt = |bytes| CommandLine { system_prompt: Some("x".repeat(bytes)), ..base.clone() };
        assert!(with_prompt(fits).arguments().is_ok());
        assert_eq!(
            with_prompt(fits + 1).arguments(),
            Err(CommandLineError::ArgumentTooLong {
                parameter: "system_prompt",
                bytes: MAX_ARGUMENT_BYTES + 1,
                limit: MAX_ARGUMENT_BYTES
            })
        );
        let nul = CommandLine { model: Some("a\0b".to_owned()), ..base.clone() };
        assert_eq!(nul.arguments(), Err(CommandLineError::Nul { parameter: "model" }));
        let many = CommandLine { allowed_tools: vec!["T".repeat(1_000); 2_000], ..base };
        assert!(matches!(many.arguments(), Err(CommandLineError::TooLongTogether { bytes }) if bytes > 2_000_000));
    }
}
