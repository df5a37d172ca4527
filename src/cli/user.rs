//! `cc-gateway user`: the accounts, changed in the store itself while no gateway runs on it.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::settings::{self, SettingsArgs};
use super::{Exit, output};
use crate::api::Role;
use crate::api::Scope;
use crate::auth::audit::Deed;
use crate::auth::{AccountChange, AccountError, Accounts, KeyError, make_password};
use crate::config::data_dir::{self, DataDirError};
use crate::config::oidc::admins_come_from_outside;
use crate::config::{Environment, Settings, paths};
use crate::store::{self, SharedStore, StoreError};
use crate::telemetry::time::rfc3339_ms;
use clap::{Args as ClapArgs, Subcommand};
use secrecy::{ExposeSecret, SecretString};

#[cfg(test)]
mod tests;
mod told;

const EXAMPLES: &str = "\
Examples:
  cc-gateway user add alice                          makes a password and shows it once
  cc-gateway user add root2 --role admin --password-file ./password
  pass show alice | cc-gateway user password alice --password-file -
  cc-gateway user disable alice
  cc-gateway user set alice --scopes run,watch --role user
  cc-gateway user invite --role user                 makes a code for POST /auth/accept
  cc-gateway user import --shadow /etc/shadow --dry-run
  cc-gateway user list --json

With the embedded store accounts can be changed only while no gateway runs on the same data directory: stop
it first, or use the methods account.* of a running one.
Run it as the user the gateway runs as, with the same settings.";

/// Add, invite, import, list, change, disable or enable accounts, or set a password.
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
        /// What it may do, if that is less than its role allows.
        #[arg(long, value_delimiter = ',', value_parser = scope)]
        scopes: Option<Vec<Scope>>,
        /// Where its password comes from.
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Change an account's role or scopes.
    Set {
        /// Its name.
        name: String,
        /// Its new role.
        #[arg(long, value_parser = role)]
        role: Option<Role>,
        /// What it may do from now on.
        #[arg(long, value_delimiter = ',', value_parser = scope)]
        scopes: Option<Vec<Scope>>,
    },
    /// Make a code that makes an account, once; it is shown once.
    Invite {
        /// The role of the account to come.
        #[arg(long, default_value = "user", value_parser = role)]
        role: Role,
        /// What it may do, if that is less than its role allows.
        #[arg(long, value_delimiter = ',', value_parser = scope)]
        scopes: Option<Vec<Scope>>,
        /// How many hours the code holds; three days by default.
        #[arg(long)]
        hours: Option<u32>,
    },
    /// Make accounts of the lines of a system's shadow file: they log in with the passwords they have there.
    Import {
        /// The file.
        #[arg(long, value_name = "FILE")]
        shadow: PathBuf,
        /// Their role.
        #[arg(long, default_value = "user", value_parser = role)]
        role: Role,
        /// Say what would be made, and make nothing.
        #[arg(long)]
        dry_run: bool,
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

/// One scope of a list.
pub(super) fn scope(text: &str) -> Result<Scope, crate::api::principal::UnknownScope> {
    text.parse()
}

fn role(text: &str) -> Result<Role, crate::api::principal::UnknownRole> {
    text.parse()
}

/// Why nothing was done. For the operator: names paths.
#[derive(Debug, thiserror::Error)]
pub(super) enum UserError {
    #[error(transparent)]
    DataDirectory(#[from] DataDirError),
    #[error(
        "the accounts can't be reached: {0}\nIf a gateway runs on this data directory, stop it, run this again, and start it."
    )]
    Store(#[from] StoreError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(
        "there is no store at {}: `cc-gateway config` shows which data_dir and store_url are meant; the first start of a \
         gateway makes one", path.display()
    )]
    NoStore { path: PathBuf },
    #[error("{} can't be read: {source}", path.display())]
    Shadow { path: PathBuf, source: std::io::Error },
    #[error("the password can't be read from {from}: {source}")]
    Password { from: String, source: std::io::Error },
}

/// Does it and says so.
pub async fn run(args: &Args, env: &Environment) -> Exit {
    let loaded = match settings::load(&args.settings.sources(env, [])) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    tell(act(&args.action, &loaded.settings).await, told::if_lost(&args.action).as_deref())
}

/// Says what came of it; `if_lost`: what to do when that holds a secret that is shown once, and nobody has got it.
pub(super) fn tell(outcome: Result<String, UserError>, if_lost: Option<&str>) -> Exit {
    match outcome {
        Ok(said) => match if_lost {
            Some(advice) => output::say_once(&said, advice),
            None => output::say(&said),
        },
        Err(error) => {
            output::complain(&format!("cc-gateway: {error}"));
            Exit::FAILURE
        }
    }
}

/// What there is to say afterwards.
async fn act(action: &Action, settings: &Settings) -> Result<String, UserError> {
    let makes_store = matches!(action, Action::Add { .. } | Action::Invite { .. } | Action::Import { .. });
    let store = if makes_store { open(settings).await? } else { open_existing(settings).await? };
    let accounts = Accounts::new(Arc::clone(&store), &settings.auth);
    let said = match action {
        Action::Add { name, role, scopes, password } => {
            let (password, made) = password_from(password)?;
            let account = accounts.create_with(name, password, *role, set(scopes.as_deref())).await?;
            Ok(with_password(format!("{} can log in ({})", account.username, account.role), made))
        }
        Action::Set { name, role, scopes } => {
            let scopes = scopes.as_deref().map(|scopes| set(Some(scopes)));
            let change = AccountChange { role: *role, scopes, ..AccountChange::default() };
            let account = accounts.change(name, change).await?;
            let words: Vec<&str> = account.allowed().iter().map(|scope| scope.as_str()).collect();
            Ok(format!("{} is {} and may {}", account.username, account.role, words.join(", ")))
        }
        Action::Invite { role, scopes, hours } => {
            let seconds = hours.map(|hours| u64::from(hours) * 3_600);
            let (code, ends) = accounts.invite(*role, set(scopes.as_deref()), seconds).await?;
            let code = code.expose_secret();
            Ok(format!("the invitation holds until {}; its code, shown this once: {code}", rfc3339_ms(ends)))
        }
        Action::Import { shadow, role, dry_run } => {
            let unreadable = |source| UserError::Shadow { path: shadow.clone(), source };
            let text = SecretString::from(std::fs::read_to_string(shadow).map_err(unreadable)?);
            let outcomes = accounts.import(text.expose_secret(), *role, *dry_run).await?;
            Ok(told::imported(&outcomes, *dry_run))
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
        Action::List { json } => {
            accounts.list().await.map(|all| if *json { told::as_json(&all) } else { told::as_text(&all) })
        }
    };
    if said.is_ok()
        && let Some((action, name)) = audited(action)
    {
        note(&store, action, name).await?;
        warn_without_admin(&accounts, settings).await?;
    }
    store.close().await;
    Ok(said?)
}

/// An operator may well shut out the last admin, but must know what follows from it.
async fn warn_without_admin(accounts: &Accounts, settings: &Settings) -> Result<(), UserError> {
    if !admins_come_from_outside(settings) && !accounts.can_be_managed().await? {
        output::complain(
            "No account can manage accounts now; `cc-gateway user add NAME --role admin` makes one that can.",
        );
    }
    Ok(())
}

/// The word for the audit log, and whom it was done to; `None`: nothing was changed.
fn audited(action: &Action) -> Option<(&'static str, Option<String>)> {
    match action {
        Action::Add { name, .. } => Some(("operator.user.add", Some(name.clone()))),
        Action::Set { name, .. } => Some(("operator.user.set", Some(name.clone()))),
        Action::Invite { .. } => Some(("operator.user.invite", None)),
        Action::Import { dry_run, .. } => (!dry_run).then_some(("operator.user.import", None)),
        Action::Password { name, .. } => Some(("operator.user.password", Some(name.clone()))),
        Action::Disable { name } => Some(("operator.user.disable", Some(name.clone()))),
        Action::Enable { name } => Some(("operator.user.enable", Some(name.clone()))),
        Action::List { .. } => None,
    }
}

/// Writes it into the audit log.
pub(super) async fn note(store: &SharedStore, action: &'static str, target: Option<String>) -> Result<(), UserError> {
    let mut entry = Deed { target, ..Deed::new(action) }.entry();
    entry.username = "operator".to_owned();
    Ok(store.append_audit(vec![entry]).await?)
}

fn set(scopes: Option<&[Scope]>) -> Option<BTreeSet<Scope>> {
    scopes.map(|scopes| scopes.iter().copied().collect())
}

/// Opens the store that is there, and makes none.
pub(super) async fn open_existing(settings: &Settings) -> Result<SharedStore, UserError> {
    match paths::store_file(settings) {
        Some(path) if !path.exists() => Err(UserError::NoStore { path }),
        _ => open(settings).await,
    }
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
