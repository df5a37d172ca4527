//! Logging in: a name and a password, judged so that a guesser learns nothing.
//!
//! Invariants:
//! - A refused login looks the same whether the name is unknown, the password wrong or the account disabled: the same
//!   words, the same work, and not sooner than [`REFUSAL_TAKES`] after it had its turn. The last is for hashes that
//!   were imported: they cost something else than ours.
//! - An imported hash is replaced by one of ours at the first login with its password.
//!
//! It must not know HTTP.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::{AcceptError, Accounts, check_username};
use crate::auth::audit::{Deed, REFUSED, words};
use crate::auth::keys::{ApiKey, ApiKeys};
use crate::auth::password::{PasswordError, Turn};
use crate::auth::system_hash::Scheme;
use crate::store::{Account, StoreError};
use crate::telemetry::metrics;

/// A login is refused no sooner than so long after its turn began: longer than any hash that systems usually keep takes.
pub(super) const REFUSAL_TAKES: Duration = Duration::from_millis(300);

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

/// A login that was let in or not, and whose account it was aimed at.
struct Judged {
    outcome: Result<Account, LoginError>,
    aimed_at: Option<Account>,
}

impl Accounts {
    /// The account of that name, if that is its password. Counts the outcome in the metrics and writes it into the
    /// audit log; attempts that were held back are counted only, since there is no bound to them.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn login(&self, username: &str, password: SecretString, peer: IpAddr) -> Result<Account, LoginError> {
        let Judged { outcome, aimed_at } = self.judge(username, password, peer).await;
        let deed = Deed { address: Some(peer), ..Deed::new(words::LOGIN) };
        match &outcome {
            Ok(account) => {
                metrics::login("ok");
                tracing::info!(subject = account.subject, %peer, "a login succeeded");
                self.audit.tell(deed.of(account));
            }
            Err(LoginError::Refused) => {
                metrics::login("refused");
                tracing::info!(%peer, "a login was refused");
                // A name that is nobody's is not written down: people type passwords there.
                let deed = Deed { outcome: REFUSED, ..deed };
                self.audit.tell(aimed_at.as_ref().map_or_else(|| deed.clone(), |account| deed.clone().of(account)));
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

    /// The API key that this is, and its account as the key may act for it.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn login_with_key(&self, text: &SecretString, peer: IpAddr) -> Result<(ApiKey, Account), LoginError> {
        let held_back = |retry_after| {
            metrics::login("throttled");
            LoginError::Throttled { retry_after }
        };
        self.throttle.check_address(peer).await.map_err(held_back)?;
        let found = ApiKeys::new(Arc::clone(&self.store)).verify(text.expose_secret()).await;
        let deed = Deed { address: Some(peer), ..Deed::new(words::KEY_LOGIN) };
        match found.map_err(LoginError::Store)? {
            Some((key, account)) => {
                metrics::login("ok");
                tracing::info!(subject = account.subject, key = key.id, %peer, "an API key logged in");
                self.audit.tell(Deed { target: Some(key.id.clone()), ..deed.of(&account) });
                Ok((key, account))
            }
            None => {
                self.throttle.address_failed(peer).await;
                metrics::login("refused");
                tracing::info!(%peer, "an API key was refused");
                self.audit.tell(Deed { outcome: REFUSED, ..deed });
                Err(LoginError::Refused)
            }
        }
    }

    /// Gives an account another password, for whoever has its password until now. What was issued before is refused.
    ///
    /// # Errors
    /// [`AcceptError::Login`] as for a login, [`AcceptError::Account`] if the new password will not do.
    pub async fn change_own_password(
        &self,
        username: &str,
        old: SecretString,
        new: SecretString,
        peer: IpAddr,
    ) -> Result<Account, AcceptError> {
        let account = self.login(username, old, peer).await.map_err(AcceptError::Login)?;
        let changed = self.set_password(&account.username, new).await?;
        // What began up to this millisecond is taken back; the login that follows must not be.
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.audit.tell(Deed { address: Some(peer), ..Deed::new(words::PASSWORD) }.of(&changed));
        Ok(changed)
    }

    async fn judge(&self, username: &str, password: SecretString, peer: IpAddr) -> Judged {
        let mut aimed_at = None;
        let outcome = self.judged(username, password, peer, &mut aimed_at).await;
        Judged { outcome, aimed_at }
    }

    async fn judged(
        &self,
        username: &str,
        password: SecretString,
        peer: IpAddr,
        aimed_at: &mut Option<Account>,
    ) -> Result<Account, LoginError> {
        let throttle = async || {
            let checked = self.throttle.check(username, peer).await;
            checked.map_err(|retry_after| LoginError::Throttled { retry_after })
        };
        throttle().await?;
        let account = match check_username(username) {
            Ok(()) => self.store.account_by_name(username).await.map_err(LoginError::Store)?,
            Err(_) => None,
        };
        aimed_at.clone_from(&account);
        let turn = self.passwords.turn().await.map_err(LoginError::Password)?;
        // Again: others may have failed while this one waited for its turn. So logins sent at once pass
        // the limit by no more than the turns there are.
        throttle().await?;
        let began = tokio::time::Instant::now();
        let attempt = self.throttle.attempt(username, peer);
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        let is_hash = self.hash_logs_in && hash.as_deref().is_some_and(|hash| is_that_hash(&password, hash));
        let (fits, turn) = turn.verify(password.clone(), hash).await.map_err(LoginError::Password)?;
        let account = account.filter(|account| (fits || is_hash) && !account.disabled);
        let Some(account) = account else {
            drop(attempt);
            self.throttle.failed(username, peer).await;
            // Only now: the next one's check must see this one's failure.
            drop(turn);
            tokio::time::sleep_until(began + self.refusal_takes).await;
            return Err(LoginError::Refused);
        };
        attempt.succeeded();
        self.throttle.succeeded(username, peer).await;
        Ok(self.renew_hash(account, password, turn).await)
    }

    /// Replaces an imported hash by one of ours. While hashes log in, they stay as they are. That it fails is no
    /// reason to refuse the login: the next one tries again.
    async fn renew_hash(&self, account: Account, password: SecretString, turn: Turn) -> Account {
        if self.hash_logs_in || Scheme::of(&account.password_hash).is_none() {
            return account;
        }
        let Ok(fresh) = turn.hash(password).await else { return account };
        let old = account.password_hash.clone();
        let renewed = self.change_with(&account.username, |account| {
            // A password that was set meanwhile stays.
            if account.password_hash == old {
                account.password_hash.clone_from(&fresh);
            }
            Ok(())
        });
        match renewed.await {
            Ok(renewed) if renewed.subject == account.subject => renewed,
            Ok(_) => account,
            Err(problem) => {
                tracing::warn!(%problem, "an imported password hash could not be replaced; the next login tries again");
                account
            }
        }
    }
}

/// Is that text the imported hash itself? Ours never log in.
fn is_that_hash(text: &SecretString, hash: &str) -> bool {
    Scheme::of(hash).is_some() && bool::from(text.expose_secret().as_bytes().ct_eq(hash.as_bytes()))
}
