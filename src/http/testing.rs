//! For this module's tests: a real listener with a real accept loop, and a client that speaks bytes.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{AcceptLimits, serve};
use super::connection::Connections;
use crate::config::settings::HttpSettings;
use crate::telemetry::tasks;

/// Long enough for a busy machine; a test that waits so long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A running accept loop.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) connections: Connections,
    pub(super) shutdown: CancellationToken,
    pub(super) tracker: TaskTracker,
    accepting: JoinHandle<Option<()>>,
}

/// The settings' limits.
pub(super) fn limits() -> AcceptLimits {
    AcceptLimits::new(&HttpSettings::default())
}

impl Server {
    pub(super) async fn start(router: Router, limits: AcceptLimits, max_connections: usize) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), router, limits, max_connections)
    }

    pub(super) fn start_on(
        listener: TcpListener,
        router: Router,
        limits: AcceptLimits,
        max_connections: usize,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let connections = Connections::new("http", max_connections);
        let (shutdown, tracker) = (CancellationToken::new(), TaskTracker::new());
        let loop_ = serve(listener, router, connections.clone(), limits, shutdown.clone(), tracker.clone());
        let accepting = tasks::spawn("test.accept", loop_);
        Self { address, connections, shutdown, tracker, accepting }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `request` on a connection of its own and gives all that comes back until the server closes.
    pub(super) async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut stream = self.connect().await;
        // A server that has refused what came so far need not hear the rest.
        drop(stream.write_all(request.as_ref()).await);
        Answer::until_end(&mut stream).await
    }

    /// Is the accept loop still at work?
    pub(super) fn is_accepting(&self) -> bool {
        !self.accepting.is_finished()
    }

    /// Waits until so many connections are open.
    pub(super) async fn open_becomes(&self, count: usize) {
        let becomes = async {
            while self.connections.open() != count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, becomes).await.unwrap();
    }

    /// Shuts down and waits for the loop and every connection.
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.tracker.close();
        tokio::time::timeout(PATIENCE, async {
            self.accepting.await.unwrap().unwrap();
            self.tracker.wait().await;
        })
        .await
        .unwrap();
        assert_eq!(self.connections.open(), 0);
    }
}

/// A response as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Answer {
    /// Reads until the server closes.
    pub(super) async fn until_end(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
        assert!(read.is_ok() || !bytes.is_empty(), "{read:?}");
        Self::parse(&String::from_utf8(bytes).unwrap())
    }

    /// Reads one response with a known length, for a connection that stays open.
    pub(super) async fn one(stream: &mut TcpStream) -> Self {
        let mut text = String::new();
        let read = async {
            loop {
                let mut byte = [0];
                assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "the server closed after {text:?}");
                text.push(char::from(byte[0]));
                if text.ends_with("\r\n\r\n") {
                    let length = Self::parse(&text).header("content-length").unwrap().parse().unwrap();
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).await.unwrap();
                    text.push_str(&String::from_utf8(body).unwrap());
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap();
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response but {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// That header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// The bytes of a request on a connection that ends with it.
pub(super) fn request(verb: &str, path: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    format!("{verb} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}
