//! The store: does it open and take a write?

use std::path::Path;

use super::report::Check;
use crate::app::node;
use crate::config::{Settings, paths, store_url};
use crate::store::sqlite::SqliteStore;
use crate::store::{self, NodeSeen, Store, StoreError};

const NAME: &str = "store";

/// Opens the store and writes to it, unless a gateway has it open. One that is not there yet is not made. The second
/// value: does a gateway run on this data directory? `served`: one answers at the addresses of the settings.
pub(super) async fn store(settings: &Settings, served: bool) -> (Check, bool) {
    let Some(file) = paths::store_file(settings) else {
        return shared(settings, served).await;
    };
    let shown = file.display();
    if !file.exists() {
        return (missing(&file, &settings.data.data_dir), false);
    }
    let opened = match SqliteStore::open(&file, settings.data.sqlite_synchronous) {
        Ok(store) => {
            let written = store.check().await;
            store.close().await;
            written
        }
        Err(error) => Err(error),
    };
    let is_held = served && matches!(opened, Err(StoreError::Away(_)));
    let check = match opened {
        Ok(()) => Check::ok(NAME, format!("{shown} opens and takes a write")),
        Err(StoreError::Away(_)) if is_held => Check::ok(NAME, format!("{shown} is in use by the gateway that runs")),
        Err(error @ StoreError::Damaged(_)) => Check::fail(
            NAME,
            format!("{shown}: {error}"),
            "put a copy of it in its place, or move it away to begin anew",
        ),
        Err(error) => Check::fail(NAME, format!("{shown}: {error}"), "mend it, or set store_url to another file"),
    };
    (check, is_held)
}

/// A server, which several may use at once.
async fn shared(settings: &Settings, served: bool) -> (Check, bool) {
    let shown = store_url::shown(&settings.data.store_url);
    let tried = async {
        let store = store::open(settings).await?;
        let written = store.check().await;
        let nodes = store.nodes().await.unwrap_or_default();
        store.close().await;
        written.map(|()| (store.concerns(), nodes))
    };
    let tried = tried.await;
    let own = node::known(&settings.data.data_dir);
    let is_own = |seen: &NodeSeen| seen.lives() && own.as_deref() == Some(seen.node.as_str());
    // Of a server that does not answer nothing is known: whoever serves may well be this one's gateway.
    let own_runs = tried.as_ref().map_or(served, |(_, nodes)| nodes.iter().any(is_own));
    let check = match tried.map(|(concerns, _)| concerns) {
        Ok(concerns) if concerns.is_empty() => Check::ok(NAME, format!("{shown} answers and takes a write")),
        Ok(concerns) => Check::warn(NAME, concerns.join("; "), "change Redis's settings as it says"),
        Err(error) => Check::fail(NAME, format!("{shown}: {error}"), "start it, or mend store_url"),
    };
    (check, own_runs)
}

fn missing(file: &Path, data_dir: &Path) -> Check {
    let found = format!("{} will be made at first start", file.display());
    match file.parent() {
        // The data directory is made at start and has a check of its own.
        Some(directory) if directory.is_dir() || directory == data_dir => Check::ok(NAME, found),
        _ => Check::fail(
            NAME,
            format!("the directory of {} does not exist", file.display()),
            "make it, or set store_url to another file",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    fn settings(file: &Path) -> Settings {
        let mut settings = Settings::default();
        settings.data.store_url = format!("sqlite:{}", file.display());
        settings.data.data_dir = file.parent().unwrap().to_owned();
        settings
    }

    #[tokio::test]
    async fn a_store_is_tried_and_one_that_is_not_there_is_not_made() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("gateway.db");
        let settings = settings(&file);
        let (check, _) = store(&settings, false).await;
        assert!(check.level == Level::Ok && check.found.ends_with("will be made at first start"), "{check:?}");
        assert!(!file.exists());
        drop(SqliteStore::open(&file, settings.data.sqlite_synchronous).unwrap());
        let (check, is_held) = store(&settings, true).await;
        assert!(!is_held, "whoever serves there has another store");
        assert!(check.level == Level::Ok && check.found.ends_with("takes a write"), "{check:?}");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_fails_and_its_password_is_not_told() {
        let home = tempfile::tempdir().unwrap();
        let mut settings = settings(&home.path().join("gateway.db"));
        let socket = home.path().join("nobody.sock");
        settings.data.store_url = format!("redis+unix://user:canary@here{}", socket.display());
        let (check, _) = store(&settings, false).await;
        assert_eq!(check.level, Level::Fail);
        assert!(check.found.contains("nobody.sock") && !check.found.contains("canary"), "{check:?}");
    }

    #[tokio::test]
    async fn a_store_that_is_held_is_well_only_if_a_gateway_serves() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("gateway.db");
        let settings = settings(&file);
        let _held = SqliteStore::open(&file, settings.data.sqlite_synchronous).unwrap();
        let (check, is_held) = store(&settings, true).await;
        assert!(is_held && check.level == Level::Ok, "{check:?}");
        let (check, is_held) = store(&settings, false).await;
        assert!(!is_held && check.level == Level::Fail, "{check:?}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_store_fails() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("gateway.db");
        std::fs::write(&file, "not a store at all, only text".repeat(100)).unwrap();
        assert_eq!(store(&settings(&file), false).await.0.level, Level::Fail);
    }
}
