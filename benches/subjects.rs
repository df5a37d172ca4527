//! What the small measurements and the counts of instructions are taken of.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cc_gateway::api::selector::TypeSet;
use cc_gateway::api::{EventType, Principal, Role};
use cc_gateway::process::{LineSplitter, Stream};
use cc_gateway::rpc::dispatch::Dispatcher;
use cc_gateway::rpc::envelope;
use cc_gateway::rpc::peer::Peer;
use cc_gateway::session::feed::Feed;
use cc_gateway::session::log::{Encoder, Frame, decode};
use jsonrpsee::RpcModule;
use serde_json::json;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// What one read of a pipe brings at most.
const CHUNK: usize = 8 * 1024;
const MAX_LINE: usize = 16 * 1024 * 1024;
/// Events of one publication.
pub(crate) const PUBLISHED: u64 = 100;
/// A small call.
pub(crate) const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"server.info","params":{}}"#;

/// What the real CLI printed in a few recorded sessions, several times over: about a thousand lines.
pub(crate) fn recorded() -> Bytes {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/claude");
    let mut text = Vec::new();
    for name in ["partial", "tools", "subagent", "interrupt_stream", "structured_output"] {
        text.extend(std::fs::read(directory.join(name).with_extension("jsonl")).unwrap());
    }
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    text.repeat(1_000_usize.div_ceil(lines)).into()
}

/// The lines of `output`, as they come from a pipe.
pub(crate) fn split(output: &Bytes) -> Vec<Bytes> {
    let mut splitter = LineSplitter::new(Stream::Stdout, MAX_LINE);
    let mut lines = Vec::new();
    for start in (0..output.len()).step_by(CHUNK) {
        splitter.push(output.slice(start..output.len().min(start + CHUNK)), &mut lines);
    }
    lines.into_iter().map(|line| line.bytes).collect()
}

/// A dispatcher with one method, and somebody who calls it.
pub(crate) struct Dispatch {
    runtime: Runtime,
    dispatcher: Dispatcher,
    peer: Arc<Peer>,
}

impl Dispatch {
    pub(crate) fn new() -> Self {
        let mut module = RpcModule::new(());
        module
            .register_async_method("server.info", |_, _, _| async {
                Ok::<_, jsonrpsee::types::ErrorObjectOwned>(json!({"name": "cc-gateway", "active_sessions": 3}))
            })
            .unwrap();
        let principal = Principal {
            subject: "subject".to_owned(),
            username: "bench".to_owned(),
            role: Role::User,
            scopes: BTreeSet::new(),
            expires_at: u64::MAX,
            token_id: "token".to_owned(),
            login: cc_gateway::api::Login { began_ms: 0, key: String::new() },
            issuer: None,
        };
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            dispatcher: Dispatcher::new(module.into(), 1024 * 1024),
            peer: Arc::new(Peer::new(Uuid::from_u128(1), Arc::new(principal), 16, false)),
        }
    }

    /// The answer to `text`, a call or a batch.
    pub(crate) fn answer(&self, text: &str) -> Option<String> {
        self.runtime.block_on(self.dispatcher.dispatch(envelope::parse(text, 100), &self.peer)).text
    }
}

/// A live session's log that grows by a hundred events at a time, and those who read it.
pub(crate) struct FanOut {
    feed: Feed,
    encoder: Encoder,
    data: String,
    frames: VecDeque<Frame>,
}

impl FanOut {
    pub(crate) fn new() -> Self {
        Self {
            feed: Feed::new(0, 1024 * 1024),
            encoder: Encoder::new(Uuid::from_u128(1), 1),
            data: json!({"type": "assistant", "text": "x".repeat(256)}).to_string(),
            frames: VecDeque::new(),
        }
    }

    /// [`PUBLISHED`] events are encoded and published, and read by so many.
    pub(crate) fn publish(&mut self, readers: u64) {
        (0..PUBLISHED).for_each(|_| self.encoder.push(EventType::Claude, 0, self.data.as_bytes()));
        let before = self.feed.head();
        self.feed.publish(decode(&self.encoder.take().unwrap()).unwrap());
        for _ in 0..readers {
            self.frames.clear();
            self.feed.read(before, TypeSet::ALL, 256, usize::MAX, &mut self.frames);
            assert_eq!(self.frames.len() as u64, PUBLISHED);
        }
    }
}
