//! From a directive to the parts of an answer: pure.

use serde_json::{Value, json};

use crate::directive::{Directive, ToolCall};

/// An answer, told in order.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The content blocks.
    pub(crate) blocks: Vec<Block>,
    /// Why the message stops.
    pub(crate) stop_reason: &'static str,
    /// Input tokens to report.
    pub(crate) input_tokens: u64,
    /// Output tokens to report.
    pub(crate) output_tokens: u64,
    /// The pause after each piece of text that is ready, in milliseconds.
    pub(crate) pause_ms: u64,
    /// What happens instead of a proper end.
    pub(crate) breaks: Option<Break>,
}

/// How an answer breaks off after its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// The connection is closed.
    Close,
    /// An `error` event.
    Error,
    /// Nothing more comes.
    Silence,
}

/// A content block.
#[derive(Debug)]
pub(crate) enum Block {
    /// Text in pieces that are ready.
    Text(Vec<String>),
    /// `count` pieces of text made while they are sent, so that no large answer is held in memory.
    Stream { count: u64, piece: Piece, pause_ms: u64 },
    /// Thinking.
    Thinking(String),
    /// A call of a tool.
    Tool(ToolCall),
}

/// What a made piece of text looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece {
    /// `tok0 `, `tok1 ` …
    Token,
    /// The piece's number, repeated to that length.
    Length(usize),
}

impl Piece {
    /// Piece number `number`.
    pub(crate) fn text(self, number: u64) -> String {
        match self {
            Self::Token => format!("tok{number} "),
            Self::Length(length) => {
                let mut text = format!("{number:05} ").repeat(length / 6 + 1);
                text.truncate(length);
                text
            }
        }
    }
}

/// The answer that a directive asks for. Errors and `hang` are no answers: `None`.
pub(crate) fn answer(directive: &Directive) -> Option<Answer> {
    let mut answer = Answer { stop_reason: "end_turn", input_tokens: 11, output_tokens: 7, ..Answer::default() };
    let begun = || Block::Text(vec!["partial ".to_owned()]);
    match directive {
        Directive::HttpError { .. } | Directive::UsageLimit { .. } | Directive::Hang => return None,
        Directive::Text(text) => answer.blocks.push(Block::Text(cut(text, 20))),
        Directive::Think { thinking, answer: text } => {
            answer.blocks = vec![Block::Thinking(thinking.clone()), Block::Text(cut(text, 20))];
        }
        Directive::Tools(calls) => {
            answer.blocks = calls.iter().cloned().map(Block::Tool).collect();
            answer.stop_reason = "tool_use";
        }
        Directive::Slow { pieces, pause_ms } => {
            answer.blocks.push(Block::Stream { count: *pieces, piece: Piece::Token, pause_ms: *pause_ms });
        }
        Directive::Fast { pieces, length } => {
            answer.blocks.push(Block::Stream { count: *pieces, piece: Piece::Length(*length), pause_ms: 0 });
        }
        Directive::Big(length) => answer.blocks.push(Block::Text(vec!["x".repeat(*length)])),
        Directive::CloseMidway => (answer.blocks, answer.breaks) = (vec![begun()], Some(Break::Close)),
        Directive::ErrorMidway => (answer.blocks, answer.breaks) = (vec![begun()], Some(Break::Error)),
        Directive::HangMidway => (answer.blocks, answer.breaks) = (vec![begun()], Some(Break::Silence)),
        Directive::Refusal => (answer.blocks, answer.stop_reason) = (vec![Block::Text(cut("no", 20))], "refusal"),
        Directive::MaxTokens => (answer.blocks, answer.stop_reason) = (vec![Block::Text(cut("cut", 20))], "max_tokens"),
        Directive::Usage { input, output } => {
            answer.blocks.push(Block::Text(vec!["usage".to_owned()]));
            (answer.input_tokens, answer.output_tokens) = (*input, *output);
        }
        Directive::Friendly(prompt) => {
            let pieces = words(&friendly(prompt));
            (answer.output_tokens, answer.pause_ms) = (pieces.len() as u64, 15);
            answer.blocks.push(Block::Text(pieces));
        }
    }
    Some(answer)
}

/// A friendly answer that repeats the beginning of the prompt.
fn friendly(prompt: &str) -> String {
    let mut heard: String = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = heard.char_indices().nth(160) {
        heard.truncate(end);
        heard.push('…');
    }
    format!(
        "Hello! You wrote: “{heard}”. I am a stand-in for Claude on this machine: the gateway, the agent and the stream \
         that you see are real, only the model is not."
    )
}

/// A text in pieces of at most `length` characters; never none.
fn cut(text: &str, length: usize) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    if characters.is_empty() {
        return vec![String::new()];
    }
    characters.chunks(length).map(|piece| piece.iter().collect()).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

/// The text of a tool's input in pieces, as the API streams it.
pub(crate) fn input_pieces(call: &ToolCall) -> Vec<String> {
    cut(&call.input.to_string(), 30)
}

/// The block as it stands in a message that is not streamed.
pub(crate) fn whole(block: &Block, id: &str) -> Value {
    match block {
        Block::Text(pieces) => json!({"type": "text", "text": pieces.concat()}),
        Block::Stream { count, piece, .. } => {
            json!({"type": "text", "text": (0..*count).map(|number| piece.text(number)).collect::<String>()})
        }
        Block::Thinking(text) => json!({"type": "thinking", "thinking": text, "signature": "c2ln"}),
        Block::Tool(call) => json!({"type": "tool_use", "id": id, "name": call.name, "input": call.input}),
    }
}
