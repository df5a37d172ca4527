//! The language of scripts: text in, [`Command`]s out. Pure; `main` documents the language.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;

/// One step of a script.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// A line with the assistant's text; also the text of the result.
    Say(String),
    /// `count` lines of exactly `bytes` bytes each, the line ending not counted.
    Lines { count: u64, bytes: usize, shape: Shape },
    /// `per_second` lines a second for so long, each with the time it was written.
    Rate { per_second: u32, duration: Duration, bytes: usize },
    /// One line of exactly so many bytes, the line ending not counted.
    BigLine(usize),
    /// Exactly these bytes.
    Raw(Vec<u8>),
    /// A line on standard error.
    Stderr(String),
    /// So many lines of so many bytes on standard error.
    StderrLines { count: u64, bytes: usize },
    /// A pause; an interrupt ends it.
    Sleep(Duration),
    /// Silence until interrupted or ended.
    Silent,
    /// Exits at once with that code, without a result.
    Exit(i32),
    /// Prints the result now, of that kind and with that text.
    Result(ResultKind, Option<String>),
    /// Prints no result for this message.
    NoResult,
    /// Does not exit by itself any more.
    Stay,
    /// Does not heed these.
    Ignore(Vec<Ignored>),
    /// On SIGTERM: goes on for so long, printing, then exits with that code.
    TrapCleanup { duration: Duration, code: i32 },
    /// Ends its whole output at a multiple of so many bytes, in mid-line, and exits 0.
    Cut(usize),
    /// Leaves a process behind.
    Child(Child),
    /// Closes its standard input.
    CloseStdin,
    /// Closes its standard output.
    CloseStdout,
    /// Writes what it was started with to a file, as JSON.
    Dump(PathBuf),
    /// Asks whether it may use a tool, and prints the answer.
    Ask { tool: String, input: serde_json::Value },
    /// Sends a control request of that kind with these members, and prints the answer.
    Request { subtype: String, members: serde_json::Map<String, serde_json::Value> },
    /// Sends itself that signal.
    KillSelf(i32),
    /// The result tells a hash of what was printed.
    Crc,
    /// Makes an empty file.
    Touch(PathBuf),
    /// Waits until a file is there.
    Await(PathBuf),
    /// Takes so many MiB of memory and keeps them.
    Eat(usize),
}

/// The shape of a made line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A piece of streamed text.
    StreamEvent,
    /// A message of the assistant.
    Assistant,
}

/// Kinds of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultKind {
    /// Success.
    Ok,
    /// The API failed: `success` with `is_error`, as the CLI does it.
    Error,
    /// Claude's login was refused.
    Auth,
    /// The account is at its usage limit.
    RateLimit,
    /// `error_during_execution`.
    DuringExecution,
    /// `error_max_turns`.
    MaxTurns,
    /// `error_max_budget_usd`.
    MaxBudget,
}

/// What the agent can be told not to heed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
    /// SIGHUP.
    Hup,
    /// The end of standard input.
    Eof,
    /// The control request `interrupt`.
    Interrupt,
    /// The control request `end_session`.
    EndSession,
    /// The control requests `set_model` and `set_permission_mode`.
    Settings,
}

/// Kinds of processes to leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Child {
    /// A plain child.
    Sleep,
    /// One in a session of its own.
    Setsid,
    /// One whose parent has exited, in a session of its own.
    Daemon,
    /// One that does not heed SIGTERM, SIGINT and SIGHUP.
    IgnoreTerm,
    /// One that replaces itself by a new process every few milliseconds.
    Forker,
    /// One that has stopped itself.
    Stopped,
    /// One in a session of its own with an empty environment.
    CleanEnv,
    /// One that keeps the agent's standard output open.
    HoldStdout,
}

impl Child {
    /// The word for it in scripts.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Sleep => "sleep",
            Self::Setsid => "setsid",
            Self::Daemon => "daemon",
            Self::IgnoreTerm => "ignoreterm",
            Self::Forker => "forker",
            Self::Stopped => "stopped",
            Self::CleanEnv => "cleanenv",
            Self::HoldStdout => "hold-stdout",
        }
    }

    /// The kind of that word.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        use Child::{CleanEnv, Daemon, Forker, HoldStdout, IgnoreTerm, Setsid, Sleep, Stopped};
        [Sleep, Setsid, Daemon, IgnoreTerm, Forker, Stopped, CleanEnv, HoldStdout]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

/// Reads a prompt: `None`, it is no script; else its commands, or which one is wrong.
///
/// A prompt is a script if its first word is a command.
pub(crate) fn parse(prompt: &str) -> Option<Result<Vec<Command>, String>> {
    let steps = steps(prompt);
    let first = steps.first()?.split_whitespace().next()?;
    if !WORDS.contains(&first) {
        return None;
    }
    Some(steps.iter().map(|step| command(step).ok_or_else(|| format!("not a command: {step}"))).collect())
}

const WORDS: [&str; 29] = [
    "say",
    "lines",
    "rate",
    "bigline",
    "raw",
    "stderr",
    "stderr-lines",
    "sleep",
    "silent",
    "exit",
    "result",
    "noresult",
    "stay",
    "ignore",
    "trap-cleanup",
    "cut",
    "child",
    "hold-stdout",
    "close-stdin",
    "close-stdout",
    "dump",
    "ask",
    "kill-self",
    "crc",
    "touch",
    "await",
    "eat",
    "nothing",
    "#",
];

/// The steps of a script: its lines, cut at each `;` that has no backslash before it.
fn steps(prompt: &str) -> Vec<String> {
    let mut steps = Vec::new();
    for line in prompt.lines() {
        let kept = line.replace("\\;", "\u{0}");
        steps.extend(kept.split(';').map(|step| step.replace('\u{0}', ";").trim().to_owned()));
    }
    steps.retain(|step| !step.is_empty());
    steps
}

fn command(step: &str) -> Option<Command> {
    let (name, rest) = step.split_once(char::is_whitespace).unwrap_or((step, ""));
    let rest = rest.trim();
    let words: Vec<&str> = rest.split_whitespace().collect();
    let word = |index: usize| words.get(index).copied();
    let size = |index: usize| word(index)?.parse::<usize>().ok();
    Some(match name {
        "say" => Command::Say(rest.to_owned()),
        "lines" => Command::Lines {
            count: word(0)?.parse().ok()?,
            bytes: word(1).map_or(Some(300), |_| size(1))?,
            shape: match word(2) {
                None | Some("stream") => Shape::StreamEvent,
                Some("assistant") => Shape::Assistant,
                Some(_) => return None,
            },
        },
        "rate" => Command::Rate {
            per_second: word(0)?.parse().ok().filter(|&rate| rate > 0)?,
            duration: duration(word(1)?)?,
            bytes: word(2).map_or(Some(300), |_| size(2))?,
        },
        "bigline" => Command::BigLine(size(0)?),
        "raw" => Command::Raw(base64::engine::general_purpose::STANDARD.decode(rest).ok()?),
        "stderr" => Command::Stderr(rest.to_owned()),
        "stderr-lines" => Command::StderrLines { count: word(0)?.parse().ok()?, bytes: size(1).unwrap_or(80) },
        "sleep" => Command::Sleep(duration(word(0)?)?),
        "silent" => Command::Silent,
        "exit" => Command::Exit(word(0)?.parse().ok()?),
        "result" => {
            let (kind, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            Command::Result(result_kind(kind)?, (!text.is_empty()).then(|| text.to_owned()))
        }
        "noresult" => Command::NoResult,
        "stay" => Command::Stay,
        "ignore" => Command::Ignore(ignored(&words)?),
        "trap-cleanup" => Command::TrapCleanup {
            duration: duration(word(0)?)?,
            code: word(1).map_or(Some(143), |code| code.parse().ok())?,
        },
        "cut" => Command::Cut(size(0).filter(|&size| size > 0)?),
        "child" => Command::Child(Child::from_word(word(0)?)?),
        "hold-stdout" => Command::Child(Child::HoldStdout),
        "close-stdin" => Command::CloseStdin,
        "close-stdout" => Command::CloseStdout,
        "dump" => Command::Dump(PathBuf::from(rest)),
        "ask" => {
            let (tool, input) = rest.split_once(char::is_whitespace).unwrap_or((rest, "{}"));
            Command::Ask { tool: tool.to_owned(), input: serde_json::from_str(input).ok()? }
        }
        "request" => {
            let (subtype, members) = rest.split_once(char::is_whitespace).unwrap_or((rest, "{}"));
            Command::Request { subtype: subtype.to_owned(), members: serde_json::from_str(members).ok()? }
        }
        "kill-self" => Command::KillSelf(word(0)?.parse().ok()?),
        "crc" => Command::Crc,
        "touch" => Command::Touch(PathBuf::from(rest)),
        "await" => Command::Await(PathBuf::from(rest)),
        "eat" => Command::Eat(size(0)?),
        "nothing" | "#" => Command::Sleep(Duration::ZERO),
        _ => return None,
    })
}

/// `2`, `2s`, `0.5s` or `200ms`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

fn result_kind(word: &str) -> Option<ResultKind> {
    Some(match word {
        "ok" | "" => ResultKind::Ok,
        "error" => ResultKind::Error,
        "auth" => ResultKind::Auth,
        "rate_limit" => ResultKind::RateLimit,
        "error_during_execution" => ResultKind::DuringExecution,
        "error_max_turns" => ResultKind::MaxTurns,
        "error_max_budget_usd" => ResultKind::MaxBudget,
        _ => return None,
    })
}

fn ignored(words: &[&str]) -> Option<Vec<Ignored>> {
    use Ignored::{EndSession, Eof, Hup, Int, Interrupt, Term};
    let mut all = Vec::new();
    for word in words {
        match *word {
            "term" => all.push(Term),
            "int" => all.push(Int),
            "hup" => all.push(Hup),
            "eof" => all.push(Eof),
            "interrupt" => all.push(Interrupt),
            "end_session" => all.push(EndSession),
            "settings" => all.push(Ignored::Settings),
            "all" => all.extend([Term, Int, Hup, Eof, Interrupt, EndSession]),
            _ => return None,
        }
    }
    (!all.is_empty()).then_some(all)
}
