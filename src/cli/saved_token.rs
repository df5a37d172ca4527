//! The token that `cc-gateway login` saves: `token.json` in the user's configuration directory, mode 0600.
//!
//! Tokens are kept by the gateway's address, so that one gateway's token is never sent to another.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::api::http::LoginResponse;
use crate::telemetry::time;

use super::gateway::{FAILED, Failure, NOT_AUTHORISED};

#[derive(Default, Serialize, Deserialize)]
struct SavedTokens {
    tokens: BTreeMap<String, SavedToken>,
}

#[derive(Serialize, Deserialize)]
struct SavedToken {
    username: String,
    access_token: String,
    /// In seconds since the Unix epoch.
    expires_at: u64,
}

/// The token for the gateway at `url`.
pub(super) fn load(url: &str) -> Result<SecretString, Failure> {
    load_from(&path()?, url, time::now_seconds())
}

/// Keeps a login's token for the gateway at `url`; gives the file.
pub(super) fn save(url: &str, login: &LoginResponse) -> Result<PathBuf, Failure> {
    let path = path()?;
    save_to(&path, url, login, time::now_seconds())?;
    Ok(path)
}

fn path() -> Result<PathBuf, Failure> {
    let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    directory("XDG_CONFIG_HOME")
        .or_else(|| directory("HOME").map(|home| home.join(".config")))
        .map(|config| config.join("cc-gateway").join("token.json"))
        .ok_or_else(|| Failure::new(NOT_AUTHORISED, "no token is given, and without HOME there can be no saved one"))
}

fn load_from(path: &Path, url: &str, now: u64) -> Result<SecretString, Failure> {
    let login = "Run `cc-gateway login` first, or give --token, --token-file or --username.";
    let Some(token) = read(path)?.tokens.remove(key(url)) else {
        return Err(Failure::new(NOT_AUTHORISED, format!("not logged in at {}. {login}", key(url))));
    };
    if token.expires_at <= now {
        let message = format!("the saved login of `{}` at {} has ended. {login}", token.username, key(url));
        return Err(Failure::new(NOT_AUTHORISED, message));
    }
    Ok(token.access_token.into())
}

fn save_to(path: &Path, url: &str, login: &LoginResponse, now: u64) -> Result<(), Failure> {
    let mut saved = read(path)?;
    saved.tokens.retain(|_, token| token.expires_at > now);
    let token = SavedToken {
        username: login.user.username.clone(),
        access_token: login.access_token.clone(),
        expires_at: now.saturating_add(login.expires_in),
    };
    saved.tokens.insert(key(url).to_owned(), token);
    let text = serde_json::to_vec_pretty(&saved).map_err(|error| Failure::new(FAILED, error.to_string()))?;
    write(path, &text).map_err(|error| Failure::new(FAILED, format!("{} can't be written: {error}", path.display())))
}

fn read(path: &Path) -> Result<SavedTokens, Failure> {
    let unusable = |what: String| Failure::new(NOT_AUTHORISED, format!("{} {what}", path.display()));
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(SavedTokens::default()),
        Err(error) => return Err(unusable(format!("can't be read: {error}"))),
    };
    let mode = fs::metadata(path).map_err(|error| unusable(format!("can't be read: {error}")))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(unusable("can be read by others and is not used; make it private with `chmod 600`".into()));
    }
    serde_json::from_slice(&text).map_err(|_| unusable("is damaged; remove it and run `cc-gateway login`".into()))
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
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::api::Role;
    use crate::api::http::User;

    const URL: &str = "http://127.0.0.1:8001";

    fn login(token: &str) -> LoginResponse {
        serde_json::from_value(serde_json::json!({
            "access_token": token, "token_type": "bearer", "expires_in": 60,
            "user": User { id: "1".into(), username: "alice".into(), role: Role::User },
        }))
        .unwrap()
    }

    #[test]
    fn a_saved_token_is_private_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cc-gateway/token.json");
        save_to(&path, URL, &login("one"), 1_000).unwrap();
        save_to(&path, URL, &login("two"), 1_000).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load_from(&path, "http://127.0.0.1:8001/", 1_059).unwrap().expose_secret(), "two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn a_token_is_never_given_to_another_gateway() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token.json");
        save_to(&path, URL, &login("one"), 1_000).unwrap();
        assert_eq!(load_from(&path, "http://elsewhere:8001", 1_000).unwrap_err().code, NOT_AUTHORISED);
    }

    #[test]
    fn a_login_that_has_ended_is_told_and_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token.json");
        save_to(&path, URL, &login("one"), 1_000).unwrap();
        assert!(load_from(&path, URL, 1_060).unwrap_err().message.contains("has ended"));
    }

    #[test]
    fn a_file_that_others_can_read_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token.json");
        save_to(&path, URL, &login("one"), 1_000).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load_from(&path, URL, 1_000).unwrap_err().message.contains("chmod 600"));
    }

    #[test]
    fn without_a_file_one_is_not_logged_in() {
        let directory = tempfile::tempdir().unwrap();
        let failure = load_from(&directory.path().join("token.json"), URL, 1).unwrap_err();
        assert_eq!(failure.code, NOT_AUTHORISED);
        assert!(failure.message.contains("cc-gateway login"));
    }
}
