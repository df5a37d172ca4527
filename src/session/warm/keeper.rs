//! The keeper: the one task that knows all warm processes of this node, decides which are started and which go, and
//! finds one for whoever asks.
//!
//! It never waits for a process or for the store: what takes time is done by the processes' own tasks. It starts one
//! at a time, a moment after sessions were asked for, so that it takes little from those that really start.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::demand::{Demand, Step, next_step};
use super::list::{List, Stage};
use super::process::{Gone, News, Wanted, keep};
use super::profile::Profile;
use super::workshop::Workshop;
use crate::api::server::WarmInfo;
use crate::session::login::Identity;
use crate::telemetry::{metrics, tasks};

/// How often it looks whether there are slots to spare, and whether a process is too old.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A process that has waited so long is replaced: its program, its login and its settings may be old.
const OLD: Duration = Duration::from_secs(900);
/// After a session was asked for nothing is started ahead for so long: its own agent needs the machine.
const QUIET: Duration = Duration::from_millis(500);
/// However much is asked for, nothing is put off for longer.
const PUT_OFF: Duration = Duration::from_secs(3);

/// What the keeper is asked.
pub(super) enum Ask {
    /// A process of that profile. If there is none, what is wanted is dropped.
    Take(Box<(Profile, Wanted)>),
    /// Put one away; answered once its slot is free, and not at all if there is none.
    Room(oneshot::Sender<()>),
}

type Ended = Pin<Box<dyn Future<Output = (Uuid, Gone)> + Send>>;
type Look = Pin<Box<dyn Future<Output = bool> + Send>>;

/// All warm processes of a node.
pub(super) struct Keeper {
    workshop: Arc<Workshop>,
    demand: Demand,
    list: List,
    /// The tasks of those in the list.
    tasks: FuturesUnordered<Ended>,
    /// What they tell, and where they tell it.
    news: mpsc::Receiver<(Uuid, News)>,
    tell_news: mpsc::Sender<(Uuid, News)>,
    told: watch::Sender<WarmInfo>,
    closing: CancellationToken,
    /// Nothing is started before.
    not_before: Instant,
    /// When a session was asked for last, and since when one is missing.
    asked_at: Instant,
    missing_since: Option<Instant>,
    /// The look whether there are slots to spare that is under way, and when the next one is due.
    look: Option<Look>,
    look_at: Instant,
    /// The login that the processes have.
    login: Option<Identity>,
    /// This node's processes may run.
    sure: bool,
}

impl Keeper {
    pub(super) fn new(workshop: Arc<Workshop>, told: watch::Sender<WarmInfo>, closing: CancellationToken) -> Self {
        let now = Instant::now();
        let remembered_for = workshop.settings.warm_idle_seconds.duration();
        let room = usize::try_from(workshop.settings.warm_processes).unwrap_or(usize::MAX).clamp(1, 1_024);
        let login = workshop.launcher.login().identity();
        let (tell_news, news) = mpsc::channel(room);
        Self {
            demand: Demand::new(remembered_for),
            list: List::default(),
            tasks: FuturesUnordered::new(),
            news,
            tell_news,
            told,
            closing,
            not_before: now,
            asked_at: now,
            missing_since: None,
            look: None,
            look_at: now,
            login,
            sure: true,
            workshop,
        }
    }

    /// Keeps processes until it is closed and the last one has gone.
    pub(super) async fn run(mut self, mut asks: mpsc::Receiver<Ask>, mut sure: watch::Receiver<bool>) {
        let mut login = self.workshop.launcher.login().changes();
        let closing = self.closing.clone();
        self.sure = *sure.borrow_and_update();
        loop {
            let wake_at = self.act(Instant::now());
            self.tell();
            if closing.is_cancelled() && self.list.is_empty() {
                return;
            }
            tokio::select! {
                Some(ask) = asks.recv() => self.answer(ask),
                Some((id, news)) = self.news.recv() => self.list.is_ready(id, news == News::Ready),
                Some((id, gone)) = self.tasks.next() => self.ended(id, gone),
                () = closing.cancelled(), if !closing.is_cancelled() => {}
                scarce = async { match &mut self.look { Some(look) => look.await, None => pending().await } } => {
                    self.look = None;
                    self.make_spare(scarce);
                }
                Ok(()) = async { match &mut login { Some(login) => login.changed().await, None => pending().await } } => {
                    self.login_seen();
                }
                Ok(()) = sure.changed() => self.sure = *sure.borrow_and_update(),
                () = async { match wake_at { Some(at) => sleep_until(at).await, None => pending().await } } => {}
            }
        }
    }

    /// Does what there is to do now; when to look again.
    fn act(&mut self, now: Instant) -> Option<Instant> {
        self.demand.forget(now);
        let Self { list, demand, .. } = self;
        if self.closing.is_cancelled() {
            list.put_away_all_that("ended", |_| true);
            return None;
        }
        if !self.sure {
            list.put_away_all_that("cut_off", |_| true);
        }
        list.put_away_all_that("old", |entry| entry.stage == Stage::Ready && now - entry.since >= OLD);
        list.put_away_all_that("unused", |entry| !demand.knows(&entry.profile));
        let begins_at = self.share_out(now);
        if self.list.is_empty() && self.demand.wishes().is_empty() {
            return None;
        }
        if self.look_at <= now {
            self.look_at = now + LOOK_EVERY;
            if self.look.is_none() && !self.list.is_empty() {
                let admission = self.workshop.admission.clone();
                self.look = Some(Box::pin(async move { admission.is_scarce().await }));
            }
        }
        Some(begins_at.map_or(self.look_at, |at| at.min(self.look_at)))
    }

    /// Puts away what has too many, and starts what is missing, if it may; else says when it may.
    fn share_out(&mut self, now: Instant) -> Option<Instant> {
        let claims = self.demand.claims(now, |profile| self.list.count_of(profile));
        let step = next_step(&claims, self.workshop.settings.warm_processes);
        let Some(Step::Start(at)) = step else {
            self.missing_since = None;
            if let Some(Step::PutAway(at)) = step
                && let Some(wish) = self.demand.wishes().get(at)
                && let Some(id) = self.list.any_of(&wish.profile)
            {
                self.list.put_away(id, "others_wanted", None);
            }
            return None;
        };
        let since = *self.missing_since.get_or_insert(now);
        let begins_at = (self.asked_at + QUIET).min(since + PUT_OFF).max(self.not_before);
        // What goes still has its slot, and another start would only make this one late.
        if self.list.has_any(Stage::Starting) || self.list.has_any(Stage::Going) || !self.sure {
            return None;
        }
        if begins_at > now {
            return Some(begins_at);
        }
        self.missing_since = None;
        let wish = self.demand.wishes().get(at)?;
        let (profile, settable) = (Arc::clone(&wish.profile), wish.settable.clone());
        let id = Uuid::new_v4();
        let orders = self.list.add(id, &profile, now);
        let task = keep(Arc::clone(&self.workshop), id, profile, settable, orders, self.tell_news.clone());
        let task = tasks::spawn("warm-process", task);
        // A task that panicked is one that has failed.
        self.tasks.push(Box::pin(async move { (id, task.await.ok().flatten().unwrap_or(Gone::Failed)) }));
        None
    }

    fn answer(&mut self, ask: Ask) {
        let now = Instant::now();
        match ask {
            Ask::Take(wanted) => {
                self.asked_at = now;
                let (profile, wanted) = *wanted;
                if !self.closing.is_cancelled() && self.sure {
                    let profile = self.demand.asked(profile, wanted.settable.clone(), now);
                    self.list.promise(&profile, wanted);
                }
            }
            Ask::Room(reply) => match self.list.least_wanted(&self.demand, now) {
                Some(id) => self.list.put_away(id, "room", Some(reply)),
                None => self.list.wait_for_going(reply),
            },
        }
    }

    fn ended(&mut self, id: Uuid, gone: Gone) {
        let Some(entry) = self.list.remove(id) else { return };
        let now = Instant::now();
        match gone {
            Gone::HandedOut => self.demand.served(&entry.profile),
            Gone::PutAway => metrics::warm_put_away(entry.reason),
            Gone::NoRoom => self.not_before = now + LOOK_EVERY,
            Gone::Failed | Gone::Died => {
                let reason = if gone == Gone::Died { "died" } else { "failed" };
                tracing::warn!(session_id = %id, reason, "a warm process is gone; the next one waits");
                metrics::warm_put_away(reason);
                self.demand.failed(&entry.profile, now);
            }
        }
        if let Some(reply) = entry.room_for {
            // Who waited may have gone.
            let _nobody = reply.send(());
        }
    }

    /// The login has been looked at. Another one, or none that serves, makes all processes worthless.
    fn login_seen(&mut self) {
        let now = self.workshop.launcher.login().identity();
        if now != self.login {
            self.login = now;
            self.list.put_away_all_that("login", |_| true);
        }
    }

    /// Gives one up if there is no slot to spare, unless one goes already.
    fn make_spare(&mut self, scarce: bool) {
        if scarce
            && !self.list.has_any(Stage::Going)
            && let Some(id) = self.list.least_wanted(&self.demand, Instant::now())
        {
            self.list.put_away(id, "room", None);
        }
    }

    fn tell(&self) {
        self.told.send_if_modified(|told| {
            let before = told.clone();
            self.list.count(told);
            let changed = *told != before;
            if changed {
                metrics::warm_processes(told);
            }
            changed
        });
    }
}
