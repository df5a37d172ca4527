//! Accounts: login, and what is done with them.
//!
//! Invariants:
//! - Nothing of a password is kept but its hash.
//! - The first admin is made only while there is no account at all, or that one alone without a password.
//!
//! It must not know tokens or HTTP.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::audit::AuditLog;
use super::password::{PasswordError, Passwords};
use super::revocation::Revocations;
use super::throttle::SharedThrottle;
use crate::api::{Role, Scope};
use crate::config::settings::AuthSettings;
use crate::store::{Account, SharedStore, StoreError};
use crate::telemetry::time::now_ms;

mod change;
mod import;
mod invite;
mod login;
mod provision;
#[cfg(test)]
mod tests;

pub use change::AccountChange;
pub use import::Imported;
pub use invite::AcceptError;
pub use login::LoginError;
pub(super) use provision::{Person, ProvisionError};

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

/// Why an account could not be made or changed. For operators.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The name will not do.
    #[error("that username will not do: {0}")]
    Username(&'static str),
    /// The password will not do.
    #[error("that password will not do: {0}")]
    Password(&'static str),
    /// A role has no such scope to give.
    #[error("the role `{role}` can't have the scope `{scope}`")]
    Scope {
        /// The role.
        role: Role,
        /// What it does not allow.
        scope: Scope,
    },
    /// No scope at all.
    #[error("without any scope it could do nothing; disable it instead")]
    NoScopes,
    /// An invitation can't hold for so long, or for no time.
    #[error("an invitation holds for 1 second to 30 days")]
    InvitationTime,
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
    throttle: SharedThrottle,
    audit: AuditLog,
    /// An imported hash is taken for its password.
    hash_logs_in: bool,
    /// See [`login::REFUSAL_TAKES`]; shorter only in tests.
    refusal_takes: Duration,
    /// Takes back what an account had got, once it is to have less.
    revocations: Revocations,
}

impl Accounts {
    /// Accounts in `store`, with the settings' limit for failed logins.
    #[must_use]
    pub fn new(store: SharedStore, settings: &AuthSettings) -> Self {
        Self::with(store, settings, Passwords::new())
    }

    fn with(store: SharedStore, settings: &AuthSettings, passwords: Passwords) -> Self {
        Self {
            revocations: Revocations::new(Arc::clone(&store), settings),
            throttle: SharedThrottle::new(settings.max_failed_logins_per_minute, Arc::clone(&store)),
            store,
            passwords,
            audit: AuditLog::none(),
            hash_logs_in: settings.login_with_password_hash,
            refusal_takes: login::REFUSAL_TAKES,
        }
    }

    /// Takes things back by these revocations, which wake whoever closes this gateway's sockets.
    #[must_use]
    pub fn revoking_by(self, revocations: Revocations) -> Self {
        Self { revocations, ..self }
    }

    /// The revocations, for what else is taken back.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Tells logins to that audit log.
    #[must_use]
    pub fn with_audit(self, audit: AuditLog) -> Self {
        Self { audit, ..self }
    }

    /// Makes an account that may do all that its role allows.
    ///
    /// # Errors
    /// [`AccountError`]: the name or the password will not do, or the name is taken.
    pub async fn create(&self, username: &str, password: SecretString, role: Role) -> Result<Account, AccountError> {
        self.create_with(username, password, role, None).await
    }

    /// Makes an account; `scopes`: what it may do, if that is less than all that its role allows.
    ///
    /// # Errors
    /// [`AccountError`]: the name, the password or the scopes will not do, or the name is taken.
    pub async fn create_with(
        &self,
        username: &str,
        password: SecretString,
        role: Role,
        scopes: Option<BTreeSet<Scope>>,
    ) -> Result<Account, AccountError> {
        check_username(username)?;
        check_password(&password)?;
        check_scopes(role, scopes.as_ref())?;
        let hash = self.hash(password).await?;
        self.add(username, hash, role, scopes).await
    }

    /// Makes an account of what has been checked.
    async fn add(
        &self,
        username: &str,
        password_hash: String,
        role: Role,
        scopes: Option<BTreeSet<Scope>>,
    ) -> Result<Account, AccountError> {
        let account = Account {
            subject: Uuid::new_v4().to_string(),
            username: username.to_owned(),
            role,
            password_hash,
            disabled: false,
            created_at_ms: now_ms(),
            scopes,
            password_changed_at_ms: 0,
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

    /// Makes the account `admin` if there is no account at all, or that one alone and taken back: with the password in
    /// `password_file` (one line end after it is cut off; `None` or an empty path: no file), else with one that we make up.
    ///
    /// # Errors
    /// [`AccountError`]: the file can't be read or its password will not do, or the store failed.
    pub async fn ensure_admin(&self, password_file: Option<&Path>) -> Result<FirstAdmin, AccountError> {
        let found = self.store.accounts().await?;
        let taken_back = match found.as_slice() {
            [] => None,
            [only] if is_taken_back(only) => Some(only.clone()),
            _ => return Ok(FirstAdmin::Exists),
        };
        let file = password_file.filter(|path| !path.as_os_str().is_empty());
        let (password, shown) = match file {
            Some(path) => (read_password(path).await?, None),
            None => {
                let made = make_password()?;
                (made.clone(), Some(made))
            }
        };
        let is_made = match taken_back {
            None => match self.create(FIRST_ADMIN, password, Role::Admin).await {
                Ok(_) => true,
                Err(AccountError::Exists) => false,
                Err(other) => return Err(other),
            },
            Some(account) => {
                check_password(&password)?;
                let password_hash = self.hash(password).await?;
                self.store.update_account(Account { password_hash, disabled: false, ..account }).await?
            }
        };
        // Else another gateway on the same store was faster.
        Ok(if is_made { FirstAdmin::Created { password_shown_once: shown } } else { FirstAdmin::Exists })
    }

    /// Is there an account that can manage accounts?
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn can_be_managed(&self) -> Result<bool, AccountError> {
        Ok(self.list().await?.iter().any(Account::can_manage))
    }

    /// Undoes [`ensure_admin`](Self::ensure_admin), because nobody has got to know the password: the next call makes
    /// another. Until then nobody can log in with the account.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn take_back_admin(&self) -> Result<(), AccountError> {
        let taken_back = |account: &mut Account| {
            account.disabled = true;
            account.password_hash.clear();
            Ok(())
        };
        self.change_with(FIRST_ADMIN, taken_back).await.map(drop)
    }

    /// Takes everything back that the account was given.
    async fn revoke(&self, account: &Account) -> Result<(), AccountError> {
        Ok(self.revocations.revoke_subject(&account.subject).await?)
    }

    async fn hash(&self, password: SecretString) -> Result<String, PasswordError> {
        self.passwords.turn().await?.hash(password).await
    }

    /// The account of that name.
    async fn named(&self, username: &str) -> Result<Account, AccountError> {
        self.store.account_by_name(username).await?.ok_or(AccountError::NoSuchAccount)
    }
}

/// Is it what [`Accounts::take_back_admin`] leaves? Stores keep accounts for ever, so one is left.
fn is_taken_back(account: &Account) -> bool {
    account.username == FIRST_ADMIN && account.disabled && account.password_hash.is_empty()
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

/// A set of scopes is part of what the role allows, and not empty.
fn check_scopes(role: Role, scopes: Option<&BTreeSet<Scope>>) -> Result<(), AccountError> {
    let allowed = role.scopes();
    match scopes {
        Some(scopes) if scopes.is_empty() => Err(AccountError::NoScopes),
        Some(scopes) => match scopes.iter().find(|scope| !allowed.contains(scope)) {
            Some(scope) => Err(AccountError::Scope { role, scope: *scope }),
            None => Ok(()),
        },
        None => Ok(()),
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
