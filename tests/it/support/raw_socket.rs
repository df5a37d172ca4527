//! A bare TCP connection: for handshakes and frames that no library would send.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::presentable::{check_close, check_http, check_message};
use super::within;

/// A bare connection.
pub(crate) struct RawSocket {
    stream: TcpStream,
    /// What has come and was not yet asked for.
    pending: Vec<u8>,
}

/// A frame to send, with every bit open to abuse.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// The last of its message.
    pub(crate) fin: bool,
    /// The three reserved bits, 0 to 7.
    pub(crate) reserved: u8,
    /// Continuation 0, text 1, binary 2, close 8, ping 9, pong 10.
    pub(crate) opcode: u8,
    /// Masked, as a client must.
    pub(crate) masked: bool,
    /// Announces this length instead of the payload's.
    pub(crate) announced: Option<u64>,
    /// The payload.
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// A proper text frame.
    pub(crate) fn text(payload: impl Into<Vec<u8>>) -> Self {
        Self { fin: true, reserved: 0, opcode: 1, masked: true, announced: None, payload: payload.into() }
    }

    /// A proper frame of that opcode.
    pub(crate) fn of(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self { opcode, ..Self::text(payload) }
    }

    /// Its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.fin) << 7 | (self.reserved & 7) << 4 | (self.opcode & 15)];
        let mask = u8::from(self.masked) << 7;
        let length = self.announced.unwrap_or(self.payload.len() as u64);
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..=125), _) => bytes.push(mask | short),
            (_, Ok(middle)) => {
                bytes.push(mask | 126);
                bytes.extend(middle.to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        if self.masked {
            let key = [0x12, 0x34, 0x56, 0x78];
            bytes.extend(key);
            bytes.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            bytes.extend(&self.payload);
        }
        bytes
    }
}

impl RawSocket {
    /// Connects.
    pub(crate) async fn connect(server: SocketAddr) -> Self {
        let stream = within("a TCP connection", TcpStream::connect(server)).await.expect("a TCP connection");
        Self { stream, pending: Vec::new() }
    }

    /// Connects with a receive buffer of about so many bytes, so that little fits on the way to a client that
    /// does not read.
    pub(crate) async fn connect_with_buffer(server: SocketAddr, bytes: u32) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a receive buffer");
        let stream = within("a TCP connection", socket.connect(server)).await.expect("a TCP connection");
        Self { stream, pending: Vec::new() }
    }

    /// Connects and upgrades properly.
    pub(crate) async fn upgraded(server: SocketAddr, path: &str, token: &str) -> Self {
        Self::connect(server).await.upgrade(path, token).await
    }

    /// Upgrades properly.
    pub(crate) async fn upgrade(self, path: &str, token: &str) -> Self {
        let mut socket = self;
        socket.send(handshake(path, &[("Authorization", &format!("Bearer {token}"))]).as_bytes()).await;
        let head = socket.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "the upgrade was refused: {head}");
        socket
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("bytes to be sent", self.stream.write_all(bytes)).await.expect("bytes that can be sent");
    }

    /// Sends bytes to a peer that may have gone already; did they go out?
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        within("bytes to be sent", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Sends a frame.
    pub(crate) async fn frame(&mut self, frame: &Frame) {
        self.send(&frame.encode()).await;
    }

    /// The head of an HTTP answer, up to and without the empty line.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.pending.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.pending[..end]).into_owned();
                self.pending.drain(..end + 4);
                return head;
            }
            assert!(self.more("the head of an answer").await, "the connection ended within the head of an answer");
        }
    }

    /// The next frame from the server: opcode and payload; `None` once the connection has ended.
    pub(crate) async fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((length, frame)) = parse(&self.pending) {
                self.pending.drain(..length);
                check_frame(&frame);
                return Some(frame);
            }
            if !self.more("a frame").await {
                return None;
            }
        }
    }

    /// An HTTP answer with a length: its status, head and body.
    pub(crate) async fn answer(&mut self) -> (u16, String, Vec<u8>) {
        let head = self.head().await;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, length)| length.parse().expect("a length"));
        while self.pending.len() < length {
            assert!(self.more("the body of an answer").await, "the connection ended within a body: {head}");
        }
        let body: Vec<u8> = self.pending.drain(..length).collect();
        check_http(status, &body);
        (status, head, body)
    }

    /// Reads at most so many bytes and keeps them; `false` at the end of the connection.
    pub(crate) async fn read_some(&mut self, bytes: usize) -> bool {
        let mut chunk = vec![0; bytes];
        let count = within("some bytes", self.stream.read(&mut chunk)).await.unwrap_or(0);
        self.pending.extend_from_slice(&chunk[..count]);
        count > 0
    }

    /// The next frame among what has been read.
    pub(crate) fn next_read(&mut self) -> Option<(u8, Vec<u8>)> {
        let (length, frame) = parse(&self.pending)?;
        self.pending.drain(..length);
        Some(frame)
    }

    /// Reads on to the close frame: its code and its reason. `None`: the connection ended without one.
    pub(crate) async fn closed(&mut self) -> Option<(u16, String)> {
        while let Some((opcode, payload)) = self.read_frame().await {
            if opcode == 8 {
                let (code, reason) = payload.split_first_chunk().expect("a close frame with a code");
                return Some((u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned()));
            }
        }
        None
    }

    /// Reads on to the close frame: its code. `None`: the connection ended without one, or it had no code.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        while let Some((opcode, payload)) = self.read_frame().await {
            if opcode == 8 {
                return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
        None
    }

    /// Reads to the end of the connection; all that came.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        while self.more("the end of the connection").await {}
        std::mem::take(&mut self.pending)
    }

    /// Ends our side only.
    pub(crate) async fn finish(&mut self) {
        within("our side to be ended", self.stream.shutdown()).await.expect("a socket that can be shut down");
    }

    /// Goes away with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .expect("a socket that can be reset");
    }

    /// Reads more; `false` at the end. A reset is an end.
    async fn more(&mut self, what: &str) -> bool {
        let mut chunk = [0; 16 * 1024];
        let count = within(what, self.stream.read(&mut chunk)).await.unwrap_or(0);
        self.pending.extend_from_slice(&chunk[..count]);
        count > 0
    }
}

/// Frames from the gateway tell nothing of its inside.
fn check_frame((opcode, payload): &(u8, Vec<u8>)) {
    match opcode {
        1 => check_message(&String::from_utf8_lossy(payload)),
        8 => check_close(&String::from_utf8_lossy(payload.get(2..).unwrap_or_default())),
        _ => {}
    }
}

/// A proper upgrade request with further headers.
pub(crate) fn handshake(path: &str, headers: &[(&str, &str)]) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// The first whole frame in `bytes`: its length on the wire, opcode and payload.
fn parse(bytes: &[u8]) -> Option<(usize, (u8, Vec<u8>))> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server must not mask");
    let (length, start) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let end = start + usize::try_from(length).expect("a frame that fits into memory");
    Some((end, (first & 15, bytes.get(start..end)?.to_vec())))
}
