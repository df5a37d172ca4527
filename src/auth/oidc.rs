//! Logins of people at a provider outside: OpenID Connect, by the code flow with PKCE, `state` and `nonce`.
//!
//! Owns the way from a browser that wants to log in to an [`Account`] here. The account is made at the first login;
//! its subject is `<issuer>#<sub>`, the same by which the provider's own access tokens are known where they are
//! accepted, so that it is the same person either way.
//!
//! Invariants:
//! - An outcome goes only to who began: to the browser that has the cookie of the login, or as a code to a program that
//!   shows what the code was asked for with. So nobody can be logged in as somebody else unawares.
//! - What the provider says decides the role at each login, upwards and downwards. Whoever it lets in no more loses
//!   what was given before.
//! - Logins that begin are held back by address, those that fail as failed logins are: notes don't fill the store.
//!
//! It must not know HTTP routes, nor how a provider is spoken to: that is the file `provider`.

mod pending;
mod provider;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use subtle::ConstantTimeEq;

use super::accounts::{Accounts, Person, ProvisionError};
use super::claims;
use super::random::kept_form;
use super::throttle::Throttle;
use crate::config::settings::{AuthSettings, OidcSettings};
use crate::store::{Account, SharedStore, StoreError};
use pending::Pending;
use provider::Provider;

pub use pending::{CODE_SECONDS, LOGIN_SECONDS, Return};

/// Longest `sub` that is taken, in bytes (OpenID Connect Core §2).
const MAX_SUBJECT_BYTES: usize = 255;

/// Why a login at the provider came to nothing. The texts are for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// No such login is under way: it was finished, it took too long, or it began in another browser. 400.
    #[error("no such login is under way: it took too long, was finished before, or began in another browser")]
    State,
    /// The provider says that the person did not log in. 401.
    #[error("the provider did not log you in")]
    Denied,
    /// The provider does not know the code. 401.
    #[error("the provider does not take the code of this login")]
    Code,
    /// The provider's ID token is not good. 401.
    #[error("what the provider says about you can't be verified")]
    BadToken,
    /// The one-time code for a command line is not good. 401.
    #[error("the one-time code is not valid: it was used before or is too old")]
    OneTimeCode,
    /// The provider knows the person, and none of the roles here is theirs. 403.
    #[error("your account at the provider gives you no access here")]
    NotAllowed,
    /// The account here is shut out. 403.
    #[error("your account here is disabled")]
    Disabled,
    /// Too many logins were begun, or failed, from this address. 429.
    #[error("too many logins from your address; try again later")]
    Throttled {
        /// The next one is let through after so long.
        retry_after: Duration,
    },
    /// The provider does not answer. 503.
    #[error("the provider does not answer now; try again")]
    Away,
    /// The provider answers what it must not. 502.
    #[error("the provider's answer can't be used; the gateway's log says why")]
    Broken,
    /// The store does not answer. 503.
    #[error("the login can't be looked up now; try again")]
    Store(#[source] StoreError),
    /// The system gives no random bytes. 503.
    #[error("no login can begin now; try again")]
    Random,
}

impl OidcError {
    /// The word for programs and for the audit log.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::State => "oidc_state",
            Self::Denied => "oidc_denied",
            Self::Code => "oidc_code",
            Self::BadToken => "oidc_token",
            Self::OneTimeCode => "oidc_one_time_code",
            Self::NotAllowed => "oidc_not_allowed",
            Self::Disabled => "oidc_disabled",
            Self::Throttled { .. } => "throttled",
            Self::Away => "oidc_away",
            Self::Broken => "oidc_broken",
            Self::Random => "oidc_unable",
            Self::Store(_) => "store_away",
        }
    }
}

impl From<StoreError> for OidcError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a login at the provider could not be looked up or written");
        Self::Store(error)
    }
}

/// What a browser brings back from the provider.
pub struct Brought {
    /// What was sent along.
    pub state: String,
    /// The provider's code, or the word by which it refuses.
    pub outcome: Result<String, String>,
    /// Who the provider says it is, if it does (RFC 9207).
    pub issuer: Option<String>,
    /// The browser's cookie of this login.
    pub cookie: Option<String>,
}

/// A login that has come to its end, well or not.
pub struct Finished {
    /// Where the outcome goes; `None`: to whoever asked, since no login is known.
    pub to: Option<Return>,
    /// The account, or why there is none.
    pub outcome: Result<Account, OidcError>,
}

/// What is known of a login when its end is told, well or not.
#[derive(Default)]
struct Known {
    to: Option<Return>,
    /// Whom the provider has vouched for.
    subject: Option<String>,
}

/// Logins at the provider of the settings. Share it by `Arc`.
#[derive(Debug)]
pub struct OidcLogins {
    settings: OidcSettings,
    provider: Provider,
    pending: Pending,
    accounts: Arc<Accounts>,
    store: SharedStore,
    /// Counts logins that begin as it does failed ones, by address.
    begun: Throttle,
}

impl OidcLogins {
    /// The logins of the settings; `None` if they name no provider. Nothing is asked of it yet.
    #[must_use]
    pub fn new(
        settings: &OidcSettings,
        auth: &AuthSettings,
        store: SharedStore,
        accounts: Arc<Accounts>,
    ) -> Option<Self> {
        settings.is_on().then(|| Self {
            provider: Provider::new(settings),
            pending: Pending::new(Arc::clone(&store)),
            settings: settings.clone(),
            accounts,
            store,
            begun: Throttle::new(auth.max_failed_logins_per_minute),
        })
    }

    /// The address by which browsers reach this gateway.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.settings.oidc_redirect_base
    }

    /// Begins a login: where to send the browser.
    ///
    /// # Errors
    /// [`OidcError::Throttled`], [`OidcError::Away`], [`OidcError::Broken`], [`OidcError::Store`], [`OidcError::Random`].
    pub async fn begin(&self, to: Return, peer: IpAddr) -> Result<String, OidcError> {
        let now = Instant::now();
        self.begun.check_address(peer, now).map_err(|retry_after| OidcError::Throttled { retry_after })?;
        self.begun.address_failed(peer, now);
        let begun = self.pending.begin(to).await?;
        self.provider.address(&begun).await
    }

    /// Finishes a login with what the browser brings back. The `state` serves no more then.
    pub async fn finish(&self, brought: Brought, peer: IpAddr) -> Finished {
        let mut known = Known::default();
        let outcome = self.judge(brought, peer, &mut known).await;
        self.accounts.told_by_provider(&outcome, known.subject, peer).await;
        Finished { to: known.to, outcome }
    }

    /// A one-time code for the program that began the login of that account.
    ///
    /// # Errors
    /// [`OidcError::Store`] or [`OidcError::Random`].
    pub async fn code_for(&self, account: &Account, challenge: &str) -> Result<String, OidcError> {
        self.pending.put_code(account.subject.clone(), challenge.to_owned()).await
    }

    /// The account that a one-time code stands for, for the program that shows what it was asked for with.
    ///
    /// # Errors
    /// [`OidcError::OneTimeCode`], [`OidcError::Disabled`], [`OidcError::Throttled`] or [`OidcError::Store`].
    pub async fn redeem(&self, code: &str, verifier: &str, peer: IpAddr) -> Result<Account, OidcError> {
        let mut subject = None;
        let outcome = self.account_of(code, verifier, peer, &mut subject).await;
        // That the login itself went well was told when it came back from the provider.
        if outcome.is_err() {
            self.accounts.told_by_provider(&outcome, subject, peer).await;
        }
        outcome
    }

    async fn account_of(
        &self,
        code: &str,
        verifier: &str,
        peer: IpAddr,
        subject: &mut Option<String>,
    ) -> Result<Account, OidcError> {
        self.accounts.check_address(peer).await?;
        let found = self.pending.take_code(code, verifier).await?.ok_or(OidcError::OneTimeCode)?;
        let found = subject.insert(found);
        let account = self.store.account(found).await?.ok_or(OidcError::OneTimeCode)?;
        if account.disabled { Err(OidcError::Disabled) } else { Ok(account) }
    }

    async fn judge(&self, brought: Brought, peer: IpAddr, known: &mut Known) -> Result<Account, OidcError> {
        self.accounts.check_address(peer).await?;
        let Some(begun) = self.pending.take(&brought.state).await? else { return Err(OidcError::State) };
        if let Return::Browser { cookie } = &begun.to {
            let shown = brought.cookie.as_deref().map(kept_form).unwrap_or_default();
            if !bool::from(shown.as_bytes().ct_eq(cookie.as_bytes())) {
                return Err(OidcError::State);
            }
        }
        known.to = Some(begun.to.clone());
        if brought.issuer.is_some_and(|issuer| issuer != self.settings.oidc_issuer) {
            tracing::warn!("a login came back from another provider than it was sent to");
            return Err(OidcError::Code);
        }
        let code = brought.outcome.map_err(|error| match error.as_str() {
            "server_error" | "temporarily_unavailable" => OidcError::Away,
            _ => OidcError::Denied,
        })?;
        let said = self.provider.person(code, &begun).await?;
        let subject = self.subject(&said)?;
        known.subject = Some(subject.clone());
        let person = self.read(&said)?;
        let Some(person) = person.filter(|_| self.is_admitted(&said)) else {
            tracing::info!(subject, %peer, "the provider's claims give a person no access");
            self.accounts.take_away(&subject).await.map_err(provision_error)?;
            return Err(OidcError::NotAllowed);
        };
        self.accounts.provision(&person).await.map_err(provision_error)
    }

    /// Who that is here; `None`: the provider's words give no role.
    fn read(&self, said: &Value) -> Result<Option<Person>, OidcError> {
        let settings = &self.settings;
        let subject = self.subject(said)?;
        let (admins, users) = (&settings.oidc_admin_values, &settings.oidc_user_values);
        let role = claims::role(said, &settings.oidc_role_claim, admins, users);
        let named = [settings.oidc_username_claim.as_str(), "email", "sub"];
        let names = named.iter().filter_map(|claim| claims::find(said, claim)?.as_str()).map(str::to_owned).collect();
        let host = settings.oidc_issuer.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        Ok(role.map(|role| Person { subject, names, host: host.unwrap_or_default(), role }))
    }

    fn is_admitted(&self, said: &Value) -> bool {
        self.settings.oidc_required.iter().all(|(claim, value)| claims::has(said, claim, value))
    }

    fn subject(&self, said: &Value) -> Result<String, OidcError> {
        let fits = |sub: &&str| !sub.is_empty() && sub.len() <= MAX_SUBJECT_BYTES && !sub.contains(char::is_control);
        let sub = said["sub"].as_str().filter(fits).ok_or(OidcError::BadToken)?;
        Ok(format!("{}#{sub}", self.settings.oidc_issuer))
    }
}

fn provision_error(error: ProvisionError) -> OidcError {
    match error {
        ProvisionError::Disabled => OidcError::Disabled,
        ProvisionError::Store(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::api::Role;
    use crate::auth::fake_store::FakeStore;

    fn logins() -> OidcLogins {
        let settings = OidcSettings {
            oidc_issuer: "https://id.example.com/x".to_owned(),
            oidc_role_claim: "groups".to_owned(),
            oidc_admin_values: vec!["boss".to_owned()],
            oidc_user_values: vec!["dev".to_owned()],
            oidc_required: BTreeMap::from([("hd".to_owned(), "example.com".to_owned())]),
            ..OidcSettings::default()
        };
        let (auth, store): (_, SharedStore) = (AuthSettings::default(), Arc::new(FakeStore::default()));
        let accounts = Arc::new(Accounts::new(Arc::clone(&store), &auth));
        OidcLogins::new(&settings, &auth, store, accounts).unwrap()
    }

    #[test]
    fn a_person_is_read_off_the_claims() {
        let logins = logins();
        let said = json!({"sub": "7", "groups": ["dev", "boss"], "hd": "example.com", "email": "ada@example.com"});
        let person = logins.read(&said).unwrap().unwrap();
        assert_eq!(person.subject, "https://id.example.com/x#7");
        assert_eq!((person.role, person.host.as_str()), (Role::Admin, "id.example.com"));
        assert_eq!(person.names, ["ada@example.com", "7"]);
        assert!(logins.is_admitted(&said));
    }

    #[test]
    fn whoever_lacks_a_role_or_a_required_claim_stays_out() {
        let logins = logins();
        assert!(logins.read(&json!({"sub": "7", "groups": ["other"]})).unwrap().is_none());
        assert!(logins.read(&json!({"sub": "7"})).unwrap().is_none());
        for said in [json!({"sub": "7"}), json!({"hd": "example.org"}), json!({"hd": ["example.com.evil"]})] {
            assert!(!logins.is_admitted(&said), "{said}");
        }
        for sub in [json!(null), json!(""), json!(7), json!("a\nb"), json!("x".repeat(256))] {
            assert_eq!(logins.read(&json!({"sub": sub, "groups": "dev"})).err(), Some(OidcError::BadToken));
        }
    }

    #[tokio::test]
    async fn a_state_that_is_not_known_is_refused_and_counts_as_a_failed_login() {
        let (logins, peer) = (logins(), "192.0.2.1".parse().unwrap());
        for _ in 0..100 {
            let brought = Brought {
                state: crate::auth::random::make_secret().unwrap(),
                outcome: Ok("code".to_owned()),
                issuer: None,
                cookie: None,
            };
            let finished = logins.finish(brought, peer).await;
            assert_eq!((finished.outcome.err(), finished.to), (Some(OidcError::State), None));
        }
        let refused = logins.redeem("x", "y", peer).await.unwrap_err();
        assert!(matches!(refused, OidcError::Throttled { .. }), "{refused}");
    }
}
