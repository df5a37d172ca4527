//! Accounts of people whom a provider outside has logged in: made at the first login, kept to what it says at each.
//!
//! Invariants:
//! - Such an account has no password, so that only the provider lets anybody in by it.
//! - A name that is somebody else's here is never taken over: whoever comes second gets a longer one. A name stays.
//! - Who was shut out here stays out, whatever the provider says.
//!
//! It must not know the provider's protocol.

use std::net::IpAddr;
use std::time::Duration;

use super::{AccountChange, AccountError, Accounts, MAX_NAME_CHARACTERS, check_username};
use crate::api::Role;
use crate::auth::audit::{Deed, words};
use crate::auth::oidc::OidcError;
use crate::auth::random::kept_form;
use crate::store::{Account, StoreError};
use crate::telemetry::{metrics, time::now_ms};

/// No password has this for its hash.
const NO_PASSWORD: &str = "!";
/// Characters of the hash that tells namesakes apart.
const MARK_CHARACTERS: usize = 8;

/// A person, as a provider tells.
#[derive(Debug, Clone)]
pub(in crate::auth) struct Person {
    /// The account's id.
    pub(in crate::auth) subject: String,
    /// What the account may be called, the best first.
    pub(in crate::auth) names: Vec<String>,
    /// The provider's host, for a name that is taken.
    pub(in crate::auth) host: String,
    /// What the provider's words come to here.
    pub(in crate::auth) role: Role,
}

/// Why a person has no account.
#[derive(Debug)]
pub(in crate::auth) enum ProvisionError {
    Disabled,
    Store(StoreError),
}

impl From<AccountError> for ProvisionError {
    fn from(error: AccountError) -> Self {
        Self::Store(match error {
            AccountError::Store(error) => error,
            AccountError::Exists => StoreError::Exists,
            // It was there a moment ago.
            _ => StoreError::Missing,
        })
    }
}

impl From<StoreError> for ProvisionError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Person {
    /// What the account may be called, the best first; the last one is nobody else's.
    fn candidates(&self) -> Vec<String> {
        let cut = |name: &str, room: usize| name.chars().take(room).collect::<String>().trim().to_owned();
        let mut mark = kept_form(&self.subject);
        mark.truncate(MARK_CHARACTERS);
        let usable = self.names.iter().find(|name| check_username(name).is_ok());
        let plain = usable.map_or_else(|| "person".to_owned(), Clone::clone);
        let marked = format!("{}#{mark}", cut(&plain, MAX_NAME_CHARACTERS - MARK_CHARACTERS - 1));
        let with_host = format!("{plain}@{}", self.host);
        [plain, with_host, marked].into_iter().filter(|name| check_username(name).is_ok()).collect()
    }
}

impl Accounts {
    /// The account of a person whom the provider has just logged in, with the role that it gives now.
    pub(in crate::auth) async fn provision(&self, person: &Person) -> Result<Account, ProvisionError> {
        let account = match self.store.account(&person.subject).await? {
            Some(account) => account,
            None => self.first_login(person).await?,
        };
        if account.disabled {
            return Err(ProvisionError::Disabled);
        }
        if account.role == person.role {
            return Ok(account);
        }
        self.set_role(&account, person.role).await
    }

    /// The provider gives that person no access any more: what was given before is taken back, and no more than a
    /// user's rights are left for when it does again.
    pub(in crate::auth) async fn take_away(&self, subject: &str) -> Result<(), ProvisionError> {
        let Some(account) = self.store.account(subject).await? else { return Ok(()) };
        if account.role == Role::User {
            return Ok(self.revoke(&account).await?);
        }
        self.set_role(&account, Role::User).await.map(drop)
    }

    async fn set_role(&self, account: &Account, role: Role) -> Result<Account, ProvisionError> {
        let change = AccountChange { role: Some(role), ..AccountChange::default() };
        let changed = self.change(&account.username, change).await?;
        tracing::info!(subject = changed.subject, %role, "the provider gives a person another role");
        // What began up to this millisecond may be taken back; the login that follows must not be.
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok(changed)
    }

    async fn first_login(&self, person: &Person) -> Result<Account, ProvisionError> {
        for username in person.candidates() {
            let account = Account {
                subject: person.subject.clone(),
                username,
                role: person.role,
                password_hash: NO_PASSWORD.to_owned(),
                disabled: false,
                created_at_ms: now_ms(),
                scopes: None,
                password_changed_at_ms: 0,
                revision: 0,
            };
            match self.store.create_account(account.clone()).await {
                Ok(()) => {
                    tracing::info!(subject = account.subject, "an account was made at its owner's first login");
                    return Ok(account);
                }
                // The name is somebody's, or this very person has just come in elsewhere.
                Err(StoreError::Exists) => {
                    if let Some(account) = self.store.account(&person.subject).await? {
                        return Ok(account);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(ProvisionError::Store(StoreError::Exists))
    }

    /// May that address try, as far as failed logins say?
    pub(in crate::auth) async fn check_address(&self, peer: IpAddr) -> Result<(), OidcError> {
        self.throttle.check_address(peer).await.map_err(|retry_after| {
            metrics::login("throttled");
            OidcError::Throttled { retry_after }
        })
    }

    /// Counts the outcome of a login at the provider and writes it down. `subject`: whom it has vouched for, if it has.
    pub(in crate::auth) async fn told_by_provider(
        &self,
        outcome: &Result<Account, OidcError>,
        subject: Option<String>,
        peer: IpAddr,
    ) {
        let deed = Deed { address: Some(peer), target: subject, ..Deed::new(words::OIDC_LOGIN) };
        match outcome {
            Ok(account) => {
                metrics::login("ok");
                tracing::info!(subject = account.subject, %peer, "a login at the provider succeeded");
                self.audit.tell(deed.of(account));
            }
            // There is no bound to the first; the others say so in the log where they happen.
            Err(OidcError::Throttled { .. } | OidcError::Store(_) | OidcError::Random) => {}
            // Nobody's fault who logs in, and worth a trace: somebody was there and was not let in.
            Err(failed @ (OidcError::Away | OidcError::Broken)) => {
                self.audit.tell(Deed { outcome: failed.word(), ..deed });
            }
            Err(refused) => {
                // What a guesser would bring.
                let is_guess = matches!(
                    refused,
                    OidcError::State | OidcError::Code | OidcError::BadToken | OidcError::OneTimeCode
                );
                if is_guess {
                    self.throttle.address_failed(peer).await;
                }
                metrics::login("refused");
                tracing::info!(reason = refused.word(), %peer, "a login at the provider was refused");
                self.audit.tell(Deed { outcome: refused.word(), ..deed });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::fake_store::{FakeStore, account};
    use crate::config::settings::AuthSettings;
    use crate::store::{SharedStore, Store};

    fn person(sub: &str, name: &str, role: Role) -> Person {
        let names = vec![name.to_owned(), sub.to_owned()];
        Person { subject: format!("https://id.example.com#{sub}"), names, host: "id.example.com".to_owned(), role }
    }

    async fn accounts_with(others: &[&str]) -> Accounts {
        let store = Arc::new(FakeStore::default());
        for name in others {
            store.create_account(account(name, Role::Admin)).await.unwrap();
        }
        Accounts::new(store as SharedStore, &AuthSettings::default())
    }

    #[tokio::test]
    async fn a_person_gets_an_account_once_and_its_role_follows_the_provider() {
        let accounts = accounts_with(&[]).await;
        let first = accounts.provision(&person("7", "ada", Role::Admin)).await.unwrap();
        assert_eq!((first.username.as_str(), first.role, first.password_hash.as_str()), ("ada", Role::Admin, "!"));
        let again = accounts.provision(&person("7", "countess", Role::User)).await.unwrap();
        assert_eq!((again.subject, again.username, again.role), (first.subject, "ada".to_owned(), Role::User));
        assert_eq!(accounts.list().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_name_that_is_taken_is_never_taken_over() {
        let accounts = accounts_with(&["admin", "admin@id.example.com"]).await;
        let made = accounts.provision(&person("7", "admin", Role::User)).await.unwrap();
        assert!(made.username.starts_with("admin#"), "{}", made.username);
        let accounts = accounts_with(&["admin"]).await;
        let made = accounts.provision(&person("7", "admin", Role::User)).await.unwrap();
        assert_eq!(made.username, "admin@id.example.com");
        assert_eq!(accounts.named("admin").await.unwrap().role, Role::Admin, "untouched");
    }

    #[tokio::test]
    async fn names_that_will_not_do_are_passed_over() {
        let accounts = accounts_with(&[]).await;
        let made = accounts.provision(&person("seven", "a\u{1b}[31m", Role::User)).await.unwrap();
        assert_eq!(made.username, "seven");
        let long = "x".repeat(64);
        for sub in ["8", "9"] {
            let made = accounts.provision(&person(sub, &long, Role::User)).await.unwrap();
            assert!(made.username.chars().count() <= 64);
        }
        assert_eq!(accounts.list().await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn who_is_disabled_stays_out_and_no_password_lets_in() {
        let accounts = accounts_with(&[]).await;
        let made = accounts.provision(&person("7", "ada", Role::User)).await.unwrap();
        for guess in ["!", "", "password"] {
            let refused = accounts.login("ada", guess.into(), [192, 0, 2, 1].into()).await;
            assert!(refused.is_err(), "{guess:?}");
        }
        accounts.set_disabled("ada", true).await.unwrap();
        let refused = accounts.provision(&person("7", "ada", Role::Admin)).await;
        assert!(matches!(refused, Err(ProvisionError::Disabled)));
        assert_eq!(accounts.store.account(&made.subject).await.unwrap().unwrap().role, Role::User);
    }

    #[tokio::test]
    async fn whoever_loses_access_loses_the_role_too() {
        let accounts = accounts_with(&[]).await;
        let admin = person("7", "ada", Role::Admin);
        accounts.provision(&admin).await.unwrap();
        accounts.take_away(&admin.subject).await.unwrap();
        assert_eq!(accounts.named("ada").await.unwrap().role, Role::User);
        accounts.take_away("https://id.example.com#nobody").await.unwrap();
    }
}
