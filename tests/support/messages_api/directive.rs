//! What the stand-in is asked to do: directives in a prompt, and which one serves a request.
//!
//! Pure: a request's body in, a [`Directive`] out. Knows no socket.
//!
//! A directive is `[[name]]` or `[[name:argument]]` in the last user prompt that holds any. Several of them
//! are the answers to several requests: number *k* serves the request that comes after *k* messages of the
//! assistant since that prompt. When they run out, the answer is the text `done`.
//!
//! | directive | answer |
//! |---|---|
//! | `text:hello` | one block of text |
//! | `think:hmm\|answer` | a block of thinking, then text |
//! | `bash:echo hi` | a call of the tool Bash |
//! | `bgbash:cmd` | the same in the background |
//! | `write:/path\|content`, `read:/path` | calls of Write and Read |
//! | `tool:Name\|{"json":1}` | a call of any tool; `<<x:y>>` inside its texts becomes `[[x:y]]` |
//! | `par:cmd1\|cmd2` | several Bash calls in one message |
//! | `slow:N:MS` | N pieces of text, MS milliseconds apart |
//! | `fast:N` `fast:N:LEN` | N pieces of LEN (6) characters without a pause |
//! | `big:N` | one piece of N characters |
//! | `err:CODE` `err:CODE:K` `err:CODE:K:AFTER` | HTTP error CODE, always or K times for this prompt; with `retry-after` |
//! | `limit:SECONDS` | the account's usage limit, lifted SECONDS after the Unix epoch: 429 with the headers that say so |
//! | `midclose` | the connection is closed in mid-stream |
//! | `miderr` | an `error` event in mid-stream |
//! | `hang` | no answer at all |
//! | `hangmid` | the beginning of an answer, then silence |
//! | `refusal`, `maxtok` | ends with that stop reason |
//! | `so:{"a":1}` | a call of StructuredOutput |
//! | `usage:IN:OUT` | a text with those token counts |

use serde_json::{Value, json};

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Directive {
    /// A block of text.
    Text(String),
    /// A block of thinking and one of text.
    Think { thinking: String, answer: String },
    /// Calls of tools, all in one message.
    Tools(Vec<ToolCall>),
    /// `pieces` pieces of text, `pause_ms` milliseconds apart.
    Slow { pieces: u64, pause_ms: u64 },
    /// `pieces` pieces of `length` characters without a pause.
    Fast { pieces: u64, length: usize },
    /// One piece of so many characters.
    Big(usize),
    /// An HTTP error; for the first `times` requests of this prompt, or always.
    HttpError { status: u16, times: Option<u32>, retry_after: Option<String> },
    /// The account is at its usage limit until so many seconds after the Unix epoch.
    UsageLimit { resets_at: u64 },
    /// Closes the connection in mid-stream.
    CloseMidway,
    /// An `error` event in mid-stream.
    ErrorMidway,
    /// Never answers.
    Hang,
    /// Begins to answer and falls silent.
    HangMidway,
    /// Ends with the stop reason `refusal`.
    Refusal,
    /// Ends with the stop reason `max_tokens`.
    MaxTokens,
    /// Reports these token counts.
    Usage { input: u64, output: u64 },
    /// No directive anywhere: a friendly answer to this prompt.
    Friendly(String),
}

/// One call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToolCall {
    /// The tool's name.
    pub(crate) name: String,
    /// Its input.
    pub(crate) input: Value,
}

/// A request's directive and the prompt that it was found in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chosen {
    /// What to answer.
    pub(crate) directive: Directive,
    /// The exact text that chose it.
    pub(crate) prompt: String,
}

/// Chooses the answer to a request. `default` is used when no prompt holds a directive; it may be one itself.
pub(crate) fn choose(body: &Value, default: Option<&str>) -> Chosen {
    let empty = Vec::new();
    let messages = body.get("messages").and_then(Value::as_array).unwrap_or(&empty);
    for (index, message) in messages.iter().enumerate().rev() {
        // What joins a running turn comes as a message of the system's.
        if role(message) == "assistant" {
            continue;
        }
        let Some(prompt) = texts(message).into_iter().rev().find(|text| !parse(text).is_empty()) else { continue };
        let answered = messages[index + 1..].iter().filter(|message| role(message) == "assistant").count();
        let directive = parse(prompt).into_iter().nth(answered).unwrap_or_else(|| Directive::Text("done".to_owned()));
        return Chosen { directive, prompt: prompt.to_owned() };
    }
    let prompt = last_prompt(messages);
    let directive = match default {
        Some(text) => parse(text).into_iter().next().unwrap_or_else(|| Directive::Text(text.to_owned())),
        None => Directive::Friendly(prompt.clone()),
    };
    Chosen { directive, prompt }
}

/// The directives in a text, in their order.
pub(crate) fn parse(text: &str) -> Vec<Directive> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("[[") {
        let inner = &rest[start + 2..];
        // JSON may hold `]]` itself: the directive ends at the first one that makes sense of it.
        let ends = (0..inner.len()).filter(|&end| inner.as_bytes()[end..].starts_with(b"]]"));
        let read = |end: usize| {
            let (name, argument) = inner[..end].split_once(':').unwrap_or((&inner[..end], ""));
            directive(name, argument).map(|directive| (end, directive))
        };
        let Some((end, directive)) = ends.filter_map(read).next() else {
            rest = inner;
            continue;
        };
        found.push(directive);
        rest = &inner[end + 2..];
    }
    found
}

fn directive(name: &str, argument: &str) -> Option<Directive> {
    let mut numbers = argument.split(':');
    let mut number = || numbers.next().and_then(|text| text.trim().parse::<u64>().ok());
    Some(match name {
        "text" => Directive::Text(argument.to_owned()),
        "think" => {
            let (thinking, answer) = argument.split_once('|').unwrap_or((argument, ""));
            Directive::Think { thinking: thinking.to_owned(), answer: answer.to_owned() }
        }
        "bash" => Directive::Tools(vec![bash(argument)]),
        "bgbash" => {
            let mut call = bash(argument);
            call.input["run_in_background"] = json!(true);
            Directive::Tools(vec![call])
        }
        "par" => Directive::Tools(argument.split('|').map(bash).collect()),
        "write" => {
            let (path, content) = argument.split_once('|').unwrap_or((argument, ""));
            Directive::Tools(vec![call("Write", json!({"file_path": path, "content": content}))])
        }
        "read" => Directive::Tools(vec![call("Read", json!({"file_path": argument}))]),
        "tool" => {
            let (tool, input) = argument.split_once('|').unwrap_or((argument, "{}"));
            Directive::Tools(vec![call(tool, nested(serde_json::from_str(input).ok()?))])
        }
        "so" => Directive::Tools(vec![call("StructuredOutput", serde_json::from_str(argument).ok()?)]),
        "slow" => Directive::Slow { pieces: number()?, pause_ms: number()? },
        "fast" => Directive::Fast { pieces: number()?, length: number().map_or(6, as_length) },
        "big" => Directive::Big(as_length(number()?)),
        "err" => {
            let mut parts = argument.splitn(3, ':');
            Directive::HttpError {
                status: parts.next()?.parse().ok()?,
                times: parts.next().and_then(|times| times.parse().ok()),
                retry_after: parts.next().map(str::to_owned),
            }
        }
        "limit" => Directive::UsageLimit { resets_at: number()? },
        "midclose" => Directive::CloseMidway,
        "miderr" => Directive::ErrorMidway,
        "hang" => Directive::Hang,
        "hangmid" => Directive::HangMidway,
        "refusal" => Directive::Refusal,
        "maxtok" => Directive::MaxTokens,
        "usage" => Directive::Usage { input: number()?, output: number()? },
        _ => return None,
    })
}

fn as_length(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn call(name: &str, input: Value) -> ToolCall {
    ToolCall { name: name.to_owned(), input }
}

fn bash(command: &str) -> ToolCall {
    call("Bash", json!({"command": command, "description": "asked for by the prompt"}))
}

/// Turns `<<x:y>>` inside the texts of a tool's input into a directive for whoever gets them.
fn nested(mut input: Value) -> Value {
    if let Some(fields) = input.as_object_mut() {
        for value in fields.values_mut() {
            if let Some(text) = value.as_str() {
                *value = json!(text.replace("<<", "[[").replace(">>", "]]"));
            }
        }
    }
    input
}

fn role(message: &Value) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or_default()
}

/// The texts of a message: its content, or the text blocks of it.
pub(crate) fn texts(message: &Value) -> Vec<&str> {
    match message.get("content") {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(blocks)) => {
            let text = |block: &'_ Value| block.get("type").and_then(Value::as_str) == Some("text");
            blocks.iter().filter(|block| text(block)).filter_map(|block| block.get("text")?.as_str()).collect()
        }
        _ => Vec::new(),
    }
}

/// The texts that a user wrote, in their order: what the CLI adds by itself (`<system-reminder>`) is not among them.
pub(crate) fn user_texts(messages: &[Value]) -> Vec<&str> {
    let texts = messages.iter().filter(|message| role(message) == "user").flat_map(texts);
    texts.filter(|text| !text.starts_with("<system-reminder>")).collect()
}

/// The last of them.
fn last_prompt(messages: &[Value]) -> String {
    user_texts(messages).last().copied().unwrap_or_default().to_owned()
}
