//! The registry and the agents that are started ahead of sessions.

use std::path::Path;
use std::sync::Arc;

use super::{Sessions, give_back};
use crate::api::principal::Principal;
use crate::api::server::WarmInfo;
use crate::session::admission::Admitted;
use crate::session::plan::Plan;
use crate::session::warm::{HandedOut, Prepared, Warm};

impl Sessions {
    /// Removes what an older instance has left, and begins to keep agents started ahead, if the settings say so; once.
    /// `notes` is a directory of this node's own.
    pub fn keep_warm(&self, notes: &Path) {
        let warm = Warm::begin(
            Arc::clone(&self.launcher),
            self.admission.clone(),
            Arc::clone(&self.policy),
            Arc::clone(&self.settings),
            notes,
            self.nodes.sure(),
        );
        if let Some(warm) = warm
            && let Err(second) = self.warm.set(warm)
        {
            second.close();
        }
    }

    /// How many agents are started ahead.
    #[must_use]
    pub fn warm_counts(&self) -> WarmInfo {
        self.warm.get().map(Warm::counts).unwrap_or_default()
    }

    /// An agent that was started ahead and that the plan can have, with its slot. The plan is made its own.
    pub(super) async fn take_warm(&self, plan: &mut Plan, caller: &Principal, queue: bool) -> Option<HandedOut> {
        self.warm.get()?.take(plan, &caller.subject, queue).await
    }

    /// Puts away an agent that was started ahead, for its slot. `false`: there is none.
    pub(super) async fn make_room_of_warm(&self) -> bool {
        match self.warm.get() {
            Some(warm) => warm.make_room().await,
            None => false,
        }
    }

    /// From now on none is started ahead, and those that there are go.
    pub(super) fn close_warm(&self, kill: bool) {
        match self.warm.get() {
            Some(warm) if kill => warm.kill(),
            Some(warm) => warm.close(),
            None => {}
        }
    }

    /// Waits until none is left, after [`Sessions::close_warm`].
    pub(super) async fn warm_gone(&self) {
        if let Some(warm) = self.warm.get() {
            warm.gone().await;
        }
    }

    /// Nothing comes of a start.
    pub(super) fn give_all_back(&self, admitted: Admitted, prepared: Option<Prepared>) {
        match (admitted, prepared, self.warm.get()) {
            (Admitted::Slot(slot), Some(prepared), Some(warm)) => warm.take_back(HandedOut { slot, prepared }),
            (admitted, _, _) => give_back(admitted),
        }
    }
}
