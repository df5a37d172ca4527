//! The flags of Claude Code that a caller may give, and how Claude reads them.
//!
//! An allow-list: a flag that is not here is refused, also one that a newer Claude brings.

/// How a flag takes its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// None.
    Nothing,
    /// The next word, whatever it is.
    One,
    /// The next word, and all further ones that do not begin with `-`.
    Many,
    /// The next word, if it does not begin with `-`.
    Optional,
}

/// What a flag means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    AddDir,
    AllowedTools,
    AppendSystemPrompt,
    Continue,
    DisableSlashCommands,
    DisallowedTools,
    Effort,
    FallbackModel,
    ForkSession,
    Help,
    InputFormat,
    JsonSchema,
    MaxBudget,
    MaxTurns,
    McpConfig,
    Model,
    NoPersistence,
    OutputFormat,
    PartialMessages,
    PermissionMode,
    Print,
    Resume,
    SessionId,
    SkipPermissions,
    StrictMcpConfig,
    SystemPrompt,
    Tools,
    Verbose,
    Version,
}

/// The flag of that name, dashes included.
pub(super) fn find(name: &str) -> Option<(Meaning, Takes)> {
    Some(match name {
        "--add-dir" => (Meaning::AddDir, Takes::Many),
        "--allowedTools" | "--allowed-tools" => (Meaning::AllowedTools, Takes::Many),
        "--append-system-prompt" => (Meaning::AppendSystemPrompt, Takes::One),
        "--continue" | "-c" => (Meaning::Continue, Takes::Nothing),
        "--dangerously-skip-permissions" => (Meaning::SkipPermissions, Takes::Nothing),
        "--disable-slash-commands" => (Meaning::DisableSlashCommands, Takes::Nothing),
        "--disallowedTools" | "--disallowed-tools" => (Meaning::DisallowedTools, Takes::Many),
        "--effort" => (Meaning::Effort, Takes::One),
        "--fallback-model" => (Meaning::FallbackModel, Takes::One),
        "--fork-session" => (Meaning::ForkSession, Takes::Nothing),
        "--help" | "-h" => (Meaning::Help, Takes::Nothing),
        "--include-partial-messages" => (Meaning::PartialMessages, Takes::Nothing),
        "--input-format" => (Meaning::InputFormat, Takes::One),
        "--json-schema" => (Meaning::JsonSchema, Takes::One),
        "--max-budget-usd" => (Meaning::MaxBudget, Takes::One),
        "--max-turns" => (Meaning::MaxTurns, Takes::One),
        "--mcp-config" => (Meaning::McpConfig, Takes::Many),
        "--model" => (Meaning::Model, Takes::One),
        "--no-session-persistence" => (Meaning::NoPersistence, Takes::Nothing),
        "--output-format" => (Meaning::OutputFormat, Takes::One),
        "--permission-mode" => (Meaning::PermissionMode, Takes::One),
        "--print" | "-p" => (Meaning::Print, Takes::Nothing),
        "--resume" | "-r" => (Meaning::Resume, Takes::Optional),
        "--session-id" => (Meaning::SessionId, Takes::One),
        "--strict-mcp-config" => (Meaning::StrictMcpConfig, Takes::Nothing),
        "--system-prompt" => (Meaning::SystemPrompt, Takes::One),
        "--tools" => (Meaning::Tools, Takes::Many),
        "--verbose" => (Meaning::Verbose, Takes::Nothing),
        "--version" | "-v" => (Meaning::Version, Takes::Nothing),
        _ => return None,
    })
}

/// Words that Claude, given without `-p`, takes for a subcommand and not for a prompt.
const SUBCOMMANDS: [&str; 26] = [
    "agents",
    "attach",
    "auth",
    "auto-mode",
    "config",
    "doctor",
    "gateway",
    "import",
    "install",
    "kill",
    "logs",
    "mcp",
    "plugin",
    "plugins",
    "project",
    "purge",
    "remote-control",
    "respawn",
    "rm",
    "sandbox",
    "setup",
    "setup-token",
    "stop",
    "ultrareview",
    "update",
    "upgrade",
];

/// Would Claude take this first word for a subcommand?
pub(super) fn is_subcommand(word: &str) -> bool {
    SUBCOMMANDS.contains(&word)
}
