//! Warm processes: agents that are started and initialized before a session asks for them.
//!
//! Which ones are worth keeping is learned from what is asked for ([`demand`]); what a process can't be told after its
//! start makes its [`profile`]. One task, the [`keeper`], owns the list of them; each has a task of its own
//! ([`process`]). A warm process has a slot like any other process and gives way to every session; it has no record,
//! no log and no owner until it is handed out, and carries the id of the session that it will be.
//!
//! It must not know the registry, or how a session lives.

mod demand;
mod keeper;
mod leftovers;
mod list;
mod process;
mod profile;
mod workshop;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::keeper::{Ask, Keeper};
use self::leftovers::Leftovers;
use self::process::Wanted;
use self::profile::Profile;
use self::workshop::Workshop;
pub(super) use self::workshop::{HandedOut, Prepared};
use super::admission::Admission;
use super::launch::Launcher;
use super::plan::Plan;
use super::policy::Policy;
use crate::api::server::WarmInfo;
use crate::config::settings::SessionSettings;
use crate::telemetry::{metrics, tasks};

/// Questions that may wait for the keeper.
const WAITING: usize = 64;

/// A handle to this node's warm processes. All clones lead to the same keeper.
#[derive(Debug, Clone)]
pub(super) struct Warm {
    asks: mpsc::Sender<Ask>,
    counts: watch::Receiver<WarmInfo>,
    workshop: Arc<Workshop>,
    /// Nothing new is started, and all are put away.
    closing: CancellationToken,
}

impl Warm {
    /// Removes what an older instance has left, whose processes are gone, and begins to keep warm processes if the
    /// settings want some. `notes` is a directory of this node's own. `sure`: may this node's processes run?
    pub(super) fn begin(
        launcher: Arc<Launcher>,
        admission: Admission,
        policy: Arc<Policy>,
        settings: Arc<SessionSettings>,
        notes: &Path,
        sure: watch::Receiver<bool>,
    ) -> Option<Self> {
        let leftovers = Leftovers::new(notes);
        let hurry = CancellationToken::new();
        let workshop = Arc::new(Workshop { launcher, admission, policy, settings, leftovers, hurry });
        for id in workshop.leftovers.all() {
            workshop.remove_workspace(id);
        }
        if workshop.settings.warm_processes == 0 {
            return None;
        }
        let (asks, asked) = mpsc::channel(WAITING);
        let none = WarmInfo { wanted: workshop.settings.warm_processes, ..WarmInfo::default() };
        metrics::warm_processes(&none);
        let (told, counts) = watch::channel(none);
        let closing = CancellationToken::new();
        let keeper = Keeper::new(Arc::clone(&workshop), told, closing.clone());
        tasks::spawn("warm-keeper", keeper.run(asked, sure));
        Some(Self { asks, counts, workshop, closing })
    }

    /// A process for that plan of `owner`'s (a subject), with a slot that is `owner`'s; `None`: there is none that fits,
    /// or no slot may be had now. The plan is made the process's own. `queue`: the session would wait for a slot.
    pub(super) async fn take(&self, plan: &mut Plan, owner: &str, queue: bool) -> Option<HandedOut> {
        if self.workshop.launcher.login().is_about_to_be_renewed() {
            // Agents that are started one by one then must not be overtaken.
            return None;
        }
        let (profile, settable) = Profile::of(plan, owner)?;
        let (reply, answer) = oneshot::channel();
        let wanted = Wanted { owner: owner.to_owned(), queue, settable, reply };
        // A start must not wait for a keeper that is behind.
        self.asks.try_send(Ask::Take(Box::new((profile, wanted)))).ok()?;
        let handed = answer.await.ok();
        metrics::warm_start(handed.is_some());
        let handed = handed?;
        match self.workshop.policy.fresh_workspace(handed.prepared.id) {
            Ok(workspace) => {
                plan.is_for(handed.prepared.id, workspace.path);
                Some(handed)
            }
            // There is a root: the process was started in it.
            Err(_) => {
                self.take_back(handed);
                None
            }
        }
    }

    /// The session did not come about: its process is put away.
    pub(super) fn take_back(&self, handed: HandedOut) {
        self.workshop.take_back(handed);
    }

    /// Puts one process away, if there is one, and waits until its slot is free. `false`: there was none.
    pub(super) async fn make_room(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Room(reply)).await.is_ok() && answer.await.is_ok()
    }

    /// How many there are.
    pub(super) fn counts(&self) -> WarmInfo {
        self.counts.borrow().clone()
    }

    /// Puts all of them away, for good.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// The same without any patience.
    pub(super) fn kill(&self) {
        self.workshop.hurry.cancel();
        self.close();
    }

    /// Waits until none is left, after [`Warm::close`].
    pub(super) async fn gone(&self) {
        self.asks.closed().await;
    }
}
