//! A stream that counts the bytes of both directions, so that a peer who is slow can be told from one who
//! does nothing at all.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One direction's count, shared with whoever watches it.
#[derive(Debug, Clone, Default)]
pub(super) struct Bytes(Arc<AtomicU64>);

impl Bytes {
    /// How many so far.
    #[must_use]
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Both directions of one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// What the peer has sent.
    pub read: Bytes,
    /// What the peer's side has taken.
    pub written: Bytes,
    /// What it took after the connection had been full: only a peer that reads makes these.
    pub unblocked: Bytes,
}

/// The counting stream.
#[derive(Debug)]
pub(super) struct Counted<S> {
    inner: S,
    progress: Progress,
    blocked: bool,
}

impl<S> Counted<S> {
    /// Counts what passes through `inner`.
    pub(super) fn new(inner: S) -> (Self, Progress) {
        let progress = Progress::default();
        (Self { inner, progress: progress.clone(), blocked: false }, progress)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.progress.read.add(buf.filled().len() - before);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        match polled {
            Poll::Ready(Ok(count)) => {
                self.progress.written.add(count);
                if std::mem::take(&mut self.blocked) {
                    self.progress.unblocked.add(count);
                }
            }
            Poll::Pending => self.blocked = true,
            Poll::Ready(Err(_)) => {}
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
