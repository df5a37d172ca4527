//! The WebSocket handshake (RFC 6455 §4.2): is this request an upgrade, and the answer that accepts it.
//!
//! Also turns an upgraded connection into a socket with bounded buffers. No extension is ever negotiated.

use axum::body::Body;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// The subprotocol of this protocol. Echoed to a client that offers it; offering none is fine.
pub const SUBPROTOCOL: &str = "cc-gateway.v1";
/// Small read buffers keep an idle socket cheap: it has this one all the time. Nearly every call fits; a long message
/// grows the buffer for as long as it lasts, and is read in pieces of this size.
const READ_BUFFER: usize = 1_024;
/// Frames are collected up to this size before they are written to the socket. The buffer grows as it is used.
const WRITE_BUFFER: usize = 128 * 1024;

/// Why a request is not an upgrade to a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The request does not ask for an upgrade.
    #[error("this is a WebSocket endpoint: send `Connection: Upgrade` and `Upgrade: websocket`")]
    NotAnUpgrade,
    /// Another version of the WebSocket protocol.
    #[error("only WebSocket version 13 is spoken here")]
    Version,
    /// Something is missing, doubled or malformed.
    #[error("{0}")]
    Malformed(&'static str),
}

impl HandshakeError {
    /// The HTTP status of the refusal.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotAnUpgrade | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// A request that may be upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    accept: String,
    /// The client offers [`SUBPROTOCOL`].
    offers_ours: bool,
}

/// Checks a request.
///
/// # Errors
/// Why it is no handshake.
pub fn check<B>(request: &Request<B>) -> Result<Handshake, HandshakeError> {
    let headers = request.headers();
    let malformed = |text| Err(HandshakeError::Malformed(text));
    if request.method() != Method::GET {
        return malformed("a WebSocket handshake is a GET");
    }
    if request.version() != Version::HTTP_11 {
        return malformed("a WebSocket handshake is HTTP/1.1");
    }
    if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
        return Err(HandshakeError::NotAnUpgrade);
    }
    if headers.get_all(HOST).iter().count() != 1 {
        return malformed("exactly one `Host` is needed");
    }
    let mut versions = headers.get_all(SEC_WEBSOCKET_VERSION).iter();
    match (versions.next(), versions.next()) {
        (Some(version), None) if version.as_bytes() == b"13" => {}
        (None, _) => return malformed("`Sec-WebSocket-Version` is missing"),
        _ => return Err(HandshakeError::Version),
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return malformed("exactly one `Sec-WebSocket-Key` is needed");
    };
    if !is_key(key) {
        return malformed("`Sec-WebSocket-Key` must be 16 bytes in base64");
    }
    let has_body = headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if has_body || headers.contains_key(TRANSFER_ENCODING) {
        return malformed("a WebSocket handshake has no body");
    }
    let offers_ours = has_token(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    Ok(Handshake { accept: derive_accept_key(key.as_bytes()), offers_ours })
}

impl Handshake {
    /// The answer that accepts it: 101, our subprotocol if it was offered, no extension.
    #[must_use]
    pub fn accept(&self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if self.offers_ours {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        }
        response
    }
}

/// The socket on an upgraded connection, of which `begun` has been read already. Messages above `max_message_bytes` fail the read.
///
/// What waits to be written is bounded by its user: the sink takes the next message only when the ones before
/// it fit into the write buffer. A limit here would not bound that further, it would only make a long event
/// one that can never be sent.
pub async fn socket<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    begun: Bytes,
    max_message_bytes: usize,
) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes));
    // Copied, though it could be moved: it is a slice, nearly always empty, of the buffer that the request was read into,
    // and that buffer would be kept for as long as the socket lives.
    WebSocketStream::from_partially_read(stream, begun.to_vec(), Role::Server, Some(config)).await
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

fn is_key(key: &HeaderValue) -> bool {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    STANDARD.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request<()> {
        Request::get("/ws")
            .header("host", "localhost")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap()
    }

    fn with(name: &'static str, value: Option<&'static str>) -> Request<()> {
        let mut request = request();
        match value {
            Some(value) => request.headers_mut().insert(name, HeaderValue::from_static(value)),
            None => request.headers_mut().remove(name),
        };
        request
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted_with_its_key() {
        let response = check(&request()).unwrap().accept();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!response.headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
    }

    #[test]
    fn only_our_subprotocol_is_echoed() {
        let offered = with("sec-websocket-protocol", Some("mqtt, cc-gateway.v1, ticket.abc"));
        assert_eq!(check(&offered).unwrap().accept().headers()[SEC_WEBSOCKET_PROTOCOL], SUBPROTOCOL);
        let others = with("sec-websocket-protocol", Some("mqtt"));
        assert!(!check(&others).unwrap().accept().headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
    }

    #[test]
    fn a2_an_offered_extension_is_not_taken_up() {
        let offered = with("sec-websocket-extensions", Some("permessage-deflate"));
        assert!(!check(&offered).unwrap().accept().headers().contains_key("sec-websocket-extensions"));
    }

    #[test]
    fn what_is_no_handshake_is_told_why() {
        let status = |request: &Request<()>| check(request).unwrap_err().status().as_u16();
        for (name, value, expected) in [
            ("upgrade", None, 426),
            ("upgrade", Some("h2c"), 426),
            ("connection", Some("close"), 426),
            ("sec-websocket-version", Some("8"), 426),
            ("sec-websocket-version", None, 400),
            ("sec-websocket-key", None, 400),
            ("sec-websocket-key", Some("c2hvcnQ="), 400),
            ("sec-websocket-key", Some("not base64 at all!!!!!!!"), 400),
            ("host", None, 400),
            ("content-length", Some("5"), 400),
            ("transfer-encoding", Some("chunked"), 400),
        ] {
            assert_eq!(status(&with(name, value)), expected, "{name}: {value:?}");
        }
        let mut doubled = request();
        doubled.headers_mut().append(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(status(&doubled), 400);
        let mut posted = request();
        *posted.method_mut() = Method::POST;
        assert_eq!(status(&posted), 400);
        let mut old = request();
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(status(&old), 400);
    }
}
