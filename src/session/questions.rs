//! The open permission questions of one session and their deadlines. Owned by the session's supervisor.
//!
//! A question is open until a caller answers it, Claude takes it back, its turn ends, or its time is over. It is
//! never allowed by anything but an answer.

use std::time::Duration;

use tokio::time::Instant;

use crate::api::event::{PermissionResolved, ResolvedBy};
use crate::api::session::{Behavior, RespondParams};
use crate::claude::control;
use crate::claude::updates::keep_in_process;

/// What Claude is told when nobody has answered.
const NO_ANSWER: &str = "Nobody answered the question whether this tool may be used.";
/// What Claude is told with a denial that says nothing.
const DENIED: &str = "The use of this tool was denied.";

/// Open questions, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: Vec<(String, Instant)>,
}

impl Questions {
    /// Claude asks; the answer must be there within `time`.
    pub(super) fn ask(&mut self, request_id: &str, time: Duration) {
        self.open.push((request_id.to_owned(), Instant::now() + time));
    }

    /// When the first deadline is.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.iter().map(|(_, deadline)| *deadline).min()
    }

    /// Closes a question: `false` if it is not open.
    pub(super) fn close(&mut self, request_id: &str) -> bool {
        let before = self.open.len();
        self.open.retain(|(open, _)| open != request_id);
        self.open.len() < before
    }

    /// Closes those whose time is over.
    pub(super) fn close_due(&mut self) -> Vec<String> {
        let now = Instant::now();
        self.open.extract_if(.., |(_, deadline)| *deadline <= now).map(|(id, _)| id).collect()
    }

    /// Closes all.
    pub(super) fn close_all(&mut self) -> Vec<String> {
        self.open.drain(..).map(|(id, _)| id).collect()
    }
}

/// The line for Claude's stdin that gives a caller's answer. `reads_workspace`: Claude reads the workspace's own
/// settings; where it does not, a rule that is kept there would never count.
pub(super) fn answer_line(answer: &RespondParams, reads_workspace: bool) -> Vec<u8> {
    let id = &answer.request_id;
    match answer.behavior {
        Behavior::Allow => {
            let input = answer.updated_input.clone().map(serde_json::Value::Object);
            let mut permissions = answer.updated_permissions.clone();
            if !reads_workspace {
                permissions.iter_mut().flatten().for_each(keep_in_process);
            }
            let permissions = permissions.map(serde_json::Value::Array);
            control::allow(id, input.as_ref(), permissions.as_ref())
        }
        Behavior::Deny => control::deny(id, answer.message.as_deref().unwrap_or(DENIED), answer.interrupt),
    }
}

/// The line that denies a question nobody has answered.
pub(super) fn denial_line(request_id: &str) -> Vec<u8> {
    control::deny(request_id, NO_ANSWER, false)
}

/// The event for a caller's answer.
pub(super) fn answered(answer: &RespondParams, username: &str) -> PermissionResolved {
    PermissionResolved {
        request_id: answer.request_id.clone(),
        behavior: Some(answer.behavior),
        by: ResolvedBy::Caller,
        username: Some(username.to_owned()),
        message: answer.message.clone().filter(|_| answer.behavior == Behavior::Deny),
    }
}

/// The event for a question that nobody has answered.
pub(super) fn timed_out(request_id: String) -> PermissionResolved {
    PermissionResolved {
        request_id,
        behavior: Some(Behavior::Deny),
        by: ResolvedBy::Timeout,
        username: None,
        message: Some(NO_ANSWER.to_owned()),
    }
}

/// The event for a question that needs no answer any more.
pub(super) fn taken_back(request_id: String) -> PermissionResolved {
    PermissionResolved { request_id, behavior: None, by: ResolvedBy::Agent, username: None, message: None }
}
