//! What of a call goes into the audit log. The one place that sees them all is dispatch, so no method need think of it.
//!
//! Invariants: a method that is not named here is told whenever it succeeds, so that a new one can't be forgotten; what
//! is refused for want of a right is told whatever the method; of a call's parameters only ids and names are taken.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::envelope::Call;
use super::peer::Peer;
use crate::api::{ErrorKind, MethodInfo, RpcError};
use crate::auth::audit::Deed;

/// Methods that only look, and at nothing that is anybody's secret or anybody's work.
const QUIET: [&str; 10] = [
    "session.get",
    "session.list",
    "session.detach",
    "account.list",
    "key.list",
    "auth.reauthenticate",
    "server.info",
    "rpc.discover",
    "pong",
    "hook_status",
];
/// Methods that read a session's events: told once a connection and session, however often they are called.
const WATCHING: [&str; 2] = ["session.attach", "session.events"];

/// The names in a call's parameters, and in its result.
#[derive(Default, Deserialize)]
struct Named {
    #[serde(default)]
    session_id: Option<Uuid>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    key_id: Option<String>,
    #[serde(default)]
    key: Option<Key>,
}

#[derive(Deserialize)]
struct Key {
    id: String,
}

/// The deed that a call was, if it is to be told.
pub(super) fn deed(
    info: &MethodInfo,
    call: &Call,
    outcome: &Result<Box<RawValue>, RpcError>,
    peer: &Peer,
) -> Option<Deed> {
    let refused = match outcome {
        Ok(_) if QUIET.contains(&info.name) => return None,
        Ok(_) => None,
        Err(error) => Some(error.kind().filter(|kind| is_refusal(*kind))?),
    };
    let given = call.params.as_deref().map(named).unwrap_or_default();
    let got = outcome.as_ref().ok().map(|result| named(result)).unwrap_or_default();
    let session = given.session_id.or(got.session_id).or_else(|| peer.command().filter(|_| info.name == "control"));
    if refused.is_none()
        && WATCHING.contains(&info.name)
        && let Some(session) = session
        && !peer.watches_anew(session)
    {
        return None;
    }
    let target = given.key_id.or_else(|| got.key.map(|key| key.id)).or(given.username);
    let principal = &peer.principal;
    Some(Deed {
        outcome: refused.map_or(crate::auth::audit::DONE, ErrorKind::as_str),
        by: Some((principal.subject.clone(), principal.username.clone())),
        session,
        target,
        ..Deed::new(info.name)
    })
}

/// Was the caller kept from it, rather than mistaken?
fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unauthorised | ErrorKind::NotAllowed | ErrorKind::NoSuchSession)
}

/// What is not named, or not as it should be, is not told.
fn named(text: &RawValue) -> Named {
    serde_json::from_str(text.get()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::method::TABLE;

    #[test]
    fn the_methods_named_here_are_methods() {
        for name in QUIET.into_iter().chain(WATCHING) {
            assert!(TABLE.iter().any(|method| method.name == name), "{name}");
        }
    }

    #[test]
    fn only_names_and_ids_are_taken() {
        let text =
            r#"{"session_id":"0b0e7c3a-8f7e-4a52-9f3a-0d1c6f0a0001","username":"ada","password":"x","prompt":[1]}"#;
        let found = named(&RawValue::from_string(text.to_owned()).unwrap());
        assert_eq!((found.username.as_deref(), found.session_id.is_some(), found.key_id), (Some("ada"), true, None));
        assert!(named(&RawValue::from_string(r#"{"session_id":7}"#.to_owned()).unwrap()).session_id.is_none());
    }
}
