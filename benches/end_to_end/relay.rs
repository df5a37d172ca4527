//! The least that any server does: one thread a connection reads the agent's pipe, puts each line into a frame, and
//! writes what it has. It stores nothing, understands nothing, and serves nobody else.
//!
//! It is this program, started once more: what a row says beside it is how much of the machine's own time is in it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::server::{self, Server};
use crate::socket::{self, Socket};

/// A bare relay for one script.
pub(crate) struct Relay {
    process: Child,
    address: SocketAddr,
}

impl Relay {
    /// Starts one.
    pub(crate) fn start(script: &str) -> Self {
        let address = server::free_address();
        let program = std::env::current_exe().expect("this program");
        let process = Command::new(program)
            .args(["--relay", script, "--port", &address.port().to_string()])
            .env_clear()
            .stdin(Stdio::null())
            .spawn()
            .expect("this program starts");
        server::until_listening(address);
        Self { process, address }
    }
}

impl Server for Relay {
    fn pid(&self) -> u32 {
        self.process.id()
    }

    fn run(&self, _script: &str) -> Socket {
        Socket::connect(self.address, "/", None)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        server::end(&mut self.process);
    }
}

/// What the program does then, until it is killed.
pub(crate) fn serve(script: &str, port: u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    for stream in listener.incoming().flatten() {
        let script = script.to_owned();
        std::thread::spawn(move || relay(stream, &script));
    }
}

fn relay(mut client: TcpStream, script: &str) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut head = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while !head.ends_with(b"\r\n\r\n") {
        let read = client.read(&mut buffer).ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&buffer[..read]);
    }
    client.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").ok()?;
    let mut agent = server::agent(script, &std::env::temp_dir());
    let outcome = agent.stdout.take().and_then(|pipe| pass_on(pipe, client, &mut buffer));
    drop(agent.wait());
    outcome
}

/// All of the agent's lines, until its end or the client's.
fn pass_on(mut pipe: impl Read, mut client: TcpStream, buffer: &mut [u8]) -> Option<()> {
    let (mut lines, mut frames) = (Vec::new(), Vec::new());
    loop {
        let read = pipe.read(buffer).ok().filter(|read| *read > 0)?;
        lines.extend_from_slice(&buffer[..read]);
        let mut begin = 0;
        while let Some(length) = memchr::memchr(b'\n', &lines[begin..]) {
            socket::text_head(length, 0, &mut frames);
            frames.extend_from_slice(&lines[begin..begin + length]);
            begin += length + 1;
        }
        lines.drain(..begin);
        client.write_all(&frames).ok()?;
        frames.clear();
    }
}
