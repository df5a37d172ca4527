//! Accounts: one a subject, one a name.

use futures_util::future::join_all;

use super::{Outcome, sample, there};
use crate::api::principal::{Role, Scope};
use crate::store::{Account, SharedStore, StoreError};
use crate::telemetry::tasks;

/// Both ways to it, byte for byte.
pub async fn an_account_is_found_by_name_and_subject(store: SharedStore) -> Outcome {
    let mut account = sample::account(1);
    account.username = "Zoë O'Neil %_".to_owned();
    account.disabled = true;
    store.create_account(account.clone()).await?;
    assert_eq!(store.account_by_name(&account.username).await?, Some(account.clone()));
    assert_eq!(store.account(&account.subject).await?, Some(account.clone()));
    assert_eq!(store.account_by_name("zoë o'neil %_").await?, None);
    assert_eq!(store.account_by_name("%").await?, None);
    assert_eq!(store.account("").await?, None);
    Ok(())
}

/// The first keeps what it has; its own call again is a success.
pub async fn taken_names_and_subjects_are_refused(store: SharedStore) -> Outcome {
    let first = sample::account(1);
    store.create_account(first.clone()).await?;
    store.create_account(first.clone()).await?;
    let same_name = Account { username: first.username.clone(), ..sample::account(2) };
    assert_eq!(store.create_account(same_name.clone()).await, Err(StoreError::Exists));
    assert_eq!(store.account(&same_name.subject).await?, None);
    let same_subject = Account { subject: first.subject.clone(), ..sample::account(3) };
    assert_eq!(store.create_account(same_subject).await, Err(StoreError::Exists));
    assert_eq!(store.accounts().await?, [first]);
    Ok(())
}

/// Every field is the new one, the old name is free, another's name is not.
pub async fn an_updated_account_is_replaced_whole(store: SharedStore) -> Outcome {
    let first = sample::account(1);
    store.create_account(first.clone()).await?;
    store.create_account(sample::account(2)).await?;
    let changed = Account {
        subject: first.subject.clone(),
        username: "renamed".to_owned(),
        role: Role::Admin,
        password_hash: "another".to_owned(),
        disabled: true,
        created_at_ms: 5,
        scopes: Some([Scope::Watch, Scope::Admin].into()),
        password_changed_at_ms: 6,
        revision: 0,
    };
    assert!(store.update_account(changed.clone()).await?);
    let changed = Account { revision: 1, ..changed };
    assert_eq!(store.account(&first.subject).await?, Some(changed.clone()));
    assert_eq!(store.account_by_name("renamed").await?, Some(changed.clone()));
    assert_eq!(store.account_by_name(&first.username).await?, None);

    let clashing = Account { username: sample::account(2).username, ..changed.clone() };
    assert_eq!(store.update_account(clashing).await, Err(StoreError::Exists));
    assert_eq!(store.update_account(sample::account(3)).await, Err(StoreError::Missing));
    assert_eq!(store.accounts().await?, [changed, sample::account(2)]);
    // The old name can be given to somebody else.
    store.create_account(Account { username: first.username, ..sample::account(4) }).await
}

/// In the order of the names' bytes.
pub async fn accounts_are_told_by_name(store: SharedStore) -> Outcome {
    assert_eq!(store.accounts().await?, []);
    for n in [3, 1, 2, 0] {
        store.create_account(sample::account(n)).await?;
    }
    assert_eq!(store.accounts().await?, [0, 1, 2, 3].map(sample::account));
    Ok(())
}

/// A name is given once, also when all ask at the same moment.
pub async fn of_fifty_accounts_of_one_name_one_is_made(store: SharedStore) -> Outcome {
    let calls = (1..=50).map(|n| {
        let store = store.clone();
        let account = Account { username: "admin".to_owned(), ..sample::account(n) };
        tasks::spawn("creates", async move { store.create_account(account).await })
    });
    let mut made = 0;
    for call in join_all(calls).await {
        match there(call.ok().flatten())? {
            Ok(()) => made += 1,
            Err(error) => assert_eq!(error, StoreError::Exists),
        }
    }
    assert_eq!((made, store.accounts().await?.len()), (1, 1));
    Ok(())
}

/// Nobody's change is written over by another who had not seen it; a call whose answer was lost is simply made again.
pub async fn a_change_of_an_account_that_has_changed_since_is_not_made(store: SharedStore) -> Outcome {
    let seen = sample::account(1);
    store.create_account(seen.clone()).await?;
    let disabled = Account { disabled: true, ..seen.clone() };
    assert!(store.update_account(disabled.clone()).await?);
    assert!(store.update_account(disabled.clone()).await?, "the same again");
    let rehashed = Account { password_hash: "another".to_owned(), ..seen };
    assert!(!store.update_account(rehashed).await?);
    assert_eq!(store.account(&disabled.subject).await?, Some(Account { revision: 1, ..disabled.clone() }));

    let calls = (1..=50).map(|n| {
        let (store, account) = (store.clone(), Account { created_at_ms: n, revision: 1, ..disabled.clone() });
        tasks::spawn("changes", async move { store.update_account(account).await })
    });
    let mut made = 0;
    for call in join_all(calls).await {
        made += u32::from(there(call.ok().flatten())??);
    }
    assert_eq!(made, 1);
    Ok(())
}
