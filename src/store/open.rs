//! Opens whichever store the settings name.

use std::sync::Arc;
use std::time::Duration;

use super::redis::RedisStore;
use super::sqlite::SqliteStore;
use super::{SharedStore, StoreError, copy};
use crate::config::paths;
use crate::config::settings::Settings;

/// Between two looks whether Redis is there; a look itself waits for an answer.
const RETRY: Duration = Duration::from_millis(200);

/// Opens the store, which must be there.
///
/// # Errors
/// [`StoreError::Away`] if it can't be opened or does not answer, [`StoreError::Damaged`] if it is of another form, or
/// a copy into it is not complete.
pub async fn open(settings: &Settings) -> Result<SharedStore, StoreError> {
    whole(open_as_it_is(settings).await?).await
}

/// The same, also for a store that another one is being copied into.
///
/// # Errors
/// As [`open`].
pub async fn open_as_it_is(settings: &Settings) -> Result<SharedStore, StoreError> {
    if let Some(file) = paths::store_file(settings) {
        return Ok(Arc::new(SqliteStore::open(&file, settings.data.sqlite_synchronous)?));
    }
    let store = RedisStore::open(&settings.data.store_url, &settings.data.redis_key_prefix)?;
    store.prepare().await?;
    Ok(Arc::new(store))
}

/// The store, unless a copy into it was broken off: who serves what is there would serve a part.
async fn whole(store: SharedStore) -> Result<SharedStore, StoreError> {
    match is_whole(&store).await {
        Ok(()) => Ok(store),
        Err(error) => {
            store.close().await;
            Err(error)
        }
    }
}

async fn is_whole(store: &SharedStore) -> Result<(), StoreError> {
    if copy::is_under_way(store).await? {
        let text = "a copy into it is not complete: repeat `cc-gateway store copy`";
        return Err(StoreError::Damaged(text.to_owned()));
    }
    Ok(())
}

async fn prepare(store: &Arc<RedisStore>) -> Result<(), StoreError> {
    store.prepare().await?;
    let shared: SharedStore = store.clone();
    is_whole(&shared).await
}

/// Opens the store; one that is a server may come later, and is waited for as long as it takes.
///
/// # Errors
/// As [`open`], but a server that does not answer yet is none.
pub async fn open_when_there(settings: &Settings) -> Result<SharedStore, StoreError> {
    if paths::store_file(settings).is_some() {
        return open(settings).await;
    }
    let store = Arc::new(RedisStore::open(&settings.data.store_url, &settings.data.redis_key_prefix)?);
    let mut told = false;
    while let Err(error) = prepare(&store).await {
        if !error.retryable() {
            return Err(error);
        }
        if !told {
            tracing::warn!(%error, "the store is not there yet; waiting for it");
            told = true;
        }
        tokio::time::sleep(RETRY).await;
    }
    Ok(store)
}
