//! Room for new processes: slots, and the processes at rest that give theirs up when one is wanted; and the end of
//! put-away sessions whose time is over.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Sessions;
use crate::api::event::{EndReason, SessionState};
use crate::api::session::StartParams;
use crate::session::admission::Admitted;
use crate::session::answers;
use crate::session::error::{LimitReason, SessionError};
use crate::session::handle::{Command, Handle};
use crate::store::{PutAwayQuery, SessionRow, StoreError};
use crate::telemetry::tasks;
use crate::telemetry::time::now_ms;

/// Put-away sessions looked at in one step.
const PAGE: u32 = 100;

impl Sessions {
    /// A slot, or with `queue` a place in the line for one. When all are taken, an agent that was started ahead is put
    /// away first, or else the process that has been at rest longest.
    pub(super) async fn admit(&self, session: Uuid, owner: &str, queue: bool) -> Result<Admitted, SessionError> {
        loop {
            let asked = if queue {
                self.admission.take_or_wait(session, owner).await
            } else {
                self.admission.take(session, owner).await.map(Admitted::Slot)
            };
            match asked {
                // What nobody uses yet goes before what somebody will come back to.
                Err(SessionError::Limit { reason: LimitReason::Slots { .. }, .. })
                    if self.make_room_of_warm().await => {}
                Err(error @ SessionError::Limit { reason, .. }) => {
                    let resting = match reason {
                        LimitReason::Slots { .. } => self.longest_at_rest(None),
                        LimitReason::OwnSessions { .. } => self.longest_at_rest(Some(owner)),
                        // What came free would go to those who wait.
                        LimitReason::Line { .. } | LimitReason::QueueFull { .. } | LimitReason::OwnQueue { .. } => None,
                    };
                    let Some(resting) = resting else { return Err(error) };
                    self.put_away(&resting).await;
                }
                asked => return asked,
            }
        }
    }

    /// Puts processes at rest away whenever the line wants room, until `stop`.
    pub fn make_room(self: &Arc<Self>, stop: CancellationToken) {
        let sessions = Arc::clone(self);
        tasks::spawn("make-room", async move {
            let wanted = sessions.admission.room_wanted();
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = wanted.notified() => {}
                }
                // Who waits on after that waits for sessions that work.
                for _ in 0..sessions.admission.wanted() {
                    if sessions.make_room_of_warm().await {
                        continue;
                    }
                    let Some(resting) = sessions.longest_at_rest(None) else { break };
                    sessions.put_away(&resting).await;
                }
            }
        });
    }

    /// The live session (of that owner) that has been at rest longest and can be put away.
    fn longest_at_rest(&self, owner: Option<&str>) -> Option<Arc<Handle>> {
        let live = self.live.read();
        let since = |handle: &Arc<Handle>| handle.running.borrow().and_then(|running| running.at_rest_since);
        live.values()
            .filter(|handle| owner.is_none_or(|owner| handle.row.owner == owner))
            .filter_map(|handle| Some((since(handle)?, handle)))
            .min_by_key(|(since, _)| *since)
            .map(|(_, handle)| Arc::clone(handle))
    }

    /// Puts a session away and waits until its slot is free, or it turns out to be busy again.
    async fn put_away(&self, handle: &Arc<Handle>) {
        if handle.ask(Command::PutAway).await.is_ok() {
            // A message may come while it is on its way out: then its slot is not to be had.
            let busy = handle.state.clone().wait_for(|state| *state != SessionState::Idle).await.is_ok();
            if !busy {
                self.until_let_go(handle).await;
            }
        }
    }

    /// Ends put-away sessions whose time is over, again and again until `stop`: those with a limit for the whole
    /// session, and those that nobody has woken for `keep`.
    pub fn end_forgotten(self: &Arc<Self>, keep: Option<Duration>, every: Duration, stop: CancellationToken) {
        let sessions = Arc::clone(self);
        tasks::spawn("end-forgotten", async move {
            let mut tick = tokio::time::interval(every.max(Duration::from_millis(10)));
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = tick.tick() => {}
                }
                if let Err(error) = sessions.end_due(keep).await {
                    tracing::warn!(%error, "put-away sessions could not be looked through; trying again");
                }
            }
        });
    }

    async fn end_due(&self, keep: Option<Duration>) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let query = PutAwayQuery { before_ms: None, after, limit: PAGE };
            let page = self.store.put_away_sessions(query).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.put_away_at_ms.map(|at| (at, last.id));
            for row in &page {
                if is_forgotten(row, keep, now_ms()) || self.has_used_its_time(row).await? {
                    // One that was woken at this very moment goes on.
                    drop(self.end_at_rest(row, EndReason::TimedOut).await);
                }
            }
        }
    }

    /// Has a session been there for as long as its caller allowed? What it waited for a slot does not count.
    async fn has_used_its_time(&self, row: &SessionRow) -> Result<bool, StoreError> {
        let Some(limit) = whole_limit(row) else { return Ok(false) };
        if !has_passed(row.created_at_ms, limit, now_ms()) {
            return Ok(false);
        }
        let began = match answers::began_at_ms(&self.store, row.id).await {
            Err(error) if error.retryable() => return Err(error),
            // A log that can't be read must not keep the others waiting.
            told => told.unwrap_or_default(),
        };
        Ok(has_passed(began.unwrap_or(row.created_at_ms), limit, now_ms()))
    }
}

/// Has nobody woken a put-away session for so long that it is to end?
fn is_forgotten(row: &SessionRow, keep: Option<Duration>, now_ms: u64) -> bool {
    row.put_away_at_ms.zip(keep).is_some_and(|(since, keep)| has_passed(since, keep, now_ms))
}

/// The limit for the whole of a session, if its caller has named one.
fn whole_limit(row: &SessionRow) -> Option<Duration> {
    let params = serde_json::from_str::<StartParams>(&row.params).ok()?;
    params.timeout_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

fn has_passed(since_ms: u64, limit: Duration, now_ms: u64) -> bool {
    Duration::from_millis(now_ms.saturating_sub(since_ms)) >= limit
}
