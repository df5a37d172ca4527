//! The supervisor's ears and mouth: turns what the agent prints into events and inputs, and words into lines
//! for its stdin.
//!
//! Every line becomes exactly one event, in the order in which it was printed. What a line means for the
//! session's life is judged by its structure; no text is matched.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::machine::{Input, Verdict, Word};
use super::writer::LogWriter;
use crate::api::event::{EventType, Output, OutputStream};
use crate::api::selector::EventKind;
use crate::api::session::Prompt;
use crate::claude::control::{self, Initialized};
use crate::claude::line::RateLimit;
use crate::claude::{ClaudeLine, PermissionQuestion, ResultLine, end_reason, parse_line};
use crate::process::{Line, Stream};
use crate::telemetry::tasks;

/// Lines that may wait for the agent to read them.
const STDIN_QUEUE: usize = 64;
/// Request ids of the gateway's own control requests begin with this, so that they can't meet a client's.
const OWN_PREFIX: &str = "ccgw-";

/// What the agent has said so far, as far as the end depends on it.
#[derive(Debug, Default)]
pub(super) struct Ears {
    /// The error that Claude named on its last assistant line.
    assistant_error: Option<String>,
    rate_limit: Option<RateLimit>,
    /// The agent's version, once it has said it.
    pub version: Option<String>,
    /// The type of the last line, for `session.stalled`.
    pub last_type: Option<String>,
    /// Standard output ended inside a line that began as JSON.
    pub cut: bool,
}

/// What a line leads to besides its event.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Inputs for the machine that come before the line's event.
    pub before: Vec<Input>,
    /// Inputs for the machine that come after it.
    pub after: Vec<Input>,
    /// A permission question, to be answered.
    pub question: Option<PermissionQuestion>,
    /// A request that nobody here answers: its id.
    pub unanswerable: Option<String>,
}

impl Ears {
    /// Takes a line of a Claude session in: what it means.
    pub(super) fn listen(&mut self, line: &ClaudeLine) -> Heard {
        let mut heard = Heard::default();
        match line {
            ClaudeLine::ControlResponse { request_id, outcome } if *request_id == own_id(Word::Initialize) => {
                if let Ok(answer) = outcome {
                    self.version = Initialized::from_answer(answer.as_deref()).agent_version;
                }
                // A refusal comes from a version that does not know the request: it speaks, so it is ready.
                heard.before.push(Input::Initialized);
            }
            ClaudeLine::Result(result) => heard.after.push(Input::Result(Box::new(self.verdict(result)))),
            ClaudeLine::RateLimit(limit) => self.rate_limit = Some(limit.clone()),
            ClaudeLine::Assistant { error, from_subagent: false } => self.assistant_error.clone_from(error),
            ClaudeLine::ControlRequest { request_id, subtype, request } => {
                heard.question = (subtype == "can_use_tool")
                    .then(|| PermissionQuestion::from_request(request_id, request))
                    .flatten();
                if heard.question.is_some() {
                    heard.after.push(Input::PermissionAsked);
                } else {
                    heard.unanswerable = Some(request_id.clone());
                }
            }
            _ => {}
        }
        heard
    }

    fn verdict(&mut self, result: &ResultLine) -> Verdict {
        // An error belongs to its own turn; the next one begins without it.
        let error = self.assistant_error.take();
        let (reason, message) = end_reason(result, error.as_deref(), self.rate_limit.as_ref());
        Verdict {
            reason,
            is_error: result.is_error,
            message,
            result: result.result.clone(),
            structured_output: result.structured_output.clone(),
            total_cost_usd: result.total_cost_usd,
            usage: result.usage.clone(),
            num_turns: result.num_turns,
        }
    }

    /// The line as one of Claude's, if it is.
    pub(super) fn parse(&mut self, line: &Line) -> Option<ClaudeLine> {
        if line.stream == Stream::Stderr || line.cut_from.is_some() {
            return None;
        }
        let parsed = parse_line(&line.bytes);
        if parsed.is_none() && !line.terminated && line.bytes.first() == Some(&b'{') {
            self.cut = true;
        }
        parsed
    }
}

/// Writes the event of one line, `kind` being what it is as one of Claude's.
pub(super) fn record(line: &Line, kind: Option<EventKind>, log: &mut LogWriter) {
    if let Some(kind) = kind {
        log.push_json(kind, &line.bytes);
        return;
    }
    let bytes = line.text_bytes();
    let text = String::from_utf8_lossy(bytes);
    let exact = matches!(text, std::borrow::Cow::Borrowed(_));
    let output = Output {
        stream: match line.stream {
            Stream::Stdout => OutputStream::Stdout,
            Stream::Stderr => OutputStream::Stderr,
        },
        base64: (!exact).then(|| STANDARD.encode(bytes)),
        text: text.into_owned(),
        truncated_from: line.cut_from,
        unterminated: !line.terminated,
    };
    log.push(EventType::Output, &output);
}

/// The id of the gateway's own request for that word.
#[must_use]
pub(super) fn own_id(word: Word) -> String {
    let name = match word {
        Word::Initialize => "initialize",
        Word::Prompt => "prompt",
        Word::Interrupt => "interrupt",
        Word::EndSession => "end",
    };
    format!("{OWN_PREFIX}{name}")
}

/// The line for the agent's stdin.
#[must_use]
pub(super) fn line_for(word: Word, prompt: Option<&Prompt>) -> Option<Vec<u8>> {
    let id = own_id(word);
    match word {
        Word::Initialize => Some(control::initialize(&id)),
        Word::Interrupt => Some(control::interrupt(&id)),
        Word::EndSession => Some(control::end_session(&id)),
        Word::Prompt => prompt.map(|prompt| control::user_message(prompt, Uuid::new_v4())),
    }
}

/// The agent's stdin behind a bounded queue, written by a task of its own: an agent that does not read must
/// not keep its supervisor from reading.
#[derive(Debug)]
pub(super) struct Mouth {
    lines: mpsc::Sender<Vec<u8>>,
}

impl Mouth {
    /// Takes the pipe over. It is closed when the mouth is dropped and everything has been written.
    #[must_use]
    pub(super) fn new(mut stdin: ChildStdin) -> Self {
        let (lines, mut queue) = mpsc::channel::<Vec<u8>>(STDIN_QUEUE);
        tasks::spawn("agent-stdin", async move {
            while let Some(line) = queue.recv().await {
                // An agent that has closed its stdin, or gone, is told of by its exit; there is nobody to write to.
                if stdin.write_all(&line).await.is_err() || stdin.flush().await.is_err() {
                    return;
                }
            }
        });
        Self { lines }
    }

    /// Queues a line. `false` if the agent has stopped reading and the queue is full, or has gone.
    #[must_use]
    pub(super) fn say(&self, line: Vec<u8>) -> bool {
        self.lines.try_send(line).is_ok()
    }
}
