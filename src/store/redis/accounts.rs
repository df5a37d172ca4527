//! Accounts. Names are compared as given, byte for byte.

use fred::interfaces::HashesInterface;

use super::fault::damaged;
use super::record::to_json;
use super::{RedisStore, fault, scripts};
use crate::store::{Account, StoreError};

impl RedisStore {
    /// See [`crate::store::Store::create_account`].
    pub(super) async fn add_account(&self, account: &Account) -> Result<(), StoreError> {
        let holder: String =
            self.link.run("create_account", &scripts::CREATE_ACCOUNT, self.keys.accounts(), words(account)?).await?;
        if holder.is_empty() || decode(&holder)? == *account { Ok(()) } else { Err(StoreError::Exists) }
    }

    /// See [`crate::store::Store::update_account`].
    pub(super) async fn replace_account(&self, account: &Account) -> Result<bool, StoreError> {
        let mut arguments = words(&Account { revision: account.revision + 1, ..account.clone() })?;
        arguments.push(account.revision.to_string().into());
        let word: String =
            self.link.run("update_account", &scripts::UPDATE_ACCOUNT, self.keys.accounts(), arguments).await?;
        match word.as_str() {
            "ok" => Ok(true),
            "changed" => Ok(false),
            "missing" => Err(StoreError::Missing),
            _ => Err(StoreError::Exists),
        }
    }

    /// See [`crate::store::Store::account`].
    pub(super) async fn account_of(&self, subject: &str) -> Result<Option<Account>, StoreError> {
        let by_subject = self.keys.accounts().remove(0);
        let found: Option<String> =
            self.link.commands()?.hget(by_subject, subject).await.map_err(|error| fault::told("account", &error))?;
        found.map(|text| decode(&text)).transpose()
    }

    /// See [`crate::store::Store::account_by_name`].
    pub(super) async fn account_named(&self, username: &str) -> Result<Option<Account>, StoreError> {
        let names = self.keys.accounts().remove(1);
        let subject: Option<String> = self
            .link
            .commands()?
            .hget(names, username)
            .await
            .map_err(|error| fault::told("account_by_name", &error))?;
        let Some(subject) = subject else { return Ok(None) };
        // It may have got another name meanwhile.
        Ok(self.account_of(&subject).await?.filter(|account| account.username == username))
    }

    /// See [`crate::store::Store::accounts`].
    pub(super) async fn all_accounts(&self) -> Result<Vec<Account>, StoreError> {
        let by_subject = self.keys.accounts().remove(0);
        let found: Vec<String> =
            self.link.commands()?.hvals(by_subject).await.map_err(|error| fault::told("accounts", &error))?;
        let mut accounts: Vec<_> = found.iter().map(|text| decode(text)).collect::<Result<_, _>>()?;
        accounts.sort_by(|one, other| one.username.cmp(&other.username));
        Ok(accounts)
    }
}

/// What the scripts take.
fn words(account: &Account) -> Result<Vec<fred::types::Value>, StoreError> {
    Ok(vec![account.subject.as_str().into(), account.username.as_str().into(), to_json(account)?.into()])
}

fn decode(text: &str) -> Result<Account, StoreError> {
    // Not the error: it may hold what was read.
    serde_json::from_str(text).map_err(|_| damaged("an account is not the JSON it should be"))
}
