//! `session.attach`, `session.detach`, `session.events`: the log, as a stream and by the page.

use jsonrpsee::core::RegisterMethodError;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::session::attach as attach_reader;
use crate::api::error::ErrorKind;
use crate::api::event::SessionState;
use crate::api::method::{SessionAttach, SessionDetach, SessionEvents};
use crate::api::selector::TypeSet;
use crate::api::session::{AttachResult, DetachResult, EncodedEvents, OnDisconnect};
use crate::api::{Method, RpcError};
use crate::rpc::register::{Registrar, Request};
use crate::session::log::Frame;

const DEFAULT_PAGE: u32 = 1_000;
const LARGEST_PAGE: u32 = 10_000;
/// A page stops here, in bytes, but always holds at least one event.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// What an answer holds besides its events, in bytes.
const ANSWER_FRAME_BYTES: usize = 256;

pub(in crate::rpc) fn register(registrar: &mut Registrar) -> Result<(), RegisterMethodError> {
    registrar.on::<SessionAttach, _, _, _>(attach)?;
    registrar.on::<SessionDetach, _, _, _>(detach)?;
    registrar.on::<SessionEvents, _, _, _>(events)
}

async fn attach(request: Request<SessionAttach>) -> Result<AttachResult, RpcError> {
    let params = &request.params;
    let wanted = params.filter().wanted();
    let sessions = &request.context.sessions;
    let (session, reader) =
        sessions.reader(&request.peer.principal, params.session_id, params.after_seq, wanted).await?;
    request.attach(attach_reader(&request.peer, reader)?);
    // What has ended needs nobody, and most sessions do not ask for it: then no record is looked at again.
    if session.on_disconnect == OnDisconnect::Stop && session.state != SessionState::Ended {
        stand_behind(&request, params.session_id).await;
    }
    Ok(AttachResult { session, next_seq: params.after_seq + 1 })
}

/// The connection stands behind a session from now on, if that lives for its owner's connections.
pub(super) async fn stand_behind<M: Method>(request: &Request<M>, id: Uuid) {
    let sessions = &request.context.sessions;
    if sessions.lives_for(&request.peer.principal, id).await && request.peer.hold(id) {
        sessions.hold(&request.peer.principal, id).await;
    }
}

async fn detach(request: Request<SessionDetach>) -> Result<DetachResult, RpcError> {
    let id = request.params.session_id;
    // Also says whether the caller may know of the session at all.
    request.context.sessions.get(&request.peer.principal, id).await?;
    let last = request.peer.detach(id);
    Ok(DetachResult { detached: last.is_some(), last_seq: last.unwrap_or_default() })
}

async fn events(request: Request<SessionEvents>) -> Result<EncodedEvents, RpcError> {
    let params = &request.params;
    let limit = params.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(RpcError::new(ErrorKind::InvalidParams, format!("`limit` must be 1 to {LARGEST_PAGE}")));
    }
    let sessions = &request.context.sessions;
    let (session, mut reader) =
        sessions.reader(&request.peer.principal, params.session_id, params.after_seq, TypeSet::ALL).await?;
    let mut frames = Vec::new();
    reader.read(limit as usize, PAGE_BYTES, &mut frames).await?;
    // One event always goes out, however long it is: a reader could not get past it otherwise.
    frames.truncate(fitting(&frames, request.context.limits.max_response_bytes).max(1));
    if frames.len() == 1 {
        request.answer_whole();
    }
    let end = frames.last().is_some_and(Frame::is_end)
        || (session.state == SessionState::Ended && params.after_seq == session.last_seq);
    let next_seq = frames.last().map_or(params.after_seq, |frame| frame.seq) + 1;
    let mut events = Vec::with_capacity(frames.len());
    for frame in frames {
        let event = String::from_utf8(frame.event().into()).ok().and_then(|text| RawValue::from_string(text).ok());
        events.push(event.ok_or_else(|| {
            tracing::error!(session_id = %params.session_id, seq = frame.seq, "a stored event can't be read");
            crate::rpc::error::internal()
        })?);
    }
    Ok(EncodedEvents { events, next_seq, end })
}

/// How many of the frames fit into one page. A frame's text is a little longer than its event in the page.
fn fitting(frames: &[Frame], max_response_bytes: usize) -> usize {
    let room = PAGE_BYTES.min(max_response_bytes.saturating_sub(ANSWER_FRAME_BYTES));
    let mut bytes = 0;
    let fits = |frame: &&Frame| {
        bytes += frame.text.len();
        bytes <= room
    };
    frames.iter().take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::selector::EventKind;

    #[test]
    fn a_page_ends_before_the_event_that_would_make_it_too_large() {
        let frame = |bytes: usize| Frame { seq: 1, kind: EventKind::from_code(0), text: vec![b'x'; bytes].into() };
        let frames = [frame(400), frame(300), frame(100)];
        assert_eq!(fitting(&frames, ANSWER_FRAME_BYTES + 800), 3);
        assert_eq!(fitting(&frames, ANSWER_FRAME_BYTES + 799), 2);
        assert_eq!(fitting(&frames, ANSWER_FRAME_BYTES + 399), 0);
        assert_eq!(fitting(&[frame(1_000), frame(PAGE_BYTES)], usize::MAX), 1);
    }
}
