//! What warm processes are made with, and how nothing is left of them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::leftovers::Leftovers;
use super::process::Warm;
use crate::config::settings::SessionSettings;
use crate::process::{Line, Process};
use crate::session::admission::{Admission, Slot};
use crate::session::launch::Launcher;
use crate::session::policy::Policy;
use crate::telemetry::tasks;

/// What all warm processes of a node are made with.
#[derive(Debug)]
pub(super) struct Workshop {
    pub(super) launcher: Arc<Launcher>,
    pub(super) admission: Admission,
    pub(super) policy: Arc<Policy>,
    pub(super) settings: Arc<SessionSettings>,
    pub(super) leftovers: Leftovers,
    /// From now on nothing is waited for.
    pub(super) hurry: CancellationToken,
}

/// A process that is handed out, with all that belongs to it.
#[derive(Debug)]
pub(in crate::session) struct HandedOut {
    /// Its slot, the session's own from now on.
    pub(in crate::session) slot: Slot,
    /// The process.
    pub(in crate::session) prepared: Prepared,
}

/// A process that was started for the session of that id, and that has answered `initialize`.
#[derive(Debug)]
pub(in crate::session) struct Prepared {
    /// The session's id.
    pub(in crate::session) id: Uuid,
    /// The process.
    pub(in crate::session) process: Process,
    /// What it has printed, for the session's log.
    pub(in crate::session) heard: Vec<Line>,
}

impl Workshop {
    /// Nothing is left of a process that was nobody's.
    pub(super) async fn tidy(&self, id: Uuid) {
        self.launcher.sweep(id).await;
        self.remove_workspace(id);
    }

    /// Removes the workspace of a process that nobody has got.
    pub(super) fn remove_workspace(&self, id: Uuid) {
        self.policy.remove_fresh_workspace(id);
        self.leftovers.strike_out(id);
    }

    /// Puts a process away that was handed out to a session that did not come about.
    pub(super) fn take_back(self: &Arc<Self>, handed: HandedOut) {
        let workshop = Arc::clone(self);
        tasks::spawn("warm-take-back", async move {
            let HandedOut { slot, prepared } = handed;
            let Prepared { id, process, heard } = prepared;
            Warm::new(id, process, heard).end(&workshop).await;
            workshop.tidy(id).await;
            slot.release().await;
        });
    }
}
