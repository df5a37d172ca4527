//! The accept loop of both listeners, HTTP and WebSocket.
//!
//! It takes a connection only when there is room under the cap (further ones wait in the kernel's queue),
//! sets the socket's options and hands it to [`super::connection`]. It ends only on shutdown: an error of
//! `accept` (no file descriptors left, for example) makes it wait a little and go on. HTTP/1 only.

use std::io;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Connections};
use crate::config::settings::HttpSettings;
use crate::telemetry::tasks;

/// How long to wait after a first error of `accept`; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest wait between two tries to accept.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A peer that acknowledges nothing of what it was sent for so long is gone (`TCP_USER_TIMEOUT`). Ends with an upgrade,
/// see [`hand_over`].
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Bytes that the kernel takes of a connection before it can send them. With megabytes, as by default, a client that reads
/// slowly seems to take nothing for a long time, and then much at once; and what waits there is memory that nobody counts.
const UNSENT: u32 = 32 * 1024;
/// After so long without traffic the kernel asks whether the peer is still there …
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// … and repeats the question this often, until [`UNACKNOWLEDGED`] has passed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// What a client's connection is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptLimits {
    /// A connection that has not sent a first byte by then is closed.
    pub first_byte_timeout: Duration,
    /// A request whose header is not complete by then ends the connection; so does silence between requests.
    pub header_timeout: Duration,
    /// Largest request header, start line included, in bytes; a larger one is answered 431.
    pub max_header_bytes: usize,
    /// Most header fields in a request; more are answered 431.
    pub max_headers: usize,
    /// On shutdown: how long a request in flight may take to finish.
    pub shutdown_grace: Duration,
}

impl AcceptLimits {
    /// The deadlines of the settings, with 16 KiB and 100 fields of header and 5 seconds of grace.
    #[must_use]
    pub fn new(settings: &HttpSettings) -> Self {
        Self {
            first_byte_timeout: settings.first_byte_timeout_seconds.duration(),
            header_timeout: settings.header_timeout_seconds.duration(),
            max_header_bytes: 16 * 1024,
            max_headers: 100,
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

/// Accepts connections and serves `router` on them until `shutdown`; then closes the listener and returns.
///
/// Each connection is a task of `tracker`: after `tracker.wait()` none is left that was not upgraded.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections: Connections,
    limits: AcceptLimits,
    shutdown: CancellationToken,
    tracker: TaskTracker,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let next = async {
            let room = connections.room().await?;
            Some((listener.accept().await, room))
        };
        let (accepted, room) = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            next = next => match next {
                Some(next) => next,
                None => return,
            },
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                set_options(&stream);
                let permit = connections.opened(room);
                let served = connection::run(stream, peer, permit, router.clone(), limits, shutdown.clone());
                tasks::spawn("http.connection", tracker.track_future(served));
            }
            Err(error) if concerns_one_connection(&error) => {
                tracing::debug!(%error, "a connection was gone before it was accepted");
            }
            Err(error) => {
                tracing::warn!(%error, listener = connections.name(), "can't accept connections; trying again");
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Errors that a single peer causes: no reason to wait.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Small answers leave at once, and a peer that vanished without a word is noticed.
fn set_options(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED)))
        .and_then(|()| socket.set_tcp_notsent_lowat(UNSENT));
    if let Err(error) = set {
        // The peer may be gone already; the connection then ends by itself.
        tracing::debug!(%error, "a socket option could not be set");
    }
}

/// The socket of an upgraded connection, and what came on it after the request. `None`: not a connection of [`serve`].
///
/// From here on its new owner alone says when the peer is gone. The kernel would end connections that live: once the
/// window has been too small for what waits at the head of the queue, it counts `UNACKNOWLEDGED` to the end however
/// much the peer takes meanwhile, and a client that reads slowly keeps its window small all the time.
#[must_use]
pub fn hand_over(upgraded: Upgraded) -> Option<(TcpStream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    let stream = parts.io.into_inner();
    if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(None) {
        tracing::debug!(%error, "a socket option could not be taken back");
    }
    Some((stream, parts.read_buf))
}

#[cfg(test)]
mod tests;
