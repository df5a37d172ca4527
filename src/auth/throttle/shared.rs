//! One count for all gateways of a store: else whoever guesses has as many tries as there are gateways.
//!
//! Each window is a note that ends a minute after its newest failure.
//!
//! Invariants:
//! - What this gateway has counted by itself holds whatever the store does. While the store is away each gateway holds
//!   back by its own count.
//! - A failure is in the store before its turn to hash ends. So logins at once pass a limit by fewer than all the turns
//!   of all gateways.
//! - No name is in the store, since people type passwords there: 16 bits of its hash are. So another name shares a count
//!   with one in 65,536 cases, also if it is an account's: nobody learns by that which names there are.
//! - No gateway writes more keys than it remembers itself.
//!
//! It must not know passwords or whether an account exists.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::join;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Attempt, Throttle, WINDOW, name_key, network};
use crate::store::{Note, NoteKind, SharedStore, StoreError};
use crate::telemetry::time::now_ms;

/// A window of more failures is not shared: its note would become too long.
const MAX_SHARED: usize = 3_000;
/// How often a window is written that other gateways change meanwhile. Who loses so often is not the only one who counts.
const TRIES: usize = 20;
/// How long the store may keep a login waiting that does not need it for this.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long gateways remember where a name has logged in.
const KNOWN_MS: u64 = 30 * 24 * 3_600 * 1_000;

/// Counts failed logins, with all gateways of a store. Shared by all logins of the process.
#[derive(Debug)]
pub struct SharedThrottle {
    own: Throttle,
    store: SharedStore,
}

/// The moments of the newest failures, oldest first, in milliseconds since the Unix epoch.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Window {
    at_ms: Vec<u64>,
    /// Which writing this is: no two are alike, so that of two at once one only succeeds.
    writing: Uuid,
}

/// What failures count for.
#[derive(Debug, Clone, Copy)]
enum Of {
    Both,
    Name,
    Address,
}

impl SharedThrottle {
    /// See [`Throttle::new`] for the limits.
    #[must_use]
    pub fn new(limit: u32, store: SharedStore) -> Self {
        Self { own: Throttle::new(limit), store }
    }

    /// May this name be tried from this address?
    ///
    /// # Errors
    /// How long to wait before the next attempt.
    pub async fn check(&self, username: &str, peer: IpAddr) -> Result<(), Duration> {
        self.own.check(username, peer, Instant::now())?;
        // Whatever can't be looked up holds nobody back.
        let held_back = tokio::time::timeout(PATIENCE, self.elsewhere(username, peer, now_ms())).await;
        held_back.ok().flatten().map_or(Ok(()), Err)
    }

    /// Begins an attempt; see [`Throttle::attempt`]. What comes of it is told to the others by
    /// [`SharedThrottle::failed`] or [`SharedThrottle::succeeded`].
    pub fn attempt<'a>(&'a self, username: &'a str, peer: IpAddr) -> Attempt<'a> {
        self.own.attempt(username, peer)
    }

    /// Tells the other gateways that an attempt has failed.
    pub async fn failed(&self, username: &str, peer: IpAddr) {
        let now = now_ms();
        let all = async {
            join!(
                self.add(Of::Both, username, peer, now),
                self.add(Of::Name, username, peer, now),
                self.add(Of::Address, username, peer, now),
            )
        };
        let _too_slow = tokio::time::timeout(PATIENCE, all).await;
    }

    /// Tells the other gateways that the name has logged in from there.
    pub async fn succeeded(&self, username: &str, peer: IpAddr) {
        let note = Note {
            kind: NoteKind::FailedLogins,
            key: known_key(username, peer),
            value: "{}".to_owned(),
            expires_at_ms: Some(now_ms().saturating_add(KNOWN_MS)),
        };
        let told = tokio::time::timeout(PATIENCE, self.store.put_note(note)).await;
        if let Ok(Err(error)) = told {
            tracing::debug!(%error, "other gateways were not told of a login");
        }
    }

    /// May a secret that needs no name (a key, an invitation) be tried from this address?
    ///
    /// # Errors
    /// How long to wait before the next attempt.
    pub async fn check_address(&self, peer: IpAddr) -> Result<(), Duration> {
        self.own.check_address(peer, Instant::now())?;
        let held_back = tokio::time::timeout(PATIENCE, self.wait(Of::Address, "", peer, now_ms())).await;
        held_back.ok().flatten().map_or(Ok(()), Err)
    }

    /// Such a secret was wrong.
    pub async fn address_failed(&self, peer: IpAddr) {
        self.own.address_failed(peer, Instant::now());
        let _too_slow = tokio::time::timeout(PATIENCE, self.add(Of::Address, "", peer, now_ms())).await;
    }

    /// How long what all gateways have counted holds back; `None`: not at all.
    async fn elsewhere(&self, username: &str, peer: IpAddr, now: u64) -> Option<Duration> {
        let (of_both, of_name, of_address) = join!(
            self.wait(Of::Both, username, peer, now),
            self.wait(Of::Name, username, peer, now),
            self.wait(Of::Address, username, peer, now),
        );
        let of_name = match of_name {
            Some(wait) if !self.is_known(username, peer).await => Some(wait),
            _ => None,
        };
        [of_both, of_name, of_address].into_iter().flatten().max()
    }

    async fn is_known(&self, username: &str, peer: IpAddr) -> bool {
        if self.own.knows(username, peer) {
            return true;
        }
        let note = self.store.note(NoteKind::FailedLogins, &known_key(username, peer)).await;
        // Who can't tell lets in: the limits that need no memory of owners stand.
        note.map_or(true, |note| note.is_some())
    }

    async fn wait(&self, of: Of, username: &str, peer: IpAddr, now: u64) -> Option<Duration> {
        let limit = self.shared_limit(of)?;
        let note = self.store.note(NoteKind::FailedLogins, &key(of, username, peer)).await.ok()??;
        let window = read(&note.value, now);
        let oldest = window.at_ms.len().checked_sub(limit).and_then(|at| window.at_ms.get(at))?;
        let ends = oldest.saturating_add(window_ms());
        ends.checked_sub(now).filter(|wait| *wait > 0).map(Duration::from_millis)
    }

    async fn add(&self, of: Of, username: &str, peer: IpAddr, now: u64) {
        let Some(limit) = self.shared_limit(of) else { return };
        if self.own.is_crowded() {
            return;
        }
        let key = key(of, username, peer);
        for _ in 0..TRIES {
            match self.try_add(&key, limit, now).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "other gateways were not told of a failed login");
                    return;
                }
            }
        }
    }

    /// `false` if another gateway was faster.
    async fn try_add(&self, key: &str, limit: usize, now: u64) -> Result<bool, StoreError> {
        let kind = NoteKind::FailedLogins;
        let found = self.store.note(kind, key).await?;
        let mut window = found.as_ref().map(|note| read(&note.value, now)).unwrap_or_default();
        window.at_ms.push(now);
        window.at_ms.sort_unstable();
        let too_many = window.at_ms.len().saturating_sub(limit);
        window.at_ms.drain(..too_many);
        window.writing = Uuid::new_v4();
        let value = serde_json::to_string(&window).unwrap_or_default();
        let expires_at_ms = Some(now.saturating_add(window_ms()));
        match found {
            None => self.store.put_note(Note { kind, key: key.to_owned(), value, expires_at_ms }).await,
            Some(note) => self.store.change_note(kind, key, &note.value, Some(value), expires_at_ms).await,
        }
    }

    /// The limit of such a window, if it is shared.
    fn shared_limit(&self, of: Of) -> Option<usize> {
        let [both, name, address] = self.own.limits();
        let limit = match of {
            Of::Both => both,
            Of::Name => name,
            Of::Address => address,
        };
        (limit <= MAX_SHARED).then_some(limit)
    }
}

fn window_ms() -> u64 {
    u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX)
}

/// A window without what is over. One that can't be read is empty.
fn read(value: &str, now: u64) -> Window {
    let mut window: Window = serde_json::from_str(value).unwrap_or_default();
    window.at_ms.retain(|at| now.saturating_sub(*at) < window_ms());
    window
}

fn key(of: Of, username: &str, peer: IpAddr) -> String {
    match of {
        Of::Both => format!("both:{}:{}", short(username), network(peer)),
        Of::Name => format!("name:{}", short(username)),
        Of::Address => format!("address:{}", network(peer)),
    }
}

fn known_key(username: &str, peer: IpAddr) -> String {
    format!("known:{}:{}", short(username), network(peer))
}

/// What the store gets to see of a name.
fn short(username: &str) -> String {
    let hash = Sha256::digest(name_key(username));
    hash.iter().take(2).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
