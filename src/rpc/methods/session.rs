//! `session.start`, `get`, `list`, `interrupt`, `stop`.

use jsonrpsee::core::RegisterMethodError;

use crate::api::event::EndReason;
use crate::api::method::{SessionGet, SessionInterrupt, SessionList, SessionStart, SessionStop};
use crate::api::selector::TypeSet;
use crate::api::session::{ListResult, OnDisconnect, Session, StartResult, StateResult};
use crate::api::{ErrorKind, RpcError};
use crate::rpc::peer::{AttachError, Peer};
use crate::rpc::register::{Registrar, Request};
use crate::session::reader::EventReader;
use crate::session::{Command, StartOutcome};
use crate::telemetry::metrics;

pub(in crate::rpc) fn register(registrar: &mut Registrar) -> Result<(), RegisterMethodError> {
    registrar.on::<SessionStart, _, _, _>(start)?;
    registrar.on::<SessionGet, _, _, _>(get)?;
    registrar.on::<SessionList, _, _, _>(list)?;
    registrar.on::<SessionInterrupt, _, _, _>(interrupt)?;
    registrar.on::<SessionStop, _, _, _>(stop)
}

async fn start(request: Request<SessionStart>) -> Result<StartResult, RpcError> {
    let wants_events = request.params.attach.unwrap_or(true);
    if wants_events && !request.peer.has_room() {
        // Before anything is started: a session must not run on behind an error.
        return Err(too_many_attachments());
    }
    let sessions = &request.context.sessions;
    let started = sessions.start(&request.peer.principal, request.params.clone()).await.map_err(|error| {
        let error = RpcError::from(error);
        metrics::start_refused(error.kind().map_or("internal", ErrorKind::as_str));
        error
    })?;
    let row = started.row();
    if let StartOutcome::New(handle) = &started
        && handle.row.on_disconnect == OnDisconnect::Stop
    {
        request.peer.hold(row.id);
    }
    if wants_events {
        let (_, reader) = sessions.reader(&request.peer.principal, row.id, 0, TypeSet::ALL).await?;
        request.attach(attach(&request.peer, reader)?);
    }
    Ok(StartResult { session_id: row.id, state: row.state, queue_position: None })
}

async fn get(request: Request<SessionGet>) -> Result<Session, RpcError> {
    let sessions = &request.context.sessions;
    Ok(sessions.get(&request.peer.principal, request.params.session_id).await?)
}

async fn list(request: Request<SessionList>) -> Result<ListResult, RpcError> {
    Ok(request.context.sessions.list(&request.peer.principal, &request.params).await?)
}

async fn interrupt(request: Request<SessionInterrupt>) -> Result<StateResult, RpcError> {
    let (peer, id) = (&request.peer, request.params.session_id);
    let state = request.context.sessions.ask(&peer.principal, id, Command::Interrupt).await?;
    Ok(StateResult { state })
}

async fn stop(request: Request<SessionStop>) -> Result<StateResult, RpcError> {
    let (peer, id) = (&request.peer, request.params.session_id);
    let state = request.context.sessions.ask(&peer.principal, id, Command::Stop(EndReason::Cancelled)).await?;
    Ok(StateResult { state })
}

/// Notes an attachment to be served by the connection's writer.
pub(in crate::rpc) fn attach(peer: &Peer, reader: EventReader) -> Result<crate::rpc::peer::Attachment, RpcError> {
    peer.attach(reader, None).map_err(|AttachError::TooMany| too_many_attachments())
}

/// The connection is attached to as many sessions as it may be.
pub(in crate::rpc) fn too_many_attachments() -> RpcError {
    let text = "this connection is attached to as many sessions as it may be; detach one, or open another";
    RpcError::new(ErrorKind::TooManyRequests, text)
}
