//! A Redis (or Valkey) of a test's own: on a unix socket in a directory of its own, with an append-only file. The
//! test may kill it, pause it and start it again; it goes with its value.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The settings of a server that keeps what it is told, whenever it is killed. It leaves it to the kernel when what it
/// has written gets to the disk: with its default it puts off writing while the disk is busy with what came before,
/// and what it acknowledged meanwhile goes down with it.
pub const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "no"];

/// A running server, or one that a test has killed.
#[derive(Debug)]
pub struct Server {
    directory: TempDir,
    program: String,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Server {
    /// A server that is not there yet: [`Server::run`] starts it.
    pub fn absent(arguments: &[&str]) -> Self {
        Self::absent_program("redis-server", arguments)
    }

    fn absent_program(program: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        Self { directory, program: program.to_owned(), arguments, process: None }
    }

    /// A server that answers.
    pub fn start() -> Self {
        Self::start_with(DURABLE)
    }

    /// A server that answers, with settings of its own.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_program("redis-server", arguments)
    }

    /// Another program that is a server too.
    pub fn start_program(program: &str, arguments: &[&str]) -> Self {
        let mut server = Self::absent_program(program, arguments);
        server.run();
        server
    }

    /// Starts it, again if it was killed, and waits until it answers.
    pub fn run(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let program = &self.program;
        let child = Command::new(program)
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(self.socket())
            .arg("--dir")
            .arg(self.directory.path())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; scripts/tools.sh --tests installs it"));
        self.process = Some(child);
        while self.ask(&["PING"]).is_none_or(|answer| !answer.starts_with("+PONG")) {
            let child = self.process.as_mut().expect("it was started");
            assert!(child.try_wait().expect("a child").is_none(), "{} did not start", self.program);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Where a client finds it.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Asks over a connection of its own; the first bytes of the answer, as they came. `None` without a server.
    pub fn ask(&self, words: &[&str]) -> Option<String> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = vec![0; 64 * 1024];
        let length = stream.read(&mut answer).ok()?;
        (length > 0).then(|| String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        let mut child = self.process.take().expect("it runs");
        child.kill().expect("it was there");
        child.wait().expect("it was ours");
    }

    /// Stops it from answering, with its connections open.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn unpause(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.process.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("it is there");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            // A paused one can be killed too.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
