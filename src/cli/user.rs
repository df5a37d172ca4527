//! `cc-gateway user`: the accounts, changed in the store itself while no gateway runs on it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args as ClapArgs, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::settings::{self, SettingsArgs};
use super::{Exit, output};
use crate::api::Role;
use crate::auth::{AccountError, Accounts, make_password};
use crate::config::data_dir::{self, DataDirError};
use crate::config::{Environment, Settings};
use crate::store::{self, Account, SharedStore, StoreError};
use crate::telemetry::time::rfc3339_ms;

const EXAMPLES: &str = "\
Examples:
  cc-gateway user add alice                          makes a password and shows it once
  cc-gateway user add root2 --role admin --password-file ./password
  pass show alice | cc-gateway user password alice --password-file -
  cc-gateway user disable alice
  cc-gateway user list --json

Accounts can be changed only while no gateway runs on the same data directory: stop it first.
Run it as the user the gateway runs as, with the same settings.";

/// Add, list, disable or enable accounts, or set a password.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,

    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// What to do with accounts.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Add an account.
    Add {
        /// Its name.
        name: String,
        /// What it may do: `user` sees its own sessions, `admin` sees everybody's.
        #[arg(long, default_value = "user", value_parser = role)]
        role: Role,
        /// Where its password comes from.
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List the accounts.
    List {
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shut an account out; its sessions and its name stay.
    Disable {
        /// Its name.
        name: String,
    },
    /// Let an account in again.
    Enable {
        /// Its name.
        name: String,
    },
    /// Give an account another password.
    Password {
        /// Its name.
        name: String,
        /// Where the password comes from.
        #[command(flatten)]
        password: PasswordArgs,
    },
}

/// Where a password comes from.
#[derive(Debug, ClapArgs)]
pub struct PasswordArgs {
    /// A file with the password; - reads standard input. Without it one is made and shown once.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

fn role(text: &str) -> Result<Role, crate::api::principal::UnknownRole> {
    text.parse()
}

/// Why nothing was done. For the operator: names paths.
#[derive(Debug, thiserror::Error)]
enum UserError {
    #[error(transparent)]
    DataDirectory(#[from] DataDirError),
    #[error(
        "the accounts can't be reached: {0}\nIf a gateway runs on this data directory, stop it, run this again, and start it."
    )]
    Store(#[from] StoreError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("the password can't be read from {from}: {source}")]
    Password { from: String, source: std::io::Error },
}

/// Does it and says so.
pub async fn run(args: &Args, env: &Environment) -> Exit {
    let loaded = match settings::load(&args.settings.sources(env, [])) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    match act(&args.action, &loaded.settings).await {
        Ok(said) => {
            output::say(&said);
            Exit::SUCCESS
        }
        Err(error) => {
            output::complain(&format!("cc-gateway: {error}"));
            Exit::FAILURE
        }
    }
}

/// What there is to say afterwards.
async fn act(action: &Action, settings: &Settings) -> Result<String, UserError> {
    let store = open(settings).await?;
    let accounts = Accounts::new(Arc::clone(&store), &settings.auth);
    let said = match action {
        Action::Add { name, role, password } => {
            let (password, made) = password_from(password)?;
            let account = accounts.create(name, password, *role).await?;
            Ok(with_password(format!("{} can log in ({})", account.username, account.role), made))
        }
        Action::Password { name, password } => {
            let (password, made) = password_from(password)?;
            let account = accounts.set_password(name, password).await?;
            Ok(with_password(format!("{} has another password", account.username), made))
        }
        Action::Disable { name } => {
            let account = accounts.set_disabled(name, true).await?;
            Ok(format!("{} is shut out", account.username))
        }
        Action::Enable { name } => {
            let account = accounts.set_disabled(name, false).await?;
            Ok(format!("{} can log in again", account.username))
        }
        Action::List { json } => accounts.list().await.map(|all| if *json { as_json(&all) } else { as_text(&all) }),
    };
    store.close().await;
    Ok(said?)
}

async fn open(settings: &Settings) -> Result<SharedStore, UserError> {
    data_dir::prepare(&settings.data.data_dir)?;
    Ok(store::open(settings).await?)
}

/// The password, and the same again if it was made here and must be shown.
fn password_from(args: &PasswordArgs) -> Result<(SecretString, Option<SecretString>), UserError> {
    match &args.password_file {
        Some(path) => Ok((read_password(path)?, None)),
        None => {
            let made = make_password().map_err(AccountError::from)?;
            Ok((made.clone(), Some(made)))
        }
    }
}

fn read_password(path: &Path) -> Result<SecretString, UserError> {
    let from_stdin = path == Path::new("-");
    let from = if from_stdin { "standard input".to_owned() } else { path.display().to_string() };
    let text = if from_stdin {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = SecretString::from(text.map_err(|source| UserError::Password { from, source })?);
    let line = text.expose_secret();
    let line = line.strip_suffix('\n').unwrap_or(line);
    Ok(line.strip_suffix('\r').unwrap_or(line).into())
}

fn with_password(said: String, made: Option<SecretString>) -> String {
    match made {
        Some(password) => format!("{said}; the password, shown this once: {}", password.expose_secret()),
        None => said,
    }
}

fn as_text(accounts: &[Account]) -> String {
    let width = accounts.iter().map(|account| account.username.chars().count()).max().unwrap_or_default().max(4);
    let mut text = format!("{:width$}  {:5}  {:8}  MADE\n", "NAME", "ROLE", "STATE");
    for account in accounts {
        let state = if account.disabled { "disabled" } else { "enabled" };
        let (name, made) = (output::plain_line(&account.username), rfc3339_ms(account.created_at_ms));
        text.push_str(&format!("{name:width$}  {:5}  {state:8}  {made}\n", account.role.as_str()));
    }
    text
}

fn as_json(accounts: &[Account]) -> String {
    let all: Vec<_> = accounts
        .iter()
        .map(|account| {
            json!({
                "id": account.subject, "username": account.username, "role": account.role,
                "disabled": account.disabled, "created_at": rfc3339_ms(account.created_at_ms),
            })
        })
        .collect();
    format!("{:#}", serde_json::Value::from(all))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn world() -> (tempfile::TempDir, Settings) {
        let home = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.data.data_dir = home.path().join("data");
        settings.data.store_url = format!("sqlite:{}", settings.data.data_dir.join("gateway.db").display());
        (home, settings)
    }

    fn add(name: &str, file: Option<PathBuf>) -> Action {
        Action::Add { name: name.to_owned(), role: Role::User, password: PasswordArgs { password_file: file } }
    }

    async fn logs_in(settings: &Settings, name: &str, password: &str) -> bool {
        let store = open(settings).await.unwrap();
        let accounts = Accounts::new(Arc::clone(&store), &settings.auth);
        let outcome = accounts.login(name, password.into(), PEER).await.is_ok();
        store.close().await;
        outcome
    }

    #[tokio::test]
    async fn a_password_that_was_made_is_shown_once_and_lets_in() {
        let (_home, settings) = world();
        let said = act(&add("alice", None), &settings).await.unwrap();
        let password = said.rsplit(' ').next().unwrap();
        assert!(logs_in(&settings, "alice", password).await, "{said}");
        let listed = act(&Action::List { json: false }, &settings).await.unwrap();
        assert!(listed.contains("alice  user   enabled") && !listed.contains(password), "{listed}");
    }

    #[tokio::test]
    async fn a_password_from_a_file_is_not_shown_and_replaces_the_old_one() {
        let (home, settings) = world();
        let file = home.path().join("password");
        std::fs::write(&file, "correct horse\n").unwrap();
        let said = act(&add("bob", Some(file.clone())), &settings).await.unwrap();
        assert_eq!(said, "bob can log in (user)");
        assert!(logs_in(&settings, "bob", "correct horse").await);
        std::fs::write(&file, "battery staple").unwrap();
        let password = PasswordArgs { password_file: Some(file) };
        act(&Action::Password { name: "bob".to_owned(), password }, &settings).await.unwrap();
        assert!(logs_in(&settings, "bob", "battery staple").await);
        assert!(!logs_in(&settings, "bob", "correct horse").await);
    }

    #[tokio::test]
    async fn a_disabled_account_is_shut_out_until_it_is_enabled() {
        let (home, settings) = world();
        let file = home.path().join("password");
        std::fs::write(&file, "correct horse").unwrap();
        act(&add("carol", Some(file)), &settings).await.unwrap();
        act(&Action::Disable { name: "carol".to_owned() }, &settings).await.unwrap();
        assert!(!logs_in(&settings, "carol", "correct horse").await);
        let listed = act(&Action::List { json: true }, &settings).await.unwrap();
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        assert_eq!((&listed[0]["username"], &listed[0]["disabled"]), (&"carol".into(), &true.into()));
        assert!(listed[0].get("password_hash").is_none());
        act(&Action::Enable { name: "carol".to_owned() }, &settings).await.unwrap();
        assert!(logs_in(&settings, "carol", "correct horse").await);
    }

    #[tokio::test]
    async fn while_a_gateway_runs_nothing_is_changed_and_the_way_out_is_said() {
        let (_home, settings) = world();
        let gateway = open(&settings).await.unwrap();
        let refused = act(&add("dave", None), &settings).await.unwrap_err().to_string();
        assert!(refused.contains("stop it, run this again"), "{refused}");
        assert_eq!(gateway.accounts().await.unwrap(), []);
    }

    #[tokio::test]
    async fn an_account_that_is_not_there_or_taken_is_told() {
        let (_home, settings) = world();
        let error = act(&Action::Enable { name: "eve".to_owned() }, &settings).await.unwrap_err();
        assert_eq!(error.to_string(), "there is no account of that name");
        act(&add("eve", None), &settings).await.unwrap();
        let error = act(&add("eve", None), &settings).await.unwrap_err();
        assert_eq!(error.to_string(), "there is already an account of that name");
    }
}
