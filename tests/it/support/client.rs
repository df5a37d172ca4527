//! A WebSocket client that speaks JSON-RPC and trusts nobody: the number of every event is checked.
//!
//! It reads only while a test waits for something, so that a client that is not used is a client that does
//! not read.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use uuid::Uuid;

use super::event::{Event, Ledger};
use super::presentable::{check_close, check_http, check_message};
use super::{DEADLINE, within};

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    /// The close code; `None`: the connection went without a close frame.
    pub(crate) code: Option<u16>,
    /// The reason in words.
    pub(crate) reason: String,
}

/// A refusal before the upgrade.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: String,
}

/// Why there is no connection.
#[derive(Debug)]
enum Failed {
    Refused(Refused),
    Broken(String),
}

/// An open connection.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
    /// Messages that came while something else was waited for; events are not among them.
    waiting: VecDeque<Value>,
    ledger: Ledger,
    /// The `params` of the first frame.
    pub(crate) connected: Value,
    closed: Option<Closed>,
    /// The headers of the upgrade's answer.
    pub(crate) upgrade: HeaderMap,
}

/// What is read of every message before anything else.
#[derive(Deserialize)]
struct Envelope<'a> {
    method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

impl Client {
    /// Connects to `path` with an access token and takes in `connected`.
    pub(crate) async fn connect(server: SocketAddr, path: &str, token: &str) -> Self {
        let headers = [("authorization", format!("Bearer {token}"))];
        match Self::try_connect(server, path, &headers).await {
            Ok(client) => client,
            Err(refused) => panic!("the upgrade was refused: {refused:?}"),
        }
    }

    /// Connects with these headers.
    pub(crate) async fn try_connect(
        server: SocketAddr,
        path: &str,
        headers: &[(&str, String)],
    ) -> Result<Self, Refused> {
        match Self::upgrade(server, path, headers).await {
            Ok(mut client) => {
                let first = client.next_frame().await;
                assert_eq!(first["method"], "connected", "the first frame is `connected`, not {first}");
                client.connected = first["params"].clone();
                Ok(client)
            }
            Err(Failed::Refused(refused)) => Err(refused),
            Err(Failed::Broken(problem)) => panic!("the upgrade failed: {problem}"),
        }
    }

    /// Connects to a gateway that may be going down, or be behind a store that is away; `None` if it does not come to
    /// anything.
    pub(crate) async fn attempt(server: SocketAddr, token: &str) -> Option<Self> {
        let headers = [("authorization", format!("Bearer {token}"))];
        let mut client = Self::upgrade(server, "/ws", &headers).await.ok()?;
        while client.waiting.is_empty() {
            client.read().await;
            client.closed.is_none().then_some(())?;
        }
        client.waiting.pop_front();
        Some(client)
    }

    async fn upgrade(server: SocketAddr, path: &str, headers: &[(&str, String)]) -> Result<Self, Failed> {
        let mut request = format!("ws://{server}{path}").into_client_request().expect("a WebSocket request");
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().expect("a header's name");
            request.headers_mut().append(name, value.parse().expect("a header's value"));
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let connected = within("a TCP connection", TcpStream::connect(server)).await;
        let socket = connected.map_err(|problem| Failed::Broken(problem.to_string()))?;
        let upgraded = tokio_tungstenite::client_async_with_config(request, socket, Some(config));
        let (socket, response) = match within("the upgrade", upgraded).await {
            Ok(upgraded) => upgraded,
            Err(Error::Http(response)) => {
                let (head, body) = response.into_parts();
                let body = body.unwrap_or_default();
                check_http(head.status.as_u16(), &body);
                let body = String::from_utf8_lossy(&body).into_owned();
                return Err(Failed::Refused(Refused { status: head.status, headers: head.headers, body }));
            }
            Err(other) => return Err(Failed::Broken(other.to_string())),
        };
        Ok(Self {
            socket,
            next_id: 0,
            waiting: VecDeque::new(),
            ledger: Ledger::default(),
            connected: Value::Null,
            closed: None,
            upgrade: response.headers().clone(),
        })
    }

    /// Calls a method on a connection that may break; `None` if it does.
    pub(crate) async fn try_call(&mut self, method: &str, params: Value) -> Option<Result<Value, Value>> {
        let id = self.next_id + 1;
        self.next_id = id;
        if method == "session.attach" {
            let after = params["after_seq"].as_u64().unwrap_or_default();
            self.ledger.attached(session_id(&params)?, after, false);
        }
        let call = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.socket.send(Message::text(call.to_string())).await.ok()?;
        loop {
            if let Some(at) = self.waiting.iter().position(|message| message["id"] == id) {
                let answer = self.waiting.remove(at)?;
                return Some(match answer.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(answer["result"].clone()),
                });
            }
            self.closed.is_none().then_some(())?;
            self.read().await;
        }
    }

    /// Reads on until the session has ended or the connection has; what was new of its events.
    pub(crate) async fn follow(&mut self, session: Uuid) -> Vec<Event> {
        let ended = |client: &Self| client.ledger.0.get(&session).is_some_and(|seen| seen.ended);
        while !ended(self) && self.closed.is_none() {
            self.read().await;
        }
        self.take_events(session)
    }

    /// Calls a method and waits for its answer: its result, or its error object.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.send_call(method, params).await;
        self.answer(id).await
    }

    /// Calls a method that must succeed.
    pub(crate) async fn ok(&mut self, method: &str, params: Value) -> Value {
        match self.call(method, params).await {
            Ok(result) => result,
            Err(error) => panic!("{method} failed: {error}"),
        }
    }

    /// Calls a method that must fail; its error object.
    pub(crate) async fn error(&mut self, method: &str, params: Value) -> Value {
        match self.call(method, params).await {
            Ok(result) => panic!("{method} should have failed, but gave {result}"),
            Err(error) => error,
        }
    }

    /// Sends a call and does not wait; the id to wait for with [`Client::answer`].
    pub(crate) async fn send_call(&mut self, method: &str, params: Value) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        if method == "session.attach"
            && let Some(session) = session_id(&params)
        {
            self.ledger.attached(
                session,
                params["after_seq"].as_u64().unwrap_or(0),
                params["types"].is_array() || params["without"].is_array(),
            );
        }
        self.send_raw(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()).await;
        id
    }

    /// Waits for the answer to a call.
    pub(crate) async fn answer(&mut self, id: u64) -> Result<Value, Value> {
        let what = format!("the answer to call {id}");
        let mut answer = self.wait(&what, |message| message["id"] == id && message["method"].is_null()).await;
        assert_eq!(answer["jsonrpc"], "2.0", "every answer says its version: {answer}");
        match (answer.get("result").is_some(), answer.get("error").is_some()) {
            (true, false) => Ok(answer["result"].take()),
            (false, true) => Err(answer["error"].take()),
            _ => panic!("an answer has either a result or an error: {answer}"),
        }
    }

    /// Starts a session; its id.
    pub(crate) async fn start(&mut self, params: Value) -> Uuid {
        let result = self.ok("session.start", params).await;
        session_id(&result).unwrap_or_else(|| panic!("session.start gave no session id: {result}"))
    }

    /// Sends a notification.
    pub(crate) async fn notify(&mut self, method: &str, params: Value) {
        self.send_raw(json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()).await;
    }

    /// Sends a text frame as it is.
    pub(crate) async fn send_raw(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await;
    }

    /// Sends any message.
    pub(crate) async fn send_message(&mut self, message: Message) {
        within("a message to be sent", self.socket.send(message)).await.expect("a message that can be sent");
    }

    /// The next message that is not a `session.event`.
    pub(crate) async fn next_frame(&mut self) -> Value {
        self.wait("the next frame", |_| true).await
    }

    /// The next text as it came, for answers that hold what a `Value` can't: events are not looked for.
    pub(crate) async fn next_text(&mut self) -> String {
        loop {
            match within("the next text", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    check_message(&text);
                    return text.to_string();
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a text was expected, not {other:?}"),
            }
        }
    }

    /// The next notification of that method: its `params`. Others keep waiting.
    pub(crate) async fn notification(&mut self, method: &str) -> Value {
        self.wait(&format!("the notification {method}"), |message| message["method"] == method).await["params"].take()
    }

    /// Fails if anything comes within `duration`: a message, an event, or the end.
    pub(crate) async fn expect_silence(&mut self, duration: Duration) {
        assert!(self.waiting.is_empty(), "silence was expected, but these wait: {:?}", self.waiting);
        let before = self.count();
        let _time_is_up = tokio::time::timeout(duration, async {
            while self.waiting.is_empty() && self.count() == before && self.closed.is_none() {
                self.read().await;
            }
        })
        .await;
        assert!(self.waiting.is_empty(), "silence was expected, but these came: {:?}", self.waiting);
        assert_eq!(self.count(), before, "silence was expected, but events came");
        assert_eq!(self.closed, None, "silence was expected, but the connection ended");
    }

    /// Waits for the terminal event of a session; all its events that this connection has seen.
    pub(crate) async fn until_ended(&mut self, session: Uuid) -> Vec<Event> {
        self.until_event(session, |event| event.kind == "session.ended").await;
        self.events(session)
    }

    /// Waits until a session has an event that `wanted` accepts, seen before or new; the first such.
    pub(crate) async fn until_event(&mut self, session: Uuid, wanted: impl Fn(&Event) -> bool) -> Event {
        let mut looked = 0;
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let events = self.ledger.0.get(&session).map(|seen| seen.events.as_slice()).unwrap_or_default();
            if let Some(event) = events.iter().skip(looked).find(|event| wanted(event)) {
                return event.clone();
            }
            looked = events.len();
            assert_eq!(self.closed, None, "the connection ended before the event came; {}", self.newest(session));
            if tokio::time::timeout_at(deadline, self.read()).await.is_err() {
                panic!("waited {DEADLINE:?} in vain for an event of {session}; {}", self.newest(session));
            }
        }
    }

    /// Waits until a session is in that state.
    pub(crate) async fn until_state(&mut self, session: Uuid, state: &str) -> Event {
        self.until_event(session, |event| event.kind == "session.state" && event.data()["state"] == state).await
    }

    /// The events of a session that this connection has seen.
    pub(crate) fn events(&self, session: Uuid) -> Vec<Event> {
        self.ledger.0.get(&session).map(|seen| seen.events.clone()).unwrap_or_default()
    }

    /// The same, but handed over: for logs that a test would rather not keep.
    pub(crate) fn take_events(&mut self, session: Uuid) -> Vec<Event> {
        self.ledger.0.get_mut(&session).map(|seen| std::mem::take(&mut seen.events)).unwrap_or_default()
    }

    /// Reads a session's log to its terminal event and hands every event over. It waits for each anew, so that
    /// a log may be as long as it likes.
    pub(crate) async fn each_until_ended(&mut self, session: Uuid, mut take: impl FnMut(Event)) {
        let mut ended = false;
        while !ended {
            self.until_event(session, |_| true).await;
            for event in self.take_events(session) {
                ended |= event.kind == "session.ended";
                take(event);
            }
        }
    }

    /// The number of a session's newest event here; 0 before the first.
    pub(crate) fn position(&self, session: Uuid) -> u64 {
        self.ledger.0.get(&session).map_or(0, |seen| seen.position)
    }

    /// Waits until this connection stands at `position` in a session's log, by events or by cursors.
    pub(crate) async fn until_position(&mut self, session: Uuid, position: u64) {
        within("the position to be reached", async {
            while self.position(session) < position {
                assert_eq!(self.closed, None, "the connection ended at {}", self.position(session));
                self.read().await;
            }
        })
        .await;
    }

    /// How many sessions this connection has seen events of.
    pub(crate) fn sessions(&self) -> usize {
        self.ledger.0.values().filter(|seen| !seen.events.is_empty()).count()
    }

    /// Waits for the end of the connection; messages before it are taken in.
    pub(crate) async fn until_closed(&mut self) -> Closed {
        within("the connection to be closed", async {
            while self.closed.is_none() {
                self.read().await;
            }
        })
        .await;
        self.closed.clone().expect("closed")
    }

    /// Closes properly and waits for the peer's answer.
    pub(crate) async fn close(mut self) -> Closed {
        within("the close frame to be sent", self.socket.close(None)).await.expect("a close frame that can be sent");
        self.until_closed().await
    }

    /// Goes away without a word: the socket is reset.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(self.socket.get_ref());
        socket.set_linger(Some(Duration::ZERO)).expect("a socket that can be reset");
    }

    /// The first waiting or coming message that `wanted` accepts.
    async fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let mut looked = 0;
        loop {
            if let Some(place) = self.waiting.iter().skip(looked).position(&wanted) {
                return self.waiting.remove(looked + place).expect("the message just found");
            }
            looked = self.waiting.len();
            assert_eq!(self.closed, None, "the connection ended before this came: {what}");
            if tokio::time::timeout_at(deadline, self.read()).await.is_err() {
                panic!("waited {DEADLINE:?} in vain for: {what}");
            }
        }
    }

    /// The types of a session's newest events, for messages.
    fn newest(&self, session: Uuid) -> String {
        let events = self.ledger.0.get(&session).map(|seen| seen.events.as_slice()).unwrap_or_default();
        let kinds: Vec<&str> = events.iter().rev().take(20).map(|event| event.kind.as_str()).collect();
        format!("newest first: {kinds:?}")
    }

    fn count(&self) -> usize {
        self.ledger.0.values().map(|seen| seen.events.len()).sum()
    }

    /// Takes in one message.
    async fn read(&mut self) {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => self.take(&text),
            Some(Ok(Message::Binary(bytes))) => panic!("the gateway sent a binary frame of {} bytes", bytes.len()),
            Some(Ok(Message::Close(frame))) => {
                let code = frame.as_ref().map(|frame| u16::from(frame.code));
                let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                check_close(&reason);
                self.closed = Some(Closed { code, reason });
                // The library answers the close while it is read on.
                let _ended = tokio::time::timeout(Duration::from_secs(5), self.socket.next()).await;
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => {
                self.closed.get_or_insert(Closed { code: None, reason: String::new() });
            }
        }
    }

    fn take(&mut self, text: &str) {
        let envelope: Envelope<'_> = serde_json::from_str(text).unwrap_or(Envelope { method: None, params: None });
        match (envelope.method.as_deref(), envelope.params) {
            (Some("session.event"), Some(params)) => {
                let event = serde_json::from_str(params.get())
                    .unwrap_or_else(|problem| panic!("not an event: {problem}: {}", params.get()));
                self.ledger.take(event);
            }
            (Some("session.cursor"), Some(params)) => {
                let params: Value = serde_json::from_str(params.get()).expect("JSON inside JSON");
                let session = session_id(&params).expect("a cursor names its session");
                self.ledger.cursor(session, params["seq"].as_u64().expect("a cursor has a number"));
            }
            _ => {
                check_message(text);
                let message = serde_json::from_str(text);
                self.waiting.push_back(message.unwrap_or_else(|_| panic!("the gateway sent what is not JSON: {text}")));
            }
        }
    }
}

/// The session that an object names.
pub(crate) fn session_id(object: &Value) -> Option<Uuid> {
    object["session_id"].as_str()?.parse().ok()
}
