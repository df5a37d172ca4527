//! API keys: what services log in with. Shown once, kept as a hash, for one account, with scopes and an end.
//!
//! Invariants:
//! - A key may do no more than its account may at that moment, and no more than it was made for.
//! - Its public id is made of its hash: it helps nobody to make the key. All tokens and sockets that come from a key
//!   carry that id as the name of their login, so that they end with it.
//! - A wrong key, one that has ended and one of a disabled account look the same.
//!
//! It must not know HTTP or methods.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::random::{is_secret, kept_form, make_secret};
use crate::api::{Login, Principal, Scope};
use crate::store::{Account, Note, NoteKind, SharedStore, StoreError};
use crate::telemetry::time::now_ms;

/// What a key begins with: people and scanners see what they have found.
const PREFIX: &str = "ccgk_";
/// What a key's public id begins with: no other login has such a name, but by one chance in four thousand million.
const MARK: &str = "00000000";
/// Characters of the hash in a key's public id.
const HASH_CHARACTERS: usize = 24;
/// Most keys of one account.
const MAX_KEYS: usize = 50;
/// Longest name of a key, in characters.
const MAX_NAME_CHARACTERS: usize = 64;
/// Keys read at once.
const PAGE: u32 = 500;
/// How long a key serves unless its maker says otherwise: 90 days.
pub const DEFAULT_LIFE_SECONDS: u64 = 90 * 24 * 3_600;
/// The longest that a key may serve: ten years.
pub const LONGEST_LIFE_SECONDS: u64 = 10 * 365 * 24 * 3_600;

/// Why there is no key. The texts are for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The account has as many as it may.
    #[error("the account has 50 API keys, and may not have more; revoke one")]
    TooMany,
    /// The name will not do.
    #[error("a key's name has 1 to 64 characters, none of them control characters")]
    Name,
    /// It would end too late, or at once.
    #[error("a key serves for 1 second to 10 years")]
    Life,
    /// Its scopes are none, or more than its maker has.
    #[error("a key may do no more than whoever makes it, and something")]
    Scopes,
    /// No such key, or not the caller's.
    #[error("there is no such API key")]
    Missing,
    /// The system gives no random bytes.
    #[error("no key can be made now; try again")]
    Random,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key as it is kept and told: everything but itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its public id.
    pub id: String,
    /// The account that it logs in.
    pub subject: String,
    /// Its owner's word for it.
    pub name: String,
    /// What it may do, as far as its account may.
    pub scopes: BTreeSet<Scope>,
    /// When it was made.
    pub created_at_ms: u64,
    /// When it ends.
    pub expires_at_ms: u64,
    /// The SHA-256 of it.
    hash: String,
}

impl ApiKey {
    /// The name that every login by this key has.
    #[must_use]
    pub fn login(&self) -> Login {
        Login { began_ms: self.created_at_ms, key: self.id.clone() }
    }

    /// The account as this key may act for it.
    #[must_use]
    pub fn narrow(&self, account: Account) -> Account {
        let allowed = account.allowed().intersection(&self.scopes).copied().collect();
        Account { scopes: Some(allowed), ..account }
    }
}

/// What a key is to be.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The account that it logs in.
    pub subject: String,
    /// Its owner's word for it.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// How long it serves, in seconds.
    pub life_seconds: u64,
}

/// The keys of all accounts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    store: SharedStore,
}

/// Is this meant to be an API key? For telling it from an access token.
#[must_use]
pub fn is_meant(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The public id of the key that a caller's login came from, if it was one.
#[must_use]
pub fn id_of(principal: &Principal) -> Option<&str> {
    let name = principal.login.key.as_str();
    name.starts_with(MARK).then_some(name)
}

impl ApiKeys {
    /// The keys in that store.
    #[must_use]
    pub fn new(store: SharedStore) -> Self {
        Self { store }
    }

    /// Makes a key. Its text is given here and never again.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn create(&self, new: NewKey) -> Result<(ApiKey, SecretString), KeyError> {
        let characters = new.name.chars().count();
        if !(1..=MAX_NAME_CHARACTERS).contains(&characters) || new.name.chars().any(char::is_control) {
            return Err(KeyError::Name);
        }
        if !(1..=LONGEST_LIFE_SECONDS).contains(&new.life_seconds) {
            return Err(KeyError::Life);
        }
        if new.scopes.is_empty() {
            return Err(KeyError::Scopes);
        }
        if self.of(Some(&new.subject)).await?.len() >= MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        let secret = make_secret().map_err(|_| KeyError::Random)?;
        let (hash, now) = (kept_form(&secret), now_ms());
        let key = ApiKey {
            id: id(&hash),
            subject: new.subject,
            name: new.name,
            scopes: new.scopes,
            created_at_ms: now,
            expires_at_ms: now.saturating_add(new.life_seconds.saturating_mul(1_000)),
            hash,
        };
        let value = serde_json::to_string(&key).map_err(|_| KeyError::Random)?;
        let note = Note { kind: NoteKind::ApiKey, key: key.id.clone(), value, expires_at_ms: Some(key.expires_at_ms) };
        if !self.store.put_note(note).await? {
            return Err(KeyError::Random);
        }
        tracing::info!(subject = key.subject, key = key.id, "an API key was made");
        Ok((key, format!("{PREFIX}{secret}").into()))
    }

    /// The keys of that account, or everybody's, in no order that means anything.
    ///
    /// # Errors
    /// The store's.
    pub async fn of(&self, subject: Option<&str>) -> Result<Vec<ApiKey>, StoreError> {
        let (mut keys, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.store.notes(NoteKind::ApiKey, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(keys) };
            after.clone_from(&last.key);
            for note in &page {
                let key = decode(note)?;
                if subject.is_none_or(|subject| key.subject == subject) {
                    keys.push(key);
                }
            }
        }
    }

    /// The key of that public id.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        self.store.note(NoteKind::ApiKey, id).await?.as_ref().map(decode).transpose()
    }

    /// Ends a key; `subject`: only if it is that account's. What came of it must be revoked by the caller.
    ///
    /// # Errors
    /// [`KeyError::Missing`] or [`KeyError::Store`].
    pub async fn revoke(&self, id: &str, subject: Option<&str>) -> Result<ApiKey, KeyError> {
        let note = self.store.note(NoteKind::ApiKey, id).await?.ok_or(KeyError::Missing)?;
        let key = decode(&note)?;
        if subject.is_some_and(|subject| key.subject != subject) {
            return Err(KeyError::Missing);
        }
        // A key's note never changes: if it is not as it was, it has gone.
        self.store.change_note(NoteKind::ApiKey, id, &note.value, None, None).await?;
        tracing::info!(subject = key.subject, key = key.id, "an API key was revoked");
        Ok(key)
    }

    /// Whose key is this? The account is as the key may act for it; `None` for whatever is wrong with it.
    ///
    /// # Errors
    /// The store's.
    pub async fn verify(&self, text: &str) -> Result<Option<(ApiKey, Account)>, StoreError> {
        let Some(secret) = text.strip_prefix(PREFIX).filter(|secret| is_secret(secret)) else { return Ok(None) };
        let hash = kept_form(secret);
        let Some(key) = self.find(&id(&hash)).await? else { return Ok(None) };
        if !bool::from(key.hash.as_bytes().ct_eq(hash.as_bytes())) {
            return Ok(None);
        }
        let account = self.store.account(&key.subject).await?.filter(|account| !account.disabled);
        Ok(account.map(|account| (key.clone(), key.narrow(account))))
    }
}

/// The public id of a key with that hash.
fn id(hash: &str) -> String {
    format!("{MARK}{}", &hash[..HASH_CHARACTERS])
}

fn decode(note: &Note) -> Result<ApiKey, StoreError> {
    serde_json::from_str(&note.value)
        .map_err(|_| StoreError::Damaged("an API key's record is not the JSON it should be".to_owned()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::api::Role;
    use crate::auth::fake_store::account;
    use crate::store::sqlite::test_store;

    fn new_key(account: &Account, scopes: &[Scope]) -> NewKey {
        let scopes = scopes.iter().copied().collect();
        NewKey { subject: account.subject.clone(), name: "ci".to_owned(), scopes, life_seconds: 60 }
    }

    async fn world() -> (SharedStore, ApiKeys, Account) {
        let (store, ada) = (test_store(), account("ada", Role::Admin));
        store.create_account(ada.clone()).await.unwrap();
        (store.clone(), ApiKeys::new(store), ada)
    }

    #[tokio::test]
    async fn a_key_lets_its_account_in_with_its_own_scopes_until_it_is_revoked() {
        let (_store, keys, ada) = world().await;
        let (key, text) = keys.create(new_key(&ada, &[Scope::Run, Scope::Watch])).await.unwrap();
        let text = text.expose_secret();
        let (found, acting) = keys.verify(text).await.unwrap().unwrap();
        assert_eq!(found, key);
        assert_eq!(acting.allowed(), [Scope::Run, Scope::Watch].into());
        for wrong in [
            text[..text.len() - 1].to_owned(),
            format!("{text}A"),
            text.replace(PREFIX, ""),
            text.replace(PREFIX, "ccgr_"),
            format!("{PREFIX}{}", make_secret().unwrap()),
            format!("{PREFIX}{}", key.id),
            PREFIX.to_owned(),
        ] {
            assert!(keys.verify(&wrong).await.unwrap().is_none(), "{wrong}");
        }
        assert_eq!(keys.revoke(&key.id, Some("another")).await, Err(KeyError::Missing));
        assert!(keys.verify(text).await.unwrap().is_some());
        keys.revoke(&key.id, Some(&ada.subject)).await.unwrap();
        assert!(keys.verify(text).await.unwrap().is_none());
        assert_eq!(keys.revoke(&key.id, None).await, Err(KeyError::Missing));
    }

    #[tokio::test]
    async fn a_key_has_what_its_account_has_lost_no_more() {
        let (store, keys, ada) = world().await;
        let (_, text) = keys.create(new_key(&ada, &Scope::ALL)).await.unwrap();
        let allowed = async || keys.verify(text.expose_secret()).await.unwrap().map(|(_, account)| account.allowed());
        assert_eq!(allowed().await, Some(Role::Admin.scopes()));
        store.update_account(Account { role: Role::User, ..ada.clone() }).await.unwrap();
        assert_eq!(allowed().await, Some(Role::User.scopes()));
        store.update_account(Account { disabled: true, revision: 1, ..ada }).await.unwrap();
        assert_eq!(allowed().await, None);
    }

    #[tokio::test]
    async fn m3_what_is_kept_of_a_key_does_not_help_to_make_it() {
        let (store, keys, ada) = world().await;
        let (key, text) = keys.create(new_key(&ada, &[Scope::Run])).await.unwrap();
        let secret = text.expose_secret().strip_prefix(PREFIX).unwrap().to_owned();
        let note = store.note(NoteKind::ApiKey, &key.id).await.unwrap().unwrap();
        assert!(!note.value.contains(&secret) && !format!("{key:?} {text:?}").contains(&secret));
    }

    #[tokio::test]
    async fn e8_an_account_has_so_many_keys_and_no_more_and_each_is_of_use() {
        let (store, keys, ada) = world().await;
        let bob = account("bob", Role::User);
        store.create_account(bob.clone()).await.unwrap();
        for _ in 0..MAX_KEYS {
            keys.create(new_key(&ada, &[Scope::Run])).await.unwrap();
        }
        assert_eq!(keys.create(new_key(&ada, &[Scope::Run])).await.unwrap_err(), KeyError::TooMany);
        keys.create(new_key(&bob, &[Scope::Run])).await.unwrap();
        assert_eq!(keys.of(Some(&ada.subject)).await.unwrap().len(), MAX_KEYS);
        assert_eq!(keys.of(None).await.unwrap().len(), MAX_KEYS + 1);
        let bad = |new: NewKey| async { keys.create(new).await.unwrap_err() };
        assert_eq!(bad(new_key(&bob, &[])).await, KeyError::Scopes);
        assert_eq!(bad(NewKey { name: "a\nb".to_owned(), ..new_key(&bob, &[Scope::Run]) }).await, KeyError::Name);
        assert_eq!(bad(NewKey { name: String::new(), ..new_key(&bob, &[Scope::Run]) }).await, KeyError::Name);
        for life_seconds in [0, LONGEST_LIFE_SECONDS + 1] {
            assert_eq!(bad(NewKey { life_seconds, ..new_key(&bob, &[Scope::Run]) }).await, KeyError::Life);
        }
    }
}
