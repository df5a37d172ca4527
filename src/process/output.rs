//! A process's output and its end, pulled by the caller.
//!
//! Invariants: all lines come before the exit; what the process wrote before its exit is all there, however late the caller asks; exit and end of
//! output are two things, because a grandchild may hold the pipes; neither stream can starve the other; nothing is read unless asked for, so a
//! program whose reader is slow waits at its pipe.

use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::process::{ChildStderr, ChildStdout};
use tokio::time::Sleep;

use super::child::Child;
use super::leaders::Leader;
use super::lines::{Line, Stream};
use super::pipe::{Pipe, Round};
use crate::telemetry::rarely::Rarely;

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
    /// Killed and reaped when dropped.
    child: Child,
    stdout: Pipe<ChildStdout>,
    stderr: Pipe<ChildStderr>,
    /// Becomes readable when the process has ended, whoever holds its pipes.
    exited: AsyncFd<OwnedFd>,
    grace: Duration,
    /// Set when the exit has been noticed.
    drain: Option<Drain>,
    /// Set when the child has been waited for, which happens after its exit and the end of stdout, or of the grace.
    status: Option<Option<ExitStatus>>,
    /// Set if it could not be waited for although it had ended.
    look_again: Option<Pin<Box<Sleep>>>,
    /// Everything has been read that will be; says whether the output is still held. Only the exit is to be told.
    end: Option<bool>,
    told_exit: bool,
    /// When its exit and its standard error are looked at.
    rarely: Rarely,
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
    pub(super) exited: AsyncFd<OwnedFd>,
}

impl Output {
    pub(super) fn new(source: OutputSource, leader: Arc<Leader>, max_line_bytes: usize, grace: Duration) -> Self {
        let OutputSource { mut child, exited } = source;
        Self {
            leader,
            stdout: Pipe::new(child.stdout.take(), Stream::Stdout, max_line_bytes),
            stderr: Pipe::new(child.stderr.take(), Stream::Stderr, max_line_bytes),
            child,
            exited,
            grace,
            drain: None,
            status: None,
            look_again: None,
            end: None,
            told_exit: false,
            rarely: Rarely::new(),
        }
    }

    /// The next output or the exit; `None` only after the exit. Cancel-safe: a dropped call has taken nothing.
    pub async fn next(&mut self) -> Option<OutputItem> {
        poll_fn(|context| self.poll(context)).await
    }

    /// See [`Output::next`].
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<OutputItem>> {
        if self.told_exit {
            return Poll::Ready(None);
        }
        if let Some(output_held) = self.end {
            return Poll::Ready(Some(self.tell_exit(output_held)));
        }
        // An agent mostly prints to its standard output. Whether anything else has come is looked at when it has, and
        // always once it has exited.
        if self.drain.is_some() {
            self.rarely.changed();
        }
        let rare = self.rarely.due(context);
        if let Some(rare) = &rare {
            self.notice_exit(&mut Context::from_waker(rare));
        }
        let mut lines = Vec::new();
        let stdout = self.stdout.read(context, &mut lines);
        let stderr =
            rare.map_or_else(Round::default, |rare| self.stderr.read(&mut Context::from_waker(&rare), &mut lines));
        if stderr.bytes > 0 {
            // There may be more.
            self.rarely.changed();
        }
        let bytes = stdout.bytes + stderr.bytes;
        self.end = self.ended(context, stdout, stderr);
        if self.end.is_some() {
            lines.extend(self.stdout.finish());
            lines.extend(self.stderr.finish());
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
        // The process can write no more. What it wrote is in the pipes now.
        self.drain = Some(Drain {
            grace: Box::pin(tokio::time::sleep(self.grace)),
            grace_over: false,
            stdout_owed: self.stdout.holds(),
            stderr_owed: self.stderr.holds(),
        });
    }

    /// Is this the end, and if so, is the output still held?
    fn ended(&mut self, context: &mut Context<'_>, stdout: Round, stderr: Round) -> Option<bool> {
        let drain = self.drain.as_mut()?;
        drain.stdout_owed = drain.stdout_owed.saturating_sub(stdout.bytes as u64);
        drain.stderr_owed = drain.stderr_owed.saturating_sub(stderr.bytes as u64);
        if !drain.grace_over {
            drain.grace_over = drain.grace.as_mut().poll(context).is_ready();
        }
        let grace_over = drain.grace_over;
        let stdout_empty = stdout.waiting && self.stdout.holds() == 0;
        let stdout_done = self.stdout.has_ended() || grace_over && (drain.stdout_owed == 0 || stdout_empty);
        let stderr_empty = stderr.waiting && self.stderr.holds() == 0;
        let stderr_done = self.stderr.has_ended() || grace_over && (drain.stderr_owed == 0 || stderr_empty);
        if !(stdout_done && stderr_done) {
            return None;
        }
        if self.status.is_none() {
            self.wait_for_child(context)?;
        }
        Some(!(self.stdout.has_ended() && self.stderr.has_ended()))
    }

    /// Asks for the status of the child, which has ended. No signal must be sent to its number at the same moment.
    fn wait_for_child(&mut self, context: &mut Context<'_>) -> Option<()> {
        self.status = self.leader.while_waiting(|| match self.child.try_wait() {
            Ok(None) => (None, false),
            Ok(Some(status)) => (Some(Some(status)), true),
            Err(_) => (Some(None), true),
        });
        if self.status.is_none() {
            let mut again = Box::pin(tokio::time::sleep(LOOK_AGAIN));
            // To be woken by it.
            let _pending = again.as_mut().poll(context);
            self.look_again = Some(again);
        }
        self.status.map(|_| ())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.status.is_none() {
            let control = super::ProcessControl::new(Arc::clone(&self.leader));
            let _nobody_there = control.signal(super::Signal::Kill);
            // The child is dropped next, which kills and reaps it. Its number must not be signalled from now on.
            self.leader.while_waiting(|| ((), true));
        }
    }
}
