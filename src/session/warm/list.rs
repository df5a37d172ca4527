//! The list of warm processes: where each stands, who goes first, and how one is told. No clock, no process.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use super::demand::Demand;
use super::process::{Order, Wanted};
use super::profile::Profile;
use crate::api::server::WarmInfo;

/// Where a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not answered yet.
    Starting,
    /// It can be handed out.
    Ready,
    /// Somebody may get it.
    Promised,
    /// It was told to go.
    Going,
}

/// One process.
pub(super) struct Entry {
    pub(super) profile: Arc<Profile>,
    pub(super) stage: Stage,
    /// Since when it can be handed out, or is being started.
    pub(super) since: Instant,
    /// Why it was told to go.
    pub(super) reason: &'static str,
    /// Who waits for its slot.
    pub(super) room_for: Option<oneshot::Sender<()>>,
    orders: mpsc::Sender<Order>,
}

/// All warm processes of a node, by the ids of the sessions that they will be.
#[derive(Default)]
pub(super) struct List {
    entries: HashMap<Uuid, Entry>,
}

impl List {
    /// One is being started; its orders.
    pub(super) fn add(&mut self, id: Uuid, profile: &Arc<Profile>, now: Instant) -> mpsc::Receiver<Order> {
        // One to become a session's, and one to go.
        let (orders, received) = mpsc::channel(2);
        let profile = Arc::clone(profile);
        let entry = Entry { profile, stage: Stage::Starting, since: now, reason: "ended", room_for: None, orders };
        self.entries.insert(id, entry);
        received
    }

    /// It has gone.
    pub(super) fn remove(&mut self, id: Uuid) -> Option<Entry> {
        self.entries.remove(&id)
    }

    /// Is there none at all?
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Is there one of that stage?
    pub(super) fn has_any(&self, stage: Stage) -> bool {
        self.entries.values().any(|entry| entry.stage == stage)
    }

    /// How many of that profile stay.
    pub(super) fn count_of(&self, profile: &Arc<Profile>) -> u32 {
        let theirs = self.standing().filter(|(_, entry)| Arc::ptr_eq(&entry.profile, profile));
        u32::try_from(theirs.count()).unwrap_or(u32::MAX)
    }

    /// How many there are, for people.
    pub(super) fn count(&self, told: &mut WarmInfo) {
        let count = |stage| self.entries.values().filter(|entry| entry.stage == stage).count();
        told.ready = u32::try_from(count(Stage::Ready)).unwrap_or(u32::MAX);
        told.starting = u32::try_from(count(Stage::Starting)).unwrap_or(u32::MAX);
    }

    /// It can be handed out: `anew`, for the first time.
    pub(super) fn is_ready(&mut self, id: Uuid, anew: bool) {
        if let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.stage != Stage::Going) {
            entry.stage = Stage::Ready;
            if anew {
                entry.since = Instant::now();
            }
        }
    }

    /// Promises the oldest that fits to whoever wants it; if there is none, `wanted` is dropped.
    pub(super) fn promise(&mut self, profile: &Arc<Profile>, wanted: Wanted) {
        let fits = |entry: &Entry| entry.stage == Stage::Ready && Arc::ptr_eq(&entry.profile, profile);
        let oldest = self.entries.values_mut().filter(|entry| fits(entry)).min_by_key(|entry| entry.since);
        if let Some(entry) = oldest
            && entry.orders.try_send(Order::HandOut(Box::new(wanted))).is_ok()
        {
            entry.stage = Stage::Promised;
        }
    }

    /// Whoever waits gets the slot of one that is on its way out, if there is one that nobody else waits for.
    pub(super) fn wait_for_going(&mut self, reply: oneshot::Sender<()>) {
        let going = |entry: &&mut Entry| entry.stage == Stage::Going && entry.room_for.is_none();
        if let Some(entry) = self.entries.values_mut().find(going) {
            entry.room_for = Some(reply);
        }
    }

    /// The process that is missed least.
    pub(super) fn least_wanted(&self, demand: &Demand, now: Instant) -> Option<Uuid> {
        let claims = demand.claims(now, |profile| self.count_of(profile));
        let votes = |profile: &Arc<Profile>| {
            let mut theirs =
                demand.wishes().iter().zip(&claims).filter(|(wish, _)| Arc::ptr_eq(&wish.profile, profile));
            theirs.next().map_or(0.0, |(_, claim)| claim.votes / f64::from(claim.has.max(1)))
        };
        let free = self.standing().filter(|(_, entry)| entry.stage != Stage::Promised);
        free.min_by(|a, b| votes(&a.1.profile).total_cmp(&votes(&b.1.profile))).map(|(id, _)| *id)
    }

    /// One of that profile that nobody was promised.
    pub(super) fn any_of(&self, profile: &Arc<Profile>) -> Option<Uuid> {
        let theirs = |entry: &Entry| Arc::ptr_eq(&entry.profile, profile) && entry.stage != Stage::Promised;
        self.standing().find(|(_, entry)| theirs(entry)).map(|(id, _)| *id)
    }

    /// Tells one to go; `room_for` is told when its slot is free.
    pub(super) fn put_away(&mut self, id: Uuid, reason: &'static str, room_for: Option<oneshot::Sender<()>>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            // There is room for the order, unless it has gone; then it tells so by itself.
            let _gone = entry.orders.try_send(Order::PutAway);
            entry.stage = Stage::Going;
            entry.reason = reason;
            entry.room_for = room_for;
        }
    }

    /// Tells all to go of which that is so.
    pub(super) fn put_away_all_that(&mut self, reason: &'static str, goes: impl Fn(&Entry) -> bool) {
        let ids: Vec<_> = self.standing().filter(|(_, entry)| goes(entry)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.put_away(id, reason, None));
    }

    /// Those that were not told to go.
    fn standing(&self) -> impl Iterator<Item = (&Uuid, &Entry)> {
        self.entries.iter().filter(|(_, entry)| entry.stage != Stage::Going)
    }
}
