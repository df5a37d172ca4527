//! `claude` arguments that a caller gives (the dialect's `execute`): read as Claude reads them, judged by the
//! allow-list in `flags`, and written anew.
//!
//! What is run is never the caller's words but what was understood of them: every value in its flag's own argument,
//! the prompt after `--`. So nothing can mean one thing here and another to Claude. What the policy has to judge
//! (permission mode, directories, tools, MCP servers) stands in fields, and the policy may change them.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::command_line::{Arguments, CommandLineError, USER_SETTINGS_ONLY};
use super::flags::{self, Meaning, Takes};
use super::input::permission_mode;
use super::mcp;
use crate::api::session::PermissionMode;

/// How Claude prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// The final text.
    Text,
    /// The result line.
    Json,
    /// Every line.
    StreamJson,
}

/// A command that answers without a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Information {
    /// `--version`
    Version,
    /// `--help`
    Help,
}

/// What a caller's arguments ask for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallerArguments {
    /// Only `--version` or `--help`: nothing else counts then.
    pub information: Option<Information>,
    /// The permission mode; `--dangerously-skip-permissions` is [`PermissionMode::BypassPermissions`].
    pub permission_mode: Option<PermissionMode>,
    /// Further directories that Claude may work in, as given: relative ones are relative to the workspace.
    pub add_dirs: Vec<String>,
    /// MCP configurations, each one object (see [`mcp::servers_needing_raw`]).
    pub mcp_config: Vec<Map<String, Value>>,
    /// Rules that need no question, as given (see [`split_rules`](super::tools::split_rules)).
    pub allowed_tools: Vec<String>,
    /// Tools that are never used, as given.
    pub disallowed_tools: Vec<String>,
    /// The built-in tools that there are; `None`: all, one empty string: none.
    pub tools: Option<Vec<String>>,
    /// How Claude prints.
    pub output_format: Option<OutputFormat>,
    /// `--verbose`
    pub verbose: bool,
    /// `--include-partial-messages`
    pub partial_messages: bool,
    /// Model alias or name.
    pub model: Option<String>,
    /// The model to use when that one is away.
    pub fallback_model: Option<String>,
    /// Model turns for the prompt.
    pub max_turns: Option<u32>,
    /// Cost limit in US dollars, greater than 0.
    pub max_budget_usd: Option<f64>,
    /// Replaces Claude's system prompt.
    pub system_prompt: Option<String>,
    /// Is added to it.
    pub append_system_prompt: Option<String>,
    /// The result must fit it.
    pub json_schema: Option<Map<String, Value>>,
    /// `low`, `medium`, `high`, `xhigh` or `max`.
    pub effort: Option<String>,
    /// The new conversation's id.
    pub session_id: Option<Uuid>,
    /// The conversation to go on with.
    pub resume: Option<Uuid>,
    /// Go on with the newest conversation of the workspace.
    pub continue_newest: bool,
    /// Go on with a copy.
    pub fork_session: bool,
    /// Use no MCP servers but those given.
    pub strict_mcp_config: bool,
    /// Keep no record of the conversation.
    pub no_session_persistence: bool,
    /// `--disable-slash-commands`
    pub disable_slash_commands: bool,
    /// The words that are no flags. Claude takes the first as its prompt.
    pub prompt: Vec<String>,
}

/// Why a caller's arguments are not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A flag that is not on the allow-list.
    #[error("the flag {flag} is not allowed")]
    NotAllowed {
        /// The flag, without its value.
        flag: String,
    },
    /// A subcommand instead of a prompt.
    #[error("the subcommand {subcommand} is not allowed; put a prompt after -p")]
    Subcommand {
        /// The word.
        subcommand: String,
    },
    /// A flag that needs a value and has none.
    #[error("the flag {flag} needs a value")]
    MissingValue {
        /// The flag.
        flag: String,
    },
    /// A flag that takes no value and has one.
    #[error("the flag {flag} takes no value")]
    UnexpectedValue {
        /// The flag.
        flag: String,
    },
    /// A value that does not fit its flag.
    #[error("the value of {flag} must be {expected}")]
    InvalidValue {
        /// The flag.
        flag: String,
        /// What would fit.
        expected: &'static str,
    },
    /// A flag that takes several values has taken the prompt as one.
    #[error("there is no prompt: {flag} takes all words after it; put the prompt before it or after --")]
    PromptTaken {
        /// The flag.
        flag: String,
    },
    /// A word that the operating system would not take.
    #[error(transparent)]
    CommandLine(#[from] CommandLineError),
}

/// Reads the words after the program's name.
///
/// # Errors
/// [`ArgumentError`], naming the flag that is unknown, forbidden or has a value that does not fit.
pub fn parse_caller_arguments(arguments: &[String]) -> Result<CallerArguments, ArgumentError> {
    let mut parsed = CallerArguments::default();
    let mut print = false;
    let mut taker = None;
    let mut words = arguments.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            parsed.prompt.extend(words.map(str::to_owned));
            break;
        }
        if !looks_like_flag(word) {
            parsed.prompt.push(word.to_owned());
            continue;
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) if word.starts_with("--") => (name, Some(value)),
            _ => (word, None),
        };
        let Some((meaning, takes)) = flags::find(name) else {
            return Err(ArgumentError::NotAllowed { flag: name.to_owned() });
        };
        print |= meaning == Meaning::Print;
        let mut value = inline;
        match takes {
            Takes::Nothing if inline.is_some() => {
                return Err(ArgumentError::UnexpectedValue { flag: name.to_owned() });
            }
            Takes::Nothing => {}
            Takes::One | Takes::Many if inline.is_none() => value = words.next(),
            Takes::Optional if inline.is_none() => value = words.next_if(|word| !looks_like_flag(word)),
            Takes::One | Takes::Many | Takes::Optional => {}
        }
        if takes != Takes::Nothing && value.is_none() {
            return Err(ArgumentError::MissingValue { flag: name.to_owned() });
        }
        parsed.set(meaning, name, value.unwrap_or_default())?;
        if takes == Takes::Many && inline.is_none() {
            taker = Some(name);
            while let Some(further) = words.next_if(|word| !looks_like_flag(word)) {
                parsed.set(meaning, name, further)?;
            }
        }
    }
    if parsed.information.is_some() {
        return Ok(parsed);
    }
    if let Some(subcommand) = parsed.prompt.first().filter(|word| !print && flags::is_subcommand(word)) {
        return Err(ArgumentError::Subcommand { subcommand: subcommand.clone() });
    }
    match taker {
        Some(flag) if parsed.prompt.is_empty() => Err(ArgumentError::PromptTaken { flag: flag.to_owned() }),
        _ => Ok(parsed),
    }
}

/// Claude's rule: a lone `-` is a value.
fn looks_like_flag(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

impl CallerArguments {
    fn set(&mut self, meaning: Meaning, flag: &str, value: &str) -> Result<(), ArgumentError> {
        let invalid = |expected| ArgumentError::InvalidValue { flag: flag.to_owned(), expected };
        let text = || Some(value.to_owned());
        let uuid = || value.parse::<Uuid>().map_err(|_| invalid("a UUID"));
        let object = |expected| serde_json::from_str::<Map<String, Value>>(value).map_err(|_| invalid(expected));
        match meaning {
            Meaning::AddDir => self.add_dirs.push(value.to_owned()),
            Meaning::AllowedTools => self.allowed_tools.push(value.to_owned()),
            Meaning::AppendSystemPrompt => self.append_system_prompt = text(),
            Meaning::Continue => self.continue_newest = true,
            Meaning::DisableSlashCommands => self.disable_slash_commands = true,
            Meaning::DisallowedTools => self.disallowed_tools.push(value.to_owned()),
            Meaning::Effort => match value {
                "low" | "medium" | "high" | "xhigh" | "max" => self.effort = text(),
                _ => return Err(invalid("low, medium, high, xhigh or max")),
            },
            Meaning::FallbackModel => self.fallback_model = text(),
            Meaning::ForkSession => self.fork_session = true,
            Meaning::Help => self.information = Some(self.information.unwrap_or(Information::Help)),
            Meaning::InputFormat if value != "text" => return Err(invalid("text")),
            // What the gateway always says, or what is Claude's default.
            Meaning::InputFormat | Meaning::Print => {}
            Meaning::JsonSchema => self.json_schema = Some(object("a JSON object")?),
            Meaning::MaxBudget => match value.parse::<f64>() {
                Ok(dollars) if dollars.is_finite() && dollars > 0.0 => self.max_budget_usd = Some(dollars),
                _ => return Err(invalid("a number greater than 0")),
            },
            Meaning::MaxTurns => self.max_turns = Some(value.parse().map_err(|_| invalid("a whole number"))?),
            Meaning::McpConfig => {
                let expected = "a JSON object that holds mcpServers alone; files are not read";
                let config = object(expected)?;
                if config.len() != 1 || !config.get("mcpServers").is_some_and(Value::is_object) {
                    return Err(invalid(expected));
                }
                self.mcp_config.push(config);
            }
            Meaning::Model => self.model = text(),
            Meaning::NoPersistence => self.no_session_persistence = true,
            Meaning::OutputFormat => {
                self.output_format = Some(match value {
                    "text" => OutputFormat::Text,
                    "json" => OutputFormat::Json,
                    "stream-json" => OutputFormat::StreamJson,
                    _ => return Err(invalid("text, json or stream-json")),
                });
            }
            Meaning::PartialMessages => self.partial_messages = true,
            Meaning::PermissionMode => {
                let mode = permission_mode(value)
                    .ok_or_else(|| invalid("default, acceptEdits, plan, dontAsk or bypassPermissions"))?;
                // Whichever comes last, Claude lets skipping win.
                if self.permission_mode != Some(PermissionMode::BypassPermissions) {
                    self.permission_mode = Some(mode);
                }
            }
            Meaning::Resume => self.resume = Some(uuid()?),
            Meaning::SessionId => self.session_id = Some(uuid()?),
            Meaning::SkipPermissions => self.permission_mode = Some(PermissionMode::BypassPermissions),
            Meaning::StrictMcpConfig => self.strict_mcp_config = true,
            Meaning::SystemPrompt => self.system_prompt = text(),
            Meaning::Tools => self.tools.get_or_insert_default().push(value.to_owned()),
            Meaning::Verbose => self.verbose = true,
            Meaning::Version => self.information = Some(Information::Version),
        }
        Ok(())
    }

    /// The arguments to run, without the program itself. `user_settings_only` leaves the settings, hooks and MCP
    /// servers of an untrusted workspace alone.
    ///
    /// # Errors
    /// [`CommandLineError`], if the operating system would refuse one.
    pub fn arguments(&self, user_settings_only: bool) -> Result<Vec<String>, CommandLineError> {
        let mut arguments = Arguments::default();
        match self.information {
            Some(Information::Version) => arguments.flag("--version"),
            Some(Information::Help) => arguments.flag("--help"),
            None => self.write(&mut arguments, user_settings_only)?,
        }
        arguments.finish()
    }

    fn write(&self, to: &mut Arguments, user_settings_only: bool) -> Result<(), CommandLineError> {
        // Always first: with it no word can become a subcommand.
        to.flag("--print");
        let mut value = |flag, value: Option<&str>| to.add_some("command", flag, value);
        let format = self.output_format.map(|format| match format {
            OutputFormat::Text => "text",
            OutputFormat::Json => "json",
            OutputFormat::StreamJson => "stream-json",
        });
        value("--output-format", format)?;
        value("--model", self.model.as_deref())?;
        value("--fallback-model", self.fallback_model.as_deref())?;
        value("--effort", self.effort.as_deref())?;
        value("--permission-mode", self.permission_mode.map(PermissionMode::as_str))?;
        value("--max-turns", self.max_turns.map(|turns| turns.to_string()).as_deref())?;
        value("--max-budget-usd", self.max_budget_usd.map(|dollars| dollars.to_string()).as_deref())?;
        value("--system-prompt", self.system_prompt.as_deref())?;
        value("--append-system-prompt", self.append_system_prompt.as_deref())?;
        let schema = self.json_schema.as_ref().map(|schema| Value::Object(schema.clone()).to_string());
        value("--json-schema", schema.as_deref())?;
        value("--session-id", self.session_id.map(|id| id.to_string()).as_deref())?;
        value("--resume", self.resume.map(|id| id.to_string()).as_deref())?;
        for (flag, list) in [
            ("--add-dir", self.add_dirs.as_slice()),
            ("--allowedTools", self.allowed_tools.as_slice()),
            ("--disallowedTools", self.disallowed_tools.as_slice()),
            ("--tools", self.tools.as_deref().unwrap_or_default()),
        ] {
            for item in list {
                value(flag, Some(item))?;
            }
        }
        for config in &self.mcp_config {
            value("--mcp-config", Some(&mcp::config_text(config)))?;
        }
        for (wanted, flag) in [
            (self.verbose, "--verbose"),
            (self.partial_messages, "--include-partial-messages"),
            (self.continue_newest, "--continue"),
            (self.fork_session, "--fork-session"),
            (self.strict_mcp_config, "--strict-mcp-config"),
            (self.no_session_persistence, "--no-session-persistence"),
            (self.disable_slash_commands, "--disable-slash-commands"),
            (user_settings_only, USER_SETTINGS_ONLY),
        ] {
            if wanted {
                to.flag(flag);
            }
        }
        if !self.prompt.is_empty() {
            to.flag("--");
            for word in &self.prompt {
                to.push("command", word.clone())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
