//! From a request's headers to a [`Principal`]: what an upgrade and a protected route ask.
//!
//! Invariants: a principal comes only from a token (or a ticket made with one) that is valid now, that was not taken
//! back, and whose account exists and is not disabled; a role that was taken away since then takes its scopes with
//! it. A caller that an outside issuer vouches for has no account. Everything that is wrong with a token that was
//! sent looks the same to the caller.
//!
//! It must not know what the caller wants.

use std::sync::Arc;

use http::HeaderMap;
use http::header::ORIGIN;

use super::bearer::{self, BearerError};
use super::issuers::OutsideIssuers;
use super::keys::{self, ApiKeys};
use super::revocation;
use super::ticket::{self, Ticket, TicketError, Tickets};
use super::token::Tokens;
use crate::api::principal::{Login, Principal};
use crate::store::{SharedStore, StoreError};
use crate::telemetry::time::now_ms;

/// Why a request has no principal. The texts are for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No token was sent where one is looked for; the reason says what to send. 401.
    #[error("{0}")]
    MissingToken(BearerError),
    /// A token was sent (or several, or something like one) that is not valid. 401.
    #[error("the access token is not valid")]
    InvalidToken,
    /// The account can't be looked up now. 503.
    #[error("the caller's account can't be looked up now; try again")]
    Store(#[source] StoreError),
}

/// Tells who is calling. Share it by `Arc`.
#[derive(Debug)]
pub struct Authenticator {
    tokens: Arc<Tokens>,
    /// One read a request: an account that was disabled is out at once.
    store: SharedStore,
    query_token: bool,
    /// Others whose tokens are accepted.
    outside: Option<OutsideIssuers>,
    tickets: Tickets,
    keys: ApiKeys,
}

impl Authenticator {
    /// `query_token`: also take the token from `?access_token=`.
    #[must_use]
    pub fn new(tokens: Arc<Tokens>, store: SharedStore, query_token: bool) -> Self {
        let tickets = Tickets::new(Arc::clone(&store));
        let keys = ApiKeys::new(Arc::clone(&store));
        Self { tokens, store, query_token, outside: None, tickets, keys }
    }

    /// Accepts the tokens of these issuers too.
    #[must_use]
    pub fn trusting(self, outside: Option<OutsideIssuers>) -> Self {
        Self { outside, ..self }
    }

    /// Who sends this request for an upgrade? Also by a ticket among the offered subprotocols, which serves no more
    /// then. The origin has been judged before.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn authenticate_upgrade(&self, headers: &HeaderMap, query: Option<&str>) -> Result<Principal, AuthError> {
        let Some(text) = ticket::offered(headers).map_err(AuthError::from)? else {
            return self.authenticate(headers, query).await;
        };
        // Whoever shows a ticket shows nothing else: two callers in one request are one too many.
        match bearer::from_request(headers, query, self.query_token) {
            Err(BearerError::Missing) => {}
            Ok(_) | Err(_) => return Err(refuse("a ticket and a token in one request")),
        }
        let principal = self.tickets.redeem(text, headers.get(ORIGIN)).await?;
        self.still_good(principal).await
    }

    /// A ticket for that caller, for the page of that origin (`None`: for what is no web page).
    ///
    /// # Errors
    /// [`TicketError::Store`] or [`TicketError::Random`].
    pub async fn issue_ticket(&self, principal: &Principal, origin: Option<&str>) -> Result<Ticket, TicketError> {
        self.tickets.issue(principal, origin).await
    }

    /// Who sends this request? `query` is the URI's query without `?`.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn authenticate(&self, headers: &HeaderMap, query: Option<&str>) -> Result<Principal, AuthError> {
        match bearer::from_request(headers, query, self.query_token) {
            Ok(token) => self.authenticate_token(token).await,
            Err(missing @ (BearerError::Missing | BearerError::QueryOff)) => Err(AuthError::MissingToken(missing)),
            Err(bad @ (BearerError::Several | BearerError::Malformed)) => Err(refuse(&bad.to_string())),
        }
    }

    /// Whose token is this? For a socket that is kept past its first token's end.
    ///
    /// # Errors
    /// [`AuthError::InvalidToken`] or [`AuthError::Store`].
    pub async fn authenticate_token(&self, token: &str) -> Result<Principal, AuthError> {
        if keys::is_meant(token) {
            return self.authenticate_key(token).await;
        }
        let principal = match (self.tokens.verify(token), &self.outside) {
            (Err(refused), Some(outside)) if refused.is_of_others() => outside.verify(token).await,
            (verified, _) => verified,
        };
        self.still_good(principal.map_err(|refused| refuse(refused.reason()))?).await
    }

    /// Whose API key is this? It serves in an access token's place, for as long as it lasts.
    async fn authenticate_key(&self, text: &str) -> Result<Principal, AuthError> {
        let found = self.keys.verify(text).await.map_err(AuthError::Store)?;
        let Some((key, account)) = found else { return Err(refuse("an API key that is not valid")) };
        let principal = Principal {
            scopes: account.allowed(),
            subject: account.subject,
            username: account.username,
            role: account.role,
            expires_at: key.expires_at_ms / 1_000,
            token_id: key.id.clone(),
            login: Login { began_ms: now_ms(), key: key.id },
            issuer: None,
        };
        self.still_good(principal).await
    }

    /// What of a principal holds now, after what was done to its account and its login.
    ///
    /// # Errors
    /// [`AuthError::InvalidToken`] if nothing does, or [`AuthError::Store`].
    pub async fn still_good(&self, mut principal: Principal) -> Result<Principal, AuthError> {
        let away = |problem| {
            tracing::error!(%problem, "a caller could not be looked up");
            AuthError::Store(problem)
        };
        let revoked = revocation::is_revoked(&self.store, &principal.subject, &principal.login);
        if principal.issuer.is_some() {
            return if revoked.await.map_err(away)? { Err(refuse("revoked")) } else { Ok(principal) };
        }
        let account = self.store.account(&principal.subject);
        let (revoked, account) = futures_util::future::try_join(revoked, account).await.map_err(away)?;
        match account {
            _ if revoked => Err(refuse("revoked")),
            None => Err(refuse("no such account any more")),
            Some(account) if account.disabled => Err(refuse("the account is disabled")),
            // The same clock wrote both, or clocks that tokens demand to agree.
            Some(account) if principal.login.began_ms <= account.password_changed_at_ms => {
                Err(refuse("the account has another password since"))
            }
            Some(account) => {
                if let Some(id) = keys::id_of(&principal)
                    && self.keys.find(id).await.map_err(away)?.is_none()
                {
                    return Err(refuse("its API key has ended"));
                }
                if !principal.role.scopes().is_subset(&account.role.scopes()) {
                    principal.role = account.role;
                }
                let allowed = account.allowed();
                principal.scopes.retain(|scope| allowed.contains(scope));
                Ok(principal)
            }
        }
    }
}

impl From<TicketError> for AuthError {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::Store(error) => Self::Store(error),
            TicketError::Refused | TicketError::Random => Self::InvalidToken,
        }
    }
}

fn refuse(reason: &str) -> AuthError {
    tracing::info!(reason, "an access token was refused");
    AuthError::InvalidToken
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::AUTHORIZATION;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::api::Role;
    use crate::auth::fake_store::{FakeStore, account};
    use crate::auth::secret::SigningSecret;
    use crate::config::settings::AuthSettings;
    use crate::store::{Account, Store};

    struct Gateway {
        store: Arc<FakeStore>,
        tokens: Arc<Tokens>,
        authenticator: Authenticator,
    }

    async fn gateway_with(account: &Account) -> Gateway {
        let store = Arc::new(FakeStore::default());
        store.create_account(account.clone()).await.unwrap();
        let secret = SigningSecret::from_text("q8Zt3vN1kLx0WmC7rYbE5uHsJd2FgPaT").unwrap();
        let tokens = Arc::new(Tokens::new(&AuthSettings::default(), secret));
        let authenticator = Authenticator::new(Arc::clone(&tokens), store.clone(), false);
        Gateway { store, tokens, authenticator }
    }

    fn headers(values: &[String]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    impl Gateway {
        fn bearer(&self, account: &Account) -> String {
            format!("Bearer {}", self.tokens.issue(account).token.expose_secret())
        }

        async fn ask(&self, values: &[String]) -> Result<Principal, AuthError> {
            self.authenticator.authenticate(&headers(values), None).await
        }
    }

    #[tokio::test]
    async fn a_valid_token_of_a_living_account_gives_its_principal() {
        let ada = account("ada", Role::Admin);
        let gateway = gateway_with(&ada).await;
        let principal = gateway.ask(&[gateway.bearer(&ada)]).await.unwrap();
        assert_eq!(principal.subject, ada.subject);
        assert_eq!((principal.role, principal.scopes), (Role::Admin, Role::Admin.scopes()));
    }

    #[tokio::test]
    async fn c1_whatever_is_wrong_with_a_token_the_caller_reads_the_same() {
        let ada = account("ada", Role::User);
        let gateway = gateway_with(&ada).await;
        let good = gateway.bearer(&ada);
        let stranger = gateway.bearer(&account("eve", Role::Admin));
        let cases = [
            vec![format!("{good}x")],
            vec![good.clone(), good.clone()],
            vec![format!("{good}, {good}")],
            vec![format!("{good} {good}")],
            vec!["Bearer".to_owned()],
            vec![String::new()],
            vec!["Basic YTpi".to_owned()],
            vec!["Bearer junk".to_owned()],
            vec![stranger],
        ];
        for case in cases {
            let refused = gateway.ask(&case).await.unwrap_err();
            assert_eq!(refused, AuthError::InvalidToken, "{case:?}");
            assert_eq!(refused.to_string(), "the access token is not valid");
        }
        assert!(gateway.ask(&[good.replace("Bearer", "bearer")]).await.is_ok(), "the scheme in lower case will do");
    }

    #[tokio::test]
    async fn c10_without_a_token_the_caller_reads_what_to_send() {
        let ada = account("ada", Role::User);
        let gateway = gateway_with(&ada).await;
        let refused = gateway.ask(&[]).await.unwrap_err();
        assert_eq!(refused, AuthError::MissingToken(BearerError::Missing));
        assert!(refused.to_string().contains("Authorization: Bearer"));
        let query = format!("access_token={}", gateway.bearer(&ada).replace("Bearer ", ""));
        let refused = gateway.authenticator.authenticate(&HeaderMap::new(), Some(&query)).await.unwrap_err();
        assert_eq!(refused, AuthError::MissingToken(BearerError::QueryOff));
        let open = Authenticator::new(Arc::clone(&gateway.tokens), gateway.store.clone(), true);
        assert!(open.authenticate(&HeaderMap::new(), Some(&query)).await.is_ok());
    }

    #[tokio::test]
    async fn a_disabled_account_is_out_with_its_old_tokens_and_in_again_when_enabled() {
        let ada = account("ada", Role::User);
        let gateway = gateway_with(&ada).await;
        let token = gateway.bearer(&ada);
        gateway.store.update_account(Account { disabled: true, ..ada.clone() }).await.unwrap();
        assert_eq!(gateway.ask(std::slice::from_ref(&token)).await, Err(AuthError::InvalidToken));
        gateway.store.update_account(ada).await.unwrap();
        assert!(gateway.ask(&[token]).await.is_ok());
    }

    #[tokio::test]
    async fn a_role_that_was_taken_away_takes_its_scopes_from_old_tokens() {
        let ada = account("ada", Role::Admin);
        let gateway = gateway_with(&ada).await;
        let token = gateway.bearer(&ada);
        gateway.store.update_account(Account { role: Role::User, ..ada }).await.unwrap();
        let principal = gateway.ask(&[token]).await.unwrap();
        assert_eq!((principal.role, principal.scopes), (Role::User, Role::User.scopes()));
    }

    #[tokio::test]
    async fn a_role_that_was_given_comes_with_the_next_token() {
        let ada = account("ada", Role::User);
        let gateway = gateway_with(&ada).await;
        let token = gateway.bearer(&ada);
        gateway.store.update_account(Account { role: Role::Admin, ..ada }).await.unwrap();
        let principal = gateway.ask(&[token]).await.unwrap();
        assert_eq!((principal.role, principal.scopes), (Role::User, Role::User.scopes()));
    }

    #[tokio::test]
    async fn a_store_that_is_away_is_not_the_tokens_fault() {
        let ada = account("ada", Role::User);
        let gateway = gateway_with(&ada).await;
        let token = gateway.bearer(&ada);
        gateway.store.close().await;
        let refused = gateway.ask(&[token]).await.unwrap_err();
        assert!(matches!(refused, AuthError::Store(StoreError::Away(_))), "{refused}");
        assert_eq!(gateway.ask(&["Bearer junk".to_owned()]).await, Err(AuthError::InvalidToken), "not even asked");
    }
}
