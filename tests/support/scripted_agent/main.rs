//! A fake Claude Code CLI, for what the real one can't be made to do on demand.
//!
//! It takes the CLI's flags, speaks its stream-json on standard input and output, answers its control
//! requests, and ends as it does (`interrupt`, `end_session`, SIGINT, SIGTERM, end of input). A prompt is
//! answered with `You said: …`, or, if its first word is a command of the language below, carried out as a
//! script. With `-p` and a prompt argument (the dialect) the script is that argument.
//!
//! # The language
//!
//! One command a line, or several with `;` between them (`\;` is a semicolon). Sizes of lines do not count
//! the line ending. Times are `2`, `2s` or `200ms`. Paths are relative to the working directory.
//!
//! | command | what it does |
//! |---|---|
//! | `say TEXT` | an assistant line; its text is also the result's |
//! | `lines N [BYTES] [stream\|assistant]` | N numbered lines of exactly BYTES (300), as fast as they are read |
//! | `rate N TIME [BYTES]` | N lines a second for TIME, each with `sent_at_us` (microseconds since the epoch) |
//! | `bigline BYTES` | one assistant line of exactly BYTES |
//! | `raw BASE64` | exactly these bytes |
//! | `stderr TEXT`, `stderr-lines N [BYTES]` | on standard error |
//! | `sleep TIME`, `silent` | a pause; silence for ever. An interrupt ends both |
//! | `touch FILE`, `await FILE` | makes a file; waits until it is there |
//! | `result KIND [TEXT]` | the result now: `ok error auth rate_limit error_during_execution error_max_turns error_max_budget_usd` |
//! | `noresult` | no result for this message |
//! | `exit CODE` | exits at once, without a result |
//! | `stay` | heeds neither the end of input nor `end_session`: does not exit after its result |
//! | `ignore WHAT…` | heeds none of: `term int hup eof interrupt end_session`; `all` of them; changes of `settings` |
//! | `trap-cleanup TIME [CODE]` | SIGTERM: prints for TIME, then exits CODE (143) |
//! | `cut BYTES` | ends all its output at a multiple of BYTES, in mid-line, and exits 0 |
//! | `child KIND` | leaves a process behind: `sleep setsid daemon ignoreterm forker stopped cleanenv` |
//! | `hold-stdout` | leaves a process behind that keeps standard output open |
//! | `close-stdin`, `close-stdout` | closes them early |
//! | `dump FILE` | argv, environment, directory, descriptors, umask, ids, limits as JSON, as they were at the start |
//! | `ask TOOL [JSON]` | asks for permission and prints the whole answer as the tool's result |
//! | `request KIND [JSON]` | sends that control request with the members of JSON and prints the whole answer as a text |
//! | `kill-self SIGNAL` | sends itself that signal (a number) |
//! | `eat MIB` | takes memory and keeps it |
//! | `crc` | the result's `scripted.sha256` is the hash of what the turn printed |
//! | `nothing` | nothing: makes a prompt a script |
//!
//! A script ends with `result ok` unless it gave a result, said `noresult` or exited. Every result carries
//! `scripted: {lines, bytes, sha256?}`: what the turn has printed before it, control messages not counted
//! (those of type `control_*` and `command_lifecycle`).
//!
//! `SCRIPTED_AGENT_COUNT_DIR`: see `presence`. `--resume` and `--session-id` follow the CLI's rules, with a
//! conversation's turns kept in its configuration directory; each turn costs 0.001 dollars.

mod arguments;
mod children;
mod facts;
mod history;
mod inbox;
mod input;
mod messages;
mod output;
mod perform;
mod presence;
mod script;
mod signals;
mod turn;

use std::io::{PipeWriter, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::inbox::{Inbox, Message, Next, Stop};
use crate::messages::{MODEL, Session};

/// The agent, shared by its three threads: the script's, the reader of standard input, the signals'.
pub(crate) struct Agent {
    arguments: arguments::Arguments,
    facts: Value,
    inbox: Inbox,
    history: history::History,
    presence: Option<presence::Presence>,
    /// Lines of different threads must not mix.
    output: Mutex<output::Output>,
    /// Changed by `set_model` and `set_permission_mode` while a turn runs.
    session: Mutex<Session>,
    /// Was the last result an error? It makes the exit code.
    failed: AtomicBool,
    /// Wakes the reader of standard input to close it.
    wake: Mutex<Option<PipeWriter>>,
}

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, role] = words.as_slice()
        && flag == children::ROLE
    {
        std::process::exit(children::play(role));
    }
    let facts = facts::take();
    let arguments = arguments::parse(&words).unwrap_or_else(|problem| {
        output::stderr(&problem);
        std::process::exit(1);
    });
    if arguments.version {
        return writeln!(std::io::stdout(), "{} (Claude Code)", messages::VERSION);
    }
    let resumed = arguments.resume.clone().filter(|_| !arguments.fork_session);
    let session = Session {
        id: resumed.or_else(|| arguments.session_id.clone()).unwrap_or_else(|| Uuid::new_v4().to_string()),
        model: arguments.model.clone().unwrap_or_else(|| MODEL.to_owned()),
        permission_mode: arguments.permission_mode.clone().unwrap_or_else(|| "default".to_owned()),
    };
    let history = history::History::open(&arguments, &session.id).unwrap_or_else(|problem| {
        refuse(&arguments, &session, &problem);
        std::process::exit(1);
    });
    let (woken, wake) = std::io::pipe()?;
    let agent = Arc::new(Agent {
        arguments,
        facts,
        inbox: Inbox::default(),
        history,
        presence: presence::Presence::mark()?,
        output: Mutex::default(),
        session: Mutex::new(session),
        failed: AtomicBool::new(false),
        wake: Mutex::new(Some(wake)),
    });
    signals::catch(&agent)?;
    if agent.arguments.stream_input {
        let reader = Arc::clone(&agent);
        std::thread::spawn(move || input::read(&reader, &woken));
    } else {
        agent.take_prompt_argument()?;
    }
    agent.serve()
}

/// A conversation that is not there, or an id that is taken: the CLI says it like this.
fn refuse(arguments: &arguments::Arguments, session: &Session, problem: &str) {
    if arguments.stream_output && arguments.resume.is_some() {
        let line = json!({
            "type": "result", "subtype": "error_during_execution", "is_error": true, "num_turns": 0,
            "duration_ms": 0, "session_id": session.id, "total_cost_usd": 0, "errors": [problem], "uuid": Uuid::new_v4(),
        });
        let _reader_gone = writeln!(std::io::stdout(), "{line}");
    }
    output::stderr(problem);
}

impl Agent {
    /// Serves turn after turn; never comes back.
    fn serve(&self) -> ! {
        loop {
            match self.inbox.next() {
                Next::Turn(messages) => {
                    if let Some(code) = turn::run(self, &messages) {
                        self.exit(code);
                    }
                }
                Next::Closed => self.exit(i32::from(self.failed.load(Ordering::Relaxed))),
                Next::Stopped(Stop::EndSession | Stop::Interrupt | Stop::Int) => self.exit(0),
            }
        }
    }

    /// Without stream-json input: one message, from the argument and from what is piped in.
    fn take_prompt_argument(&self) -> std::io::Result<()> {
        let mut piped = String::new();
        if self.arguments.prompt.is_none() {
            std::io::stdin().read_to_string(&mut piped)?;
        }
        let text = self.arguments.prompt.clone().unwrap_or(piped);
        if text.is_empty() {
            output::stderr(
                "Error: Input must be provided either through stdin or as a prompt argument when using --print",
            );
            self.exit(1);
        }
        self.inbox.change(|state| {
            state.messages.push_back(Message { text, uuid: None });
            state.closed = true;
        });
        Ok(())
    }

    /// What all lines have in common now.
    fn session(&self) -> Session {
        self.session.lock().clone()
    }

    fn change_session(&self, change: impl FnOnce(&mut Session)) {
        change(&mut self.session.lock());
    }

    fn begin_turn(&self, hashed: bool) {
        self.output.lock().begin_turn(hashed);
    }

    /// Prints a line of the turn, at once. Without stream-json output only the result's text is printed.
    fn say(&self, line: &Value) {
        if self.arguments.stream_output {
            let mut output = self.output.lock();
            output.say(format!("{line}\n").as_bytes());
            output.flush();
        }
    }

    /// Prints bytes of the turn, at once.
    fn say_bytes(&self, bytes: &[u8]) {
        let mut output = self.output.lock();
        output.say(bytes);
        output.flush();
    }

    /// Prints so many whole lines of the turn, when the buffer is full.
    fn say_lines(&self, bytes: &[u8], lines: u64) {
        self.output.lock().say_lines(bytes, lines);
    }

    /// Prints a message that is not counted as the turn's.
    fn print_control(&self, line: &Value) {
        if self.arguments.stream_output {
            self.output.lock().control(&line.to_string());
        }
    }

    fn print_result(&self, result: &Value, text: &str) {
        let line = if self.arguments.stream_output { result.to_string() } else { text.to_owned() };
        self.output.lock().control(&line);
    }

    /// What the turn has printed.
    fn printed(&self) -> Value {
        let output = self.output.lock();
        let mut printed = json!({"lines": output.turn.lines, "bytes": output.turn.bytes});
        if let Some(digest) = output.digest() {
            printed["sha256"] = json!(digest);
        }
        printed
    }

    fn total(&self) -> u64 {
        self.output.lock().total
    }

    fn flush(&self) {
        self.output.lock().flush();
    }

    fn close_stdin(&self) {
        self.wake.lock().take();
        while !self.inbox.lock().closed {
            std::thread::yield_now();
        }
    }

    fn close_stdout(&self) {
        self.output.lock().close();
    }

    /// Exits once everything is written.
    fn exit(&self, code: i32) -> ! {
        self.flush();
        self.leave(code);
    }

    /// Exits at once: what is not yet written is lost, as with the CLI.
    fn leave(&self, code: i32) -> ! {
        if let Some(presence) = &self.presence {
            presence.remove();
        }
        std::process::exit(code);
    }
}
