//! What becomes of a dead node's sessions: each ends as lost once, or goes on here.

use std::sync::Arc;

use crate::api::session::{OnLost, SessionKind};
use crate::session::error::SessionError;
use crate::session::handle::Command;
use crate::session::recovery;
use crate::session::registry::Sessions;
use crate::store::{SessionRow, StoreError};
use crate::telemetry::tasks;

impl Sessions {
    /// Accounts for the sessions of all nodes whose lease has run out, in the background, one round at a time. What
    /// fails is tried again in the next round: a node is known until all of its sessions are accounted for.
    pub(super) async fn bury_dead(self: &Arc<Self>) {
        let dead: Vec<_> = {
            let nodes = self.nodes();
            let seen = nodes.seen.borrow();
            let dead = |seen: &&crate::store::NodeSeen| !seen.lives() && *seen.node != **nodes.name();
            seen.iter().filter(dead).map(|seen| seen.node.clone()).collect()
        };
        if dead.is_empty() || self.is_draining() {
            return;
        }
        let Ok(round) = Arc::clone(self.burials()).try_acquire_owned() else { return };
        let sessions = Arc::clone(self);
        tasks::spawn("bury-nodes", async move {
            let _round = round;
            for node in dead {
                if let Err(error) = sessions.bury(&node).await {
                    tracing::warn!(node, %error, "a dead gateway's sessions could not all be accounted for; trying again");
                }
            }
        });
    }

    async fn bury(self: &Arc<Self>, node: &str) -> Result<(), SessionError> {
        tracing::warn!(node, "another gateway is dead: its sessions are accounted for");
        self.store().forget_node_slots(node).await?;
        for row in self.store().unfinished_sessions(Some(node)).await? {
            let outcome = if self.goes_on_here(&row) { self.resume_one(&row).await } else { self.lose(&row).await };
            match outcome {
                // Another node was faster.
                Ok(()) | Err(SessionError::Store(StoreError::NotOwner)) => {}
                Err(SessionError::Store(error)) if error.retryable() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(session_id = %row.id, %error, "a dead gateway's session can't be resumed and ends");
                    self.lose(&row).await?;
                }
            }
        }
        self.store().forget_node(node).await?;
        Ok(())
    }

    fn goes_on_here(&self, row: &SessionRow) -> bool {
        row.on_lost == OnLost::Resume && row.kind == SessionKind::Claude && self.nodes().workspaces_shared
    }

    async fn lose(&self, row: &SessionRow) -> Result<(), SessionError> {
        match recovery::end_lost(self.store(), self.nodes().name(), row).await {
            Ok(()) | Err(StoreError::NotOwner) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// This node was taken for dead: what is no longer its own is given up. `false` if the store did not say.
    pub(super) async fn look_whose(&self) -> bool {
        for handle in self.handles() {
            match self.store().session(handle.id()).await {
                Ok(Some(row)) if row.epoch == handle.row.epoch => {}
                Ok(_) => drop(handle.ask(Command::Disown).await),
                Err(error) => {
                    tracing::warn!(%error, "the store does not say whose the sessions are");
                    return false;
                }
            }
        }
        true
    }
}
