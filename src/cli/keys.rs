//! `cc-gateway keys`: API keys of services, made, listed and revoked in the store itself.

use std::collections::BTreeSet;

use clap::{Args as ClapArgs, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;

use super::settings::{self, SettingsArgs};
use super::user::{UserError, note, open_existing, scope, tell};
use super::{Exit, output};
use crate::api::Scope;
use crate::auth::keys::DEFAULT_LIFE_SECONDS;
use crate::auth::{AccountError, ApiKey, ApiKeys, KeyError, NewKey, Revocations};
use crate::config::settings::AuthSettings;
use crate::config::{Environment, Settings};
use crate::store::{Account, SharedStore};
use crate::telemetry::time::rfc3339_ms;

const EXAMPLES: &str = "\
Examples:
  cc-gateway keys add alice ci --scopes run,watch --days 30     shows the key once
  cc-gateway keys list alice
  cc-gateway keys revoke 3f2a9c0d1e4b5a6978877665544332211

With the embedded store keys can be changed only while no gateway runs on the same data directory: stop it
first, or use the methods key.* of a running one.";

/// Make, list and revoke the API keys that services log in with.
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

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make a key.
    Add {
        /// The account that it logs in.
        account: String,
        /// A word for it.
        name: String,
        /// What it may do, as far as its account may; all that by default.
        #[arg(long, value_delimiter = ',', value_parser = scope)]
        scopes: Option<Vec<Scope>>,
        /// How many days it serves; 90 by default.
        #[arg(long)]
        days: Option<u32>,
    },
    /// List keys.
    List {
        /// Only this account's.
        account: Option<String>,
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a key; what came of it is refused.
    Revoke {
        /// Its id.
        id: String,
    },
}

/// Does it and says so.
pub async fn run(args: &Args, env: &Environment) -> Exit {
    let loaded = match settings::load(&args.settings.sources(env, [])) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    tell(act(&args.action, &loaded.settings).await, if_lost(&args.action))
}

/// What to do when nobody has got the key that was shown.
fn if_lost(action: &Action) -> Option<&'static str> {
    matches!(action, Action::Add { .. }).then_some(
        "The key is made, but nobody knows it: revoke it (`cc-gateway keys list`, `cc-gateway keys revoke ID`) and make another.",
    )
}

async fn act(action: &Action, settings: &Settings) -> Result<String, UserError> {
    let store = open_existing(settings).await?;
    let said = act_on(action, &store, &settings.auth).await;
    store.close().await;
    said
}

async fn act_on(action: &Action, store: &SharedStore, settings: &AuthSettings) -> Result<String, UserError> {
    let keys = ApiKeys::new(store.clone());
    match action {
        Action::Add { account, name, scopes, days } => {
            let owner = named(store, account).await?;
            let may = owner.allowed();
            let scopes: BTreeSet<_> =
                scopes.as_ref().map_or_else(|| may.clone(), |scopes| scopes.iter().copied().collect());
            if !scopes.is_subset(&may) {
                return Err(KeyError::Scopes.into());
            }
            let life_seconds = days.map_or(DEFAULT_LIFE_SECONDS, |days| u64::from(days) * 24 * 3_600);
            let new = NewKey { subject: owner.subject, name: name.clone(), scopes, life_seconds };
            let (key, text) = keys.create(new).await?;
            note(store, "operator.keys.add", Some(key.id.clone())).await?;
            let (ends, text) = (rfc3339_ms(key.expires_at_ms), text.expose_secret());
            Ok(format!("{} serves until {ends}; the key, shown this once: {text}", key.id))
        }
        Action::List { account, json } => {
            let owner = match account {
                Some(name) => Some(named(store, name).await?.subject),
                None => None,
            };
            let found = keys.of(owner.as_deref()).await?;
            let accounts = store.accounts().await?;
            Ok(if *json { as_json(&found, &accounts) } else { as_text(&found, &accounts) })
        }
        Action::Revoke { id } => {
            let key = keys.revoke(id, None).await?;
            Revocations::new(store.clone(), settings).revoke_login(&key.login(), None).await?;
            note(store, "operator.keys.revoke", Some(key.id.clone())).await?;
            Ok(format!("{} serves no more", key.id))
        }
    }
}

async fn named(store: &SharedStore, name: &str) -> Result<Account, UserError> {
    Ok(store.account_by_name(name).await?.ok_or(AccountError::NoSuchAccount)?)
}

fn owner<'a>(key: &ApiKey, accounts: &'a [Account]) -> &'a str {
    accounts.iter().find(|account| account.subject == key.subject).map_or("?", |account| account.username.as_str())
}

fn words(key: &ApiKey) -> String {
    key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
}

fn as_text(keys: &[ApiKey], accounts: &[Account]) -> String {
    let mut text = format!("{:32}  {:24}  SCOPES  ACCOUNT  NAME\n", "ID", "ENDS");
    for key in keys {
        let (owner, name) = (output::plain_line(owner(key, accounts)), output::plain_line(&key.name));
        let ends = rfc3339_ms(key.expires_at_ms);
        text.push_str(&format!("{:32}  {ends:24}  {}  {owner}  {name}\n", key.id, words(key)));
    }
    text
}

fn as_json(keys: &[ApiKey], accounts: &[Account]) -> String {
    let all: Vec<_> = keys
        .iter()
        .map(|key| {
            json!({
                "id": key.id, "name": key.name, "username": owner(key, accounts), "scopes": key.scopes,
                "created_at": rfc3339_ms(key.created_at_ms), "expires_at": rfc3339_ms(key.expires_at_ms),
            })
        })
        .collect();
    format!("{:#}", serde_json::Value::from(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Role;
    use crate::auth::fake_store::account;
    use crate::store::sqlite::test_store;

    #[tokio::test]
    async fn a_key_can_not_do_more_than_its_account_may() {
        let store = test_store();
        store.create_account(account("alice", Role::User)).await.unwrap();
        let (name, scopes) = ("adm".to_owned(), Some(vec![Scope::Run, Scope::Admin]));
        let add = Action::Add { account: "alice".to_owned(), name, scopes, days: None };
        let refused = act_on(&add, &store, &AuthSettings::default()).await.unwrap_err();
        assert_eq!(refused.to_string(), KeyError::Scopes.to_string());
        assert_eq!(ApiKeys::new(store).of(None).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_key_is_shown_once_listed_without_itself_and_revoked() {
        let store = test_store();
        store.create_account(account("alice", Role::User)).await.unwrap();
        let add = Action::Add { account: "alice".to_owned(), name: "ci".to_owned(), scopes: None, days: Some(1) };
        let said = act_on(&add, &store, &AuthSettings::default()).await.unwrap();
        let text = said.rsplit(' ').next().unwrap();
        let keys = ApiKeys::new(store.clone());
        let (key, _) = keys.verify(text).await.unwrap().unwrap();
        for json in [true, false] {
            let list = Action::List { account: Some("alice".to_owned()), json };
            let listed = act_on(&list, &store, &AuthSettings::default()).await.unwrap();
            assert!(listed.contains(&key.id) && listed.contains("ci") && !listed.contains(text), "{listed}");
        }
        act_on(&Action::Revoke { id: key.id.clone() }, &store, &AuthSettings::default()).await.unwrap();
        assert!(keys.verify(text).await.unwrap().is_none());
        let error = act_on(&Action::Revoke { id: key.id }, &store, &AuthSettings::default()).await.unwrap_err();
        assert_eq!(error.to_string(), "there is no such API key");
        let unknown = Action::List { account: Some("eve".to_owned()), json: false };
        assert_eq!(
            act_on(&unknown, &store, &AuthSettings::default()).await.unwrap_err().to_string(),
            "there is no account of that name"
        );
        let entries = store.audit(crate::store::AuditQuery { limit: 9, ..Default::default() }).await.unwrap();
        assert!(entries.len() == 2 && !format!("{entries:?}").contains(text));
    }
}
