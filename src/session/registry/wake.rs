//! Sessions without a supervisor: those that are put away, and those whose node died.
//!
//! Nobody runs a session that is put away; its record is all there is of it. A message takes it over and brings it
//! back, a stop ends it where it lies.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::ask::Search;
use super::unsure::until_answered;
use super::{Sessions, give_back, state_of};
use crate::api::event::{EndReason, SessionState};
use crate::api::principal::Principal;
use crate::api::session::{SendParams, SendResult};
use crate::session::admission::Admitted;
use crate::session::answers;
use crate::session::error::SessionError;
use crate::session::handle::{Command, Handle};
use crate::session::machine::Origin;
use crate::session::message::Message;
use crate::session::nodes::{Asked, Reply};
use crate::session::plan::Plan;
use crate::session::policy::check_prompt;
use crate::session::recovery;
use crate::store::{SessionPatch, SessionRow, StoreError};

/// How long the answer to a message waits for the record that names it. Behind it others of its connection wait.
const RECORDED_WITHIN: Duration = Duration::from_secs(2);

impl Sessions {
    /// Sends a message to a session, wherever it runs, and, if it is put away, brings it back here.
    ///
    /// # Errors
    /// Refusals of the session's state, of admission, or the store's; [`SessionError::NodeAway`].
    pub async fn send(self: &Arc<Self>, caller: &Principal, params: SendParams) -> Result<SendResult, SessionError> {
        check_prompt(&params.prompt)?;
        let id = params.session_id;
        // Only an id of the caller's own can have come before.
        let repeatable = params.message_id.is_some();
        let message_id = params.message_id.unwrap_or_else(Uuid::new_v4);
        let params = SendParams { message_id: Some(message_id), ..params };
        let search = Search::begin();
        loop {
            let answer = if self.live(id).is_some() {
                self.send_here(caller, &params, repeatable).await
            } else {
                let row = self.row(caller, id).await?;
                if repeatable && answers::has_begun(&self.store, id, message_id).await? {
                    return Ok(SendResult { message_id, state: row.state, queue_position: None });
                }
                match self.elsewhere(&row) {
                    Some(node) => self.send_there(node, caller, &params, repeatable).await,
                    None => self.send_absent(caller, &params).await,
                }
            };
            match answer {
                // Somebody else has brought it back meanwhile, or put it away.
                Err(SessionError::LetGo) if search.again().await => {}
                answer => return answer,
            }
        }
    }

    /// Sends a message to a session that lives here; [`SessionError::LetGo`] if it does not (any more).
    pub(in crate::session) async fn send_here(
        &self,
        caller: &Principal,
        params: &SendParams,
        repeatable: bool,
    ) -> Result<SendResult, SessionError> {
        let id = params.session_id;
        let handle = self.live(id).ok_or(SessionError::LetGo)?;
        let message_id = params.message_id.unwrap_or_else(Uuid::new_v4);
        if !caller.may_see(&handle.row.owner) {
            return Err(SessionError::Missing(id));
        }
        // Its supervisor knows what it was sent itself, and not what another one was before.
        if repeatable && handle.row.epoch > 1 && answers::has_begun(&self.store, id, message_id).await? {
            return Ok(told(message_id, handle.current().state, &handle));
        }
        self.check_spending(&handle.row.owner).await?;
        let message = Message { id: message_id, prompt: params.prompt.clone() };
        let command = Command::Send { message, steer: params.steer };
        match tokio::time::timeout(RECORDED_WITHIN, handle.ask(command)).await {
            Ok(Ok(state)) => Ok(told(message_id, state, &handle)),
            Ok(Err(SessionError::LetGo)) => {
                self.until_let_go(&handle).await;
                Err(SessionError::LetGo)
            }
            Ok(Err(error)) => Err(error),
            // The session has the message; only its record waits for a store that is away.
            Err(_) => Ok(told(message_id, handle.current().state, &handle)),
        }
    }

    async fn send_there(
        &self,
        node: &str,
        caller: &Principal,
        params: &SendParams,
        repeatable: bool,
    ) -> Result<SendResult, SessionError> {
        let asked = Asked::Send { caller: caller.clone(), params: params.clone(), repeatable };
        match self.nodes.ask(node, &asked).await? {
            Reply::Sent(result) => Ok(result),
            Reply::State(_) => Err(SessionError::NodeAway),
        }
    }

    async fn send_absent(
        self: &Arc<Self>,
        caller: &Principal,
        params: &SendParams,
    ) -> Result<SendResult, SessionError> {
        let message = Message { id: params.message_id.unwrap_or_else(Uuid::new_v4), prompt: params.prompt.clone() };
        let message_id = message.id;
        let handle = self.wake(caller, params.session_id, message, params.queue.unwrap_or(true)).await?;
        Ok(told(message_id, handle.current().state, &handle))
    }

    /// Waits until a session that is being put away is off this node.
    pub(super) async fn until_let_go(&self, handle: &Arc<Handle>) {
        handle.gone().await;
        while self.live.read().get(&handle.id()).is_some_and(|live| Arc::ptr_eq(live, handle)) {
            // The entry goes right after its supervisor.
            tokio::task::yield_now().await;
        }
    }

    /// Brings a put-away session back with a message. [`SessionError::LetGo`]: look again, it has moved.
    async fn wake(
        self: &Arc<Self>,
        caller: &Principal,
        id: Uuid,
        message: Message,
        queue: bool,
    ) -> Result<Arc<Handle>, SessionError> {
        self.check_open()?;
        let _turn = self.wakes.turn("", &id.to_string()).await;
        if self.live(id).is_some() {
            return Err(SessionError::LetGo);
        }
        let row = self.row(caller, id).await?;
        let state = row.state;
        if row.ended.is_some() {
            let need = "it has already ended; `session.start` with `resume` goes on with its conversation";
            return Err(SessionError::wrong_state(state, need));
        }
        if row.put_away_at_ms.is_none() {
            return Err(SessionError::wrong_state(state, "no gateway runs it at the moment"));
        }
        self.check_spending(&row.owner).await?;
        let mut plan = self.plan_again(&row, Origin::Woken).await?;
        plan.message = Some(message);
        self.check_login(&plan).await?;
        self.policy.prepare(&plan)?;
        let admitted = self.admit(id, &row.owner, queue).await?;
        let messages = plan.message.iter().map(|message| message.id).collect();
        let patch = self.taking_over(&row, &plan, &admitted, messages);
        match self.store.update_session(id, row.epoch, patch.clone()).await {
            Ok(()) => Ok(self.supervise(taken_over(row, patch), plan, admitted, None, Vec::new())),
            Err(StoreError::NotOwner) => {
                give_back(admitted);
                Err(SessionError::LetGo)
            }
            Err(error) => {
                give_back(admitted);
                if error.retryable() {
                    self.put_back(&row, patch);
                }
                Err(error.into())
            }
        }
    }

    /// The plan for the next process of a session; see [`Policy::plan_again`](crate::session::policy::Policy).
    async fn plan_again(&self, row: &SessionRow, origin: Origin) -> Result<Plan, SessionError> {
        let resumed = match row.resumed_from {
            // One that is no longer kept counts as having cost nothing.
            Some(id) => self.store.session(id).await?,
            None => None,
        };
        let mut plan = self.policy.plan_again(row, resumed.as_ref(), origin)?;
        if plan.timeout.is_some() && !plan.timeout_per_turn {
            plan.began_at_ms = answers::began_at_ms(&self.store, row.id).await?;
        }
        Ok(plan)
    }

    /// What makes a session that nobody runs this node's.
    fn taking_over(&self, row: &SessionRow, plan: &Plan, admitted: &Admitted, messages: Vec<Uuid>) -> SessionPatch {
        SessionPatch {
            state: Some(state_of(admitted)),
            put_away_at_ms: Some(None),
            messages: Some(messages),
            // Its state no longer tells that there is a conversation; the cost does.
            total_cost_usd: row.total_cost_usd.or_else(|| plan.goes_on().then_some(plan.cost_before)),
            owner: Some((self.node.to_string(), row.epoch + 1)),
            ..SessionPatch::default()
        }
    }

    /// Starts the sessions of a dead node again that are to survive it. Each goes on under its own id; what its agent
    /// was working on is told as lost and not sent again.
    pub async fn resume_lost(self: &Arc<Self>, rows: Vec<SessionRow>) {
        for row in rows {
            if let Err(error) = self.resume_one(&row).await {
                tracing::warn!(session_id = %row.id, %error, "a lost session can't be resumed and ends");
                if let Err(error) = recovery::end_lost(&self.store, &self.node, &row).await {
                    tracing::error!(session_id = %row.id, %error, "the end of a lost session could not be written");
                }
            }
        }
    }

    /// Starts one session of a dead node again. [`StoreError::NotOwner`]: another node has done it.
    pub(in crate::session) async fn resume_one(self: &Arc<Self>, row: &SessionRow) -> Result<(), SessionError> {
        let plan = self.plan_again(row, Origin::Recovered).await?;
        self.policy.prepare(&plan)?;
        let admitted = self.admit(row.id, &row.owner, true).await?;
        let unsent: Vec<_> = plan.message.iter().map(|message| message.id).collect();
        let open: Vec<_> = row.messages.iter().copied().filter(|id| !unsent.contains(id)).collect();
        let patch = self.taking_over(row, &plan, &admitted, unsent);
        // Once it may be this node's, this node has to go through with it. Its dead owner may have written until then.
        let taken = match until_answered(|| self.store.update_session(row.id, row.epoch, patch.clone())).await {
            Ok(()) => until_answered(|| self.store.session(row.id)).await,
            Err(error) => Err(error),
        };
        match taken {
            Ok(Some(row)) => {
                tracing::info!(session_id = %row.id, "a lost session is resumed");
                let lost = self.without_answers(row.id, open, plan.interactive).await;
                self.supervise(row, plan, admitted, None, lost);
                Ok(())
            }
            Ok(None) => {
                give_back(admitted);
                Err(SessionError::Missing(row.id))
            }
            Err(error) => {
                give_back(admitted);
                Err(error.into())
            }
        }
    }

    /// Those of a session's `open` messages that have had no answer, however long the store stays away.
    async fn without_answers(&self, id: Uuid, open: Vec<Uuid>, interactive: bool) -> Vec<Uuid> {
        if open.is_empty() {
            return open;
        }
        match until_answered(|| answers::unanswered(&self.store, id, open.clone(), interactive)).await {
            Ok(lost) => lost,
            Err(error) => {
                tracing::warn!(session_id = %id, %error, "a log can't tell which messages were answered");
                open
            }
        }
    }

    /// Asks a session that no supervisor here answers for. [`SessionError::LetGo`]: look again, it has moved.
    pub(super) async fn ask_absent(&self, row: &SessionRow, command: &Command) -> Result<SessionState, SessionError> {
        let (id, state) = (row.id, row.state);
        let rests = row.ended.is_none() && row.put_away_at_ms.is_some();
        match command {
            Command::Stop(reason) if rests => self.end_at_rest(row, *reason).await,
            Command::Configure { model, permission_mode } if rests => {
                let mut params: crate::api::session::StartParams =
                    serde_json::from_str(&row.params).unwrap_or_default();
                if let Some(model) = model {
                    params.model = (model != "default").then(|| model.clone());
                }
                params.permission_mode = permission_mode.or(params.permission_mode);
                let patch = SessionPatch {
                    model: Some(params.model.clone()),
                    params: serde_json::to_string(&params).ok(),
                    ..SessionPatch::default()
                };
                match self.store.update_session(id, row.epoch, patch).await {
                    Err(StoreError::NotOwner) => Err(SessionError::LetGo),
                    outcome => outcome.map(|()| state).map_err(Into::into),
                }
            }
            // Stopping what has already ended is no error: the caller has what it wants.
            Command::Stop(_) => Ok(state),
            _ if rests => Err(SessionError::wrong_state(state, "no turn is running")),
            _ => Err(SessionError::wrong_state(state, "it does not run")),
        }
    }

    /// Ends a session that is put away. [`SessionError::LetGo`]: somebody has brought it back.
    pub(super) async fn end_at_rest(&self, row: &SessionRow, reason: EndReason) -> Result<SessionState, SessionError> {
        let feed = self.feeds.of(row.id, row.last_seq);
        match recovery::end_without_process(&self.store, &self.node, row, reason, None, feed).await {
            Ok(()) => Ok(SessionState::Ended),
            Err(StoreError::NotOwner) => Err(SessionError::LetGo),
            Err(error) => Err(error.into()),
        }
    }
}

fn told(message_id: Uuid, state: SessionState, handle: &Handle) -> SendResult {
    SendResult { message_id, state, queue_position: *handle.position.borrow() }
}

/// The record as a take-over has left it.
fn taken_over(row: SessionRow, patch: SessionPatch) -> SessionRow {
    let (node, epoch) = patch.owner.unwrap_or((row.node, row.epoch));
    SessionRow {
        state: patch.state.unwrap_or(row.state),
        node,
        epoch,
        put_away_at_ms: None,
        messages: patch.messages.unwrap_or_default(),
        total_cost_usd: patch.total_cost_usd,
        ..row
    }
}
