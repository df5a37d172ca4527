//! The audit log's way into the store: who did what, without anybody waiting for it.
//!
//! Invariants:
//! - Telling never waits and never fails: an entry goes into a bounded queue, and one task writes what is there.
//! - While the store is away the task tries again; what finds the queue full is counted, and the log itself tells how
//!   many entries are missing, as soon as it can be written again.
//! - An entry holds names, ids and words, never what was said.
//!
//! It must not know methods or routes: whoever tells gives the words.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::store::{Account, AuditEntry, SharedStore, StoreError};
use crate::telemetry::{metrics, tasks, time::now_ms};

/// Entries that may wait for the store.
const QUEUE: usize = 4_096;
/// Entries written together.
const GROUP: usize = 128;
/// The first and the longest pause before the store is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long the gateway's end may wait for the last entries.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often old entries are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
/// Longest name of a target that is kept, in characters.
const TARGET_CHARACTERS: usize = 128;

/// The outcome of what was done.
pub const DONE: &str = "ok";
/// The outcome of what was not allowed.
pub const REFUSED: &str = "refused";

/// Actions that are no method of the protocol.
pub mod words {
    /// A login with a name and a password.
    pub const LOGIN: &str = "login";
    /// A login with an API key.
    pub const KEY_LOGIN: &str = "login.key";
    /// A login at a provider outside.
    pub const OIDC_LOGIN: &str = "login.oidc";
    /// An invitation was accepted.
    pub const ACCEPT: &str = "account.accept";
    /// An account's owner changed its password.
    pub const PASSWORD: &str = "account.password";
    /// Entries are missing here; the target says how many.
    pub const GAP: &str = "audit.gap";
}

/// Something that was done, before it is an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// What.
    pub action: &'static str,
    /// [`DONE`], [`REFUSED`], or a word that says why not.
    pub outcome: &'static str,
    /// By whom: an account's id and its name.
    pub by: Option<(String, String)>,
    /// To which session.
    pub session: Option<Uuid>,
    /// To whom or what else.
    pub target: Option<String>,
    /// From where.
    pub address: Option<IpAddr>,
}

impl Deed {
    /// Done by nobody who is known.
    #[must_use]
    pub fn new(action: &'static str) -> Self {
        Self { action, outcome: DONE, by: None, session: None, target: None, address: None }
    }

    /// Done by that account.
    #[must_use]
    pub fn of(self, account: &Account) -> Self {
        Self { by: Some((account.subject.clone(), account.username.clone())), ..self }
    }

    /// The entry that tells it, as of now.
    #[must_use]
    pub fn entry(self) -> AuditEntry {
        let (subject, username) = self.by.unzip();
        AuditEntry {
            id: Uuid::now_v7(),
            at_ms: now_ms(),
            subject,
            username: username.unwrap_or_default(),
            action: self.action.to_owned(),
            outcome: self.outcome.to_owned(),
            session: self.session,
            target: self.target.map(|target| target.chars().take(TARGET_CHARACTERS).collect()),
            address: self.address.map(|address| address.to_string()),
        }
    }
}

/// Where deeds are told. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditLog {
    /// `None`: nobody keeps a log here.
    entries: Option<mpsc::Sender<AuditEntry>>,
    /// Entries that found no place since the log last told of it.
    missing: Arc<AtomicU64>,
}

impl AuditLog {
    /// A log that keeps nothing, for commands that write their entries themselves.
    #[must_use]
    pub fn none() -> Self {
        Self { entries: None, missing: Arc::default() }
    }

    /// Begins to write into `store`, until `stop` and then what waits. Entries older than `keep` are forgotten; zero:
    /// none are.
    #[must_use]
    pub fn start(store: SharedStore, keep: Duration, stop: CancellationToken, tracker: &TaskTracker) -> Self {
        let (entries, waiting) = mpsc::channel(QUEUE);
        let missing = Arc::<AtomicU64>::default();
        let writer = Writer { store, waiting, missing: Arc::clone(&missing), keep };
        tasks::spawn("audit-log", tracker.track_future(writer.run(stop)));
        Self { entries: Some(entries), missing }
    }

    /// Writes it down, soon.
    pub fn tell(&self, deed: Deed) {
        let Some(entries) = &self.entries else { return };
        if entries.try_send(deed.entry()).is_err() {
            metrics::audit_entries("missing", 1);
            if self.missing.fetch_add(1, Ordering::SeqCst) == 0 {
                tracing::error!("the audit log can't take what is done: entries are missing");
            }
        }
    }
}

struct Writer {
    store: SharedStore,
    waiting: mpsc::Receiver<AuditEntry>,
    missing: Arc<AtomicU64>,
    keep: Duration,
}

impl Writer {
    async fn run(mut self, stop: CancellationToken) {
        let mut group = Vec::with_capacity(GROUP);
        let mut old = tokio::time::interval(FORGET_EVERY);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = old.tick() => self.forget().await,
                taken = self.waiting.recv_many(&mut group, GROUP) => {
                    if taken == 0 {
                        return;
                    }
                    tokio::select! {
                        () = self.write(&mut group) => {}
                        () = stop.cancelled() => break,
                    }
                }
            }
        }
        self.waiting.close();
        let rest = async {
            self.write(&mut group).await;
            while self.waiting.recv_many(&mut group, GROUP).await > 0 {
                self.write(&mut group).await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, rest).await.is_err() {
            let missing = self.waiting.len() + group.len();
            tracing::error!(missing, "the audit log's last entries could not be written");
        }
    }

    /// Writes the group, however long it takes, and empties it.
    async fn write(&self, group: &mut Vec<AuditEntry>) {
        let missing = self.missing.swap(0, Ordering::SeqCst);
        if missing > 0 {
            tracing::error!(missing, "the audit log has a gap");
            let gap = Deed { target: Some(missing.to_string()), ..Deed::new(words::GAP) };
            group.push(gap.entry());
        }
        let (mut pause, longest) = PAUSES;
        while !group.is_empty() {
            match self.store.append_audit(group.clone()).await {
                Ok(()) => {
                    metrics::audit_entries("written", group.len() as u64);
                    group.clear();
                }
                Err(error @ (StoreError::Away(_) | StoreError::NotOwner | StoreError::Gap { .. })) => {
                    tracing::warn!(%error, "the audit log can't be written; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
                Err(error) => {
                    // It would fail the same way for ever.
                    tracing::error!(%error, missing = group.len(), "entries of the audit log can't be written");
                    metrics::audit_entries("missing", group.len() as u64);
                    group.clear();
                }
            }
        }
    }

    async fn forget(&self) {
        let keep = u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX);
        if keep > 0
            && let Err(error) = self.store.forget_audit(now_ms().saturating_sub(keep)).await
        {
            tracing::warn!(%error, "old entries of the audit log could not be forgotten; trying again later");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::AuditQuery;
    use crate::store::faulty::Faulty;
    use crate::store::sqlite::test_store;

    fn everything() -> AuditQuery {
        AuditQuery { limit: 100_000, ..AuditQuery::default() }
    }

    fn deed(n: usize) -> Deed {
        Deed { target: Some(n.to_string()), ..Deed::new(words::LOGIN) }
    }

    fn keep() -> Duration {
        Duration::from_secs(3_600)
    }

    #[tokio::test]
    async fn what_is_told_before_the_end_is_written_in_order() {
        let store = test_store();
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let log = AuditLog::start(Arc::clone(&store), keep(), stop.clone(), &tracker);
        (0..500).for_each(|n| log.tell(deed(n)));
        stop.cancel();
        tracker.close();
        tracker.wait().await;
        let told: Vec<_> =
            store.audit(everything()).await.unwrap().into_iter().rev().map(|entry| entry.target).collect();
        let expected: Vec<_> = (0..500).map(|n| Some(n.to_string())).collect();
        assert_eq!(told, expected);
        log.tell(deed(500));
    }

    #[tokio::test]
    async fn while_the_store_is_away_nobody_waits_and_what_is_missing_is_told_afterwards() {
        let inner = test_store();
        let faulty = Faulty::new(Arc::clone(&inner), 1, 1.0);
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let log = AuditLog::start(faulty.clone(), keep(), stop.clone(), &tracker);
        tokio::task::yield_now().await;
        let told = QUEUE + GROUP + 1_000;
        for n in 0..told {
            log.tell(deed(n));
        }
        assert!(log.missing.load(Ordering::SeqCst) >= 1_000);
        faulty.set_failing(false);
        let complete = |entries: &[AuditEntry]| {
            let missing: usize = entries
                .iter()
                .filter(|entry| entry.action == words::GAP)
                .map(|entry| entry.target.as_ref().unwrap().parse::<usize>().unwrap())
                .sum();
            let gaps = entries.iter().filter(|entry| entry.action == words::GAP).count();
            entries.len() - gaps + missing == told && missing >= 1_000
        };
        while !complete(&inner.audit(everything()).await.unwrap()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stop.cancel();
        tracker.close();
        tracker.wait().await;
    }

    #[tokio::test]
    async fn entries_older_than_they_are_kept_go() {
        let store = test_store();
        let old = AuditEntry { id: Uuid::from_u128(1 << 100), at_ms: 1, ..deed(1).entry() };
        store.append_audit(vec![old, deed(2).entry()]).await.unwrap();
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let _log = AuditLog::start(Arc::clone(&store), keep(), stop.clone(), &tracker);
        while store.audit(everything()).await.unwrap().len() != 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stop.cancel();
    }
}
