//! The writing side of one connection: answers and notices from a bounded queue, events pulled by cursor.
//!
//! Feeds while more is ready, then flushes once. Nothing is ever dropped and nothing grows: a client that
//! reads slowly makes this task wait, and the events stay in the log. A client that takes no byte at all for
//! too long ends the connection. Pings go out in time however much waits to be sent.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::{Sink, SinkExt};
use metrics::Counter;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as WebSocketFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::close::Close;
use super::progress::Bytes;
use crate::api::dialect::Ping;
use crate::api::event::{Cursor, DetachReason, Detached};
use crate::config::settings::WebSocketSettings;
use crate::rpc::dispatch::Reply;
use crate::rpc::envelope::notification;
use crate::rpc::peer::{Attachment, Peer};
use crate::session::log::Frame;
use crate::session::reader::ReadError;
use crate::telemetry::alarm::Alarm;
use crate::telemetry::metrics::events_sent;
use crate::telemetry::rarely::Rarely;
use crate::telemetry::time::now_ms;

/// How much of one attachment is sent before the others have their turn.
const TURN_FRAMES: usize = 256;
const TURN_BYTES: usize = 256 * 1024;
/// How often a blocked write is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// How long a last frame may take.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// How often a failing store is tried again before the client is asked to come back later.
const STORE_TRIES: u32 = 10;
const STORE_WAIT: Duration = Duration::from_millis(200);
/// A filtered reader is told how far it has come after so many events left out …
const TELL_AFTER_EVENTS: u64 = 10_000;
/// … or after such a time, if any were. Looked at every [`TELL_INTERVAL`], so that it is told within five seconds.
const TELL_AFTER: Duration = Duration::from_secs(4);
const TELL_INTERVAL: Duration = Duration::from_millis(500);

/// What the other tasks hand over to be sent. Small: every connection has room for 32 of these from its beginning.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// An answer, and the readers to serve after it.
    Reply(Box<Reply>),
    /// A notification.
    Notice(Box<str>),
}

/// What there is to do beside events.
enum Other {
    Close(Close),
    Send(Outgoing),
    Ping,
    /// Filtered readers may have to be told how far they have come.
    Tell,
}

/// What tells it, beside the queue.
struct Others {
    close: WatchStream<Option<Close>>,
    ping: Alarm,
    tell: Interval,
    rarely: Rarely,
}

impl Others {
    fn new(close: watch::Receiver<Option<Close>>) -> Self {
        let mut tell = interval(TELL_INTERVAL);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { close: WatchStream::new(close), ping: Alarm::new(), tell, rarely: Rarely::new() }
    }
}

/// Why the connection is to be closed, once it is.
async fn next_reason(close: &mut WatchStream<Option<Close>>) -> Close {
    while let Some(reason) = close.next().await {
        if let Some(reason) = reason {
            return reason;
        }
    }
    pending().await
}

/// The writing side.
pub(super) struct Outbox<S> {
    pub sink: S,
    pub queue: mpsc::Receiver<Outgoing>,
    pub close: watch::Receiver<Option<Close>>,
    /// Tells the reading side that this one has come to its end, and why.
    closer: watch::Sender<Option<Close>>,
    pub peer: Arc<Peer>,
    pub written: Bytes,
    pub settings: Arc<WebSocketSettings>,
    attachments: Vec<Attachment>,
    /// How many of them are filtered, and so may have to be told how far they have come.
    filtered: usize,
    wake: Arc<Notify>,
    /// When the next ping is due. A reader who is behind always has more, so it is asked for after each turn, and before
    /// what follows a write that had to wait.
    ping_at: Instant,
    /// A write had to wait since the clock was looked at last.
    waited: bool,
    sent: Counter,
    frames: Vec<Frame>,
}

impl<S: Sink<Message, Error = Error> + Unpin> Outbox<S> {
    pub(super) fn new(
        sink: S,
        queue: mpsc::Receiver<Outgoing>,
        closer: watch::Sender<Option<Close>>,
        peer: Arc<Peer>,
        written: Bytes,
        settings: Arc<WebSocketSettings>,
    ) -> Self {
        let ping_at = Instant::now() + settings.ping_interval_seconds.duration();
        Self {
            sink,
            queue,
            close: closer.subscribe(),
            closer,
            peer,
            written,
            settings,
            attachments: Vec::new(),
            filtered: 0,
            wake: Arc::new(Notify::new()),
            ping_at,
            waited: false,
            sent: events_sent(),
            frames: Vec::new(),
        }
    }

    /// Writes until the connection ends, closes it and gives the sink back. Why it ended is in the watch of
    /// the close by then.
    pub(super) async fn run(mut self) -> S {
        let (found, between_messages) = match self.serve().await {
            Ok(reason) => (reason, true),
            // In the middle of a write: nothing more may follow it.
            Err(reason) => (reason, false),
        };
        let reason = found.ask(&self.closer);
        if matches!(reason, Close::SlowReader { .. }) {
            tracing::warn!(connection = %self.peer.id, "a client does not read; its connection is closed");
        }
        if between_messages && matches!(reason, Close::Restart | Close::GoingAway) {
            // The sessions have ended: their last events are there to be read, and belong to the goodbye.
            drop(tokio::time::timeout(CLOSE_WAIT, self.last_words()).await);
        }
        if let Some(frame) = reason.frame() {
            // A peer that does not take it is dropped without it.
            drop(tokio::time::timeout(CLOSE_WAIT, self.sink.send(Message::Close(Some(frame)))).await);
        }
        self.sink
    }

    async fn serve(&mut self) -> Result<Close, Close> {
        let mut others = Others::new(self.closer.subscribe());
        let (mut fed, mut waits) = (false, false);
        loop {
            // What else there is goes before events, of which there may always be more.
            while let Some(other) = self.other(&mut others, std::mem::take(&mut waits)).await {
                match other {
                    Other::Close(reason) => return Ok(reason),
                    Other::Send(outgoing) => self.take(outgoing).await?,
                    Other::Ping => self.ping().await?,
                    Other::Tell => continue,
                }
                fed = true;
            }
            fed |= self.serve_attachments().await?;
            fed |= self.tell_cursors().await?;
            if fed && Instant::now() >= self.ping_at {
                self.ping().await?;
            }
            if std::mem::take(&mut fed) {
                self.flush().await?;
            }
            waits = !self.attachments.iter().any(|attachment| attachment.reader.may_have_more());
            if !waits {
                // A filter may leave out much without a write that waits: the other tasks have their turn.
                tokio::task::consume_budget().await;
            }
        }
    }

    /// What else there is now. If it is nothing, `None`; who `waits` waits for something, or until there may be events.
    async fn other(&mut self, others: &mut Others, waits: bool) -> Option<Other> {
        let Self { queue, wake, ping_at, filtered, .. } = self;
        let mut woken = pin!(wake.notified());
        poll_fn(|context| {
            let other = others.rarely.poll(context, async {
                tokio::select! {
                    biased;
                    reason = next_reason(&mut others.close) => Other::Close(reason),
                    () = others.ping.at(*ping_at) => Other::Ping,
                    _ = others.tell.tick(), if *filtered > 0 => Other::Tell,
                    outgoing = queue.recv() => outgoing.map_or(Other::Close(Close::Gone), Other::Send),
                }
            });
            if other.is_ready() {
                return other.map(Some);
            }
            if waits { woken.as_mut().poll(context).map(|()| None) } else { Poll::Ready(None) }
        })
        .await
    }

    /// Sends what is there now.
    async fn last_words(&mut self) -> Result<(), Close> {
        loop {
            let mut fed = false;
            while let Ok(outgoing) = self.queue.try_recv() {
                self.take(outgoing).await?;
                fed = true;
            }
            if !self.serve_attachments().await? && !fed {
                return self.flush().await;
            }
        }
    }

    async fn take(&mut self, outgoing: Outgoing) -> Result<(), Close> {
        match outgoing {
            Outgoing::Notice(text) => self.feed_text(text.into()).await,
            Outgoing::Reply(reply) => {
                if let Some(text) = reply.text {
                    self.feed_text(text).await?;
                }
                for mut attachment in reply.attachments {
                    attachment.reader.wake_by(&self.wake);
                    self.filtered += usize::from(attachment.reader.is_filtered());
                    self.attachments.push(attachment);
                }
                Ok(())
            }
        }
    }

    /// Gives each attachment its turn. `true` if anything was fed.
    async fn serve_attachments(&mut self) -> Result<bool, Close> {
        let mut fed = false;
        let mut at = 0;
        while at < self.attachments.len() {
            fed |= self.serve_one(at).await?;
            let Some(attachment) = self.attachments.get(at) else { break };
            if attachment.reader.has_ended() || attachment.attached.is_gone() {
                let attachment = self.attachments.swap_remove(at);
                self.filtered -= usize::from(attachment.reader.is_filtered());
                self.peer.done(attachment.reader.session(), &attachment.attached);
            } else {
                at += 1;
            }
        }
        Ok(fed)
    }

    /// Tells filtered readers how far they have come, where it is time. `true` if anything was fed.
    async fn tell_cursors(&mut self) -> Result<bool, Close> {
        if self.filtered == 0 {
            return Ok(false);
        }
        let mut due = Vec::new();
        for attachment in self.attachments.iter_mut().filter(|attachment| attachment.reader.left_out() > 0) {
            let late = attachment.told_at.elapsed() >= TELL_AFTER;
            if !late && attachment.reader.left_out() < TELL_AFTER_EVENTS {
                continue;
            }
            let seq = attachment.reader.tell();
            if attachment.attached.advance(seq) {
                (attachment.sent, attachment.told_at) = (seq, Instant::now());
                due.push(Cursor { session_id: attachment.reader.session(), seq });
            }
        }
        for cursor in &due {
            self.feed_text(notification("session.cursor", cursor)).await?;
        }
        Ok(!due.is_empty())
    }

    /// Ends an attachment whose next event is no longer kept; the other ones of the connection go on.
    async fn expire(&mut self, at: usize, reason: DetachReason, oldest_seq: Option<u64>) -> Result<bool, Close> {
        let Some(attachment) = self.attachments.get(at) else { return Ok(false) };
        let session_id = attachment.reader.session();
        let last_seq = attachment.attached.end();
        tracing::warn!(%session_id, last_seq, "a reader was too far behind: what comes next is no longer kept");
        self.feed_text(notification("session.detached", &Detached { session_id, last_seq, reason, oldest_seq }))
            .await?;
        Ok(true)
    }

    async fn serve_one(&mut self, at: usize) -> Result<bool, Close> {
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear();
        let Some(attachment) = self.attachments.get_mut(at) else { return Ok(false) };
        if !attachment.reader.may_have_more() {
            self.frames = frames;
            return Ok(false);
        }
        let mut tries = 0;
        while let Err(error) = attachment.reader.read(TURN_FRAMES, TURN_BYTES, &mut frames).await {
            match error {
                ReadError::Store(error) if error.retryable() && tries < STORE_TRIES => {
                    tries += 1;
                    tokio::time::sleep(STORE_WAIT).await;
                }
                ReadError::Store(error) if error.retryable() => return Err(Close::TryLater),
                ReadError::Expired { oldest } => {
                    return self.expire(at, DetachReason::CursorExpired, Some(oldest)).await;
                }
                ReadError::Removed => return self.expire(at, DetachReason::Removed, None).await,
                ReadError::Store(_) => {
                    let session_id = attachment.reader.session();
                    tracing::error!(%session_id, %error, "a session's log can't be read");
                    return Err(Close::Internal);
                }
            }
        }
        // Detached while the store was read: nothing of this may be sent any more.
        let Some(last) = frames.last().filter(|frame| attachment.attached.advance(frame.seq)) else {
            self.frames = frames;
            return Ok(false);
        };
        debug_assert!(last.seq > 0);
        self.sent.increment(frames.len() as u64);
        let mut translator = attachment.translator.take();
        let attached = Arc::clone(&attachment.attached);
        // The clock is asked for those only whom it is looked at for.
        let began = attachment.reader.is_filtered().then(Instant::now);
        for frame in frames.drain(..) {
            let seq = frame.seq;
            match &mut translator {
                None => self.feed(event(frame.text)).await?,
                Some(translator) => {
                    for text in translator.translate(&frame, &attached) {
                        self.feed_text(text).await?;
                    }
                }
            }
            if let Some(attachment) = self.attachments.get_mut(at) {
                attachment.sent = seq;
            }
        }
        if let Some(attachment) = self.attachments.get_mut(at) {
            attachment.translator = translator;
            attachment.told_at = began.unwrap_or(attachment.told_at);
        }
        self.frames = frames;
        Ok(true)
    }

    async fn feed_text(&mut self, text: String) -> Result<(), Close> {
        self.feed(Message::Text(text.into())).await
    }

    /// Feeds a message, and before it the ping that is due.
    async fn feed(&mut self, message: Message) -> Result<(), Close> {
        if std::mem::take(&mut self.waited) && Instant::now() >= self.ping_at {
            self.ping().await?;
        }
        self.put(message).await
    }

    async fn ping(&mut self) -> Result<(), Close> {
        self.ping_at = Instant::now() + self.settings.ping_interval_seconds.duration();
        self.put(Message::Ping(Default::default())).await?;
        if self.peer.speaks_dialect() {
            let timestamp = Duration::from_millis(now_ms()).as_secs_f64();
            self.put(Message::Text(notification("ping", &Ping { timestamp }).into())).await?;
        }
        Ok(())
    }

    async fn put(&mut self, message: Message) -> Result<(), Close> {
        let Self { sink, written, settings, close, attachments, waited, .. } = self;
        *waited |= guarded(sink.feed(message), written, settings, close, attachments).await?;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Close> {
        let Self { sink, written, settings, close, attachments, waited, .. } = self;
        *waited |= guarded(sink.flush(), written, settings, close, attachments).await?;
        Ok(())
    }
}

/// A write that ends when the peer takes no byte for too long, or when the connection is to be closed. Says whether it
/// had to wait.
async fn guarded(
    write: impl Future<Output = Result<(), Error>>,
    written: &Bytes,
    settings: &WebSocketSettings,
    close: &mut watch::Receiver<Option<Close>>,
    attachments: &[Attachment],
) -> Result<bool, Close> {
    let mut write = std::pin::pin!(write);
    // Most writes are done at once; only a blocked one is watched.
    if let Some(outcome) = futures_util::FutureExt::now_or_never(write.as_mut()) {
        return outcome.map(|()| false).map_err(|_| Close::Gone);
    }
    let limit = settings.slow_reader_timeout_seconds.duration();
    let mut watch = interval(WATCH_INTERVAL.min(limit));
    let (mut seen, mut since) = (written.count(), Instant::now());
    loop {
        tokio::select! {
            outcome = write.as_mut() => return outcome.map(|()| true).map_err(|_| Close::Gone),
            _ = close.changed() => {
                if let Some(reason) = *close.borrow() {
                    return Err(reason);
                }
            }
            _ = watch.tick() => {
                let now = written.count();
                if now != seen {
                    (seen, since) = (now, Instant::now());
                } else if since.elapsed() >= limit {
                    let last_seq = attachments.iter().map(|attachment| attachment.sent).min();
                    return Err(Close::SlowReader { last_seq });
                }
            }
        }
    }
}

/// An event as a message. That it is text is known since it was encoded, and was seen again when it came from the store:
/// a frame is not looked through once more for each client.
fn event(text: bytes::Bytes) -> Message {
    Message::Frame(WebSocketFrame::message(text, OpCode::Data(Data::Text), true))
}
