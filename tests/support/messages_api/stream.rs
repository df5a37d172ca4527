//! Sends an answer as server-sent events, or as one JSON message.
//!
//! Events go through a short bounded channel: a slow reader holds the answer back. Pieces without a pause
//! are gathered into large chunks, so that the stand-in is never what limits a measurement.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use uuid::Uuid;

use crate::answer::{Answer, Block, Break, input_pieces, whole};

/// What goes into a response's body; an error closes the connection.
pub(crate) type Part = Result<Frame<Bytes>, io::Error>;

/// Gathered events are sent once they are so long, in bytes.
const CHUNK: usize = 32 * 1024;

/// The reader went away.
struct Gone;

/// Streams `answer` into `body`; returns when it is told or the reader has gone.
pub(crate) async fn stream(answer: Answer, model: String, body: Sender<Part>) {
    let mut events = Events { body, pending: BytesMut::new(), index: 0 };
    let _reader_went = events.tell(&answer, &model).await;
}

/// The same answer as one message.
pub(crate) fn message(answer: &Answer, model: &str) -> Value {
    let blocks: Vec<Value> = answer.blocks.iter().map(|block| whole(block, &id("toolu_"))).collect();
    json!({
        "id": id("msg_"), "type": "message", "role": "assistant", "model": model, "content": blocks,
        "stop_reason": answer.stop_reason, "stop_sequence": null,
        "usage": {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens},
    })
}

/// A fresh id with that prefix.
pub(crate) fn id(prefix: &str) -> String {
    format!("{prefix}{}", &Uuid::new_v4().simple().to_string()[..24])
}

/// No pause at all for 0: the timer's own grain is a millisecond.
async fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

struct Events {
    body: Sender<Part>,
    pending: BytesMut,
    index: usize,
}

impl Events {
    async fn tell(&mut self, answer: &Answer, model: &str) -> Result<(), Gone> {
        self.event(
            "message_start",
            &json!({"message": {
                "id": id("msg_"), "type": "message", "role": "assistant", "model": model, "content": [],
                "stop_reason": null, "stop_sequence": null,
                "usage": {"input_tokens": answer.input_tokens, "cache_creation_input_tokens": 0,
                          "cache_read_input_tokens": 0, "output_tokens": 1, "service_tier": "standard"},
            }}),
        );
        self.event("ping", &json!({}));
        self.flush().await?;
        for block in &answer.blocks {
            self.block(block, answer).await?;
        }
        match answer.breaks {
            None => {}
            Some(Break::Silence) => {
                self.body.closed().await;
                return Err(Gone);
            }
            Some(Break::Close) => {
                let closed = io::Error::new(io::ErrorKind::ConnectionAborted, "closed as the prompt asked");
                return self.body.send(Err(closed)).await.map_err(|_| Gone);
            }
            Some(Break::Error) => {
                self.event("error", &json!({"error": {"type": "overloaded_error", "message": "Overloaded"}}));
                return self.flush().await;
            }
        }
        self.event(
            "message_delta",
            &json!({
                "delta": {"stop_reason": answer.stop_reason, "stop_sequence": null},
                "usage": {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens,
                          "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
            }),
        );
        self.event("message_stop", &json!({}));
        self.flush().await
    }

    /// One content block; a broken answer never closes it.
    async fn block(&mut self, block: &Block, answer: &Answer) -> Result<(), Gone> {
        match block {
            Block::Text(pieces) => {
                self.start(&json!({"type": "text", "text": ""}));
                for piece in pieces {
                    self.delta(&json!({"type": "text_delta", "text": piece}));
                    self.flush().await?;
                    pause(answer.pause_ms).await;
                }
            }
            Block::Stream { count, piece, pause_ms } => {
                self.start(&json!({"type": "text", "text": ""}));
                for number in 0..*count {
                    self.delta(&json!({"type": "text_delta", "text": piece.text(number)}));
                    if *pause_ms > 0 {
                        self.flush().await?;
                        pause(*pause_ms).await;
                    } else if self.pending.len() > CHUNK {
                        self.flush().await?;
                    }
                }
            }
            Block::Thinking(text) => {
                self.start(&json!({"type": "thinking", "thinking": "", "signature": ""}));
                self.delta(&json!({"type": "thinking_delta", "thinking": text}));
                self.delta(&json!({"type": "signature_delta", "signature": "c2ln"}));
            }
            Block::Tool(call) => {
                self.start(&json!({"type": "tool_use", "id": id("toolu_"), "name": call.name, "input": {}}));
                self.delta(&json!({"type": "input_json_delta", "partial_json": ""}));
                for piece in input_pieces(call) {
                    self.delta(&json!({"type": "input_json_delta", "partial_json": piece}));
                }
            }
        }
        if answer.breaks.is_none() {
            self.event("content_block_stop", &json!({"index": self.index}));
            self.index += 1;
        }
        self.flush().await
    }

    fn start(&mut self, block: &Value) {
        self.event("content_block_start", &json!({"index": self.index, "content_block": block}));
    }

    fn delta(&mut self, delta: &Value) {
        self.event("content_block_delta", &json!({"index": self.index, "delta": delta}));
    }

    fn event(&mut self, name: &str, fields: &Value) {
        let mut data = json!({"type": name});
        if let (Some(data), Some(fields)) = (data.as_object_mut(), fields.as_object()) {
            data.extend(fields.clone());
        }
        self.pending.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = self.pending.split().freeze();
        self.body.send(Ok(Frame::data(chunk))).await.map_err(|_| Gone)
    }
}
