//! A WebSocket client that costs next to nothing, so that a measurement is of the server: one blocking socket,
//! one buffer, messages as slices of it. It trusts its peer and speaks no more than the benchmarks need.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Asked for at once; a message that is longer makes the buffer grow.
const BUFFER: usize = 256 * 1024;
/// A server that says nothing for so long has lost something.
const PATIENCE: Duration = Duration::from_secs(60);
/// Says in a frame's head that a mask follows.
const MASKED: u8 = 0x80;

/// A connection that has been upgraded.
pub(crate) struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer has come and was not yet taken.
    taken: usize,
    filled: usize,
    /// The parts of a message that comes in several frames.
    parts: Vec<u8>,
    /// When the bytes came that the last message was in.
    read_at: Instant,
}

/// A frame's head: where its payload begins, its length, whether it is its message's last, and its kind.
struct Head {
    begins: usize,
    length: usize,
    last: bool,
    opcode: u8,
}

impl Socket {
    /// Connects and upgrades; with a token if there is one.
    pub(crate) fn connect(server: SocketAddr, path: &str, token: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(server).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{authorization}\r\n"
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut socket =
            Self { stream, buffer: vec![0; BUFFER], taken: 0, filled: 0, parts: Vec::new(), read_at: Instant::now() };
        loop {
            if let Some(end) = memchr::memmem::find(&socket.buffer[..socket.filled], b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&socket.buffer[..end]).into_owned();
                assert!(head.starts_with("HTTP/1.1 101 "), "the upgrade was refused: {head}");
                socket.taken = end + 4;
                return socket;
            }
            socket.read();
        }
    }

    /// Sends a text message.
    pub(crate) fn send(&mut self, text: &str) {
        // A mask of zeros is a mask.
        let mut frame = Vec::new();
        text_head(text.len(), MASKED, &mut frame);
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).expect("a message that can be sent");
    }

    /// The next message, and when its last bytes came.
    pub(crate) fn message(&mut self) -> (&[u8], Instant) {
        self.parts.clear();
        loop {
            let head = self.frame();
            let payload = head.begins..head.begins + head.length;
            self.taken = payload.end;
            match (head.opcode, head.last) {
                (8, _) => panic!("the server closed: {}", String::from_utf8_lossy(&self.buffer[payload])),
                (9, _) => self.pong(payload),
                (10, _) => {}
                (_, true) if self.parts.is_empty() => return (&self.buffer[payload], self.read_at),
                (_, last) => {
                    self.parts.extend_from_slice(&self.buffer[payload]);
                    if last {
                        return (&self.parts, self.read_at);
                    }
                }
            }
        }
    }

    /// Passes over messages up to one with these bytes in it; when that came.
    pub(crate) fn until(&mut self, wanted: &[u8]) -> Instant {
        loop {
            let (message, read_at) = self.message();
            if memchr::memmem::find(message, wanted).is_some() {
                return read_at;
            }
        }
    }

    /// Reads until a whole frame is there.
    fn frame(&mut self) -> Head {
        loop {
            let wanted = match self.head() {
                Some(head) if head.begins + head.length <= self.filled => return head,
                Some(head) => head.begins + head.length - self.taken,
                None => 16,
            };
            self.make_room(wanted);
            self.read();
        }
    }

    fn head(&self) -> Option<Head> {
        let bytes = &self.buffer[self.taken..self.filled];
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (size, length) = match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
            short => (2, u64::from(short)),
        };
        let length = usize::try_from(length).expect("a length that fits");
        Some(Head { begins: self.taken + size, length, last: first & 0x80 != 0, opcode: first & 15 })
    }

    /// Moves what is left to the front if `wanted` bytes or a fair piece would not fit behind it.
    fn make_room(&mut self, wanted: usize) {
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
        }
        if self.buffer.len() - self.taken < wanted || self.buffer.len() - self.filled < BUFFER / 4 {
            self.buffer.copy_within(self.taken..self.filled, 0);
            (self.taken, self.filled) = (0, self.filled - self.taken);
        }
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted.next_power_of_two(), 0);
        }
    }

    fn read(&mut self) {
        let count = self.stream.read(&mut self.buffer[self.filled..]).expect("a message in time");
        assert!(count > 0, "the server went without a word");
        self.read_at = Instant::now();
        self.filled += count;
    }

    fn pong(&mut self, payload: std::ops::Range<usize>) {
        let mut frame = vec![0x8a, 0x80 | u8::try_from(payload.len()).unwrap_or(0), 0, 0, 0, 0];
        frame.extend_from_slice(&self.buffer[payload]);
        self.stream.write_all(&frame).expect("a pong that can be sent");
    }
}

/// Appends the head of a text message of one frame, which is `length` long. `mask`: [`MASKED`] from a client, else 0.
pub(crate) fn text_head(length: usize, mask: u8, frame: &mut Vec<u8>) {
    frame.push(0x81);
    match u16::try_from(length) {
        Ok(short @ 0..=125) => frame.push(mask | u8::try_from(short).unwrap_or(0)),
        Ok(middle) => {
            frame.push(mask | 126);
            frame.extend(middle.to_be_bytes());
        }
        Err(_) => {
            frame.push(mask | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
}
