//! The login that `cc-gateway login` saves: `token.json` in the user's configuration directory, mode 0600. It is renewed
//! by its refresh token when its access token has ended.
//!
//! Invariants:
//! - Logins are kept by the gateway's address, so that one gateway's token is never sent to another.
//! - A refresh token serves once, and a second use of it ends the login. So whoever renews holds a lock beside the
//!   file, and what came back is saved before it is used: commands that run at once don't spoil each other's login.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::FlockOperation;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::api::http::LoginResponse;
use crate::client::{self, ClientError, TokenSource};
use crate::config::{Environment, paths};
use crate::telemetry::time;

use super::gateway::{FAILED, Failure, NOT_AUTHORISED};

/// An access token that ends so soon is renewed before it is used.
const SPARE_SECONDS: u64 = 30;
/// Between two tries to get the lock.
const PAUSE: Duration = Duration::from_millis(50);
/// How often it is tried: longer than a renewal can take.
const TRIES: u32 = 1_200;

#[derive(Default, Serialize, Deserialize)]
struct SavedTokens {
    tokens: BTreeMap<String, SavedToken>,
}

#[derive(Clone, Serialize, Deserialize)]
struct SavedToken {
    username: String,
    access_token: String,
    /// In seconds since the Unix epoch.
    expires_at: u64,
    /// Files of older versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(default)]
    refresh_expires_at: u64,
}

impl SavedToken {
    fn of(login: &LoginResponse, now: u64) -> Self {
        Self {
            username: login.user.username.clone(),
            access_token: login.access_token.clone(),
            expires_at: now.saturating_add(login.expires_in),
            refresh_token: login.refresh_token.clone(),
            refresh_expires_at: now.saturating_add(login.refresh_expires_in.unwrap_or_default()),
        }
    }

    fn has_ended(&self, now: u64) -> bool {
        self.expires_at <= now && (self.refresh_token.is_none() || self.refresh_expires_at <= now)
    }
}

/// A saved login, as a source of access tokens.
pub(super) struct SavedLogin {
    path: PathBuf,
    url: String,
    /// The token that was given last: if it was refused, another one is wanted.
    given: parking_lot::Mutex<Option<SecretString>>,
}

/// The saved login at the gateway `url`.
pub(super) fn load(url: &str) -> Result<SavedLogin, Failure> {
    load_from(path()?, url, time::now_seconds())
}

/// Keeps a login at the gateway `url`; gives the file.
pub(super) async fn save(url: &str, login: &LoginResponse) -> Result<PathBuf, Failure> {
    let path = path()?;
    let _lock = lock(&path).await?;
    change(&path, url, Some(SavedToken::of(login, time::now_seconds())), time::now_seconds())?;
    Ok(path)
}

/// What is needed to end the saved login at the gateway `url`: its access token and its refresh token, if it has one.
pub(super) fn tokens(url: &str) -> Result<(SecretString, Option<SecretString>), Failure> {
    let saved = load(url)?.read()?;
    Ok((saved.access_token.into(), saved.refresh_token.map(Into::into)))
}

/// Forgets the saved login at the gateway `url`.
pub(super) async fn forget(url: &str) -> Result<(), Failure> {
    let path = path()?;
    let _lock = lock(&path).await?;
    change(&path, url, None, time::now_seconds())
}

fn path() -> Result<PathBuf, Failure> {
    paths::config_home(&Environment::of_process())
        .map(|config| config.join("cc-gateway").join("token.json"))
        .ok_or_else(|| {
            let message = "a login has no place to be saved in, as this user has no home directory: set HOME or \
                           XDG_CONFIG_HOME, or give --token, --token-file or --username to each command";
            Failure::new(NOT_AUTHORISED, message)
        })
}

fn load_from(path: PathBuf, url: &str, now: u64) -> Result<SavedLogin, Failure> {
    let login = SavedLogin { path, url: key(url).to_owned(), given: parking_lot::Mutex::new(None) };
    let token = login.read()?;
    if token.has_ended(now) {
        return Err(login.ended(&token.username));
    }
    Ok(login)
}

const LOG_IN: &str = "Run `cc-gateway login` first, or give --token, --token-file or --username.";

impl SavedLogin {
    fn read(&self) -> Result<SavedToken, Failure> {
        let Some(token) = read(&self.path)?.tokens.remove(&self.url) else {
            return Err(Failure::new(NOT_AUTHORISED, format!("not logged in at {}. {LOG_IN}", self.url)));
        };
        Ok(token)
    }

    fn ended(&self, username: &str) -> Failure {
        let message = format!("the saved login of `{username}` at {} has ended. {LOG_IN}", self.url);
        Failure::new(NOT_AUTHORISED, message)
    }

    /// An access token other than `refused` that does not end at once; renewed if need be.
    async fn current(&self, refused: Option<&SecretString>) -> Result<SecretString, ClientError> {
        let told = |failure: Failure| ClientError::Token(failure.message);
        let serves = |token: &SavedToken| {
            token.expires_at > time::now_seconds().saturating_add(SPARE_SECONDS)
                && refused.is_none_or(|refused| refused.expose_secret() != token.access_token)
        };
        let mut token = self.read().map_err(told)?;
        if !serves(&token) {
            let _lock = lock(&self.path).await.map_err(told)?;
            // Somebody else may have renewed it while this one waited.
            token = self.read().map_err(told)?;
            if !serves(&token) {
                token = self.renew(token).await?;
            }
        }
        let text = SecretString::from(token.access_token);
        *self.given.lock() = Some(text.clone());
        Ok(text)
    }

    /// Only for who holds the lock.
    async fn renew(&self, token: SavedToken) -> Result<SavedToken, ClientError> {
        let told = |failure: Failure| ClientError::Token(failure.message);
        let now = time::now_seconds();
        let refresh_token = token.refresh_token.as_ref().filter(|_| token.refresh_expires_at > now);
        let Some(refresh_token) = refresh_token else { return Err(told(self.ended(&token.username))) };
        match client::refresh(&self.url, refresh_token).await {
            Ok(login) => {
                let renewed = SavedToken::of(&login, now);
                change(&self.path, &self.url, Some(renewed.clone()), now).map_err(told)?;
                Ok(renewed)
            }
            Err(ClientError::Refused { status: 401, .. }) => {
                change(&self.path, &self.url, None, now).map_err(told)?;
                Err(told(self.ended(&token.username)))
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl TokenSource for SavedLogin {
    async fn token(&self) -> Result<SecretString, ClientError> {
        self.current(None).await
    }

    async fn renewed(&self) -> Result<Option<SecretString>, ClientError> {
        let refused = self.given.lock().clone();
        self.current(refused.as_ref()).await.map(Some)
    }
}

/// Puts a login in the place of that gateway's, or takes it away. Logins that have ended go too, and with a new login
/// all that a damaged file held.
fn change(path: &Path, url: &str, token: Option<SavedToken>, now: u64) -> Result<(), Failure> {
    let mut saved = match (read_private(path)?, &token) {
        (Saved::Damaged, None) => return Err(damaged(path)),
        (Saved::Damaged, Some(_)) => SavedTokens::default(),
        (Saved::Tokens(tokens), _) => tokens,
    };
    saved.tokens.remove(key(url));
    saved.tokens.retain(|_, token| !token.has_ended(now));
    if let Some(token) = token {
        saved.tokens.insert(key(url).to_owned(), token);
    }
    let text = serde_json::to_vec_pretty(&saved).map_err(|error| Failure::new(FAILED, error.to_string()))?;
    write(path, &text).map_err(|error| Failure::new(FAILED, format!("{} can't be written: {error}", path.display())))
}

/// Waits for the right to change the file. It is given back with the returned file, also when the program dies.
async fn lock(path: &Path) -> Result<File, Failure> {
    let failed = |error: std::io::Error| Failure::new(FAILED, format!("{} can't be locked: {error}", path.display()));
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    let beside = path.with_extension("lock");
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(beside);
    let file = file.map_err(failed)?;
    for _ in 0..TRIES {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(failed(error.into())),
        }
    }
    Err(Failure::new(FAILED, format!("{} is locked by another command that does not end", path.display())))
}

/// What is in the file.
enum Saved {
    Tokens(SavedTokens),
    Damaged,
}

fn damaged(path: &Path) -> Failure {
    Failure::new(NOT_AUTHORISED, format!("{} is damaged; `cc-gateway login` replaces it", path.display()))
}

fn read(path: &Path) -> Result<SavedTokens, Failure> {
    match read_private(path)? {
        Saved::Tokens(tokens) => Ok(tokens),
        Saved::Damaged => Err(damaged(path)),
    }
}

fn read_private(path: &Path) -> Result<Saved, Failure> {
    let unusable = |what: String| Failure::new(NOT_AUTHORISED, format!("{} {what}", path.display()));
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Saved::Tokens(SavedTokens::default())),
        Err(error) => return Err(unusable(format!("can't be read: {error}"))),
    };
    let mode = fs::metadata(path).map_err(|error| unusable(format!("can't be read: {error}")))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(unusable("can be read by others and is not used; make it private with `chmod 600`".into()));
    }
    Ok(serde_json::from_slice(&text).map_or(Saved::Damaged, Saved::Tokens))
}

/// The file is private before it holds anything, and is replaced in one step.
fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

fn key(url: &str) -> &str {
    url.trim_end_matches('/')
}

#[cfg(test)]
mod tests;
