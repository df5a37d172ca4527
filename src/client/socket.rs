//! One WebSocket: opening it (token, upgrade, `connected`), and reading text frames from it.
//!
//! Invariant: a socket that [`Gate::open`] gives has had its `connected` frame.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, Stream, StreamExt};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming as HttpBody;
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

use super::address::Address;
use super::error::ClientError;
use super::options::ClientOptions;
use super::token::TokenSource;
use super::wire::{self, Incoming};

pub(super) type Socket = WebSocketStream<TcpStream>;

/// How long saying goodbye may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Opens sockets to one gateway as one caller.
pub(super) struct Gate {
    address: Address,
    tokens: Box<dyn TokenSource>,
    pub(super) options: ClientOptions,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Gate {
    pub(super) fn new(address: Address, tokens: Box<dyn TokenSource>, options: ClientOptions) -> Self {
        Self { address, tokens, options }
    }

    /// Connects, and asks for another token once when the first is refused.
    pub(super) async fn open(self: &Arc<Self>) -> Result<Socket, ClientError> {
        let token = self.tokens.token().await?;
        match self.open_with(&token).await {
            Err(ClientError::Refused { status: 401, title, detail, retry_after }) => {
                match self.tokens.renewed().await? {
                    Some(token) => self.open_with(&token).await,
                    None => Err(ClientError::Refused { status: 401, title, detail, retry_after }),
                }
            }
            outcome => outcome,
        }
    }

    async fn open_with(&self, token: &SecretString) -> Result<Socket, ClientError> {
        let opening = async {
            let mut socket = self.upgrade(token).await?;
            read_connected(&mut socket, self.options.connect_timeout).await?;
            Ok(socket)
        };
        tokio::time::timeout(self.options.connect_timeout, opening)
            .await
            .unwrap_or(Err(ClientError::TimedOut { waited_for: "the connection" }))
    }

    async fn upgrade(&self, token: &SecretString) -> Result<Socket, ClientError> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
            .map_err(|_| ClientError::Token("the token holds characters that no token has".into()))?;
        bearer.set_sensitive(true);
        let key = generate_key();
        let request = Request::get(&self.address.path)
            .header(header::HOST, &self.address.authority)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key)
            .header(header::AUTHORIZATION, bearer)
            .body(Full::default())
            .map_err(|error| ClientError::Protocol(error.to_string()))?;
        let response = super::http::send(&self.address, request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(super::http::refusal(response).await);
        }
        self.upgraded(response, &key).await
    }

    async fn upgraded(&self, response: Response<HttpBody>, key: &str) -> Result<Socket, ClientError> {
        let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(ClientError::Protocol("the WebSocket handshake is not answered as it should be".into()));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|_| ClientError::lost())?;
        let parts = upgraded
            .downcast::<TokioIo<TcpStream>>()
            .map_err(|_| ClientError::Protocol("the upgraded connection is not a TCP one".into()))?;
        let limit = Some(self.options.max_message_bytes);
        let config = WebSocketConfig::default()
            .read_buffer_size(64 * 1024)
            .write_buffer_size(16 * 1024)
            .max_message_size(limit)
            .max_frame_size(limit);
        let (stream, early) = (parts.io.into_inner(), parts.read_buf.to_vec());
        Ok(WebSocketStream::from_partially_read(stream, early, Role::Client, Some(config)).await)
    }
}

/// The first frame must be `connected`; an error object in its place is the gateway's refusal.
async fn read_connected(socket: &mut Socket, limit: Duration) -> Result<(), ClientError> {
    let text = next_text(socket, limit).await?;
    match wire::parse(&text)? {
        Incoming::Notification { method, .. } if method == "connected" => Ok(()),
        Incoming::Answer { outcome: Err(error), .. } => Err(error.into()),
        _ => Err(ClientError::Protocol("the first frame is not `connected`".into())),
    }
}

/// The next text frame. Pings are answered on the way. Nothing at all for `silence_limit`: the connection is
/// lost. Can be dropped at any await without losing a frame.
pub(super) async fn next_text<S>(socket: &mut S, silence_limit: Duration) -> Result<Utf8Bytes, ClientError>
where
    S: Stream<Item = Result<Message, WsError>> + Unpin,
{
    loop {
        let message = tokio::time::timeout(silence_limit, socket.next()).await.map_err(|_| {
            ClientError::ConnectionLost { code: None, reason: "the gateway has fallen silent".to_owned() }
        })?;
        match message {
            Some(Ok(Message::Text(text))) => return Ok(text),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Binary(_))) => return Err(ClientError::Protocol("a binary frame came".into())),
            Some(Ok(Message::Close(Some(frame)))) => {
                return Err(ClientError::ConnectionLost {
                    code: Some(frame.code.into()),
                    reason: frame.reason.as_str().to_owned(),
                });
            }
            Some(Ok(Message::Close(None))) | None => return Err(ClientError::lost()),
            Some(Err(error)) => return Err(ws_error(&error)),
        }
    }
}

/// Sends one text frame.
pub(super) async fn send_text(socket: &mut Socket, text: String) -> Result<(), ClientError> {
    socket.send(Message::text(text)).await.map_err(|error| ws_error(&error))
}

/// Says goodbye, where the peer still listens.
pub(super) async fn close(mut socket: Socket) {
    let _ = tokio::time::timeout(CLOSE_LIMIT, socket.close(None)).await;
}

/// A break of the transport can be repaired by connecting again, a break of the rules can't.
pub(super) fn ws_error(error: &WsError) -> ClientError {
    match error {
        WsError::Capacity(_) => ClientError::Protocol("a message is larger than the client's limit".into()),
        WsError::Utf8(_) => ClientError::Protocol("a text frame is not UTF-8".into()),
        _ => ClientError::lost(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::client::test_server::{self, TestServer};

    #[tokio::test]
    async fn the_token_goes_into_the_header_and_the_path_is_ws() {
        let server = TestServer::bind().await;
        let url = server.url();
        let (client, peer) = tokio::join!(Client::connect(&url, "the-token".to_owned()), server.accept());
        client.unwrap();
        assert_eq!(peer.path, "/ws");
        assert_eq!(peer.authorization.as_deref(), Some("Bearer the-token"));
    }

    #[tokio::test]
    async fn a_refused_upgrade_says_why() {
        let answer = concat!(
            "HTTP/1.1 503 Service Unavailable\r\nretry-after: 3\r\ncontent-type: application/problem+json\r\n",
            "content-length: 79\r\n\r\n",
            r#"{"type":"about:blank","title":"The gateway is shutting down","status":503}"#,
            "     "
        );
        let (url, _request) = test_server::answer_http_once(answer).await;
        let error = Client::connect(&url.replace("http", "ws"), "t".to_owned()).await.unwrap_err();
        assert_eq!(error.to_string(), "the gateway refused (503): The gateway is shutting down");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    }

    #[tokio::test]
    async fn a_refused_token_is_renewed_once() {
        struct Two;
        #[async_trait::async_trait]
        impl TokenSource for Two {
            async fn token(&self) -> Result<SecretString, ClientError> {
                Ok("old".into())
            }
            async fn renewed(&self) -> Result<Option<SecretString>, ClientError> {
                Ok(Some("new".into()))
            }
        }
        let server = TestServer::bind().await;
        let script = async {
            server.refuse("401 Unauthorized").await;
            server.accept().await
        };
        let url = server.url();
        let (client, peer) = tokio::join!(Client::connect(&url, Two), script);
        client.unwrap();
        assert_eq!(peer.authorization.as_deref(), Some("Bearer new"));
    }

    #[tokio::test]
    async fn an_error_in_place_of_connected_is_the_refusal() {
        let server = TestServer::bind().await;
        let script = async {
            let mut peer = server.accept_silently().await;
            peer.send(r#"{"jsonrpc":"2.0","error":{"code":-32003,"message":"Session limit exceeded","data":null}}"#)
                .await;
            peer
        };
        let url = server.url();
        let (client, _peer) = tokio::join!(Client::connect(&url, "t".to_owned()), script);
        assert!(matches!(client.unwrap_err(), ClientError::Rpc(error) if error.code == -32003));
    }
}
