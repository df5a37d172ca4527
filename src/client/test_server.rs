//! A WebSocket server that plays the scripts of the tests.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use uuid::Uuid;

/// A listener on a free port.
pub(crate) struct TestServer {
    listener: TcpListener,
}

/// One accepted socket.
pub(crate) struct Peer {
    pub(crate) ws: WebSocketStream<TcpStream>,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
}

/// A call that came in.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: Value,
    pub(crate) method: String,
    pub(crate) params: Value,
}

impl TestServer {
    pub(crate) async fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address())
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next socket, which has had its `connected` frame.
    pub(crate) async fn accept(&self) -> Peer {
        let mut peer = self.accept_silently().await;
        let params = json!({"session_id": Uuid::nil(), "version": "1.0.0", "capabilities": []});
        peer.send(json!({"jsonrpc": "2.0", "method": "connected", "params": params}).to_string()).await;
        peer
    }

    /// The next socket, to which nothing has been sent.
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    pub(crate) async fn accept_silently(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.unwrap();
        let (mut path, mut authorization) = (String::new(), None);
        let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            path = request.uri().path().to_owned();
            authorization =
                request.headers().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
            Ok(response)
        };
        let ws = tokio_tungstenite::accept_hdr_async(stream, look).await.unwrap();
        Peer { ws, path, authorization }
    }

    /// Refuses the next connection before the upgrade.
    pub(crate) async fn refuse(&self, status_line: &str) {
        let (stream, _) = self.listener.accept().await.unwrap();
        answer_http(stream, &format!("HTTP/1.1 {status_line}\r\ncontent-length: 0\r\n\r\n")).await;
    }
}

impl Peer {
    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.ws.send(Message::text(text.into())).await.unwrap();
    }

    /// The next call; `None` when the client has gone.
    pub(crate) async fn next_call(&mut self) -> Option<Call> {
        loop {
            match self.ws.next().await {
                Some(Ok(Message::Text(text))) => {
                    let mut frame: Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(frame["jsonrpc"], "2.0");
                    let method = frame["method"].as_str().unwrap().to_owned();
                    return Some(Call { id: frame["id"].take(), method, params: frame["params"].take() });
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    pub(crate) async fn call(&mut self) -> Call {
        self.next_call().await.expect("the client has gone")
    }

    pub(crate) async fn answer(&mut self, call: &Call, result: Value) {
        self.send(json!({"jsonrpc": "2.0", "id": call.id, "result": result}).to_string()).await;
    }

    pub(crate) async fn answer_error(&mut self, call: &Call, error: Value) {
        self.send(json!({"jsonrpc": "2.0", "id": call.id, "error": error}).to_string()).await;
    }

    /// Waits for `session.attach`, answers it and gives its `after_seq`.
    pub(crate) async fn attached(&mut self, state: &str, last_seq: u64) -> u64 {
        let call = self.call().await;
        assert_eq!(call.method, "session.attach");
        let after_seq = call.params["after_seq"].as_u64().unwrap();
        let session = session_record(call.params["session_id"].as_str().unwrap(), state, last_seq);
        self.answer(&call, json!({"session": session, "next_seq": after_seq + 1})).await;
        after_seq
    }
}

/// `session.event` as text: a `claude` line, or the end.
pub(crate) fn event(session_id: Uuid, prev_seq: u64, seq: u64, event_type: &str, data: &Value) -> String {
    let params = json!({
        "prev_seq": prev_seq, "session_id": session_id, "seq": seq, "at": "2026-11-21T03:37:09.123Z",
        "type": event_type, "data": data,
    });
    json!({"jsonrpc": "2.0", "method": "session.event", "params": params}).to_string()
}

/// Event `seq` of a log that ends with `last`.
pub(crate) fn event_of_log(session_id: Uuid, seq: u64, last: u64) -> String {
    if seq == last {
        let data = json!({"reason": "completed", "is_error": false, "duration_ms": 1, "resumable": true});
        event(session_id, seq - 1, seq, "session.ended", &data)
    } else {
        event(session_id, seq - 1, seq, "claude", &json!({"type": "system", "n": seq}))
    }
}

/// A session as `session.get` shows it.
pub(crate) fn session_record(session_id: &str, state: &str, last_seq: u64) -> Value {
    json!({
        "session_id": session_id, "kind": "claude", "state": state, "owner": "alice",
        "created_at": "2026-11-21T03:37:09.123Z", "workspace": "/w", "interactive": false,
        "on_disconnect": "keep", "on_lost": "end", "last_seq": last_seq,
    })
}

/// Answers one HTTP request with that text; gives the URL and the request as it came.
pub(crate) async fn answer_http_once(answer: &str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = answer.to_owned();
    #[expect(clippy::disallowed_methods, reason = "a test's own task; its panic is the test's")]
    let request = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer_http(stream, &answer).await
    });
    (url, request)
}

/// Reads a whole request (header and body), answers, and closes.
async fn answer_http(mut stream: TcpStream, answer: &str) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0_usize) {
                break;
            }
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the request broke off: {text}");
        request.extend_from_slice(&buffer[..read]);
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8(request).unwrap()
}
