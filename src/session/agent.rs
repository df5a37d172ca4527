//! The supervisor's ears: turns what the agent prints into events and inputs, and words into lines for its stdin.
//!
//! Every line becomes exactly one event, in the order in which it was printed. What a line means for the
//! session's life is judged by its structure; no text is matched.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use super::machine::{Verdict, Word};
use super::writer::LogWriter;
use crate::api::event::{EndReason, EventType, Output, OutputStream};
use crate::api::selector::EventKind;
use crate::api::session::{OWN_REQUEST_PREFIX, PermissionMode};
use crate::claude::control::{self, Initialized};
use crate::claude::input::permission_mode;
use crate::claude::line::RateLimit;
use crate::claude::{ClaudeLine, PermissionQuestion, ResultLine, end_reason, parse_line};
use crate::process::{Line, Stream};

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
    /// The agent answered `initialize`. Comes before the line's event.
    pub initialized: bool,
    /// What comes after it.
    pub then: Option<Then>,
}

/// What follows from a line, after its event.
#[derive(Debug)]
pub(super) enum Then {
    /// The agent has begun a turn.
    TurnBegan,
    /// A turn has its result.
    Result {
        /// What it came to.
        verdict: Box<Verdict>,
        /// The messages that it names.
        answers: Vec<Uuid>,
        /// No message had begun the turn.
        began_by_itself: bool,
    },
    /// The agent works on so many things in the background now.
    Background(u32),
    /// The permission mode is another one now.
    ModeChanged(PermissionMode),
    /// The state of the account's usage limit.
    RateLimit(RateLimit),
    /// A permission question, to be answered.
    Question(Box<PermissionQuestion>),
    /// Another request: its id.
    Request(String),
    /// A question or request was taken back: its id.
    TakenBack(String),
    /// The answer to a control request: its id, and why it was refused if it was.
    Answer(String, Result<(), String>),
}

impl Ears {
    /// Takes a line of a Claude session in: what it means.
    pub(super) fn listen(&mut self, line: &ClaudeLine) -> Heard {
        let mut heard = Heard::default();
        heard.then = match line {
            ClaudeLine::ControlResponse { request_id, outcome } if *request_id == own_id(Word::Initialize) => {
                if let Ok(answer) = outcome {
                    self.version = Initialized::from_answer(answer.as_deref()).agent_version;
                }
                // A refusal comes from a version that does not know the request: it speaks, so it is ready.
                heard.initialized = true;
                None
            }
            ClaudeLine::ControlResponse { request_id, outcome } => {
                Some(Then::Answer(request_id.clone(), outcome.as_ref().map(|_| ()).map_err(Clone::clone)))
            }
            ClaudeLine::Init { .. } => Some(Then::TurnBegan),
            ClaudeLine::Result(result) => Some(Then::Result {
                verdict: Box::new(self.verdict(result)),
                answers: result.user_message_uuids.clone(),
                began_by_itself: result.origin_kind.is_some(),
            }),
            ClaudeLine::BackgroundTasks { count } => Some(Then::Background(*count)),
            ClaudeLine::ModeChanged { mode } => permission_mode(mode).map(Then::ModeChanged),
            ClaudeLine::RateLimit(limit) => {
                self.rate_limit = Some(limit.clone());
                Some(Then::RateLimit(limit.clone()))
            }
            ClaudeLine::Assistant { error, from_subagent: false } => {
                self.assistant_error.clone_from(error);
                None
            }
            ClaudeLine::ControlRequest { request_id, subtype, request } => Some(
                (subtype == "can_use_tool")
                    .then(|| PermissionQuestion::from_request(request_id, request))
                    .flatten()
                    .map_or_else(|| Then::Request(request_id.clone()), |question| Then::Question(Box::new(question))),
            ),
            ClaudeLine::ControlCancel { request_id } => Some(Then::TakenBack(request_id.clone())),
            _ => None,
        };
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
            resets_at: self
                .rate_limit
                .as_ref()
                .and_then(|limit| limit.resets_at)
                .filter(|_| reason == EndReason::RateLimited),
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
        Word::Interrupt => "interrupt",
        Word::EndSession => "end",
    };
    format!("{OWN_REQUEST_PREFIX}{name}")
}

/// The line for the agent's stdin.
#[must_use]
pub(super) fn line_for(word: Word) -> Vec<u8> {
    let id = own_id(word);
    match word {
        Word::Initialize => control::initialize(&id),
        Word::Interrupt => control::interrupt(&id),
        Word::EndSession => control::end_session(&id),
    }
}
