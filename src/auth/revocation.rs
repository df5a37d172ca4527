//! What was taken back before its time: a login with all its tokens, or everything that a subject had got by then.
//!
//! Two notes are written for each. One is looked up whenever a token is shown, and lives as long as a token could that
//! it is about: for a login until its last token ends, for a subject for ever. The other is news for gateways with open
//! sockets, in the order of time; it lives for a minute, so that reading all there is costs next to nothing, however
//! many sockets there are.
//!
//! Invariants:
//! - What is revoked stays so: a revocation is never taken back, only followed by a new login.
//! - The note that is looked up is there before the news.
//! - News are found by gateways whose clocks differ by less than `OVERLAP_MS`; tokens demand that too.
//!
//! It must not know sockets.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::api::Login;
use crate::config::settings::AuthSettings;
use crate::store::{Note, NoteKind, SharedStore, StoreError};
use crate::telemetry::time::now_ms;

/// How long news are kept. Whoever did not read them for so long must look everything up.
pub const NEWS_LIVE: Duration = Duration::from_secs(60);
/// News that seem older than the newest by so much are read again: another gateway's clock may be behind.
const OVERLAP_MS: u64 = 20_000;
/// A note outlives what it is about by so much, for clocks that differ.
const MARGIN_MS: u64 = 120_000;
/// News read at once.
const PAGE: u32 = 1_000;
/// What the keys of news begin with; the moment and a random part follow.
const NEWS: &str = "news:";

/// What was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    /// Every token of that login.
    Login { key: String },
    /// Every token of that subject whose login began then or before.
    Subject { subject: String, until_ms: u64 },
}

/// What is kept about a subject: until when logins had begun that count no more.
#[derive(Debug, Serialize, Deserialize)]
struct Until {
    until_ms: u64,
}

/// Takes tokens back and tells of it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Revocations {
    store: SharedStore,
    /// The longest that an access token lives.
    access_ms: u64,
    /// Wakes the reader of news on this gateway: it need not wait for its next look.
    told: Arc<Notify>,
}

impl Revocations {
    /// Revocations in that store, of tokens that live as the settings say.
    #[must_use]
    pub fn new(store: SharedStore, settings: &AuthSettings) -> Self {
        let access_ms = settings.access_token_seconds.saturating_mul(1_000);
        Self { store, access_ms, told: Arc::default() }
    }

    /// Takes back every token of a login; its last token ends at `ends_ms` at the latest (`None`: as the settings say).
    ///
    /// # Errors
    /// The store's; then it may count already, and the same call can be made again.
    pub async fn revoke_login(&self, login: &Login, ends_ms: Option<u64>) -> Result<(), StoreError> {
        let now = now_ms();
        let ends = ends_ms.unwrap_or_default().max(now.saturating_add(self.access_ms)).saturating_add(MARGIN_MS);
        let note = Note {
            kind: NoteKind::Revoked,
            key: login_key(&login.key),
            value: "{}".to_owned(),
            expires_at_ms: Some(ends),
        };
        // One that is there already says the same.
        self.store.put_note(note).await?;
        self.tell(&Target::Login { key: login.key.clone() }, now).await
    }

    /// Takes back everything that a subject has got until now: access tokens, refresh tokens, sockets. What it gets by
    /// a login after this call is good. Kept for ever, once for each subject: an API key may live as long.
    ///
    /// # Errors
    /// As [`Revocations::revoke_login`].
    pub async fn revoke_subject(&self, subject: &str) -> Result<(), StoreError> {
        let now = now_ms();
        let (key, value) = (subject_key(subject), encode(&Until { until_ms: now }));
        loop {
            let Some(older) = self.store.note(NoteKind::Revoked, &key).await? else {
                let note =
                    Note { kind: NoteKind::Revoked, key: key.clone(), value: value.clone(), expires_at_ms: None };
                if self.store.put_note(note).await? {
                    break;
                }
                continue;
            };
            let is_newer = until(&older)? >= now;
            if is_newer
                || self.store.change_note(NoteKind::Revoked, &key, &older.value, Some(value.clone()), None).await?
            {
                break;
            }
        }
        self.tell(&Target::Subject { subject: subject.to_owned(), until_ms: now }, now).await
    }

    async fn tell(&self, target: &Target, now: u64) -> Result<(), StoreError> {
        let live = u64::try_from(NEWS_LIVE.as_millis()).unwrap_or(u64::MAX);
        let news = Note {
            kind: NoteKind::Revoked,
            key: format!("{NEWS}{now:016x}:{}", Uuid::new_v4().simple()),
            value: encode(target),
            expires_at_ms: Some(now.saturating_add(live)),
        };
        self.store.put_note(news).await?;
        self.told.notify_waiters();
        Ok(())
    }

    /// Waits until this gateway itself revokes something.
    pub async fn told_here(&self) {
        self.told.notified().await;
    }

    /// The news since `after` (of an earlier call; the empty one: all there are).
    ///
    /// # Errors
    /// The store's.
    pub async fn news(&self, after: &NewsCursor) -> Result<(News, NewsCursor), StoreError> {
        let mut news = News::default();
        let mut newest = after.newest_ms;
        let mut key = format!("{NEWS}{:016x}", newest.saturating_sub(OVERLAP_MS));
        loop {
            let page = self.store.notes(NoteKind::Revoked, &key, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            for note in page {
                let Some(moment) = note.key.strip_prefix(NEWS) else {
                    return Ok((news, NewsCursor { newest_ms: newest }));
                };
                let moment = moment.split(':').next().and_then(|digits| u64::from_str_radix(digits, 16).ok());
                newest = newest.max(moment.unwrap_or_default());
                match serde_json::from_str(&note.value) {
                    Ok(target) => news.add(target),
                    // A newer gateway's: it knows why, and its tokens are looked up all the same.
                    Err(_) => tracing::warn!("a revocation could not be understood"),
                }
                key = note.key;
            }
            if is_last {
                return Ok((news, NewsCursor { newest_ms: newest }));
            }
        }
    }
}

/// Has what this caller showed been taken back?
///
/// # Errors
/// The store's.
pub async fn is_revoked(store: &SharedStore, subject: &str, login: &Login) -> Result<bool, StoreError> {
    let (login_key, subject_key) = (login_key(&login.key), subject_key(subject));
    let of_login = store.note(NoteKind::Revoked, &login_key);
    let of_subject = store.note(NoteKind::Revoked, &subject_key);
    let (of_login, of_subject) = futures_util::future::try_join(of_login, of_subject).await?;
    let of_subject = of_subject.as_ref().map(until).transpose()?;
    Ok(of_login.is_some() || of_subject.is_some_and(|until_ms| login.began_ms <= until_ms))
}

/// How far news were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewsCursor {
    newest_ms: u64,
}

/// What was revoked lately.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    logins: HashSet<String>,
    subjects: HashMap<String, u64>,
}

impl News {
    fn add(&mut self, target: Target) {
        match target {
            Target::Login { key } => {
                self.logins.insert(key);
            }
            Target::Subject { subject, until_ms } => {
                let known = self.subjects.entry(subject).or_default();
                *known = until_ms.max(*known);
            }
        }
    }

    /// Was nothing revoked?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logins.is_empty() && self.subjects.is_empty()
    }

    /// Are those tokens among it?
    #[must_use]
    pub fn concern(&self, subject: &str, login: &Login) -> bool {
        self.logins.contains(&login.key) || self.subjects.get(subject).is_some_and(|until| login.began_ms <= *until)
    }
}

fn login_key(key: &str) -> String {
    format!("login:{key}")
}

fn subject_key(subject: &str) -> String {
    format!("subject:{subject}")
}

fn encode<T: Serialize>(value: &T) -> String {
    // Texts and numbers always become JSON.
    serde_json::to_string(value).unwrap_or_default()
}

fn until(note: &Note) -> Result<u64, StoreError> {
    let damaged = |_| StoreError::Damaged("a revocation is not the JSON it should be".to_owned());
    serde_json::from_str::<Until>(&note.value).map(|until| until.until_ms).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::test_store;

    fn login(began_ms: u64, digit: char) -> Login {
        Login { began_ms, key: digit.to_string().repeat(32) }
    }

    fn revocations(store: &SharedStore) -> Revocations {
        Revocations::new(Arc::clone(store), &AuthSettings::default())
    }

    #[tokio::test]
    async fn c5_a_revoked_login_is_known_to_every_gateway_and_no_other_login_is_touched() {
        let store = test_store();
        let (here, there) = (revocations(&store), revocations(&store));
        let (old, other) = (login(1, 'a'), login(2, 'b'));
        assert!(!is_revoked(&store, "ada", &old).await.unwrap());
        let (news, cursor) = there.news(&NewsCursor::default()).await.unwrap();
        assert!(news.is_empty());
        for _ in 0..2 {
            here.revoke_login(&old, None).await.unwrap();
        }
        assert!(is_revoked(&store, "ada", &old).await.unwrap());
        assert!(!is_revoked(&store, "ada", &other).await.unwrap());
        let (news, _) = there.news(&cursor).await.unwrap();
        assert!(news.concern("ada", &old) && !news.concern("ada", &other));
    }

    #[tokio::test]
    async fn c5_what_a_subject_had_is_revoked_and_what_it_gets_later_is_good() {
        let store = test_store();
        let revocations = revocations(&store);
        let before = login(now_ms(), 'a');
        revocations.revoke_subject("ada").await.unwrap();
        let after = login(now_ms() + 1, 'b');
        assert!(is_revoked(&store, "ada", &before).await.unwrap());
        assert!(!is_revoked(&store, "ada", &after).await.unwrap());
        assert!(!is_revoked(&store, "bob", &before).await.unwrap());
        let (news, _) = revocations.news(&NewsCursor::default()).await.unwrap();
        assert!(news.concern("ada", &before) && !news.concern("ada", &after) && !news.concern("bob", &before));
        // Again, and never earlier than it was.
        revocations.revoke_subject("ada").await.unwrap();
        assert!(is_revoked(&store, "ada", &before).await.unwrap());
        // An API key that was made before may live longer than any token: what ended it must too.
        let note = store.note(NoteKind::Revoked, &subject_key("ada")).await.unwrap().unwrap();
        assert_eq!(note.expires_at_ms, None);
    }

    #[tokio::test]
    async fn news_are_read_again_for_a_while_and_long_ones_page_by_page() {
        let store = test_store();
        let revocations = revocations(&store);
        let logins: Vec<Login> =
            (0..u64::from(PAGE) + 5).map(|n| Login { began_ms: n, key: format!("{n:032x}") }).collect();
        for login in &logins {
            revocations.revoke_login(login, None).await.unwrap();
        }
        let (news, cursor) = revocations.news(&NewsCursor::default()).await.unwrap();
        assert!(logins.iter().all(|login| news.concern("ada", login)));
        // A socket that was opened between the token's check and this look must still be found.
        let (again, same) = revocations.news(&cursor).await.unwrap();
        assert_eq!((again, same), (news, cursor));
    }
}
