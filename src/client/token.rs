//! Where access tokens come from: a fixed one, a closure, or a login that is repeated when needed.

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::error::ClientError;

/// Gives the access token whenever a socket is opened.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// The token to try.
    ///
    /// # Errors
    /// [`ClientError::Token`], or why a login failed.
    async fn token(&self) -> Result<SecretString, ClientError>;

    /// Another token, after the gateway has refused the last one with 401. `None`: there is no other.
    ///
    /// # Errors
    /// As [`TokenSource::token`].
    async fn renewed(&self) -> Result<Option<SecretString>, ClientError> {
        Ok(None)
    }
}

#[async_trait]
impl TokenSource for SecretString {
    async fn token(&self) -> Result<SecretString, ClientError> {
        Ok(self.clone())
    }
}

#[async_trait]
impl TokenSource for String {
    async fn token(&self) -> Result<SecretString, ClientError> {
        Ok(SecretString::from(self.as_str()))
    }
}

/// For callers that choose the kind of source at run time.
#[async_trait]
impl TokenSource for Box<dyn TokenSource> {
    async fn token(&self) -> Result<SecretString, ClientError> {
        (**self).token().await
    }

    async fn renewed(&self) -> Result<Option<SecretString>, ClientError> {
        (**self).renewed().await
    }
}

/// A closure is asked anew for each socket: it may read a file that somebody else keeps fresh.
#[async_trait]
impl<F> TokenSource for F
where
    F: Fn() -> Result<SecretString, ClientError> + Send + Sync,
{
    async fn token(&self) -> Result<SecretString, ClientError> {
        self()
    }
}

/// Logs in with a name and a password: once at first, and again when a token is refused.
pub struct LoginTokens {
    base_url: String,
    username: String,
    password: SecretString,
    /// The last token, shared by all sockets of a client so that each does not log in for itself.
    last: parking_lot::Mutex<Option<SecretString>>,
}

impl LoginTokens {
    /// Will log in at `base_url` (`http://host:port`).
    #[must_use]
    pub fn new(base_url: impl Into<String>, username: impl Into<String>, password: SecretString) -> Self {
        let (base_url, username) = (base_url.into(), username.into());
        Self { base_url, username, password, last: parking_lot::Mutex::new(None) }
    }

    async fn log_in(&self) -> Result<SecretString, ClientError> {
        let answer = super::http::login(&self.base_url, &self.username, self.password.expose_secret()).await?;
        let token = SecretString::from(answer.access_token);
        *self.last.lock() = Some(token.clone());
        Ok(token)
    }
}

impl std::fmt::Debug for LoginTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginTokens").field("username", &self.username).finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenSource for LoginTokens {
    async fn token(&self) -> Result<SecretString, ClientError> {
        let last = self.last.lock().clone();
        match last {
            Some(token) => Ok(token),
            None => self.log_in().await,
        }
    }

    async fn renewed(&self) -> Result<Option<SecretString>, ClientError> {
        self.log_in().await.map(Some)
    }
}
