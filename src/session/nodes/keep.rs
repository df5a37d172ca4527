//! The one task that keeps this node's lease, and looks after the others while it does.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Nodes;
use crate::api::VERSION;
use crate::api::server::NodeInfo;
use crate::session::handle::Command;
use crate::session::registry::Sessions;
use crate::store::{NodeSeen, NodesSeen};
use crate::telemetry::{metrics, tasks};

/// How long after a failure the store is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// What the task knows beyond what it shows.
struct Keeper {
    sessions: Arc<Sessions>,
    /// Since when every renewal has succeeded.
    in_touch_since: Option<Instant>,
    /// When the lease ends, at the earliest.
    sure_until: Instant,
    /// Has the store ever been told of this node?
    told: bool,
    /// The store had forgotten this node, and has not said yet which sessions are still its own.
    unclear: bool,
}

impl Nodes {
    /// Does another gateway live, as far as was seen last?
    pub(in crate::session) fn others_live(&self) -> bool {
        self.seen.borrow().iter().any(|seen| *seen.node != *self.name && seen.lives())
    }
}

impl Sessions {
    /// Keeps this node's lease until `stop`, and accounts for the sessions of nodes that have died.
    pub fn keep_node(self: &Arc<Self>, stop: CancellationToken) {
        let now = Instant::now();
        let mut keeper = Keeper {
            sessions: Arc::clone(self),
            in_touch_since: None,
            sure_until: now + self.nodes().lease,
            told: false,
            unclear: false,
        };
        tasks::spawn("node-lease", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = keeper.run() => {}
            }
        });
    }

    /// Tells the others that this node has gone: it has no sessions any more.
    pub async fn leave_nodes(&self) {
        if let Err(error) = self.store().forget_node(self.nodes().name()).await {
            tracing::warn!(%error, "the other gateways could not be told that this one has gone");
        }
    }

    fn about(&self) -> String {
        let nodes = self.nodes();
        let about = NodeInfo {
            node: nodes.name().to_string(),
            version: VERSION.to_owned(),
            started_at: nodes.started_at.clone(),
            sessions: self.live_count() as u64,
            draining: self.is_draining(),
        };
        serde_json::to_string(&about).unwrap_or_default()
    }
}

impl Keeper {
    async fn run(&mut self) {
        let lease = self.sessions.nodes().lease;
        loop {
            let asked_at = Instant::now();
            let wait = match self.renew(lease).await {
                Ok(seen) => {
                    self.renewed(seen, asked_at).await;
                    lease / 3
                }
                Err(error) => {
                    tracing::warn!(%error, "this gateway's lease could not be renewed; trying again");
                    self.in_touch_since = None;
                    RETRY.min(lease / 3)
                }
            };
            sleep_until(asked_at + wait).await;
            self.doubt();
        }
    }

    /// Asks the store, for no longer than the lease lasts: then the sessions must not go on.
    async fn renew(&mut self, lease: Duration) -> Result<NodesSeen, crate::store::StoreError> {
        let sessions = Arc::clone(&self.sessions);
        let about = sessions.about();
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        let renewal = sessions.store().keep_node(sessions.nodes().name(), &about, lease_ms);
        tokio::pin!(renewal);
        tokio::select! {
            biased;
            seen = &mut renewal => return seen,
            () = sleep_until(self.sure_until) => {}
        }
        self.doubt();
        renewal.await
    }

    async fn renewed(&mut self, seen: NodesSeen, asked_at: Instant) {
        if asked_at.elapsed() >= self.sessions.nodes().lease / 3 {
            // The store was away meanwhile, if not for long enough to fail: the others could not renew theirs either.
            self.in_touch_since = None;
        }
        let since = *self.in_touch_since.get_or_insert_with(Instant::now);
        // It is known again from this renewal on: a look that fails has to be remembered.
        self.unclear |= self.told && !seen.known;
        if self.unclear {
            tracing::warn!("this gateway was taken for dead; looking which sessions are still its own");
            if !self.sessions.look_whose().await {
                self.in_touch_since = None;
                return;
            }
            self.unclear = false;
        }
        self.told = true;
        self.sure_until = asked_at + self.sessions.nodes().lease;
        self.note(seen.nodes).await;
        self.stand(true);
        if since.elapsed() >= self.sessions.nodes().lease {
            self.sessions.bury_dead().await;
        }
    }

    /// Notes who lives; whoever has gone takes its connections along.
    async fn note(&self, nodes: Vec<NodeSeen>) {
        let alive: HashSet<String> = nodes.iter().filter(|seen| seen.lives()).map(|seen| seen.node.clone()).collect();
        metrics::nodes_alive(alive.len());
        let before = self.sessions.nodes().seen.send_replace(nodes.into());
        for gone in before.iter().filter(|seen| seen.lives() && !alive.contains(&seen.node)) {
            tracing::warn!(node = gone.node, "another gateway has gone");
            self.sessions.tell_all(&Command::NodeGone { node: gone.node.clone() }).await;
        }
    }

    /// The lease may have run out: if there are others, they may have taken this node's sessions.
    fn doubt(&self) {
        if Instant::now() >= self.sure_until && self.sessions.nodes().others_live() {
            self.stand(false);
        }
    }

    fn stand(&self, sure: bool) {
        let changed = self.sessions.nodes().sure.send_if_modified(|now| std::mem::replace(now, sure) != sure);
        if changed && !sure {
            tracing::error!("the lease has run out and others may take the sessions: their processes are stopped");
        } else if changed {
            tracing::info!("the lease holds again: processes go on");
        }
    }
}
