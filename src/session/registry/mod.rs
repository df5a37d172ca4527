//! The registry: every live session of this node, and the ways in for everybody above.
//!
//! It checks who may see what, starts supervisors, and answers for sessions that are over or put away from the
//! store. The map of live sessions is the only shared state; its lock is never held across an await.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use tokio::sync::{Semaphore, mpsc, watch};
use uuid::Uuid;

use super::admission::{Admission, Admitted};
use super::error::SessionError;
use super::feeds::Feeds;
use super::handle::Handle;
use super::launch::Launcher;
use super::machine::Origin;
use super::nodes::Nodes;
use super::one_at_a_time::{OneAtATime, Turn};
use super::plan::Plan;
use super::policy::Policy;
use super::record::RecordWriter;
use super::supervisor::{Left, Right, Supervisor};
use super::view::fingerprint;
use super::warm::{HandedOut, Prepared, Warm};
use super::writer::LogWriter;
use crate::api::event::SessionState;
use crate::api::principal::Principal;
use crate::api::session::StartParams;
use crate::config::settings::SessionSettings;
use crate::store::{Created, NewSession, SessionRow, SharedStore, SlotCounts};
use crate::telemetry::tasks;
use crate::telemetry::time::now_ms;

mod ask;
mod drain;
mod holds;
mod look;
mod room;
mod spending;
mod unsure;
mod wake;
mod warm;

use holds::Holds;

/// Commands that may wait for one supervisor.
const COMMAND_QUEUE: usize = 32;

/// Every live session of this node.
#[derive(Debug)]
pub struct Sessions {
    node: Arc<str>,
    store: SharedStore,
    policy: Arc<Policy>,
    admission: Admission,
    launcher: Arc<Launcher>,
    settings: Arc<SessionSettings>,
    /// The agents that are started ahead, once they are kept.
    warm: OnceLock<Warm>,
    /// Live sessions by id. An entry goes when its session has ended.
    live: RwLock<HashMap<Uuid, Arc<Handle>>>,
    /// Set once, at shutdown: nothing new starts.
    draining: AtomicBool,
    /// Starts with the same idempotency key follow each other, so that the second finds the first's session.
    keyed_starts: Arc<OneAtATime>,
    /// Of those who bring a session back, the first does it and the others find it.
    wakes: Arc<OneAtATime>,
    /// What readers of sessions that have not ended hold.
    feeds: Feeds,
    /// The connections here that sessions live for, also those that run elsewhere.
    holds: Holds,
    /// This node among the others.
    nodes: Nodes,
    /// One round of accounting for dead nodes at a time.
    burials: Arc<Semaphore>,
}

/// What came of a start.
#[derive(Debug, Clone)]
pub enum StartOutcome {
    /// The session is new and lives.
    New(Arc<Handle>),
    /// The idempotency key named this session.
    Existing(Box<SessionRow>),
}

impl StartOutcome {
    /// The session's record as it stands.
    #[must_use]
    pub fn row(&self) -> SessionRow {
        match self {
            Self::New(handle) => handle.current(),
            Self::Existing(row) => (**row).clone(),
        }
    }
}

impl Sessions {
    /// An empty registry.
    #[must_use]
    pub fn new(
        nodes: Nodes,
        store: SharedStore,
        policy: Policy,
        admission: Admission,
        launcher: Arc<Launcher>,
        settings: Arc<SessionSettings>,
    ) -> Arc<Self> {
        let feeds = Feeds::new(settings.hot_tail_bytes);
        Arc::new(Self {
            node: Arc::clone(nodes.name()),
            store,
            policy: Arc::new(policy),
            admission,
            launcher,
            settings,
            warm: OnceLock::new(),
            live: RwLock::new(HashMap::new()),
            draining: AtomicBool::new(false),
            keyed_starts: Arc::default(),
            wakes: Arc::default(),
            feeds,
            holds: Holds::default(),
            nodes,
            burials: Arc::new(Semaphore::new(1)),
        })
    }

    /// Starts a Claude session.
    ///
    /// # Errors
    /// Refusals of the policy, no slot, a reused key, draining, or the store.
    pub async fn start(
        self: &Arc<Self>,
        caller: &Principal,
        params: StartParams,
    ) -> Result<StartOutcome, SessionError> {
        self.check_open()?;
        let key = params.idempotency_key.clone().map(|key| (key, fingerprint(&params)));
        let turn = match &key {
            Some((key, _)) => Some(self.keyed_starts.turn(&caller.subject, key).await),
            None => None,
        };
        if let Some(row) = self.by_key(caller, key.as_ref()).await? {
            return Ok(StartOutcome::Existing(Box::new(row)));
        }
        self.check_spending(&caller.subject).await?;
        let resumed = match params.resume {
            Some(id) => Some(self.row(caller, id).await?),
            None => None,
        };
        let queue = params.queue;
        let mut plan = self.policy.judge_start(caller, params, resumed.as_ref())?;
        self.check_login(&plan).await?;
        if let Some(HandedOut { slot, prepared }) = self.take_warm(&mut plan, caller, queue).await {
            return self.begin(caller, plan, Admitted::Slot(slot), Some(prepared), key, turn).await;
        }
        let admitted = match self.admit(plan.id, &caller.subject, queue).await {
            Ok(admitted) => admitted,
            // On another node the same key may have taken the last slot a moment ago.
            Err(error) => {
                return self
                    .by_key(caller, key.as_ref())
                    .await?
                    .map_or(Err(error), |row| Ok(StartOutcome::Existing(Box::new(row))));
            }
        };
        self.begin(caller, plan, admitted, None, key, turn).await
    }

    /// Starts the dialect's `execute`: a session of kind `command`.
    ///
    /// # Errors
    /// As [`Sessions::start`].
    pub async fn execute(
        self: &Arc<Self>,
        caller: &Principal,
        command: &str,
        timeout_seconds: Option<f64>,
    ) -> Result<Arc<Handle>, SessionError> {
        self.check_open()?;
        self.check_spending(&caller.subject).await?;
        let plan = self.policy.judge_command(caller, command, timeout_seconds)?;
        self.check_login(&plan).await?;
        let admitted = self.admit(plan.id, &caller.subject, false).await?;
        match self.begin(caller, plan, admitted, None, None, None).await? {
            StartOutcome::New(handle) => Ok(handle),
            StartOutcome::Existing(row) => Err(SessionError::Missing(row.id)),
        }
    }

    async fn begin(
        self: &Arc<Self>,
        caller: &Principal,
        plan: Plan,
        admitted: Admitted,
        prepared: Option<Prepared>,
        key: Option<(String, String)>,
        turn: Option<Turn>,
    ) -> Result<StartOutcome, SessionError> {
        let row = self.new_row(caller, &plan, state_of(&admitted));
        let session = NewSession { row: row.clone(), idempotency: key, fresh: true };
        let created = match self.policy.prepare(&plan) {
            Ok(()) => self.store.create_session(session.clone()).await.map_err(SessionError::from),
            Err(error) => Err(error),
        };
        match created {
            Ok(Created::New) => Ok(StartOutcome::New(self.supervise(row, plan, admitted, prepared, Vec::new()))),
            Ok(Created::Existing(row)) => {
                self.give_all_back(admitted, prepared);
                Ok(StartOutcome::Existing(row))
            }
            Ok(Created::KeyReused) => {
                self.give_all_back(admitted, prepared);
                Err(SessionError::KeyReused)
            }
            Err(error) => {
                self.give_all_back(admitted, prepared);
                if matches!(&error, SessionError::Store(error) if error.retryable()) {
                    self.unmake(session, turn);
                }
                Err(error)
            }
        }
    }

    /// Hands a session to a supervisor of its own.
    fn supervise(
        self: &Arc<Self>,
        row: SessionRow,
        plan: Plan,
        admitted: Admitted,
        prepared: Option<Prepared>,
        lost_messages: Vec<Uuid>,
    ) -> Arc<Handle> {
        let (id, epoch) = (row.id, row.epoch);
        let feed = self.feeds.of(id, row.last_seq);
        feed.catch_up(row.last_seq);
        let right = match admitted {
            Admitted::Slot(slot) => Right::Slot(slot),
            Admitted::Waiting(waiting) => Right::Waiting(waiting),
        };
        let (commands, requests) = mpsc::channel(COMMAND_QUEUE);
        let (state, state_seen) = watch::channel(row.state);
        let (running, running_seen) = watch::channel(None);
        let place = if let Right::Waiting(waiting) = &right { Some(waiting.position()) } else { None };
        let (position, position_seen) = watch::channel(None);
        position.send_replace(place);
        let (cost, cost_seen) = watch::channel(row.total_cost_usd);
        let (model, model_seen) = watch::channel(row.model.clone());
        let log =
            LogWriter::new(id, epoch, Arc::clone(&self.store), Arc::clone(&feed), self.settings.pending_events_bytes)
                .limited_to(self.settings.max_session_bytes);
        let store = Arc::clone(&self.store);
        let record = match plan.origin {
            Origin::New => RecordWriter::of(&row, store),
            Origin::Woken | Origin::Recovered => RecordWriter::new(id, epoch, store),
        };
        let supervisor = Supervisor {
            settings: Arc::clone(&self.settings),
            launcher: Arc::clone(&self.launcher),
            admission: self.admission.clone(),
            right,
            log,
            record,
            commands: requests,
            owner: row.owner.clone(),
            lost_messages,
            state,
            running,
            position,
            cost,
            model,
            created_at_ms: row.created_at_ms,
            connections: self.connections_behind(id, plan.origin),
            prepared,
            node: Arc::clone(&self.node),
            sure: self.nodes.sure(),
            plan,
        };
        let handle = Arc::new(Handle {
            row,
            feed,
            state: state_seen,
            running: running_seen,
            position: position_seen,
            cost: cost_seen,
            model: model_seen,
            commands,
        });
        self.live.write().insert(id, Arc::clone(&handle));
        let entry = Entry { sessions: Arc::clone(self), id };
        tasks::spawn("session", async move {
            let left = supervisor.run().await;
            entry.leave(left);
        });
        handle
    }

    /// How many connections of this node a session lives for as it begins here.
    fn connections_behind(&self, id: Uuid, origin: Origin) -> u32 {
        match origin {
            // Whoever starts it, or whose message brings it back.
            Origin::New | Origin::Woken => 1,
            // Of those that another gateway has nothing is known here: while there is one, there may be some.
            Origin::Recovered => self.holds.count(id).max(u32::from(self.nodes.others_live())),
        }
    }

    fn new_row(&self, caller: &Principal, plan: &Plan, state: SessionState) -> SessionRow {
        SessionRow {
            id: plan.id,
            owner: caller.subject.clone(),
            owner_name: caller.username.clone(),
            kind: plan.kind,
            state,
            node: self.node.to_string(),
            epoch: 1,
            created_at_ms: now_ms(),
            ended_at_ms: None,
            workspace: plan.workspace.display().to_string(),
            model: plan.params.model.clone(),
            interactive: plan.interactive,
            on_disconnect: plan.on_disconnect(),
            on_lost: plan.on_lost(),
            labels: plan.params.labels.clone(),
            resumed_from: plan.params.resume,
            last_seq: 0,
            ended: None,
            params: serde_json::to_string(&plan.params).unwrap_or_default(),
            put_away_at_ms: None,
            messages: plan.message.iter().map(|message| message.id).collect(),
            total_cost_usd: None,
        }
    }

    /// The one policy, for what is asked of a session that lives.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// This node among the others.
    #[must_use]
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    pub(super) fn store(&self) -> &SharedStore {
        &self.store
    }

    pub(super) fn burials(&self) -> &Arc<Semaphore> {
        &self.burials
    }

    /// Every live session of this node.
    pub(super) fn handles(&self) -> Vec<Arc<Handle>> {
        self.live.read().values().cloned().collect()
    }

    pub(super) fn live_count(&self) -> usize {
        self.live.read().len()
    }

    /// A live session of this node: one whose end is not yet acknowledged by the store.
    #[must_use]
    pub fn live(&self, id: Uuid) -> Option<Arc<Handle>> {
        self.live.read().get(&id).filter(|handle| !handle.has_ended()).cloned()
    }

    /// How many slots are taken and how many sessions wait for one, over all nodes; and how many slots there are.
    /// While the store is away: what this node has of them.
    pub async fn slots(&self) -> (SlotCounts, u32) {
        let counts = self.store.slots().await.unwrap_or_else(|_| self.admission.counts());
        (counts, self.admission.max_sessions())
    }

    /// Is the gateway shutting down?
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn check_open(&self) -> Result<(), SessionError> {
        if self.is_draining() { Err(SessionError::Draining) } else { Ok(()) }
    }

    /// Would the plan's agent have a login? Asked before anything is started or made.
    async fn check_login(&self, plan: &Plan) -> Result<(), SessionError> {
        if plan.needs_login { self.launcher.login().check().await } else { Ok(()) }
    }

    async fn by_key(
        &self,
        caller: &Principal,
        key: Option<&(String, String)>,
    ) -> Result<Option<SessionRow>, SessionError> {
        let Some((key, fingerprint)) = key else { return Ok(None) };
        match self.store.session_by_key(&caller.subject, key).await? {
            Some((row, known)) if known == *fingerprint => Ok(Some(self.newest(row))),
            Some(_) => Err(SessionError::KeyReused),
            None => Ok(None),
        }
    }
}

/// A session's entry among the live ones, for as long as its supervisor runs, also should that panic.
struct Entry {
    sessions: Arc<Sessions>,
    id: Uuid,
}

impl Entry {
    /// The supervisor has left. Whoever still reads goes on with what others write.
    fn leave(self, left: Left) {
        let sessions = Arc::clone(&self.sessions);
        let id = self.id;
        drop(self);
        let goes_on = match left {
            Left::Ended => false,
            Left::PutAway => sessions.nodes.bus().is_some(),
            Left::Abandoned => true,
        };
        if let Some(feed) = sessions.feeds.held(id).filter(|_| goes_on) {
            sessions.follow(id, &feed);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.sessions.live.write().remove(&self.id);
    }
}

/// Where a session begins.
fn state_of(admitted: &Admitted) -> SessionState {
    match admitted {
        Admitted::Slot(_) => SessionState::Starting,
        Admitted::Waiting(_) => SessionState::Queued,
    }
}

/// Nothing comes of it. The refusal must not wait for a store that is away.
fn give_back(admitted: Admitted) {
    match admitted {
        Admitted::Slot(slot) => slot.release_later(),
        Admitted::Waiting(waiting) => drop(waiting),
    }
}
