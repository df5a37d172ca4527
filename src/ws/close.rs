//! Every reason for which a connection ends: its code, its text, its word for the metrics, its row in the
//! documents.

use std::borrow::Cow;

use tokio::sync::watch;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The client closed it.
    Done,
    /// The client has gone without a word: reset, end of stream, silence.
    Gone,
    /// The client broke the WebSocket protocol.
    Protocol,
    /// A binary frame: this protocol is text.
    Binary,
    /// A text that is not UTF-8.
    NotUtf8,
    /// More messages than allowed, in spite of the errors.
    TooManyMessages,
    /// A message beyond the limit.
    TooBig,
    /// The gateway can't go on with this connection.
    Internal,
    /// The gateway is being restarted.
    Restart,
    /// The gateway goes at once: whoever stops it would not wait for the drain.
    GoingAway,
    /// The store can't be read just now.
    TryLater,
    /// The access token has ended or was revoked.
    TokenEnded,
    /// The same caller has opened another connection in its place.
    Replaced,
    /// The client takes nothing in; the last number sent for the session furthest behind, if there is one.
    SlowReader {
        /// The last `seq` that was sent.
        last_seq: Option<u64>,
    },
}

impl Close {
    /// Every reason, for documents and tests.
    pub const ALL: [Self; 14] = [
        Self::Done,
        Self::Gone,
        Self::Protocol,
        Self::Binary,
        Self::NotUtf8,
        Self::TooManyMessages,
        Self::TooBig,
        Self::Internal,
        Self::Restart,
        Self::GoingAway,
        Self::TryLater,
        Self::TokenEnded,
        Self::Replaced,
        Self::SlowReader { last_seq: None },
    ];

    /// The code of the close frame; `None` where none is sent.
    #[must_use]
    pub fn code(self) -> Option<u16> {
        Some(match self {
            Self::Gone => return None,
            Self::Done => 1000,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Binary => 1003,
            Self::NotUtf8 => 1007,
            Self::TooManyMessages => 1008,
            Self::TooBig => 1009,
            Self::Internal => 1011,
            Self::Restart => 1012,
            Self::TryLater => 1013,
            Self::TokenEnded => 4001,
            Self::Replaced => 4002,
            Self::SlowReader { .. } => 4008,
        })
    }

    /// The text of the close frame: what to do, within the 123 bytes that a close frame holds.
    #[must_use]
    pub fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Gone | Self::Done => "",
            Self::GoingAway => "the gateway is shutting down",
            Self::Protocol => "WebSocket protocol error",
            Self::Binary => "binary frames are not part of this protocol; send text",
            Self::NotUtf8 => "the text is not UTF-8",
            Self::TooManyMessages => "too many messages; see retry_after_ms in the errors",
            Self::TooBig => "the message is larger than allowed; see server.info",
            Self::Internal => "internal error; connect again and attach with after_seq",
            Self::Restart => "the gateway restarts; connect again shortly and attach with after_seq",
            Self::TryLater => "the store does not answer; connect again shortly and attach with after_seq",
            Self::TokenEnded => "the access token has ended; connect with a new one",
            Self::Replaced => "replaced by another connection of the same caller",
            Self::SlowReader { last_seq } => {
                let last = last_seq.map_or_else(String::new, |seq| format!("; last seq sent {seq}"));
                return Cow::Owned(format!("no progress: the client does not read{last}"));
            }
        })
    }

    /// The word for metrics and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Gone => "gone",
            Self::Protocol => "protocol",
            Self::Binary => "binary",
            Self::NotUtf8 => "not_utf8",
            Self::TooManyMessages => "too_many_messages",
            Self::TooBig => "too_big",
            Self::Internal => "internal",
            Self::Restart => "restart",
            Self::GoingAway => "going_away",
            Self::TryLater => "try_later",
            Self::TokenEnded => "token_ended",
            Self::Replaced => "replaced",
            Self::SlowReader { .. } => "slow_reader",
        }
    }

    /// What it means for the client, and what to do. For the documents.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "the client closed the connection",
            Self::Gone => "the client has gone without a word; nobody is there to be told",
            Self::Protocol => "the client broke the WebSocket protocol: a bug of the client",
            Self::Binary => "a binary frame: send text",
            Self::NotUtf8 => "a text that is not UTF-8: a bug of the client",
            Self::TooManyMessages => {
                "the client went on sending in spite of `too_many_requests`: wait `retry_after_ms` when told to"
            }
            Self::TooBig => "a message above `max_message_bytes` (`server.info` tells it)",
            Self::Internal => "the gateway's own fault: connect again and attach with `after_seq`; its log tells why",
            Self::Restart => "the gateway restarts: connect again shortly and attach with `after_seq`",
            Self::GoingAway => "the gateway ends at once, without its grace (a second signal): connect again later",
            Self::TryLater => "the store does not answer: connect again shortly and attach with `after_seq`",
            Self::TokenEnded => "the access token has ended or was revoked: log in, connect, attach with `after_seq`",
            Self::Replaced => "another connection of the same caller came with `?replaces=<this one's id>`",
            Self::SlowReader { .. } => {
                "the client took in nothing for `slow_reader_timeout_seconds`; the text names the last `seq` sent. \
                 Attach with the last one received: nothing is lost"
            }
        }
    }

    /// Asks for the connection's end for this reason, and gives the reason that counts: whoever asked first
    /// is right, except that [`Close::Gone`] gives way to whatever is known better.
    pub(super) fn ask(self, close: &watch::Sender<Option<Self>>) -> Self {
        let mut counts = self;
        close.send_if_modified(|asked| match *asked {
            Some(first) if first != Self::Gone || self == Self::Gone => {
                counts = first;
                false
            }
            _ => {
                *asked = Some(self);
                true
            }
        });
        counts
    }

    /// The close frame; `None` where none is sent.
    #[must_use]
    pub fn frame(self) -> Option<CloseFrame> {
        let code = CloseCode::from(self.code()?);
        Some(CloseFrame { code, reason: self.text().into_owned().into() })
    }

    /// What a failed read means.
    #[must_use]
    pub fn of_read_error(error: &Error) -> Self {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => Self::TooBig,
            Error::Utf8(_) => Self::NotUtf8,
            Error::ConnectionClosed | Error::AlreadyClosed => Self::Done,
            Error::Protocol(tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)
            | Error::Io(_) => Self::Gone,
            _ => Self::Protocol,
        }
    }
}

/// The codes that this gateway sends, as a Markdown table in the order of the numbers.
#[must_use]
pub fn markdown() -> String {
    let mut rows: Vec<_> = Close::ALL.into_iter().filter_map(|close| Some((close.code()?, close))).collect();
    rows.sort_unstable_by_key(|(code, _)| *code);
    let head = "| code | meaning |\n|---|---|\n".to_owned();
    rows.into_iter().fold(head, |text, (code, close)| text + &format!("| {code} | {} |\n", close.meaning()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_fits_a_close_frame_and_no_forbidden_code_is_sent() {
        let longest = Close::SlowReader { last_seq: Some(u64::MAX) };
        for close in Close::ALL.into_iter().chain([longest]) {
            assert!(close.text().len() <= 123, "{close:?}");
            assert!(!matches!(close.code(), Some(1004..=1006 | 1015)), "{close:?}");
        }
    }

    #[test]
    fn the_first_reason_counts_unless_something_better_is_known_than_gone() {
        let close = watch::channel(None).0;
        assert_eq!(Close::Gone.ask(&close), Close::Gone);
        assert_eq!(Close::Gone.ask(&close), Close::Gone);
        assert_eq!(Close::Done.ask(&close), Close::Done);
        assert_eq!(Close::Restart.ask(&close), Close::Done);
        assert_eq!(Close::Gone.ask(&close), Close::Done);
        assert_eq!(*close.borrow(), Some(Close::Done));
    }

    #[test]
    fn no_two_reasons_share_a_code_or_a_word() {
        let mut codes: Vec<_> = Close::ALL.iter().map(|close| close.code()).collect();
        let mut words: Vec<_> = Close::ALL.iter().map(|close| close.word()).collect();
        codes.sort_unstable();
        codes.dedup();
        words.sort_unstable();
        words.dedup();
        assert_eq!((codes.len(), words.len()), (Close::ALL.len(), Close::ALL.len()));
    }
}
