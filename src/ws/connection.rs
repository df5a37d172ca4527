//! The reading side of one connection, and the connection as a whole: its tasks, its clocks, its end.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::task::TaskTracker;

use super::close::Close;
use super::handshake::socket;
use super::limiter::{Limiter, Verdict};
use super::outbox::{Outbox, Outgoing};
use super::progress::{Counted, Progress};
use super::registry::Entered;
use crate::api::server::Connected;
use crate::api::{ErrorKind, Order, PROTOCOL_VERSION, RpcError};
use crate::config::settings::WebSocketSettings;
use crate::rpc::dispatch::{Dispatcher, Reply, order, refuse};
use crate::rpc::envelope::{Message as Rpc, notification, parse};
use crate::rpc::peer::Peer;
use crate::session::Sessions;
use crate::telemetry::{metrics, tasks};

/// A peer of whom nothing is heard for so many ping intervals has gone. They are counted one by one: when the gateway
/// itself has stood still, its ping comes late, and one interval at least is left for the answer.
const SILENT_INTERVALS: u32 = 2;
/// How long a peer may take to echo a close frame.
const CLOSE_ECHO: Duration = Duration::from_secs(3);

/// What a connection needs of the rest of the house.
pub(super) struct Connection {
    pub peer: Arc<Peer>,
    pub dispatcher: Arc<Dispatcher>,
    pub sessions: Arc<Sessions>,
    pub settings: Arc<WebSocketSettings>,
    pub entered: Entered,
    pub outbox: (mpsc::Sender<Outgoing>, mpsc::Receiver<Outgoing>),
    pub close: (watch::Sender<Option<Close>>, watch::Receiver<Option<Close>>),
}

impl Connection {
    /// Runs the connection to its end. `begun` is what has been read of it already.
    pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S, begun: Bytes) {
        let (stream, progress) = Counted::new(stream);
        let settings = &self.settings;
        let socket = socket(stream, begun, settings.max_message_bytes).await;
        let (sink, mut frames) = socket.split();
        let (outgoing, queue) = self.outbox;
        let (close, closing) = self.close;
        let outbox = Outbox::new(
            sink,
            queue,
            close.clone(),
            Arc::clone(&self.peer),
            progress.written.clone(),
            Arc::clone(settings),
        );
        drop(outgoing.try_send(Outgoing::Notice(connected(&self.peer).into())));
        let writer = tasks::spawn("ws-outbox", outbox.run());
        let calls = Calls::new(&self.peer, &self.dispatcher, outgoing, settings.max_calls_in_flight);
        let reader = Reader { settings: Arc::clone(settings), peer: Arc::clone(&self.peer), calls, progress };
        let closed = read(reader, &mut frames, &close, closing).await;
        let sink = writer.await.ok().flatten();
        let reason = close.borrow().unwrap_or(closed.reason);
        metrics::socket_closed(reason.word());
        tracing::info!(connection = %self.peer.id, reason = reason.word(), "connection closed");
        drop(self.entered);
        if let Some(Ok(mut socket)) = sink.map(|sink| frames.reunite(sink))
            && matches!(reason, Close::Protocol | Close::NotUtf8 | Close::TooBig)
        {
            hear_out(socket.get_mut()).await;
        }
        // Calls under way are never cut off: a session half started would be nobody's.
        closed.calls.wait().await;
        for session in self.peer.take_held() {
            // Boxed: it is several times as large as all else of this future, and needed once, if at all.
            Box::pin(self.sessions.let_go(&self.peer.principal, session)).await;
        }
    }
}

/// How the reading side came to its end.
struct Closed {
    reason: Close,
    calls: TaskTracker,
}

/// Reads and drops what a peer still sends whose frames can't be read any more, until it closes. To close
/// the socket with unread bytes in it would be a reset, which destroys the close frame on its way.
async fn hear_out<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    // On the heap: within the future it would cost every connection, also those that never come here.
    let mut waste = vec![0; 4_096];
    let heard = async {
        stream.shutdown().await?;
        while stream.read(&mut waste).await? > 0 {}
        std::io::Result::Ok(())
    };
    drop(timeout(CLOSE_ECHO, heard).await);
}

struct Reader {
    settings: Arc<WebSocketSettings>,
    peer: Arc<Peer>,
    calls: Calls,
    progress: Progress,
}

async fn read<S>(
    reader: Reader,
    frames: &mut S,
    close: &watch::Sender<Option<Close>>,
    mut closing: watch::Receiver<Option<Close>>,
) -> Closed
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    let calls = reader.calls.tracker.clone();
    let reason = reader.take_frames(frames, &mut closing).await;
    // The writer sends the frame.
    let reason = reason.ask(close);
    if reason != Close::Gone {
        // The closing handshake: read until the peer echoes, goes, or takes too long.
        let deadline = Instant::now() + CLOSE_ECHO;
        while let Ok(Some(Ok(_))) = timeout_at(deadline, frames.next()).await {}
    }
    calls.close();
    Closed { reason, calls }
}

impl Reader {
    async fn take_frames<S>(mut self, frames: &mut S, closing: &mut watch::Receiver<Option<Close>>) -> Close
    where
        S: Stream<Item = Result<Message, Error>> + Unpin,
    {
        let interval = self.settings.ping_interval_seconds.duration();
        let mut token = self.peer.token();
        let mut token_ends = token_end(token.borrow_and_update().expires_at);
        let mut limiter = Limiter::new(self.settings.max_messages_per_second, std::time::Instant::now());
        let (mut looked, mut signs, mut silent) = (Instant::now(), 0, 0);
        loop {
            let frame = tokio::select! {
                // What has come counts before the silence: it may have waited here while calls had no room.
                biased;
                reason = asked(closing) => return reason,
                Ok(()) = token.changed() => {
                    token_ends = token_end(token.borrow_and_update().expires_at);
                    continue;
                }
                () = sleep_until(token_ends) => return Close::TokenEnded,
                frame = frames.next() => frame,
                () = sleep_until(looked + interval) => {
                    let before = std::mem::replace(&mut signs, self.signs_of_life());
                    silent = if signs == before { silent + 1 } else { 0 };
                    if silent == SILENT_INTERVALS {
                        return Close::Gone;
                    }
                    looked = Instant::now();
                    continue;
                }
            };
            (looked, signs, silent) = (Instant::now(), self.signs_of_life(), 0);
            match frame {
                None => return Close::Gone,
                Some(Err(error)) => return Close::of_read_error(&error),
                Some(Ok(Message::Close(_))) => return Close::Done,
                Some(Ok(Message::Binary(_))) => return Close::Binary,
                Some(Ok(Message::Text(text))) => {
                    let message = parse(&text, self.settings.max_batch_calls);
                    let taken = match limiter.take(looked.into_std()) {
                        Verdict::Pass => self.calls.start(message, closing).await,
                        Verdict::Refuse { retry_after } => self.calls.refuse(&message, retry_after).await,
                        Verdict::Close => return Close::TooManyMessages,
                    };
                    if !taken {
                        return closing.borrow().unwrap_or(Close::Gone);
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            }
        }
    }
}

impl Reader {
    /// Grows while the peer lives, also when no whole message comes: a long one may be on its way, and a slow
    /// reader's pong waits behind all that it has not read yet.
    fn signs_of_life(&self) -> u64 {
        self.progress.read.count() + self.progress.unblocked.count()
    }
}

/// A message that waits for its turn. Boxed, because a queue has room for 32 of them from its beginning.
type Waiting = (Rpc, OwnedSemaphorePermit);

/// The calls of one connection: how many at once, and which keep their order.
struct Calls {
    peer: Arc<Peer>,
    dispatcher: Arc<Dispatcher>,
    outgoing: mpsc::Sender<Outgoing>,
    max_in_flight: usize,
    /// One permit a message under way; without one the socket is not read.
    permits: Arc<Semaphore>,
    /// To the task that carries out one message after the other; made with the first that must be, since a
    /// connection without a session has none.
    ordered: Option<mpsc::Sender<Box<Waiting>>>,
    tracker: TaskTracker,
}

impl Calls {
    fn new(
        peer: &Arc<Peer>,
        dispatcher: &Arc<Dispatcher>,
        outgoing: mpsc::Sender<Outgoing>,
        max_in_flight: usize,
    ) -> Self {
        Self {
            peer: Arc::clone(peer),
            dispatcher: Arc::clone(dispatcher),
            outgoing,
            max_in_flight,
            permits: Arc::new(Semaphore::new(max_in_flight)),
            ordered: None,
            tracker: TaskTracker::new(),
        }
    }

    /// The way to the task of the ordered calls.
    fn ordered(&mut self) -> &mpsc::Sender<Box<Waiting>> {
        let Self { peer, dispatcher, outgoing, tracker, max_in_flight, .. } = self;
        self.ordered.get_or_insert_with(|| {
            // Room for whoever has a permit: who waits for the order never keeps the socket from being read.
            let (ordered, mut queue) = mpsc::channel::<Box<Waiting>>(*max_in_flight);
            let (peer, dispatcher, outgoing) = (Arc::clone(peer), Arc::clone(dispatcher), outgoing.clone());
            let in_turn = async move {
                while let Some(waiting) = queue.recv().await {
                    let (message, permit) = *waiting;
                    answer(dispatcher.dispatch(message, &peer).await, &outgoing).await;
                    drop(permit);
                }
            };
            tasks::spawn("ws-ordered-calls", tracker.track_future(in_turn));
            ordered
        })
    }

    /// Starts a message's calls. `false` if the connection ends meanwhile.
    async fn start(&mut self, message: Rpc, closing: &mut watch::Receiver<Option<Close>>) -> bool {
        let permit = tokio::select! {
            permit = Arc::clone(&self.permits).acquire_owned() => permit,
            _ = asked(closing) => return false,
        };
        let Ok(permit) = permit else { return false };
        if order(&message) == Order::Ordered {
            return self.ordered().send(Box::new((message, permit))).await.is_ok();
        }
        let (peer, dispatcher) = (Arc::clone(&self.peer), Arc::clone(&self.dispatcher));
        let outgoing = self.outgoing.clone();
        tasks::spawn(
            "ws-call",
            self.tracker.track_future(async move {
                answer(dispatcher.dispatch(message, &peer).await, &outgoing).await;
                drop(permit);
            }),
        );
        true
    }

    /// Answers a message's calls with an error without carrying them out.
    async fn refuse(&self, message: &Rpc, retry_after: Duration) -> bool {
        let milliseconds = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX).max(1);
        let error = RpcError::new(ErrorKind::TooManyRequests, "too many messages on this connection; wait")
            .retry_after_ms(milliseconds);
        match refuse(message, &error) {
            Some(text) => self.outgoing.send(Outgoing::Notice(text.into())).await.is_ok(),
            None => true,
        }
    }
}

async fn answer(reply: Reply, outgoing: &mpsc::Sender<Outgoing>) {
    if reply.text.is_some() || !reply.attachments.is_empty() {
        // The writer may have gone; then nobody waits for the answer.
        drop(outgoing.send(Outgoing::Reply(Box::new(reply))).await);
    }
}

fn connected(peer: &Peer) -> String {
    let params = Connected {
        session_id: peer.id,
        version: PROTOCOL_VERSION.to_owned(),
        capabilities: ["execute", "control", "stream", "sessions", "attach"].map(str::to_owned).to_vec(),
    };
    notification("connected", &params)
}

/// Waits until somebody asks for the connection's end.
async fn asked(closing: &mut watch::Receiver<Option<Close>>) -> Close {
    closing.wait_for(Option::is_some).await.ok().and_then(|reason| *reason).unwrap_or(Close::Gone)
}

/// When the token ends, on the clock of timers.
fn token_end(expires_at: u64) -> Instant {
    let end = UNIX_EPOCH.checked_add(Duration::from_secs(expires_at));
    let left = end.map_or(Duration::MAX, |end| end.duration_since(SystemTime::now()).unwrap_or_default());
    // A timer can't be set for ever; a year is longer than any connection.
    Instant::now() + left.min(Duration::from_secs(365 * 24 * 3_600))
}
