//! A process's output and its end, pulled by the caller.
//!
//! Invariants: all lines come before the exit; what the process wrote before its exit is all there, however late the caller asks; exit and end of
//! output are two things, because a grandchild may hold the pipes; neither stream can starve the other; nothing is read unless asked for, so a
//! program whose reader is slow waits at its pipe.

use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::pin::{Pin, pin};
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, ChildStderr};
use tokio::time::Sleep;
use tokio_process_stream::{Item, ProcessChunkStream};
use tokio_stream::Stream as _;

use super::leaders::Leader;
use super::lines::{Line, LineSplitter, Stream};

/// At most about this much of each stream is in one item.
const BYTES_AN_ITEM: usize = 64 * 1024;
/// How much is read from stderr at once, and the most that the stream of stdout's chunks may hold back.
const CHUNK: usize = 8 * 1024;
/// If an ended process can't be waited for yet (it should be), look again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What comes next from a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputItem {
    /// Output came.
    Lines {
        /// The lines that it completed: in order within each stream; empty if it was only a part of a line.
        lines: Vec<Line>,
        /// Bytes read from both streams since the last item.
        bytes: usize,
    },
    /// The process has ended; nothing follows.
    Exited(Exit),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it. Neither code nor signal: its end could not be asked for.
    pub signal: Option<i32>,
    /// Was its output still held open by another process when the grace had passed? What that one writes later is not read.
    pub output_held: bool,
}

/// Lines, then the exit. Must be polled inside the runtime that started the process.
#[derive(Debug)]
pub struct Output {
    leader: Arc<Leader>,
    /// Stdout, and the child itself.
    stdout: ProcessChunkStream,
    /// A second handle to stdout's pipe, to ask how much is in it.
    stdout_handle: OwnedFd,
    stdout_lines: LineSplitter,
    /// `None` after its end.
    stderr: Option<ChildStderr>,
    stderr_buffer: BytesMut,
    stderr_lines: LineSplitter,
    /// Becomes readable when the process has ended, whoever holds its pipes.
    exited: AsyncFd<OwnedFd>,
    grace: Duration,
    /// Set when the exit has been noticed.
    drain: Option<Drain>,
    /// Set when the child has been waited for, which happens after the end of stdout or of the grace.
    status: Option<Option<ExitStatus>>,
    /// Everything has been read that will be; says whether the output is still held. Only the exit is to be told.
    end: Option<bool>,
    told_exit: bool,
}

/// Reading what is left after the exit.
#[derive(Debug)]
struct Drain {
    grace: Pin<Box<Sleep>>,
    grace_over: bool,
    /// Bytes of each stream that may be the process's own and are not yet read.
    stdout_owed: u64,
    stderr_owed: u64,
}

/// What a fresh child gives.
pub(super) struct OutputSource {
    pub(super) child: Child,
    pub(super) stdout_handle: OwnedFd,
    pub(super) stderr: Option<ChildStderr>,
    pub(super) exited: AsyncFd<OwnedFd>,
}

impl Output {
    pub(super) fn new(source: OutputSource, leader: Arc<Leader>, max_line_bytes: usize, grace: Duration) -> Self {
        Self {
            leader,
            // Stderr has been taken out of the child: this stream would always prefer it.
            stdout: ProcessChunkStream::from(source.child),
            stdout_handle: source.stdout_handle,
            stdout_lines: LineSplitter::new(Stream::Stdout, max_line_bytes),
            stderr: source.stderr,
            stderr_buffer: BytesMut::new(),
            stderr_lines: LineSplitter::new(Stream::Stderr, max_line_bytes),
            exited: source.exited,
            grace,
            drain: None,
            status: None,
            end: None,
            told_exit: false,
        }
    }

    /// The next output or the exit; `None` only after the exit. Cancel-safe: a dropped call has taken nothing.
    pub async fn next(&mut self) -> Option<OutputItem> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<OutputItem>> {
        if self.told_exit {
            return Poll::Ready(None);
        }
        if let Some(output_held) = self.end {
            return Poll::Ready(Some(self.tell_exit(output_held)));
        }
        self.notice_exit(context);
        let mut lines = Vec::new();
        let stdout = self.read_stdout(context, &mut lines);
        let stderr = self.read_stderr(context, &mut lines);
        let bytes = stdout.bytes + stderr.bytes;
        self.end = self.ended(context, stdout.waiting, stderr.waiting);
        if self.end.is_some() {
            lines.extend(self.stdout_lines.finish());
            lines.extend(self.stderr_lines.finish());
        }
        match self.end {
            _ if bytes > 0 || !lines.is_empty() => Poll::Ready(Some(OutputItem::Lines { lines, bytes })),
            Some(output_held) => Poll::Ready(Some(self.tell_exit(output_held))),
            None => Poll::Pending,
        }
    }

    fn tell_exit(&mut self, output_held: bool) -> OutputItem {
        self.told_exit = true;
        let status = self.status.flatten();
        let code = status.and_then(|status| status.code());
        let signal = status.and_then(|status| status.signal());
        OutputItem::Exited(Exit { code, signal, output_held })
    }

    fn notice_exit(&mut self, context: &mut Context<'_>) {
        if self.drain.is_some() || self.exited.poll_read_ready(context).is_pending() {
            return;
        }
        // The process can write no more. What it wrote is in the pipes now, or in the chunk stream's buffer.
        let stderr = self.stderr.as_ref().and_then(|stderr| rustix::io::ioctl_fionread(stderr).ok());
        self.drain = Some(Drain {
            grace: Box::pin(tokio::time::sleep(self.grace)),
            grace_over: false,
            stdout_owed: rustix::io::ioctl_fionread(&self.stdout_handle).unwrap_or(0) + CHUNK as u64,
            stderr_owed: stderr.unwrap_or(0),
        });
    }

    fn read_stdout(&mut self, context: &mut Context<'_>, lines: &mut Vec<Line>) -> Read {
        let mut read = Read::default();
        while self.status.is_none() && read.bytes < BYTES_AN_ITEM {
            let stream = Pin::new(&mut self.stdout);
            // This may wait for the child: no signal must be sent to its number at the same moment.
            let next = self.leader.while_waiting(|| {
                let next = stream.poll_next(context);
                let waited = matches!(next, Poll::Ready(Some(Item::Done(_)) | None));
                (next, waited)
            });
            match next {
                Poll::Ready(Some(Item::Stdout(chunk))) => read.take(chunk, &mut self.stdout_lines, lines),
                Poll::Ready(Some(Item::Stderr(chunk))) => read.take(chunk, &mut self.stderr_lines, lines),
                Poll::Ready(Some(Item::Done(status))) => self.status = Some(status.ok()),
                Poll::Ready(None) => self.status = Some(None),
                Poll::Pending => {
                    read.waiting = true;
                    break;
                }
            }
        }
        if let Some(drain) = &mut self.drain {
            drain.stdout_owed = drain.stdout_owed.saturating_sub(read.bytes as u64);
        }
        read
    }

    fn read_stderr(&mut self, context: &mut Context<'_>, lines: &mut Vec<Line>) -> Read {
        let mut read = Read::default();
        while let Some(stderr) = &mut self.stderr
            && read.bytes < BYTES_AN_ITEM
        {
            self.stderr_buffer.reserve(CHUNK);
            match pin!(stderr.read_buf(&mut self.stderr_buffer)).poll(context) {
                Poll::Ready(Ok(0) | Err(_)) => self.stderr = None,
                Poll::Ready(Ok(_)) => read.take(self.stderr_buffer.split().freeze(), &mut self.stderr_lines, lines),
                Poll::Pending => {
                    read.waiting = true;
                    break;
                }
            }
        }
        if let Some(drain) = &mut self.drain {
            drain.stderr_owed = drain.stderr_owed.saturating_sub(read.bytes as u64);
        }
        read
    }

    /// Is this the end, and if so, is the output still held?
    fn ended(&mut self, context: &mut Context<'_>, stdout_waiting: bool, stderr_waiting: bool) -> Option<bool> {
        if self.status.is_some() && self.stderr.is_none() {
            return Some(false);
        }
        let drain = self.drain.as_mut()?;
        if !drain.grace_over {
            drain.grace_over = drain.grace.as_mut().poll(context).is_ready();
        }
        if !drain.grace_over {
            return None;
        }
        // "Nothing to read at the moment" may only mean that the runtime has not looked: the pipe itself is asked.
        let empty = |handle: rustix::io::Result<u64>| handle.unwrap_or(0) == 0;
        let stdout_empty = stdout_waiting && empty(rustix::io::ioctl_fionread(&self.stdout_handle));
        let stdout_done = self.status.is_some() || drain.stdout_owed == 0 || stdout_empty;
        let stderr_empty = |stderr| stderr_waiting && empty(rustix::io::ioctl_fionread(stderr));
        let stderr_done = drain.stderr_owed == 0 || self.stderr.as_ref().is_none_or(stderr_empty);
        if !(stdout_done && stderr_done) {
            return None;
        }
        if self.status.is_none() {
            self.wait_for_held(context)?;
        }
        Some(true)
    }

    /// The child has ended but its stdout has not: the chunk stream would wait for that, so the child is asked here.
    fn wait_for_held(&mut self, context: &mut Context<'_>) -> Option<()> {
        let child = self.stdout.child_mut();
        let status = self.leader.while_waiting(|| match child.map(Child::try_wait) {
            Some(Ok(None)) => (None, false),
            Some(Ok(Some(status))) => (Some(Some(status)), true),
            Some(Err(_)) | None => (Some(None), true),
        });
        if status.is_none()
            && let Some(drain) = &mut self.drain
        {
            drain.grace.as_mut().reset(tokio::time::Instant::now() + LOOK_AGAIN);
            drain.grace_over = drain.grace.as_mut().poll(context).is_ready();
        }
        self.status = status;
        self.status.map(|_| ())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.status.is_none() {
            let control = super::ProcessControl::new(Arc::clone(&self.leader));
            let _nobody_there = control.signal(super::Signal::Kill);
            // The child inside `stdout` is dropped next: tokio kills and reaps it. Its number must not be signalled from now on.
            self.leader.while_waiting(|| ((), true));
        }
    }
}

/// What one round took from one stream.
#[derive(Default)]
struct Read {
    bytes: usize,
    /// There was no more to read.
    waiting: bool,
}

impl Read {
    fn take(&mut self, chunk: Bytes, splitter: &mut LineSplitter, lines: &mut Vec<Line>) {
        self.bytes += chunk.len();
        splitter.push(chunk, lines);
    }
}
