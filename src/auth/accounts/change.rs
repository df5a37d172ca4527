//! What is changed of an account: its role, its scopes, its password, whether it is shut out.
//!
//! Invariants:
//! - A change is made upon what was seen: two at once both hold, in some order.
//! - What takes something away takes it from tokens and sockets too, on every gateway of the store.
//!
//! It must not know who asks for it, or whether they may.

use std::collections::BTreeSet;

use secrecy::SecretString;

use super::{AccountError, Accounts, check_password, check_scopes};
use crate::api::{Role, Scope};
use crate::store::Account;
use crate::telemetry::time::now_ms;

/// What to change of an account; `None` leaves a field alone.
#[derive(Debug, Clone, Default)]
pub struct AccountChange {
    /// Its role.
    pub role: Option<Role>,
    /// What it may do, or (`Some(None)`) all that its role allows.
    pub scopes: Option<Option<BTreeSet<Scope>>>,
    /// Shut out, or let in again.
    pub disabled: Option<bool>,
    /// Its password.
    pub password: Option<SecretString>,
}

impl Accounts {
    /// Changes an account. A new password, shutting out and taking scopes away revoke what was issued before.
    ///
    /// # Errors
    /// [`AccountError`]: no such account, or the password or the scopes will not do.
    pub async fn change(&self, username: &str, change: AccountChange) -> Result<Account, AccountError> {
        let password_hash = match change.password {
            Some(password) => {
                check_password(&password)?;
                Some(self.hash(password).await?)
            }
            None => None,
        };
        let mut takes_away = false;
        let changed = self
            .change_with(username, |account| {
                let had = account.allowed();
                account.role = change.role.unwrap_or(account.role);
                if let Some(scopes) = &change.scopes {
                    check_scopes(account.role, scopes.as_ref())?;
                    account.scopes.clone_from(scopes);
                }
                let shuts_out = change.disabled == Some(true) && !account.disabled;
                account.disabled = change.disabled.unwrap_or(account.disabled);
                if let Some(hash) = &password_hash {
                    account.password_hash.clone_from(hash);
                    account.password_changed_at_ms = now_ms();
                }
                takes_away = shuts_out || password_hash.is_some() || !had.is_subset(&account.allowed());
                Ok(())
            })
            .await?;
        if takes_away {
            self.revoke(&changed).await?;
        }
        Ok(changed)
    }

    /// Shuts an account out, or lets it in again. Its tokens are refused from the next request on.
    ///
    /// # Errors
    /// [`AccountError::NoSuchAccount`] or [`AccountError::Store`].
    pub async fn set_disabled(&self, username: &str, disabled: bool) -> Result<Account, AccountError> {
        self.change(username, AccountChange { disabled: Some(disabled), ..AccountChange::default() }).await
    }

    /// Gives an account another password. What was issued before is refused from then on.
    ///
    /// # Errors
    /// [`AccountError`]: no such account, or the password will not do.
    pub async fn set_password(&self, username: &str, password: SecretString) -> Result<Account, AccountError> {
        self.change(username, AccountChange { password: Some(password), ..AccountChange::default() }).await
    }

    /// Changes the account of that name as `change` says, upon what it is at that moment.
    pub(super) async fn change_with<F>(&self, username: &str, mut change: F) -> Result<Account, AccountError>
    where
        F: FnMut(&mut Account) -> Result<(), AccountError> + Send,
    {
        loop {
            let seen = self.named(username).await?;
            let mut wanted = seen.clone();
            change(&mut wanted)?;
            if wanted == seen {
                return Ok(seen);
            }
            // `false`: somebody was faster, so each round brings somebody's change about.
            if self.store.update_account(wanted.clone()).await? {
                return Ok(Account { revision: wanted.revision + 1, ..wanted });
            }
        }
    }
}
