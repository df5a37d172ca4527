//! How the gateways that share a store reach each other: calls from node to node, and hints that something has moved.
//!
//! Everything here may be lost on its way, and nothing comes twice. What must not be lost is in the store; a hint
//! only spares somebody the wait for their next look.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use super::StoreError;

/// A shared handle to the bus of a store.
pub type SharedBus = Arc<dyn Bus>;

/// What one can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// The log of that session has grown.
    Log(Uuid),
    /// A slot has come free, or was granted to somebody who waits.
    Slots,
}

/// Why a call to another node came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody listens under that name: nothing was done.
    #[error("no gateway of that name listens")]
    NobodyThere,
    /// No answer came in time. What was asked for may have been done.
    #[error("the other gateway has not answered in time")]
    NoAnswer,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A request of another node. Dropping it leaves the asker without an answer.
#[derive(Debug)]
pub struct Incoming {
    /// What is asked.
    pub request: Bytes,
    /// Who gets the answer: opaque, for [`Bus::answer`].
    pub asker: Asker,
}

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The node that asks.
    pub node: String,
    /// Its number for the call.
    pub call: Uuid,
}

/// Told whenever its topic has moved, until it is dropped; also now and then without a reason.
#[derive(Debug)]
pub struct Watch {
    /// Notified. What is told while nobody waits is kept, once.
    pub moved: Arc<Notify>,
    /// Ends the watching when it goes.
    pub(super) _until: Box<dyn std::any::Any + Send + Sync>,
}

/// See the module.
#[async_trait]
pub trait Bus: Send + Sync + std::fmt::Debug + 'static {
    /// Listens for what other nodes ask `node`. Called once; at most `waiting` requests wait, more are dropped.
    fn listen(&self, node: &str, waiting: usize) -> mpsc::Receiver<Incoming>;

    /// Asks another node and waits for its answer, at most `within`. Only a node that listens can ask.
    ///
    /// # Errors
    /// [`CallError`].
    async fn call(&self, node: &str, request: Bytes, within: Duration) -> Result<Bytes, CallError>;

    /// Answers a request, once.
    ///
    /// # Errors
    /// [`CallError::NobodyThere`] if the asker has gone, or the store's.
    async fn answer(&self, asker: &Asker, answer: Bytes) -> Result<(), CallError>;

    /// Watches a topic.
    fn watch(&self, topic: Topic) -> Watch;
}
