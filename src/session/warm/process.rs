//! One warm process: started, asked to `initialize`, and kept until it is handed out or put away.
//!
//! One task owns it, its slot and its workspace. What it prints is kept, for the log of the session that gets it. The
//! slot is given back after the last process of the tree has gone. It must not know why it is wanted or not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::profile::{Profile, Settable};
use super::workshop::{HandedOut, Prepared, Workshop};
use crate::api::session::OWN_REQUEST_PREFIX;
use crate::claude::control::{self, Initialized};
use crate::claude::{ClaudeLine, parse_line};
use crate::process::{Line, OutputItem, Process, Signal};
use crate::session::admission::Slot;
use crate::session::agent::{line_for, own_id};
use crate::session::machine::Word;
use crate::telemetry::metrics;

/// An agent that has not done what it was asked by then is not handed out.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// An agent that prints more without having been asked anything is none to hand out, in bytes.
const MOST_HEARD: usize = 1024 * 1024;

/// What it answers a request, or why it refuses.
type Answer = Result<Option<Box<RawValue>>, String>;

/// What a warm process is told. Not to be told anything any more means to be put away.
pub(super) enum Order {
    /// Become a session's.
    HandOut(Box<Wanted>),
    /// Go.
    PutAway,
}

/// Whose it is to be.
pub(super) struct Wanted {
    /// The principal, a subject.
    pub(super) owner: String,
    /// The session may wait for its slot, so it must while the line is held.
    pub(super) queue: bool,
    pub(super) settable: Settable,
    pub(super) reply: oneshot::Sender<HandedOut>,
}

/// What a warm process tells while it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It can be handed out.
    Ready,
    /// It was not handed out: its principal must not have another slot now. It can still be.
    Kept,
}

/// How a warm process has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// It is a session's.
    HandedOut,
    /// It was to go.
    PutAway,
    /// There was no slot to spare for it, or it was no time to start one.
    NoRoom,
    /// It could not be started, or did not answer.
    Failed,
    /// It has ended by itself.
    Died,
}

/// Starts a process and keeps it. Returns when nothing of it is left here.
pub(super) async fn keep(
    workshop: Arc<Workshop>,
    id: Uuid,
    profile: Arc<Profile>,
    settable: Settable,
    mut orders: mpsc::Receiver<Order>,
    news: mpsc::Sender<(Uuid, News)>,
) -> Gone {
    let mut slot = None;
    let begun = tokio::select! {
        biased;
        _put_away = orders.recv() => Err(Gone::PutAway),
        begun = begin(&workshop, id, &profile, &settable, &mut slot) => begun,
    };
    let gone = match begun {
        Ok(warm) => warm.wait(&workshop, settable, &mut slot, &mut orders, &news).await,
        Err(gone) => gone,
    };
    if gone != Gone::HandedOut && slot.is_some() {
        workshop.tidy(id).await;
    }
    if let Some(slot) = slot {
        slot.release().await;
    }
    gone
}

/// Starts the process and waits until it has answered. What is in `slot` afterwards has to be tidied up.
async fn begin(
    workshop: &Workshop,
    id: Uuid,
    profile: &Profile,
    settable: &Settable,
    slot: &mut Option<Slot>,
) -> Result<Warm, Gone> {
    let login = workshop.launcher.login();
    if login.check().await.is_err() || login.is_about_to_be_renewed() {
        return Err(Gone::NoRoom);
    }
    // Each is its own principal: none of them is ever refused for what others have.
    let spare = workshop.admission.take_spare(id, &format!("warm:{id}")).await;
    *slot = Some(spare.ok().flatten().ok_or(Gone::NoRoom)?);
    let failed = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, "an agent could not be started ahead");
        Gone::Failed
    };
    workshop.leftovers.add(id).map_err(|error| failed(&error))?;
    let workspace = workshop.policy.make_fresh_workspace(id).map_err(|error| failed(&error))?;
    let permit = workshop.admission.start_permit().await.ok_or(Gone::NoRoom)?;
    let line = profile.command_line(id, settable);
    let started = Instant::now();
    let process = workshop.launcher.spawn_ahead(id, profile.program(), &line, &workspace).await;
    let mut warm = Warm::new(id, process.map_err(|error| failed(&error))?, Vec::new());
    let answered = async {
        warm.say(&line_for(Word::Initialize)).await?;
        // A refusal comes from a version that does not know the request: it speaks, so it is ready.
        let (_, answer) = warm.until_answered(&own_id(Word::Initialize)).await?;
        warm.rehearse(&answer).await
    };
    timeout(workshop.settings.start_timeout_seconds.duration(), answered).await.unwrap_or(Err(Gone::Failed))?;
    metrics::agent_started(started.elapsed());
    drop(permit);
    Ok(warm)
}

/// A process that runs.
pub(super) struct Warm {
    id: Uuid,
    process: Process,
    heard: Vec<Line>,
    heard_bytes: usize,
}

impl Warm {
    pub(super) fn new(id: Uuid, process: Process, heard: Vec<Line>) -> Self {
        Self { id, process, heard, heard_bytes: 0 }
    }

    /// Waits until it is handed out or put away, or ends by itself. `slot` goes with it if it is handed out.
    async fn wait(
        mut self,
        workshop: &Arc<Workshop>,
        before: Settable,
        slot: &mut Option<Slot>,
        orders: &mut mpsc::Receiver<Order>,
        news: &mpsc::Sender<(Uuid, News)>,
    ) -> Gone {
        let mut tell = Some(News::Ready);
        loop {
            if let Some(tell) = tell.take() {
                // Whoever listened has gone: then its orders end too.
                let _nobody = news.send((self.id, tell)).await;
            }
            let order = tokio::select! {
                biased;
                read = self.read() => match read {
                    Ok(()) => continue,
                    Err(gone) => {
                        self.end(workshop).await;
                        return gone;
                    }
                },
                order = orders.recv() => order,
            };
            let Some(Order::HandOut(wanted)) = order else {
                self.end(workshop).await;
                return Gone::PutAway;
            };
            let Wanted { owner, queue, settable, reply } = *wanted;
            let passed = match slot.as_ref() {
                Some(slot) => workshop.admission.pass_on(slot, &owner, queue).await,
                None => Ok(false),
            };
            match passed {
                Ok(false) => {
                    drop(reply);
                    tell = Some(News::Kept);
                    continue;
                }
                Ok(true) => {}
                // Nobody knows whose the slot is.
                Err(_) => {
                    self.end(workshop).await;
                    return Gone::PutAway;
                }
            }
            if let Err(gone) = self.set(&settable, &before).await {
                self.end(workshop).await;
                return gone;
            }
            return self.hand_out(workshop, slot, reply).await;
        }
    }

    async fn hand_out(
        self,
        workshop: &Arc<Workshop>,
        slot: &mut Option<Slot>,
        reply: oneshot::Sender<HandedOut>,
    ) -> Gone {
        let Some(slot) = slot.take() else { return Gone::Failed };
        // From now on it is a session's workspace.
        workshop.leftovers.strike_out(self.id);
        let prepared = Prepared { id: self.id, process: self.process, heard: self.heard };
        if let Err(handed) = reply.send(HandedOut { slot, prepared }) {
            // Who wanted it has gone.
            workshop.take_back(handed);
        }
        Gone::HandedOut
    }

    /// Has it look up what its first turn will need: tools, skills, settings. A third of that turn's time is over then.
    async fn rehearse(&mut self, initialized: &Answer) -> Result<(), Gone> {
        let said = initialized.as_ref().ok().map(|answer| Initialized::from_answer(answer.as_deref()));
        // Those that do not say their version ask the API to count.
        if said.is_some_and(|said| said.agent_version.is_some()) {
            let id = format!("{OWN_REQUEST_PREFIX}warm-context");
            self.say(&control::context_summary(&id)).await?;
            // A version that does not know it is as ready as it can be.
            drop(self.answer_to(&id).await?);
        }
        Ok(())
    }

    /// Sets what the session wants otherwise.
    async fn set(&mut self, settable: &Settable, before: &Settable) -> Result<(), Gone> {
        let requests = settable.requests(before);
        let asked = async {
            for (_, line) in &requests {
                self.say(line).await?;
            }
            for (id, _) in &requests {
                self.answer_to(id).await?.map_err(|refusal| {
                    tracing::warn!(refusal, "a warm process refuses what a session wants");
                    Gone::Failed
                })?;
            }
            Ok(())
        };
        timeout(ANSWER_TIME, asked).await.unwrap_or(Err(Gone::Failed))
    }

    /// Writes a line to it.
    async fn say(&mut self, line: &[u8]) -> Result<(), Gone> {
        let stdin = self.process.stdin.as_mut().ok_or(Gone::Failed)?;
        // One that can't be written to is about to be known as dead.
        stdin.write_all(line).await.and(stdin.flush().await).map_err(|_| Gone::Died)
    }

    /// The answer to what it was asked before it had a session, which is none of the session's lines.
    async fn answer_to(&mut self, id: &str) -> Result<Answer, Gone> {
        let (at, answer) = self.until_answered(id).await?;
        self.heard.remove(at);
        Ok(answer)
    }

    /// Reads on until that request is answered: which line it is, and what it says. It may have been heard already.
    async fn until_answered(&mut self, id: &str) -> Result<(usize, Answer), Gone> {
        let mut seen = 0;
        loop {
            let lines = self.heard.iter().enumerate().skip(seen);
            let mut found = lines.filter_map(|(at, line)| match parse_line(&line.bytes)? {
                ClaudeLine::ControlResponse { request_id, outcome } if request_id == id => Some((at, outcome)),
                _ => None,
            });
            if let Some(found) = found.next() {
                return Ok(found);
            }
            seen = self.heard.len();
            self.read().await?;
        }
    }

    /// Reads what it prints. Cancel-safe.
    async fn read(&mut self) -> Result<(), Gone> {
        match self.process.output.next().await {
            Some(OutputItem::Lines { lines, bytes }) => {
                self.heard_bytes = self.heard_bytes.saturating_add(bytes);
                self.heard.extend(lines);
                if self.heard_bytes > MOST_HEARD { Err(Gone::Failed) } else { Ok(()) }
            }
            Some(OutputItem::Exited(_)) | None => Err(Gone::Died),
        }
    }

    /// Ends it. It has done nothing yet that could be broken off.
    pub(super) async fn end(mut self, workshop: &Workshop) {
        let patience = workshop.settings.end_session_grace_seconds.duration();
        let leave = async {
            let _too_late = self.say(&line_for(Word::EndSession)).await;
            self.process.stdin = None;
            while !matches!(self.process.output.next().await, Some(OutputItem::Exited(_)) | None) {}
        };
        let left = tokio::select! {
            () = leave => true,
            () = sleep(patience) => false,
            () = workshop.hurry.cancelled() => false,
        };
        if !left {
            // The sweep looks for what the signal does not reach.
            let _too_late = self.process.control.signal(Signal::Kill);
        }
    }
}
