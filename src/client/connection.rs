//! The socket of the calls: one task that owns it, and handles that send it calls.
//!
//! Invariants: every call gets exactly one answer or one error. Reading goes on while a call is being
//! written, so that two full sockets can't hold each other. At most [`IN_FLIGHT`] calls are under way; more
//! wait in a bounded queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

use crate::telemetry::tasks;

use super::error::ClientError;
use super::socket::{self, Gate, Socket};
use super::wire::{self, Incoming};

/// Calls under way at once: half of what the gateway takes by default.
const IN_FLIGHT: usize = 32;

type Outcome = Result<Box<RawValue>, ClientError>;

struct Call {
    method: &'static str,
    params: Box<RawValue>,
    answer: oneshot::Sender<Outcome>,
}

/// A handle of the task. The task closes the socket when the last one is gone.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    calls: mpsc::Sender<Call>,
    call_timeout: Duration,
}

impl Connection {
    pub(super) fn spawn(gate: Arc<Gate>, socket: Socket) -> Self {
        let (calls, waiting) = mpsc::channel(IN_FLIGHT);
        let call_timeout = gate.options.call_timeout;
        tasks::spawn("client.connection", run(gate, socket, waiting));
        Self { calls, call_timeout }
    }

    /// Sends a call and waits for its answer.
    pub(super) async fn call(&self, method: &'static str, params: Box<RawValue>) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let exchange = async {
            self.calls.send(Call { method, params, answer }).await.map_err(|_| ClientError::lost())?;
            answered.await.unwrap_or_else(|_| Err(ClientError::lost()))
        };
        tokio::time::timeout(self.call_timeout, exchange)
            .await
            .unwrap_or(Err(ClientError::TimedOut { waited_for: method }))
    }
}

/// Serves sockets until no handle is left. A broken socket is replaced when the next call wants one.
async fn run(gate: Arc<Gate>, first: Socket, mut calls: mpsc::Receiver<Call>) {
    let mut next = Some((first, None));
    loop {
        if let Some((socket, call)) = next.take() {
            let mut line = Line::new(socket, gate.options.silence_limit);
            match line.serve(call, &mut calls).await {
                Ok(()) => return line.close().await,
                Err(error) => line.fail_all(&error),
            }
        }
        let Some(call) = calls.recv().await else { return };
        match gate.open().await {
            Ok(socket) => next = Some((socket, Some(call))),
            Err(error) => drop(call.answer.send(Err(error))),
        }
    }
}

/// One socket and the calls that wait for its answers.
struct Line {
    sink: SplitSink<Socket, Message>,
    source: SplitStream<Socket>,
    pending: HashMap<u64, oneshot::Sender<Outcome>>,
    last_id: u64,
    silence_limit: Duration,
}

impl Line {
    fn new(socket: Socket, silence_limit: Duration) -> Self {
        let (sink, source) = socket.split();
        Self { sink, source, pending: HashMap::new(), last_id: 0, silence_limit }
    }

    /// Until no handle is left, or the socket breaks.
    async fn serve(&mut self, first: Option<Call>, calls: &mut mpsc::Receiver<Call>) -> Result<(), ClientError> {
        if let Some(call) = first {
            self.send(call).await?;
        }
        loop {
            // A caller that has given up (its time was over) no longer counts.
            self.pending.retain(|_, answer| !answer.is_closed());
            tokio::select! {
                call = calls.recv(), if self.pending.len() < IN_FLIGHT => match call {
                    Some(call) => self.send(call).await?,
                    None => return Ok(()),
                },
                text = socket::next_text(&mut self.source, self.silence_limit) => route(&mut self.pending, &text?)?,
            }
        }
    }

    async fn send(&mut self, call: Call) -> Result<(), ClientError> {
        self.last_id += 1;
        let text = match wire::request(self.last_id, call.method, &call.params) {
            Ok(text) => text,
            Err(error) => {
                return {
                    drop(call.answer.send(Err(error)));
                    Ok(())
                };
            }
        };
        self.pending.insert(self.last_id, call.answer);
        let mut sending = self.sink.send(Message::text(text));
        loop {
            tokio::select! {
                sent = &mut sending => return sent.map_err(|error| socket::ws_error(&error)),
                text = socket::next_text(&mut self.source, self.silence_limit) => route(&mut self.pending, &text?)?,
            }
        }
    }

    /// The socket broke: what the calls that waited have achieved is not known.
    fn fail_all(&mut self, error: &ClientError) {
        for (_, answer) in self.pending.drain() {
            let _ = answer.send(Err(match error {
                ClientError::ConnectionLost { code, reason } => {
                    ClientError::ConnectionLost { code: *code, reason: reason.clone() }
                }
                ClientError::Protocol(text) => ClientError::Protocol(text.clone()),
                _ => ClientError::lost(),
            }));
        }
    }

    async fn close(self) {
        if let Ok(socket) = self.sink.reunite(self.source) {
            socket::close(socket).await;
        }
    }
}

/// Gives an answer to its call. Notifications are not for this connection.
fn route(pending: &mut HashMap<u64, oneshot::Sender<Outcome>>, text: &str) -> Result<(), ClientError> {
    match wire::parse(text)? {
        Incoming::Notification { .. } => {}
        Incoming::Answer { id: Some(id), outcome } => {
            if let Some(answer) = pending.remove(&id) {
                let _ = answer.send(outcome.map(RawValue::to_owned).map_err(ClientError::Rpc));
            }
        }
        // The gateway could not tell which call it was (it was too large, say), and neither can we: all
        // that wait are told, so that none waits in vain.
        Incoming::Answer { id: None, outcome: Err(error) } => {
            for (_, answer) in pending.drain() {
                let _ = answer.send(Err(ClientError::Rpc(error.clone())));
            }
        }
        Incoming::Answer { id: None, outcome: Ok(_) } => {
            return Err(ClientError::Protocol("an answer names no call".into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::ErrorKind;
    use crate::api::method::{ServerInfo, SessionGet, SessionStop};
    use crate::api::server::NoParams;
    use crate::api::session::SessionParams;
    use crate::client::test_server::{Peer, TestServer, session_record};
    use crate::client::{Client, ClientError, ClientOptions};
    use std::time::Duration;
    use uuid::Uuid;

    async fn connected() -> (TestServer, Client, Peer) {
        let server = TestServer::bind().await;
        let url = server.url();
        let (client, peer) = tokio::join!(Client::connect(&url, "t".to_owned()), server.accept());
        (server, client.unwrap(), peer)
    }

    fn session(number: u128) -> SessionParams {
        SessionParams { session_id: Uuid::from_u128(number) }
    }

    #[tokio::test]
    async fn a_typed_call_gives_its_typed_answer() {
        let (_server, client, mut peer) = connected().await;
        let script = async {
            let call = peer.call().await;
            assert_eq!(
                (call.method.as_str(), &call.params),
                ("session.get", &json!({"session_id": Uuid::from_u128(5)}))
            );
            peer.answer(&call, session_record(&Uuid::from_u128(5).to_string(), "running", 3)).await;
        };
        let (answer, ()) = tokio::join!(client.call::<SessionGet>(session(5)), script);
        assert_eq!(answer.unwrap().last_seq, 3);
    }

    #[tokio::test]
    async fn an_error_object_becomes_an_rpc_error_with_its_kind() {
        let (_server, client, mut peer) = connected().await;
        let script = async {
            let call = peer.call().await;
            let data = json!({"kind": "no_such_session", "retryable": false});
            peer.answer_error(&call, json!({"code": -32002, "message": "No such session", "data": data})).await;
        };
        let (answer, ()) = tokio::join!(client.call::<SessionGet>(session(5)), script);
        let Err(ClientError::Rpc(error)) = answer else { panic!("{answer:?}") };
        assert_eq!((error.kind(), error.message.as_str()), (Some(ErrorKind::NoSuchSession), "No such session"));
    }

    #[tokio::test]
    async fn calls_overlap_and_each_gets_its_own_answer_whatever_the_order() {
        let (_server, client, mut peer) = connected().await;
        let script = async {
            let mut calls = Vec::new();
            for _ in 0..20 {
                calls.push(peer.call().await);
            }
            for call in calls.iter().rev() {
                let id = call.params["session_id"].as_str().unwrap();
                peer.answer(call, session_record(id, "running", 1)).await;
            }
        };
        let calls = futures_util::future::join_all((0..20).map(|number| client.call::<SessionGet>(session(number))));
        let (answers, ()) = tokio::join!(calls, script);
        for (number, answer) in (0..20).zip(answers) {
            assert_eq!(answer.unwrap().session_id, Uuid::from_u128(number));
        }
    }

    #[tokio::test]
    async fn an_error_without_an_id_ends_the_waiting_of_the_calls() {
        let (_server, client, mut peer) = connected().await;
        let script = async {
            peer.call().await;
            peer.send(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Too large"}}"#).await;
        };
        let (answer, ()) = tokio::join!(client.call::<SessionGet>(session(5)), script);
        assert!(matches!(answer, Err(ClientError::Rpc(error)) if error.code == -32600));
    }

    #[tokio::test]
    async fn a_broken_connection_fails_its_calls_and_the_next_call_connects_again() {
        let (server, client, mut peer) = connected().await;
        let script = async {
            peer.call().await;
            drop(peer);
        };
        let (answer, ()) = tokio::join!(client.call::<SessionStop>(session(5)), script);
        assert!(matches!(answer, Err(ClientError::ConnectionLost { .. })), "{answer:?}");
        let script = async {
            let mut peer = server.accept().await;
            let call = peer.call().await;
            assert_eq!(call.method, "session.stop");
            peer.answer(&call, json!({"state": "stopping"})).await;
        };
        let (answer, ()) = tokio::join!(client.call::<SessionStop>(session(6)), script);
        assert_eq!(answer.unwrap().state.as_str(), "stopping");
    }

    #[tokio::test]
    async fn a_close_code_reaches_the_caller() {
        let (_server, client, mut peer) = connected().await;
        let script = async {
            peer.call().await;
            let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
                code: 4001.into(),
                reason: "token expired".into(),
            };
            peer.ws.close(Some(frame)).await.unwrap();
        };
        let (answer, ()) = tokio::join!(client.call::<SessionStop>(session(5)), script);
        let error = answer.unwrap_err();
        assert_eq!(error.to_string(), "the connection to the gateway was lost (close code 4001: token expired)");
        assert!(error.not_authorised());
    }

    #[tokio::test]
    async fn a_call_that_is_not_answered_ends_at_its_limit_and_leaves_the_connection_usable() {
        let server = TestServer::bind().await;
        // Long enough that the second call is answered in time, though the machine stands still for seconds.
        let options = ClientOptions { call_timeout: Duration::from_secs(8), ..ClientOptions::default() };
        let url = server.url();
        let (client, peer) = tokio::join!(Client::connect_with(&url, "t".to_owned(), options), server.accept());
        let (client, mut peer) = (client.unwrap(), peer);
        let answer = client.call::<ServerInfo>(NoParams {}).await;
        assert!(matches!(answer, Err(ClientError::TimedOut { waited_for: "server.info" })), "{answer:?}");
        let late = peer.call().await;
        let script = async {
            let call = peer.call().await;
            peer.answer(&late, json!({})).await;
            peer.answer(&call, json!({"state": "stopping"})).await;
        };
        let (answer, ()) = tokio::join!(client.call::<SessionStop>(session(5)), script);
        assert_eq!(answer.unwrap().state.as_str(), "stopping");
    }

    #[tokio::test]
    async fn the_socket_is_closed_when_the_last_handle_is_gone() {
        let (_server, client, mut peer) = connected().await;
        let twin = client.clone();
        drop(client);
        drop(twin);
        assert!(peer.next_call().await.is_none());
    }
}
