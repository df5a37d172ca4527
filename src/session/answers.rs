//! What a session's log tells of its agent and its messages: whether it has been ready, whose turn has begun, and which
//! have had their answer.
//!
//! The log is the truth. A session's record is written behind it, and is stale where its gateway died in between: a
//! message that it names as open may have had its answer, seen by everybody.

use std::ops::ControlFlow;
use std::sync::Arc;

use uuid::Uuid;

use super::log::Frame;
use super::reader::{EventReader, ReadError};
use crate::api::event::{Event, EventType, SessionState, StateChanged};
use crate::api::selector::{EventKind, TypeSet};
use crate::claude::{ClaudeLine, parse_line};
use crate::store::{SharedStore, StoreError};
use crate::telemetry::time::milliseconds;

/// How much of a log one look at it brings.
const PAGE_EVENTS: usize = 1_000;
const PAGE_BYTES: usize = 1024 * 1024;

/// Has that message's turn begun?
///
/// # Errors
/// See [`ReadError`].
pub(super) async fn has_begun(store: &SharedStore, session: Uuid, message: Uuid) -> Result<bool, ReadError> {
    tells(store, session, |told| told.message_id == Some(message)).await
}

/// Is that a state of a session whose agent has not been ready?
pub(super) fn is_before_ready(state: SessionState) -> bool {
    matches!(state, SessionState::Queued | SessionState::Starting)
}

/// Has the session's agent ever been ready? Then there is a conversation.
///
/// # Errors
/// The store's.
pub(super) async fn has_been_ready(store: &SharedStore, session: Uuid) -> Result<bool, StoreError> {
    match tells(store, session, |told| !is_before_ready(told.state)).await {
        Ok(found) => Ok(found),
        // A log does not get as long before that.
        Err(ReadError::Expired { .. }) => Ok(true),
        Err(ReadError::Removed) => Ok(false),
        Err(ReadError::Store(error)) => Err(error),
    }
}

/// When the session's first process was started, in milliseconds since the Unix epoch; `None`: never, as far as its log
/// goes. A limit for the whole session counts from then: what it waited for a slot before is not its own.
///
/// # Errors
/// The store's.
pub(super) async fn began_at_ms(store: &SharedStore, session: Uuid) -> Result<Option<u64>, StoreError> {
    let mut began = None;
    let looked = walk(store, session, 0, TypeSet::default().with(EventType::Started), |frame| {
        began = serde_json::from_slice::<Event>(&frame.event()).ok().and_then(|event| milliseconds(&event.at));
        ControlFlow::Break(())
    });
    match looked.await {
        Ok(()) | Err(ReadError::Expired { .. } | ReadError::Removed) => Ok(began),
        Err(ReadError::Store(error)) => Err(error),
    }
}

/// Those of `open` that no result in the log answers. `told`: an event tells of each message whose turn begins, as
/// interactive sessions have it; without, a session has one message, and it has begun.
///
/// A result that names no message answers all whose turn has begun (old versions of Claude name none), unless it is
/// that of a turn that began by itself.
///
/// # Errors
/// The store's. A log of which nothing is kept answers nothing.
pub(super) async fn unanswered(
    store: &SharedStore,
    session: Uuid,
    mut open: Vec<Uuid>,
    told: bool,
) -> Result<Vec<Uuid>, StoreError> {
    let types = TypeSet::default().with(EventType::State).with(EventKind::RESULT);
    let mut at_work = if told { Vec::new() } else { open.clone() };
    let mut after = 0;
    loop {
        let looked = walk(store, session, after, types, |frame| {
            if let Some(message) = begun(frame) {
                at_work.push(message);
            } else if let Some(ClaudeLine::Result(result)) = parse_line(&frame.data()) {
                let named = &result.user_message_uuids;
                let all = named.is_empty() && result.origin_kind.is_none();
                let answers = |id: &Uuid| named.contains(id) || all && at_work.contains(id);
                open.retain(|id| !answers(id));
            }
            if open.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match looked.await {
            Err(ReadError::Expired { oldest }) if oldest > after + 1 => after = oldest - 1,
            Err(ReadError::Expired { .. } | ReadError::Removed) | Ok(()) => return Ok(open),
            Err(ReadError::Store(error)) => return Err(error),
        }
    }
}

/// The message whose turn this event tells the beginning of.
fn begun(frame: &Frame) -> Option<Uuid> {
    state(frame)?.message_id
}

/// The state that this event tells.
fn state(frame: &Frame) -> Option<StateChanged> {
    let told = (frame.kind == EventType::State.into()).then(|| frame.data())?;
    serde_json::from_slice(&told).ok()
}

/// Does the log tell a state that `is_it`?
async fn tells(store: &SharedStore, session: Uuid, is_it: impl Fn(&StateChanged) -> bool) -> Result<bool, ReadError> {
    let mut found = false;
    walk(store, session, 0, TypeSet::default().with(EventType::State), |frame| {
        found = state(frame).is_some_and(|told| is_it(&told));
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await?;
    Ok(found)
}

/// Shows `look` all events of `types` behind `after`, until it has seen enough.
async fn walk(
    store: &SharedStore,
    session: Uuid,
    after: u64,
    types: TypeSet,
    mut look: impl FnMut(&Frame) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let mut reader = EventReader::new(session, Arc::clone(store), None, after, types);
    let mut frames = Vec::new();
    while reader.may_have_more() && !reader.has_ended() {
        frames.clear();
        reader.read(PAGE_EVENTS, PAGE_BYTES, &mut frames).await?;
        if frames.iter().try_for_each(&mut look).is_break() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::log::Encoder;
    use crate::store::contract::sample;
    use crate::store::sqlite::test_store;

    fn ids(numbers: &[u128]) -> Vec<Uuid> {
        numbers.iter().copied().map(Uuid::from_u128).collect()
    }

    fn begins(message: u128) -> (EventKind, String) {
        let id = Uuid::from_u128(message);
        (EventType::State.into(), format!(r#"{{"state":"running","message_id":"{id}"}}"#))
    }

    fn result(names: &[u128], origin: &str) -> (EventKind, String) {
        let names = serde_json::to_string(&ids(names)).unwrap();
        let text = format!(r#"{{"type":"result","is_error":false,"user_message_uuids":{names}{origin}}}"#);
        (EventKind::RESULT, text)
    }

    /// What is open of the messages 1, 2 and 3 after these events.
    async fn open_after(told: bool, events: &[(EventKind, String)]) -> Vec<Uuid> {
        let (store, id) = with_log(events).await;
        unanswered(&store, id, ids(&[1, 2, 3]), told).await.unwrap()
    }

    /// A session with these events; half of them are a batch of their own.
    async fn with_log(events: &[(EventKind, String)]) -> (SharedStore, Uuid) {
        let store = test_store();
        let session = sample::session(1);
        let id = session.row.id;
        store.create_session(session).await.unwrap();
        let mut encoder = Encoder::new(id, 1);
        for half in [&events[..events.len() / 2], &events[events.len() / 2..]] {
            half.iter().for_each(|(kind, data)| encoder.push(*kind, 1, data.as_bytes()));
            if let Some(batch) = encoder.take() {
                store.append(id, 1, batch).await.unwrap();
            }
        }
        (store, id)
    }

    #[tokio::test]
    async fn an_agent_has_been_ready_once_the_log_tells_a_state_behind_the_start() {
        let state = |state: &str| (EventType::State.into(), format!(r#"{{"state":"{state}"}}"#));
        let ready = async |events: &[(EventKind, String)]| {
            let (store, id) = with_log(events).await;
            has_been_ready(&store, id).await.unwrap()
        };
        assert!(!ready(&[]).await);
        assert!(!ready(&[state("queued"), state("starting")]).await);
        assert!(ready(&[state("starting"), state("idle")]).await);
        assert!(ready(&[state("starting"), begins(1), state("queued")]).await);
        assert!(!has_been_ready(&test_store(), Uuid::from_u128(9)).await.unwrap());
    }

    #[tokio::test]
    async fn a_message_is_answered_by_the_result_that_names_it() {
        let log = [begins(1), result(&[1], ""), begins(2), result(&[3], "")];
        assert_eq!(open_after(true, &log).await, ids(&[2]));
    }

    #[tokio::test]
    async fn a_result_that_names_nobody_answers_those_whose_turn_had_begun() {
        let log = [begins(1), result(&[], ""), begins(2)];
        assert_eq!(open_after(true, &log).await, ids(&[2, 3]));
        assert_eq!(open_after(false, &[result(&[], "")]).await, ids(&[]));
    }

    #[tokio::test]
    async fn the_result_of_a_turn_that_began_by_itself_answers_nobody() {
        let log = [begins(1), begins(2), begins(3), result(&[], r#","origin":{"kind":"task-notification"}"#)];
        assert_eq!(open_after(true, &log).await, ids(&[1, 2, 3]));
    }

    #[tokio::test]
    async fn nothing_is_answered_by_a_log_that_is_not_kept() {
        let store = test_store();
        assert_eq!(unanswered(&store, Uuid::from_u128(9), ids(&[1]), false).await.unwrap(), ids(&[1]));
    }
}
