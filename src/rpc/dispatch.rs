//! Dispatch: a parsed message to its methods, and their answers back, exactly as the specification says.
//!
//! Notifications and batches go through the same checks as single calls. Whatever happens — an unknown
//! method, a panic, an answer too large — a call with an id gets exactly one answer, and one without gets none.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::Extensions;
use jsonrpsee::types::{Id, Params};
use jsonrpsee::{ConnectionId, MethodCallback, MethodResponse, Methods};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::audit;
use super::envelope::{Call, Message, Refusal, answer, error_answer};
use super::error::internal;
use super::peer::{Attachment, Peer};
use super::register::Effects;
use crate::api::{ErrorKind, Order, RpcError, method};
use crate::auth::AuditLog;
use crate::telemetry::metrics;

/// An answer ready to be sent, and what to do once it has been.
#[derive(Debug, Default)]
pub struct Reply {
    /// The text; none where nothing is to be answered.
    pub text: Option<String>,
    /// Readers to serve after it.
    pub attachments: Vec<Attachment>,
}

/// The methods and the limits that hold for all of them.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    methods: Methods,
    max_response_bytes: usize,
    audit: AuditLog,
}

/// Whether a message must keep its place among the connection's other messages.
#[must_use]
pub fn order(message: &Message) -> Order {
    let ordered = |part: &Result<Call, Refusal>| {
        part.as_ref().is_ok_and(|call| method::find(&call.method).is_some_and(|info| info.order == Order::Ordered))
    };
    let any = match message {
        Message::Single(part) => ordered(part),
        Message::Batch(parts) => parts.iter().any(ordered),
    };
    if any { Order::Ordered } else { Order::Concurrent }
}

/// The answer to a message whose calls are all refused with `error` and not carried out; none where nothing is
/// to be answered. Counted as one call.
#[must_use]
pub fn refuse(message: &Message, error: &RpcError) -> Option<String> {
    metrics::rpc_call("unknown", kind_word(error), Duration::ZERO);
    let one = |part: &Result<Call, Refusal>| match part {
        Ok(Call { id: None, .. }) => None,
        Ok(Call { id, .. }) | Err(Refusal { id, .. }) => Some(error_answer(id.as_deref(), error)),
    };
    match message {
        Message::Single(part) => one(part),
        Message::Batch(parts) => joined(&parts.iter().filter_map(one).collect::<Vec<_>>()),
    }
}

/// The answers of a batch as one text; none where there are none.
fn joined(answers: &[String]) -> Option<String> {
    (!answers.is_empty()).then(|| format!("[{}]", answers.join(",")))
}

impl Dispatcher {
    /// A dispatcher of these methods.
    #[must_use]
    pub fn new(methods: Methods, max_response_bytes: usize) -> Self {
        Self { methods, max_response_bytes, audit: AuditLog::none() }
    }

    /// Tells the calls to that audit log.
    #[must_use]
    pub fn with_audit(self, audit: AuditLog) -> Self {
        Self { audit, ..self }
    }

    /// Carries a message out.
    pub async fn dispatch(&self, message: Message, peer: &Arc<Peer>) -> Reply {
        match message {
            Message::Single(part) => self.part(part, peer).await,
            Message::Batch(parts) => self.batch(parts, peer).await,
        }
    }

    async fn batch(&self, parts: Vec<Result<Call, Refusal>>, peer: &Arc<Peer>) -> Reply {
        let mut whole = Reply::default();
        let mut answers = Vec::new();
        let mut bytes = 2;
        for part in parts {
            let id = part.as_ref().map_or_else(|refusal| refusal.id.clone(), |call| call.id.clone());
            let reply = self.part(part, peer).await;
            whole.attachments.extend(reply.attachments);
            if let Some(mut text) = reply.text {
                if bytes + text.len() + 1 > self.max_response_bytes {
                    text = error_answer(id.as_deref(), &self.too_large());
                }
                bytes += text.len() + 1;
                answers.push(text);
            }
        }
        whole.text = joined(&answers);
        whole
    }

    async fn part(&self, part: Result<Call, Refusal>, peer: &Arc<Peer>) -> Reply {
        let call = match part {
            Ok(call) => call,
            Err(refusal) => {
                metrics::rpc_call("unknown", kind_word(&refusal.error), Duration::ZERO);
                return Reply {
                    text: Some(error_answer(refusal.id.as_deref(), &refusal.error)),
                    attachments: Vec::new(),
                };
            }
        };
        let started = Instant::now();
        let (outcome, attachments) = self.call(&call, peer).await;
        let info = method::find(&call.method);
        let name = info.map_or("unknown", |info| info.name);
        if let Some(deed) = info.and_then(|info| audit::deed(info, &call, &outcome, peer)) {
            self.audit.tell(deed);
        }
        let (text, word) = match &outcome {
            Ok(result) => (answer(call.id.as_deref(), result.get()), "ok"),
            Err(error) => (error_answer(call.id.as_deref(), error), kind_word(error)),
        };
        metrics::rpc_call(name, word, started.elapsed());
        Reply { text: call.id.is_some().then_some(text), attachments }
    }

    async fn call(&self, call: &Call, peer: &Arc<Peer>) -> (Result<Box<RawValue>, RpcError>, Vec<Attachment>) {
        let effects = Arc::new(Effects::default());
        let mut extensions = Extensions::new();
        extensions.insert(Arc::clone(peer));
        extensions.insert(Arc::clone(&effects));
        let params = Params::new(call.params.as_deref().map(RawValue::get));
        let connection = ConnectionId(0);
        let response = match self.methods.method(&call.method) {
            Some(MethodCallback::Async(callback)) => {
                let running = callback(Id::Null, params.into_owned(), connection, usize::MAX, extensions);
                AssertUnwindSafe(running).catch_unwind().await.map_err(|_| {
                    metrics::task_panicked("rpc-method");
                    tracing::error!(
                        method = method::find(&call.method).map(|info| info.name),
                        "a method panicked; this is a bug"
                    );
                    internal()
                })
            }
            Some(MethodCallback::Sync(callback)) => Ok(callback(Id::Null, params, usize::MAX, extensions)),
            // Subscriptions are not part of this protocol.
            Some(MethodCallback::Subscription(_) | MethodCallback::Unsubscription(_)) | None => {
                Err(RpcError::new(ErrorKind::MethodNotFound, "there is no such method; `rpc.discover` names them all"))
            }
        };
        let outcome = response.and_then(|response| self.outcome(&response, effects.is_whole()));
        (outcome, effects.take())
    }

    /// The result or the error inside jsonrpsee's answer, so that it can be sent with the caller's own id.
    fn outcome(&self, response: &MethodResponse, whole: bool) -> Result<Box<RawValue>, RpcError> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            // Not plain `Option`: a result that is null is a result all the same.
            #[serde(borrow, default, deserialize_with = "present")]
            result: Option<&'a RawValue>,
            error: Option<RpcError>,
        }
        let text = response.as_json().get();
        if !whole && text.len() > self.max_response_bytes {
            return Err(self.too_large());
        }
        match serde_json::from_str(text) {
            Ok(Answer { result: Some(result), .. }) => Ok(result.to_owned()),
            Ok(Answer { error: Some(error), .. }) => Err(error),
            _ => Err(internal()),
        }
    }

    fn too_large(&self) -> RpcError {
        let text = format!("the answer is larger than {} bytes; ask for less", self.max_response_bytes);
        RpcError::new(ErrorKind::TooLarge, text)
    }
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn kind_word(error: &RpcError) -> &'static str {
    error.kind().map_or("internal", ErrorKind::as_str)
}

#[cfg(test)]
mod tests;
