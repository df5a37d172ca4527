//! Accounts: login, and what operators do with them.
//!
//! Invariants:
//! - A refused login looks the same whether the name is unknown, the password wrong or the account disabled,
//!   and costs the same work.
//! - Nothing of a password is kept but its hash.
//! - The first admin is made only while there is no account at all.
//!
//! It must not know tokens or HTTP.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::password::{PasswordError, Passwords};
use super::throttle::Throttle;
use crate::api::Role;
use crate::config::settings::AuthSettings;
use crate::store::{Account, SharedStore, StoreError};
use crate::telemetry::{metrics, time::now_ms};

#[cfg(test)]
mod tests;

/// Longest name, in characters.
const MAX_NAME_CHARACTERS: usize = 64;
/// Shortest password that a person may choose, in characters.
const MIN_PASSWORD_CHARACTERS: usize = 8;
/// Longest password, in bytes.
const MAX_PASSWORD_BYTES: usize = 1_024;
/// Random bytes of a password that we make: 24 characters of base64url.
const MADE_PASSWORD_BYTES: usize = 18;
/// The first admin's name.
const FIRST_ADMIN: &str = "admin";

/// Why a login failed. The texts are for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No such name, not its password, or disabled: a caller is not told which. 401.
    #[error("the username or the password is wrong")]
    Refused,
    /// Too many failed logins of this name or from this address. 429.
    #[error("too many failed logins; try again later")]
    Throttled {
        /// The next attempt is let through after exactly so long.
        retry_after: Duration,
    },
    /// The account can't be looked up now. 503.
    #[error("the account can't be looked up now; try again")]
    Store(#[source] StoreError),
    /// The password can't be verified now. 503.
    #[error("the password can't be verified now; try again")]
    Password(#[source] PasswordError),
}

/// Why an account could not be made or changed. For operators.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The name will not do.
    #[error("that username will not do: {0}")]
    Username(&'static str),
    /// The password will not do.
    #[error("that password will not do: {0}")]
    Password(&'static str),
    /// The name is taken.
    #[error("there is already an account of that name")]
    Exists,
    /// No account of that name.
    #[error("there is no account of that name")]
    NoSuchAccount,
    /// The file with the first admin's password can't be read.
    #[error("the admin password file {} can't be read: {source}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The password can't be hashed.
    #[error(transparent)]
    Hash(#[from] PasswordError),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for AccountError {
    fn from(problem: StoreError) -> Self {
        match problem {
            StoreError::Exists => Self::Exists,
            StoreError::Missing => Self::NoSuchAccount,
            other => Self::Store(other),
        }
    }
}

/// What [`Accounts::ensure_admin`] found or did.
#[derive(Debug)]
pub enum FirstAdmin {
    /// There are accounts already: nothing was done.
    Exists,
    /// `admin` was made.
    Created {
        /// The password that we made up for it; show it once, to the operator, and never log it. `None` if
        /// it came from a file.
        password_shown_once: Option<SecretString>,
    },
}

/// Logins and accounts. One for the whole process: it owns the bounds on hashing and guessing.
#[derive(Debug)]
pub struct Accounts {
    store: SharedStore,
    passwords: Passwords,
    throttle: Throttle,
}

impl Accounts {
    /// Accounts in `store`, with the settings' limit for failed logins.
    #[must_use]
    pub fn new(store: SharedStore, settings: &AuthSettings) -> Self {
        Self::with(store, settings, Passwords::new())
    }

    fn with(store: SharedStore, settings: &AuthSettings, passwords: Passwords) -> Self {
        Self { store, passwords, throttle: Throttle::new(settings.max_failed_logins_per_minute) }
    }

    /// The account of that name, if that is its password. Counts the outcome in the metrics.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn login(&self, username: &str, password: SecretString, peer: IpAddr) -> Result<Account, LoginError> {
        let outcome = self.judge(username, password, peer).await;
        match &outcome {
            Ok(account) => {
                metrics::login("ok");
                tracing::info!(subject = account.subject, %peer, "a login succeeded");
            }
            Err(LoginError::Refused) => {
                metrics::login("refused");
                tracing::info!(%peer, "a login was refused");
            }
            Err(LoginError::Throttled { .. }) => {
                metrics::login("throttled");
                tracing::info!(%peer, "a login was held back: too many failed ones");
            }
            Err(LoginError::Store(problem)) => tracing::error!(%problem, "a login failed for want of the store"),
            Err(LoginError::Password(problem)) => tracing::error!(%problem, "a login failed for want of a hash"),
        }
        outcome
    }

    async fn judge(&self, username: &str, password: SecretString, peer: IpAddr) -> Result<Account, LoginError> {
        let throttle = || {
            let now = Instant::now();
            self.throttle.check(username, peer, now).map_err(|retry_after| LoginError::Throttled { retry_after })
        };
        throttle()?;
        let account = match check_username(username) {
            Ok(()) => self.store.account_by_name(username).await.map_err(LoginError::Store)?,
            Err(_) => None,
        };
        let turn = self.passwords.turn().await.map_err(LoginError::Password)?;
        // Again: others may have failed while this one waited for its turn. So logins sent at once pass
        // the limit by no more than the turns there are.
        throttle()?;
        let attempt = self.throttle.attempt(username, peer);
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        let (fits, turn) = turn.verify(password, hash).await.map_err(LoginError::Password)?;
        let account = account.filter(|account| fits && !account.disabled);
        match account {
            Some(_) => attempt.succeeded(),
            None => drop(attempt),
        }
        // Only now: the next one's check must see this one's failure.
        drop(turn);
        account.ok_or(LoginError::Refused)
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`AccountError`]: the name or the password will not do, or the name is taken.
    pub async fn create(&self, username: &str, password: SecretString, role: Role) -> Result<Account, AccountError> {
        check_username(username)?;
        check_password(&password)?;
        let account = Account {
            subject: Uuid::new_v4().to_string(),
            username: username.to_owned(),
            role,
            password_hash: self.hash(password).await?,
            disabled: false,
            created_at_ms: now_ms(),
            scopes: None,
            password_changed_at_ms: now_ms(),
            generation: 0,
            revision: 0,
        };
        self.store.create_account(account.clone()).await?;
        Ok(account)
    }

    /// Every account, by name.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn list(&self) -> Result<Vec<Account>, AccountError> {
        Ok(self.store.accounts().await?)
    }

    /// Shuts an account out, or lets it in again. Its tokens are refused from the next request on.
    ///
    /// # Errors
    /// [`AccountError::NoSuchAccount`] or [`AccountError::Store`].
    pub async fn set_disabled(&self, username: &str, disabled: bool) -> Result<Account, AccountError> {
        let account = Account { disabled, ..self.named(username).await? };
        self.store.update_account(account.clone()).await?;
        Ok(account)
    }

    /// Gives an account another password.
    ///
    /// # Errors
    /// [`AccountError`]: no such account, or the password will not do.
    pub async fn set_password(&self, username: &str, password: SecretString) -> Result<Account, AccountError> {
        check_password(&password)?;
        let password_hash = self.hash(password).await?;
        // Read after the slow part, so that a change made meanwhile is not written over.
        let account = Account { password_hash, ..self.named(username).await? };
        self.store.update_account(account.clone()).await?;
        Ok(account)
    }

    /// Makes the account `admin` if there is no account at all: with the password in `password_file` (one
    /// line end after it is cut off; `None` or an empty path: no file), else with one that we make up.
    ///
    /// # Errors
    /// [`AccountError`]: the file can't be read or its password will not do, or the store failed.
    pub async fn ensure_admin(&self, password_file: Option<&Path>) -> Result<FirstAdmin, AccountError> {
        if !self.store.accounts().await?.is_empty() {
            return Ok(FirstAdmin::Exists);
        }
        let file = password_file.filter(|path| !path.as_os_str().is_empty());
        let (password, shown) = match file {
            Some(path) => (read_password(path).await?, None),
            None => {
                let made = make_password()?;
                (made.clone(), Some(made))
            }
        };
        match self.create(FIRST_ADMIN, password, Role::Admin).await {
            Ok(_) => Ok(FirstAdmin::Created { password_shown_once: shown }),
            // Another gateway on the same store was faster.
            Err(AccountError::Exists) => Ok(FirstAdmin::Exists),
            Err(other) => Err(other),
        }
    }

    async fn hash(&self, password: SecretString) -> Result<String, PasswordError> {
        self.passwords.turn().await?.hash(password).await
    }

    async fn named(&self, username: &str) -> Result<Account, AccountError> {
        self.store.account_by_name(username).await?.ok_or(AccountError::NoSuchAccount)
    }
}

fn check_username(username: &str) -> Result<(), AccountError> {
    let bad = |problem| Err(AccountError::Username(problem));
    if username.is_empty() || username.chars().count() > MAX_NAME_CHARACTERS {
        bad("it has 1 to 64 characters")
    } else if username.chars().any(char::is_control) {
        bad("it has no control characters")
    } else if username.trim() != username {
        bad("it has no blanks at its ends")
    } else {
        Ok(())
    }
}

fn check_password(password: &SecretString) -> Result<(), AccountError> {
    let password = password.expose_secret();
    if password.chars().count() < MIN_PASSWORD_CHARACTERS {
        Err(AccountError::Password("it has 8 characters or more"))
    } else if password.len() > MAX_PASSWORD_BYTES {
        Err(AccountError::Password("it has 1024 bytes at most"))
    } else {
        Ok(())
    }
}

async fn read_password(path: &Path) -> Result<SecretString, AccountError> {
    let unreadable = |source| AccountError::PasswordFile { path: path.to_owned(), source };
    let text: SecretString = tokio::fs::read_to_string(path).await.map_err(unreadable)?.into();
    let line = text.expose_secret();
    let line = line.strip_suffix('\n').unwrap_or(line);
    Ok(line.strip_suffix('\r').unwrap_or(line).into())
}

/// A password that nobody chose: to be shown once and never logged.
///
/// # Errors
/// When the system gives no random bytes.
pub fn make_password() -> Result<SecretString, PasswordError> {
    let mut random = [0_u8; MADE_PASSWORD_BYTES];
    getrandom::fill(&mut random).map_err(|problem| PasswordError::Hash(problem.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(random).into())
}
