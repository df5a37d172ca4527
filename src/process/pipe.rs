//! One of a process's two output pipes: read when asked, in pieces that suit its speed, and cut into lines.
//!
//! Invariants: nothing is read unless asked for; what one round takes is bounded; a quiet pipe holds little memory.
//! It must not know when a process has ended.

use std::future::Future;
use std::os::fd::AsFd;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::lines::{Line, LineSplitter, Stream};

/// At most about this much of a pipe is taken in one round, so that the other one has its turn.
const BYTES_A_ROUND: usize = 64 * 1024;
/// Room for one read of a quiet pipe, and of one that always had more: what a pipe holds. A kernel call costs about as
/// much as copying a few KiB.
const LEAST_ROOM: usize = 4 * 1024;
const MOST_ROOM: usize = 64 * 1024;

/// The reading end of a pipe, until its end.
#[derive(Debug)]
pub(super) struct Pipe<R> {
    /// `None` after its end.
    reader: Option<R>,
    /// Given back by the lines cut from it when they are dropped, and used again.
    buffer: BytesMut,
    room: usize,
    lines: LineSplitter,
}

/// What one round took.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Round {
    /// Bytes read.
    pub bytes: usize,
    /// There was no more to read.
    pub waiting: bool,
}

impl<R: AsyncRead + AsFd + Unpin> Pipe<R> {
    pub(super) fn new(reader: Option<R>, stream: Stream, max_line_bytes: usize) -> Self {
        let lines = LineSplitter::new(stream, max_line_bytes);
        Self { reader, buffer: BytesMut::new(), room: LEAST_ROOM, lines }
    }

    /// Reads what is there now and appends the lines that it completes to `lines`.
    pub(super) fn read(&mut self, context: &mut Context<'_>, lines: &mut Vec<Line>) -> Round {
        let mut round = Round::default();
        while let Some(reader) = &mut self.reader
            && round.bytes < BYTES_A_ROUND
        {
            // What is left of a quiet pipe's buffer is used up: a new one for every line would be cold memory each time.
            if self.buffer.capacity() < self.room / 2 {
                self.buffer.reserve(self.room);
            }
            // Not more: the buffer may have grown for a read long ago.
            let offered = self.buffer.capacity().min(self.room);
            let read = pin!(reader.take(offered as u64).read_buf(&mut self.buffer)).poll(context);
            match read {
                Poll::Ready(Ok(0) | Err(_)) => self.reader = None,
                Poll::Ready(Ok(count)) => {
                    round.bytes += count;
                    self.lines.push(self.buffer.split().freeze(), lines);
                    self.fit(count, offered);
                }
                Poll::Pending => {
                    round.waiting = true;
                    break;
                }
            }
        }
        round
    }

    /// The next read gets the room that this one, of `offered` bytes at most, shows to be right.
    fn fit(&mut self, count: usize, offered: usize) {
        if count == offered {
            self.room = (self.room * 2).min(MOST_ROOM);
        } else if count < self.room / 4 && self.room > LEAST_ROOM {
            self.room = LEAST_ROOM;
            self.buffer = BytesMut::new();
        }
    }

    /// Has its end come?
    pub(super) fn has_ended(&self) -> bool {
        self.reader.is_none()
    }

    /// How many bytes are in it: the pipe itself is asked, for a read that waits may only mean that the runtime has not
    /// looked.
    pub(super) fn holds(&self) -> u64 {
        self.reader.as_ref().and_then(|reader| rustix::io::ioctl_fionread(reader).ok()).unwrap_or(0)
    }

    /// Nothing more will be read: what came after the last newline, if anything.
    pub(super) fn finish(&mut self) -> Option<Line> {
        self.lines.finish()
    }
}
