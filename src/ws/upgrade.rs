//! The upgrade: everything that is checked before the 101, in the order that tells a stranger least.
//!
//! Form of the handshake, draining, origin, token, room. Each refusal is an HTTP status with a reason that
//! a person can read; nothing of it has side effects.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{ORIGIN, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::close::Close;
use super::connection::Connection;
use super::handshake;
use super::registry::{Connections, Newcomer, NoRoom};
use crate::auth::{AuthError, Authenticator, OriginError, origin};
use crate::config::settings::WebSocketSettings;
use crate::http::PeerAddr;
use crate::http::connection::ConnectionPermit;
use crate::http::hand_over;
use crate::http::problem::HttpProblem;
use crate::rpc::dispatch::Dispatcher;
use crate::rpc::peer::Peer;
use crate::session::Sessions;
use crate::telemetry::{metrics, tasks};

/// What upgrades need. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WsState {
    /// Says who is calling.
    pub authenticator: Arc<Authenticator>,
    /// Carries messages out.
    pub dispatcher: Arc<Dispatcher>,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The settings of this listener.
    pub settings: Arc<WebSocketSettings>,
    /// The open connections.
    pub connections: Connections,
    /// Every connection's task, so that a shutdown can wait for them.
    pub tracker: TaskTracker,
}

/// `/ws`, and its alias `/ws/mcp` for cc_executor's clients.
pub fn router(state: WsState) -> Router {
    Router::new().route("/ws", any(plain)).route("/ws/mcp", any(dialect)).with_state(state)
}

async fn plain(State(state): State<WsState>, request: Request) -> Response {
    upgrade(state, request, false).await
}

async fn dialect(State(state): State<WsState>, request: Request) -> Response {
    upgrade(state, request, true).await
}

async fn upgrade(state: WsState, mut request: Request, speaks_dialect: bool) -> Response {
    let address = caller_address(&request).map(tracing::field::display);
    match accept(&state, &mut request, speaks_dialect).await {
        Ok(response) => response,
        Err(refusal) => {
            let response = refusal.into_response();
            metrics::upgrade_refused(response.status().as_u16());
            tracing::info!(status = response.status().as_u16(), address, "upgrade refused");
            response
        }
    }
}

async fn accept(state: &WsState, request: &mut Request, speaks_dialect: bool) -> Result<Response, Refused> {
    let handshake = handshake::check(request).map_err(Refused::Handshake)?;
    let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let on_upgrade = on_upgrade.ok_or(Refused::Handshake(handshake::HandshakeError::NotAnUpgrade))?;
    if state.sessions.is_draining() {
        return Err(Refused::Draining);
    }
    origin::check(request.headers().get_all(ORIGIN), &state.settings.allowed_origins).map_err(Refused::Origin)?;
    let principal = state.authenticator.authenticate_upgrade(request.headers(), request.uri().query()).await?;
    let replaces = replaced_connection(request.uri().query());
    let id = Uuid::new_v4();
    let subject = principal.subject.clone();
    let peer = Arc::new(Peer::new(id, Arc::new(principal), state.settings.max_attachments, speaks_dialect));
    let outbox = mpsc::channel(state.settings.outbox_messages);
    let close = watch::channel(None);
    if let Some(old) = replaces {
        state.connections.close_one(old, &subject, Close::Replaced);
    }
    let newcomer = Newcomer {
        peer: Arc::clone(&peer),
        address: caller_address(request),
        close: close.0.clone(),
        outbox: outbox.0.clone(),
    };
    let entered = state.connections.enter(newcomer, &state.settings).map_err(Refused::NoRoom)?;
    let connection = Connection {
        peer,
        dispatcher: Arc::clone(&state.dispatcher),
        sessions: Arc::clone(&state.sessions),
        settings: Arc::clone(&state.settings),
        entered,
        outbox,
        close,
    };
    // The accept loop's place is kept for as long as the connection lives.
    let place = request.extensions().get::<Arc<ConnectionPermit>>().cloned();
    let served = async move {
        match on_upgrade.await {
            Ok(upgraded) => match hand_over(upgraded) {
                Some((stream, begun)) => connection.run(stream, begun).await,
                None => tracing::error!("an upgraded connection is none of the accept loop's"),
            },
            // The client went away between its request and our answer.
            Err(error) => tracing::debug!(%error, "an upgrade was not completed"),
        }
        drop(place);
    };
    let address = caller_address(request).map(tracing::field::display);
    tracing::info!(connection = %id, principal = %subject, address, "connection opened");
    tasks::spawn("ws-connection", state.tracker.track_future(served));
    Ok(handshake.accept())
}

/// Where the caller is, for limits and the log; an IPv4 address in IPv6 as itself.
fn caller_address(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<PeerAddr>().map(|PeerAddr(address)| address.ip().to_canonical())
}

/// `?replaces=<connection id>`: a client that lost its connection names it, so that the half-open old one
/// does not go on taking room and events.
fn replaced_connection(query: Option<&str>) -> Option<Uuid> {
    query?.split('&').find_map(|pair| pair.strip_prefix("replaces=")).and_then(|id| Uuid::try_parse(id).ok())
}

/// Why an upgrade is refused.
enum Refused {
    Handshake(handshake::HandshakeError),
    Draining,
    Origin(OriginError),
    Auth(AuthError),
    NoRoom(NoRoom),
}

impl From<AuthError> for Refused {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Handshake(error) => {
                let mut response = HttpProblem::new(error.status(), "handshake", error.to_string()).into_response();
                if error.status() == StatusCode::UPGRADE_REQUIRED {
                    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
                    response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                }
                response
            }
            Self::Draining => {
                let title = "the gateway is shutting down";
                HttpProblem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", title).into_response()
            }
            Self::Origin(error) => HttpProblem::from(error).into_response(),
            Self::Auth(error) => HttpProblem::from(error).into_response(),
            Self::NoRoom(why) => {
                let (status, title) = match why {
                    NoRoom::Full => (StatusCode::SERVICE_UNAVAILABLE, "the gateway has as many connections as it may"),
                    NoRoom::OfPrincipal => {
                        (StatusCode::TOO_MANY_REQUESTS, "this caller has as many connections as one may; close another")
                    }
                    NoRoom::OfAddress => (
                        StatusCode::TOO_MANY_REQUESTS,
                        "this address has as many connections as one may; close another",
                    ),
                };
                HttpProblem::new(status, "connections", title).into_response()
            }
        }
    }
}
