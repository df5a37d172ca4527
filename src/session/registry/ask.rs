//! Asking a session, wherever it is: a supervisor here, a node that runs it, or nobody, because it is put away.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::Sessions;
use crate::api::event::SessionState;
use crate::api::principal::Principal;
use crate::api::session::{OnDisconnect, SessionKind};
use crate::session::error::SessionError;
use crate::session::handle::Command;
use crate::session::nodes::{Asked, Reply};
use crate::store::SessionRow;

/// How long a session that moves between nodes is looked for.
const LOOKED_FOR: Duration = Duration::from_secs(3);
/// Between two looks at the record of one that is not where it was said to be.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How often a session has been looked for, and until when that makes sense.
pub(super) struct Search {
    until: Instant,
}

impl Search {
    pub(super) fn begin() -> Self {
        Self { until: Instant::now() + LOOKED_FOR }
    }

    /// Waits before the next look; `false` if it has taken too long.
    pub(super) async fn again(&self) -> bool {
        tokio::time::sleep(LOOK_AGAIN).await;
        Instant::now() < self.until
    }
}

impl Sessions {
    /// Asks a session. One that is put away is stopped and changed without a supervisor.
    ///
    /// # Errors
    /// [`SessionError::Missing`], [`SessionError::WrongState`], or [`SessionError::NodeAway`].
    pub async fn ask(
        self: &Arc<Self>,
        caller: &Principal,
        id: Uuid,
        command: Command,
    ) -> Result<SessionState, SessionError> {
        let search = Search::begin();
        loop {
            let answer = if self.live(id).is_some() {
                self.ask_here(caller, id, &command).await
            } else {
                let row = self.row(caller, id).await?;
                match self.elsewhere(&row) {
                    Some(node) => self.ask_there(node, caller, id, &command).await,
                    None => self.ask_absent(&row, &command).await,
                }
            };
            match answer {
                Err(SessionError::LetGo) if search.again().await => {}
                answer => return answer,
            }
        }
    }

    /// Asks a session that lives here; [`SessionError::LetGo`] if it does not (any more).
    pub(in crate::session) async fn ask_here(
        &self,
        caller: &Principal,
        id: Uuid,
        command: &Command,
    ) -> Result<SessionState, SessionError> {
        let handle = self.live(id).ok_or(SessionError::LetGo)?;
        if !caller.may_see(&handle.row.owner) {
            return Err(SessionError::Missing(id));
        }
        if command.costs() {
            self.check_spending(&handle.row.owner).await?;
        }
        match handle.ask(command.clone()).await {
            // It has just ended by itself, and its terminal event is on its way.
            Err(SessionError::WrongState { state: SessionState::Ended, .. }) if matches!(command, Command::Stop(_)) => {
                handle.gone().await;
                Ok(SessionState::Ended)
            }
            Err(SessionError::LetGo) => {
                self.until_let_go(&handle).await;
                Err(SessionError::LetGo)
            }
            answer => answer,
        }
    }

    async fn ask_there(
        &self,
        node: &str,
        caller: &Principal,
        session: Uuid,
        command: &Command,
    ) -> Result<SessionState, SessionError> {
        let asked = Asked::Command { caller: caller.clone(), session, command: command.clone() };
        match self.nodes.ask(node, &asked).await? {
            Reply::State(state) => Ok(state),
            Reply::Sent(_) => Err(SessionError::NodeAway),
        }
    }

    /// The other node that runs the session, if one does.
    pub(super) fn elsewhere<'a>(&self, row: &'a SessionRow) -> Option<&'a str> {
        let runs = row.ended.is_none() && row.put_away_at_ms.is_none();
        (runs && self.nodes.bus().is_some() && *row.node != *self.node).then_some(&row.node)
    }

    /// Does the session end with its connections, and is the caller its owner? Then a connection that watches it stands
    /// behind it. A command does not count: the dialect has no word for coming back.
    pub async fn lives_for(&self, caller: &Principal, id: Uuid) -> bool {
        self.row(caller, id).await.is_ok_and(|row| {
            row.kind == SessionKind::Claude
                && row.on_disconnect == OnDisconnect::Stop
                && row.ended.is_none()
                && row.owner == caller.subject
        })
    }

    /// The connection that has started a session stands behind it: the session knows of that one.
    pub fn held_from_its_start(&self, id: Uuid) {
        self.holds.add(id);
    }

    /// One more connection of the owner's, here, stands behind a session.
    pub async fn hold(self: &Arc<Self>, caller: &Principal, id: Uuid) {
        self.holds.add(id);
        // One that ends at this very moment needs nobody.
        drop(self.ask(caller, id, Command::Hold { at: self.node.to_string() }).await);
    }

    /// Such a connection has gone.
    pub async fn let_go(self: &Arc<Self>, caller: &Principal, id: Uuid) {
        self.holds.remove(id);
        // One that has ended by itself needs nobody.
        drop(self.ask(caller, id, Command::LetGo { at: self.node.to_string() }).await);
    }

    /// Tells every session of this node.
    pub(in crate::session) async fn tell_all(&self, command: &Command) {
        for handle in self.handles() {
            // One that has ended meanwhile needs no word.
            drop(handle.ask(command.clone()).await);
        }
    }
}
