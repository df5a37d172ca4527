//! `session.start`, `get`, `list`, and what steers a session from outside: `interrupt`, `pause`, `unpause`, `stop`.

use jsonrpsee::core::RegisterMethodError;
use uuid::Uuid;

use super::events::stand_behind;
use crate::api::event::EndReason;
use crate::api::method::{
    SessionGet, SessionInterrupt, SessionList, SessionPause, SessionStart, SessionStop, SessionUnpause,
};
use crate::api::selector::TypeSet;
use crate::api::session::{ListResult, OnDisconnect, Session, StartResult, StateResult};
use crate::api::{ErrorKind, Method, RpcError};
use crate::rpc::peer::{AttachError, Peer};
use crate::rpc::register::{Registrar, Request};
use crate::session::reader::EventReader;
use crate::session::{Command, StartOutcome};
use crate::telemetry::metrics;

pub(in crate::rpc) fn register(registrar: &mut Registrar) -> Result<(), RegisterMethodError> {
    registrar.on::<SessionStart, _, _, _>(start)?;
    registrar.on::<SessionGet, _, _, _>(get)?;
    registrar.on::<SessionList, _, _, _>(list)?;
    registrar.on::<SessionInterrupt, _, _, _>(|request| ask(request.params.session_id, request, Command::Interrupt))?;
    registrar.on::<SessionPause, _, _, _>(|request| ask(request.params.session_id, request, Command::Pause))?;
    registrar.on::<SessionUnpause, _, _, _>(|request| ask(request.params.session_id, request, Command::Unpause))?;
    registrar.on::<SessionStop, _, _, _>(|request| {
        ask(request.params.session_id, request, Command::Stop(EndReason::Cancelled))
    })
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
    let lives_for_connections = row.on_disconnect == OnDisconnect::Stop;
    let is_new = matches!(started, StartOutcome::New(_));
    if is_new && lives_for_connections && request.peer.hold(row.id) {
        sessions.held_from_its_start(row.id);
    }
    if wants_events {
        let (_, reader) = sessions.reader(&request.peer.principal, row.id, 0, TypeSet::ALL).await?;
        request.attach(attach(&request.peer, reader)?);
        if !is_new && lives_for_connections {
            // Whoever repeats a start whose connection was lost has come back.
            stand_behind(&request, row.id).await;
        }
    }
    let (queue_position, message_id) = match &started {
        StartOutcome::New(handle) => (*handle.position.borrow(), row.messages.first().copied()),
        StartOutcome::Existing(row) => (None, sessions.first_message(row).await),
    };
    Ok(StartResult { session_id: row.id, state: row.state, queue_position, message_id })
}

async fn get(request: Request<SessionGet>) -> Result<Session, RpcError> {
    let sessions = &request.context.sessions;
    Ok(sessions.get(&request.peer.principal, request.params.session_id).await?)
}

async fn list(request: Request<SessionList>) -> Result<ListResult, RpcError> {
    Ok(request.context.sessions.list(&request.peer.principal, &request.params).await?)
}

/// Asks a session and answers with the state that it led to.
pub(super) async fn ask<M: Method>(id: Uuid, request: Request<M>, command: Command) -> Result<StateResult, RpcError> {
    let state = request.context.sessions.ask(&request.peer.principal, id, command).await?;
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
