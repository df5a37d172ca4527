//! The CLI's command line, as far as a fake needs it: pure.

/// What the command line asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Arguments {
    /// `--version`.
    pub(crate) version: bool,
    /// `--input-format=stream-json`: prompts come on standard input.
    pub(crate) stream_input: bool,
    /// `--output-format=stream-json`; else only the result's text is printed.
    pub(crate) stream_output: bool,
    /// `--verbose`.
    pub(crate) verbose: bool,
    /// `--include-partial-messages`.
    pub(crate) partial_messages: bool,
    /// `--session-id`.
    pub(crate) session_id: Option<String>,
    /// `--resume`.
    pub(crate) resume: Option<String>,
    /// `--fork-session`.
    pub(crate) fork_session: bool,
    /// `--no-session-persistence`.
    pub(crate) no_persistence: bool,
    /// `--model`.
    pub(crate) model: Option<String>,
    /// `--permission-mode`.
    pub(crate) permission_mode: Option<String>,
    /// The prompt argument.
    pub(crate) prompt: Option<String>,
}

/// Flags with one value.
const VALUED: [&str; 33] = [
    "--agent",
    "--agents",
    "--append-system-prompt",
    "--append-system-prompt-file",
    "--debug-file",
    "--effort",
    "--fallback-model",
    "--input-format",
    "--json-schema",
    "--max-budget-usd",
    "--max-thinking-tokens",
    "--max-turns",
    "--model",
    "--name",
    "--output-format",
    "--permission-mode",
    "--permission-prompt-tool",
    "--permission-prompts",
    "--plugin-dir",
    "--plugin-url",
    "--resume",
    "--resume-session-at",
    "--session-id",
    "--setting-sources",
    "--settings",
    "--system-prompt",
    "--system-prompt-file",
    "--task-budget",
    "--thinking",
    "--thinking-display",
    "--environment",
    "--autocompact",
    "--session-mirror",
];

/// Flags that take every value up to the next flag.
const VARIADIC: [&str; 9] = [
    "--add-dir",
    "--allowedTools",
    "--allowed-tools",
    "--disallowedTools",
    "--disallowed-tools",
    "--tools",
    "--mcp-config",
    "--betas",
    "--file",
];

/// Flags without a value.
const PLAIN: [&str; 26] = [
    "--print",
    "--verbose",
    "--include-partial-messages",
    "--include-hook-events",
    "--replay-user-messages",
    "--fork-session",
    "--continue",
    "--no-session-persistence",
    "--strict-mcp-config",
    "--disable-slash-commands",
    "--dangerously-skip-permissions",
    "--allow-dangerously-skip-permissions",
    "--bare",
    "--version",
    "--debug",
    "--forward-subagent-text",
    "--safe-mode",
    "--restricted",
    "--ide",
    "--chrome",
    "--no-chrome",
    "--brief",
    "--bg",
    "--ax-screen-reader",
    "--exclude-dynamic-system-prompt-sections",
    "--resume-drops-turn",
];

/// Reads the command line, the program's name left out; an error is what the CLI prints.
pub(crate) fn parse(words: &[String]) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = words.iter().peekable();
    let mut only_prompts = false;
    while let Some(word) = words.next() {
        if only_prompts || !word.starts_with('-') || word == "-" {
            arguments.prompt = Some(word.clone());
            continue;
        }
        if word == "--" {
            only_prompts = true;
            continue;
        }
        let (flag, mut value) = match word.split_once('=') {
            Some((flag, value)) => (long(flag), Some(value.to_owned())),
            None => (long(word), None),
        };
        if VARIADIC.contains(&flag) {
            while value.is_none() && words.peek().is_some_and(|word| !word.starts_with('-')) {
                words.next();
            }
            continue;
        }
        if VALUED.contains(&flag) {
            if value.is_none() {
                value = words.next().cloned();
            }
            if value.is_none() {
                return Err(format!("error: option '{flag} <value>' argument missing"));
            }
        } else if !PLAIN.contains(&flag) {
            return Err(format!("error: unknown option '{flag}'"));
        }
        take(&mut arguments, flag, value);
    }
    check(arguments)
}

fn long(flag: &str) -> &str {
    match flag {
        "-p" => "--print",
        "-v" => "--version",
        "-c" => "--continue",
        "-r" => "--resume",
        "-n" => "--name",
        "-d" => "--debug",
        other => other,
    }
}

fn take(arguments: &mut Arguments, flag: &str, value: Option<String>) {
    match flag {
        "--version" => arguments.version = true,
        "--verbose" => arguments.verbose = true,
        "--include-partial-messages" => arguments.partial_messages = true,
        "--fork-session" => arguments.fork_session = true,
        "--no-session-persistence" => arguments.no_persistence = true,
        "--input-format" => arguments.stream_input = value.as_deref() == Some("stream-json"),
        "--output-format" => arguments.stream_output = value.as_deref() == Some("stream-json"),
        "--session-id" => arguments.session_id = value,
        "--resume" => arguments.resume = value,
        "--model" => arguments.model = value,
        "--permission-mode" => arguments.permission_mode = value,
        _ => {}
    }
}

/// The CLI's own rules about flags that need each other.
fn check(arguments: Arguments) -> Result<Arguments, String> {
    if arguments.version {
        return Ok(arguments);
    }
    if arguments.stream_output && !arguments.verbose {
        return Err("Error: When using --print, --output-format=stream-json requires --verbose".to_owned());
    }
    if arguments.stream_input && !arguments.stream_output {
        return Err("Error: --input-format=stream-json requires output-format=stream-json.".to_owned());
    }
    if arguments.session_id.is_some() && arguments.resume.is_some() && !arguments.fork_session {
        return Err("Error: --session-id with --continue or --resume also needs --fork-session.".to_owned());
    }
    if arguments.session_id.as_deref().is_some_and(|id| uuid::Uuid::parse_str(id).is_err()) {
        return Err("Error: Invalid session ID. Must be a valid UUID.".to_owned());
    }
    Ok(arguments)
}
