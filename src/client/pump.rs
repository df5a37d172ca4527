//! The task behind a stream: reads one session's events from a socket, checks their numbers, hands them to
//! the consumer, and connects again when the socket breaks.
//!
//! Invariant: the cursor moves only over events that go to the consumer (or are of no concern to it), so
//! that attaching again with its position neither loses nor repeats one.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use crate::api::event::Detached;
use crate::api::method::SessionAttach;
use crate::api::session::{AttachParams, AttachResult};
use crate::api::{EventFilter, EventType, Method, SessionState};

use super::backoff::Backoff;
use super::cursor::{Cursor, Verdict};
use super::error::ClientError;
use super::socket::{self, Gate, Socket};
use super::stream::Waiting;
use super::wire::{self, EventFrame, Incoming};

/// A socket that has lived so long was a good one: the next failure is a first one again.
const GOOD_SOCKET: Duration = Duration::from_secs(10);
/// The id of the one call that a pump makes on a socket.
const ATTACH_ID: u64 = 1;

/// Tells the opener that the gateway has taken the attachment, or why not. Empty once it is told.
type Ready = Option<oneshot::Sender<Result<(), ClientError>>>;

pub(super) struct Pump {
    gate: Arc<Gate>,
    session_id: Uuid,
    filter: EventFilter,
    cursor: Cursor,
    backoff: Backoff,
    queue: mpsc::Sender<Waiting>,
    /// The bytes that may wait; shared with what waits, which gives its part back.
    room: Arc<Semaphore>,
}

/// Is there more to read from this socket?
#[derive(PartialEq)]
enum Flow {
    GoesOn,
    Complete,
}

impl Pump {
    pub(super) fn new(
        gate: Arc<Gate>,
        session_id: Uuid,
        after_seq: u64,
        filter: EventFilter,
        queue: mpsc::Sender<Waiting>,
    ) -> Self {
        let room = Arc::new(Semaphore::new(gate.options.waiting_bytes as usize));
        let (cursor, backoff) = (Cursor::new(after_seq, !filter.is_empty()), Backoff::new(&gate.options));
        Self { gate, session_id, filter, cursor, backoff, queue, room }
    }

    /// Until the session's end is handed over, or an error that trying again does not mend.
    pub(super) async fn run(mut self, first: Socket, ready: oneshot::Sender<Result<(), ClientError>>) {
        let mut ready = Some(ready);
        let mut broken = false;
        let mut outcome = self.read_session(first, &mut ready).await;
        while let Err(error) = outcome {
            // Before the attachment is taken, only a broken connection is worth another try: everything
            // else is the opener's to judge.
            broken |= ready.is_none() || matches!(error, ClientError::ConnectionLost { .. });
            let wait = if broken && error.retryable() { self.backoff.next_wait(error.retry_after()) } else { None };
            let Some(wait) = wait else {
                let gave_up = broken && error.retryable();
                let tries = self.backoff.tries();
                let last = if gave_up { ClientError::GaveUp { tries, last: Box::new(error) } } else { error };
                return match ready.take() {
                    Some(ready) => drop(ready.send(Err(last))),
                    None => self.hand_over(Some(Err(last)), 0).await,
                };
            };
            tokio::time::sleep(wait).await;
            outcome = match self.gate.open().await {
                Ok(socket) => self.read_session(socket, &mut ready).await,
                Err(error) => Err(error),
            };
        }
        self.hand_over(None, 0).await;
    }

    /// Attaches on that socket after the cursor's position and reads until the session's end.
    async fn read_session(&mut self, mut socket: Socket, ready: &mut Ready) -> Result<(), ClientError> {
        let opened = Instant::now();
        let outcome = self.read_events(&mut socket, ready).await;
        if opened.elapsed() >= GOOD_SOCKET {
            self.backoff.reset();
        }
        if !matches!(outcome, Err(ClientError::ConnectionLost { .. })) {
            socket::close(socket).await;
        }
        outcome
    }

    async fn read_events(&mut self, socket: &mut Socket, ready: &mut Ready) -> Result<(), ClientError> {
        let attach = AttachParams::new(self.session_id, self.cursor.position(), self.filter.clone());
        let params = wire::params_of(&attach)?;
        socket::send_text(socket, wire::request(ATTACH_ID, SessionAttach::NAME, &params)?).await?;
        let silence_limit = self.gate.options.silence_limit;
        let deadline = Instant::now() + self.gate.options.call_timeout;
        let mut attached = false;
        loop {
            let next = socket::next_text(socket, silence_limit);
            let text = if attached {
                next.await?
            } else {
                let late = ClientError::TimedOut { waited_for: SessionAttach::NAME };
                tokio::time::timeout_at(deadline, next).await.map_err(|_| late)??
            };
            let flow = match wire::parse(&text)? {
                Incoming::Answer { outcome, .. } => {
                    let flow = self.answered(outcome?)?;
                    attached = true;
                    flow
                }
                Incoming::Notification { method, params } => {
                    let flow = self.notified(&method, params, text.len()).await?;
                    // An event says as much as the answer: the gateway may send it first.
                    attached |= method == "session.event";
                    flow
                }
            };
            if attached && let Some(ready) = ready.take() {
                let _ = ready.send(Ok(()));
            }
            if flow == Flow::Complete {
                return Ok(());
            }
        }
    }

    /// The attachment's answer. A session that had ended before the position has nothing more to give.
    fn answered(&self, result: &RawValue) -> Result<Flow, ClientError> {
        let AttachResult { session, .. } = wire::decode(result.get(), SessionAttach::NAME)?;
        let over = session.state == SessionState::Ended && session.last_seq <= self.cursor.position();
        Ok(if over { Flow::Complete } else { Flow::GoesOn })
    }

    async fn notified(&mut self, method: &str, params: &RawValue, bytes: usize) -> Result<Flow, ClientError> {
        match method {
            "session.event" => self.event(wire::event(params)?, bytes).await,
            "session.cursor" => {
                let at: wire::CursorFrame = wire::decode(params.get(), "session.cursor")?;
                if at.session_id == self.session_id {
                    self.cursor.passed_over(at.seq);
                }
                Ok(Flow::GoesOn)
            }
            "session.detached" => {
                let Detached { session_id, oldest_seq, .. } = wire::decode(params.get(), "session.detached")?;
                if session_id != self.session_id {
                    return Ok(Flow::GoesOn);
                }
                Err(ClientError::Expired { session_id, last_seq: self.cursor.position(), oldest_seq })
            }
            _ => Ok(Flow::GoesOn),
        }
    }

    async fn event(&mut self, frame: EventFrame, bytes: usize) -> Result<Flow, ClientError> {
        let (session_id, prev_seq, seq) = match &frame {
            EventFrame::Known(event) => (event.session_id, event.prev_seq, event.seq),
            EventFrame::Unknown(head) => (head.session_id, head.prev_seq, head.seq),
        };
        if session_id != self.session_id {
            return Ok(Flow::GoesOn);
        }
        let expected_after = self.cursor.position();
        match self.cursor.take(prev_seq, seq) {
            Verdict::Repeat => return Ok(Flow::GoesOn),
            Verdict::Gap => return Err(ClientError::Gap { session_id, expected_after, got: seq }),
            Verdict::Next => self.backoff.reset(),
        }
        let EventFrame::Known(event) = frame else { return Ok(Flow::GoesOn) };
        let ended = event.event_type == EventType::Ended;
        self.hand_over(Some(Ok(event)), bytes).await;
        Ok(if ended { Flow::Complete } else { Flow::GoesOn })
    }

    /// Waits for room and for the consumer. The socket is not read meanwhile. A consumer that has gone ends
    /// this task from outside.
    async fn hand_over(&self, item: Option<Result<crate::api::event::Event, ClientError>>, bytes: usize) {
        let limit = self.gate.options.waiting_bytes;
        let share = u32::try_from(bytes).unwrap_or(limit).min(limit);
        let room = Arc::clone(&self.room).acquire_many_owned(share).await.ok();
        let _ = self.queue.send(Waiting { item, _room: room }).await;
    }
}

#[cfg(test)]
mod tests;
