//! A session's events as a stream that can be relied on: each once, in order, over any number of sockets.
//!
//! Each stream has a task (the pump) with a socket of its own. The pump reads an event only when there is
//! room for it, so that a slow consumer stops the socket and nothing else. Room is counted in events and in
//! bytes.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use uuid::Uuid;

use crate::api::event::Event;
use crate::api::session::StartResult;
use crate::api::{EventFilter, EventType, SessionState};
use crate::telemetry::tasks;

use super::backoff::Backoff;
use super::error::ClientError;
use super::pump::Pump;
use super::socket::{self, Gate, Socket};
use super::wire::{self, Incoming};

/// What waits for the consumer.
pub(super) struct Waiting {
    /// `None`: the stream is complete.
    pub(super) item: Option<Result<Event, ClientError>>,
    /// The bytes it takes up, given back when it is consumed.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// The events of one session. Ends after `session.ended`; dropping it closes its socket and leaves the
/// session alone.
#[derive(Debug)]
pub struct SessionStream {
    session_id: Uuid,
    first_state: Option<SessionState>,
    last_seq: u64,
    /// Is nothing more to come?
    complete: bool,
    queue: mpsc::Receiver<Waiting>,
}

impl SessionStream {
    /// Whose events.
    #[must_use]
    pub fn session_id(&self) -> Uuid {
        self.session_id
    }

    /// What `session.start` said about its state; `None` for an attached stream.
    #[must_use]
    pub fn first_state(&self) -> Option<SessionState> {
        self.first_state
    }

    /// The number of the last event given: attach with it later to go on from here.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The next event; `None` after the last one. An error is the last item.
    ///
    /// May be dropped and called again (as in `select!`) without losing an event.
    pub async fn next(&mut self) -> Option<Result<Event, ClientError>> {
        if self.complete {
            return None;
        }
        let item = match self.queue.recv().await {
            Some(waiting) => waiting.item,
            // The pump always says its last word, unless it died.
            None => Some(Err(ClientError::lost())),
        };
        match &item {
            Some(Ok(event)) => {
                self.last_seq = event.seq;
                self.complete = event.event_type == EventType::Ended;
            }
            Some(Err(_)) | None => self.complete = true,
        }
        item
    }
}

/// Sends `session.start`, over again when the connection breaks, and streams from the first event on.
/// `params` carry an idempotency key and do not attach.
pub(super) async fn start(
    gate: Arc<Gate>,
    method: &'static str,
    params: Box<RawValue>,
) -> Result<SessionStream, ClientError> {
    let mut backoff = Backoff::new(&gate.options);
    let mut broken = false;
    let (socket, started) = loop {
        let error = match call_once(&gate, method, &params).await {
            Ok(done) => break done,
            Err(error) => error,
        };
        // Only what may have been done is repeated: everything else is the caller's to judge.
        broken |= matches!(error, ClientError::ConnectionLost { .. });
        if !broken || !error.retryable() || matches!(error, ClientError::Rpc(_)) {
            return Err(error);
        }
        match backoff.next_wait(error.retry_after()) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(ClientError::GaveUp { tries: backoff.tries(), last: Box::new(error) }),
        }
    };
    let mut stream = open(gate, socket, started.session_id, 0, EventFilter::default()).await?;
    stream.first_state = Some(started.state);
    Ok(stream)
}

/// Attaches to a session.
pub(super) async fn attach(
    gate: Arc<Gate>,
    session_id: Uuid,
    after_seq: u64,
    filter: EventFilter,
) -> Result<SessionStream, ClientError> {
    let socket = gate.open().await?;
    open(gate, socket, session_id, after_seq, filter).await
}

/// Starts the pump on `socket` and waits until the gateway has taken the attachment.
async fn open(
    gate: Arc<Gate>,
    socket: Socket,
    session_id: Uuid,
    after_seq: u64,
    filter: EventFilter,
) -> Result<SessionStream, ClientError> {
    let (sender, queue) = mpsc::channel(gate.options.waiting_events.max(1));
    let (ready, attached) = oneshot::channel();
    let consumer = sender.clone();
    let pump = Pump::new(gate, session_id, after_seq, filter, sender);
    tasks::spawn("client.stream", async move {
        tokio::select! {
            () = pump.run(socket, ready) => {}
            () = consumer.closed() => {}
        }
    });
    attached.await.unwrap_or_else(|_| Err(ClientError::lost()))?;
    Ok(SessionStream { session_id, first_state: None, last_seq: after_seq, complete: false, queue })
}

/// One call on a fresh socket, which is given back with the answer.
async fn call_once(
    gate: &Arc<Gate>,
    method: &'static str,
    params: &RawValue,
) -> Result<(Socket, StartResult), ClientError> {
    let mut socket = gate.open().await?;
    let exchange = async {
        socket::send_text(&mut socket, wire::request(0, method, params)?).await?;
        loop {
            let text = socket::next_text(&mut socket, gate.options.silence_limit).await?;
            if let Incoming::Answer { outcome, .. } = wire::parse(&text)? {
                return wire::decode(outcome?.get(), method);
            }
        }
    };
    let answer = tokio::time::timeout(gate.options.call_timeout, exchange).await;
    let started = answer.unwrap_or(Err(ClientError::TimedOut { waited_for: method }))?;
    Ok((socket, started))
}
