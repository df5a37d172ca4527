//! One accepted TCP connection, from its first byte to its end or to its upgrade.
//!
//! Invariants:
//! - A connection that sends nothing is closed at the first-byte deadline; one whose request header is not
//!   complete at the header deadline is closed too. So is a kept-alive one that stays silent as long.
//! - The [`ConnectionPermit`] lives as long as the connection. It rides in the request's extensions, so that
//!   whoever upgrades the connection can keep it.
//! - On shutdown an idle connection is closed at once; a request in flight has the grace to finish.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::accept::AcceptLimits;
use crate::telemetry::metrics;

/// Smallest buffer hyper takes.
const HYPER_MIN_BUFFER: usize = 8_192;
/// After the last answer a client that still sends is heard out for so long, so that closing the socket does
/// not destroy the answer on its way (a close with unread input is a reset).
const LINGER: Duration = Duration::from_secs(1);
/// And for so many bytes at most. They are thrown away.
const LINGER_BYTES: usize = 1024 * 1024;

/// The far end of the connection that a request came on, or whom a trusted proxy there names
/// ([`super::forwarded`]); in every request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// The cap on one listener's connections, and their count.
#[derive(Debug, Clone)]
pub struct Connections {
    /// The listener, as the metrics name it: `http` or `ws`.
    name: &'static str,
    /// One permit a connection. Shared, because each open connection gives its permit back here.
    permits: Arc<Semaphore>,
    /// Connections that are open. Not the same as the permits in use: the accept loop holds one for the next.
    open: Arc<AtomicUsize>,
    /// The most that were open at once since somebody asked: a burst that comes and goes between two looks is seen.
    most: Arc<AtomicUsize>,
}

impl Connections {
    /// A cap of `max` connections on the listener `name` (`http` or `ws`).
    #[must_use]
    pub fn new(name: &'static str, max: usize) -> Self {
        let permits = Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS)));
        Self { name, permits, open: Arc::default(), most: Arc::default() }
    }

    /// How many connections are open now, upgraded ones included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The most that were open at once since this was asked last, or since the start.
    #[must_use]
    pub fn take_most(&self) -> usize {
        self.most.swap(self.open(), Ordering::Relaxed)
    }

    /// The listener's name.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Waits until there is room for one more. `None`: never, because the cap itself is gone.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Counts a connection that has just been accepted into `room`.
    pub(super) fn opened(&self, room: OwnedSemaphorePermit) -> Arc<ConnectionPermit> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(open, Ordering::Relaxed);
        metrics::connection_opened(self.name);
        Arc::new(ConnectionPermit { connections: self.clone(), _room: room })
    }
}

/// The right to have one connection open; dropping the last handle gives it back.
///
/// Every request carries an `Arc` of it in its extensions. Whoever upgrades the connection keeps that `Arc`
/// for as long as the socket lives.
#[derive(Debug)]
pub struct ConnectionPermit {
    connections: Connections,
    _room: OwnedSemaphorePermit,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
        metrics::connection_gone(self.connections.name);
    }
}

/// Serves one connection to its end, or until it is upgraded.
pub(super) async fn run(
    stream: TcpStream,
    peer: SocketAddr,
    permit: Arc<ConnectionPermit>,
    router: Router,
    limits: AcceptLimits,
    shutdown: CancellationToken,
) {
    let first_byte = async { timeout(limits.first_byte_timeout, stream.peek(&mut [0])).await };
    let heard = tokio::select! {
        biased;
        () = shutdown.cancelled() => return,
        heard = first_byte => heard,
    };
    // Silent until the deadline, gone again, or broken: there is nobody to answer.
    if !matches!(heard, Ok(Ok(1..))) {
        tracing::debug!(listener = permit.connections.name, "a connection ended without a request");
        return;
    }
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(PeerAddr(peer));
        request.extensions_mut().insert(Arc::clone(&permit));
        router.clone().call(request.map(Body::new))
    });
    let mut connection = builder(limits).serve_connection(TokioIo::new(stream), service).with_upgrades();
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        () = shutdown.cancelled() => {
            Pin::new(&mut connection).graceful_shutdown();
            // Past the grace the connection is dropped as it is.
            drop(timeout(limits.shutdown_grace, &mut connection).await);
            return;
        }
    };
    let answered = match &ended {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "a connection ended early");
            error.is_parse() || error.is_parse_too_large()
        }
    };
    // An upgraded connection has no parts left: it belongs to somebody else now.
    if let (true, Some(parts)) = (answered, connection.into_parts()) {
        tokio::select! {
            () = linger(parts.io.into_inner()) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

fn builder(limits: AcceptLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.max_headers)
        .max_header_size(limits.max_header_bytes)
        .max_buf_size(limits.max_header_bytes.max(HYPER_MIN_BUFFER));
    builder
}

/// Reads and drops what the client still sends, until it has read the answer and closes.
async fn linger(mut stream: TcpStream) {
    // On the heap: within the future it would cost every connection, also those that never come here.
    let mut waste = vec![0; 4_096];
    let hear_out = async {
        let mut heard = 0;
        while heard < LINGER_BYTES {
            match stream.read(&mut waste).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => heard += bytes,
            }
        }
    };
    drop(timeout(LINGER, hear_out).await);
}
