//! The file: private, held by one gateway, of a version that is known.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{by_hand, lock_out, open, with_one_session};
use crate::api::selector::TypeSet;
use crate::config::settings::SqliteSynchronous;
use crate::store::contract::sample;
use crate::store::sqlite::{file, schema};
use crate::store::{Created, NewSession, Store, StoreError};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let session = NewSession { idempotency: Some(("key".into(), "print".into())), ..sample::session(1) };
    let store = open(&path).unwrap();
    store.create_session(session.clone()).await.unwrap();
    store.append(session.row.id, 1, sample::batch(1, 3)).await.unwrap();
    store.end_session(session.row.id, 1, sample::last_batch(4), sample::end_patch()).await.unwrap();
    store.create_account(sample::account(0)).await.unwrap();
    let row = store.session(session.row.id).await.unwrap();
    store.close().await;

    let store = open(&path).unwrap();
    assert_eq!(store.session(session.row.id).await.unwrap(), row);
    let log = store.read(session.row.id, 0, TypeSet::ALL, usize::MAX).await.unwrap();
    assert_eq!(log, [sample::batch(1, 3), sample::last_batch(4)]);
    assert_eq!(store.accounts().await.unwrap(), [sample::account(0)]);
    let again = NewSession { idempotency: session.idempotency.clone(), ..sample::session(2) };
    assert_eq!(store.create_session(again).await.unwrap(), Created::Existing(Box::new(row.unwrap())));
}

#[tokio::test]
async fn all_its_files_are_private_also_when_they_were_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let names = ["gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.db.lock"];
    let store = open(&path).unwrap();
    store.check().await.unwrap();
    for name in names {
        assert_eq!(mode(&directory.path().join(name)), 0o600, "{name}");
    }
    store.close().await;
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let store = open(&path).unwrap();
    store.check().await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&directory.path().join("gateway.db-wal")), 0o600);
}

#[tokio::test]
async fn a_second_gateway_is_refused_until_the_first_has_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let first = open(&path).unwrap();
    let Err(StoreError::Away(text)) = open(&path) else { panic!("two gateways have one file") };
    assert!(text.contains("another gateway has its file open"), "{text}");
    assert!(!text.contains(directory.path().to_str().unwrap()), "{text}");
    first.check().await.unwrap();
    first.close().await;
    let second = open(&path).unwrap();
    // The closed one is still there, but the file is no longer its own.
    assert!(first.check().await.is_err());
    drop(second);
    open(&path).unwrap();
}

#[tokio::test]
async fn a_store_dropped_in_mid_write_has_committed_what_it_took() {
    let (_directory, path, store) = with_one_session().await;
    // Until the caller has gone and the store is being dropped.
    let other = lock_out(&path);
    {
        let mut append = std::pin::pin!(store.append(sample::id(1), 1, sample::batch(1, 1)));
        assert!(futures_util::poll!(append.as_mut()).is_pending());
    }
    let dropping = std::thread::spawn(move || drop(store));
    drop(other);
    dropping.join().unwrap();
    let store = open(&path).unwrap();
    assert_eq!(store.read(sample::id(1), 0, TypeSet::ALL, usize::MAX).await.unwrap(), [sample::batch(1, 1)]);
}

#[test]
fn the_setting_decides_whether_a_commit_waits_for_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    file::prepare(&path, &file::lock(&path).unwrap()).unwrap();
    for (setting, expected) in [(SqliteSynchronous::Normal, 1), (SqliteSynchronous::Full, 2)] {
        let connection = schema::connect_writer(&path, setting).unwrap();
        let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        let journal: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!((synchronous, journal.as_str()), (expected, "wal"), "{setting:?}");
    }
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    drop(open(&path).unwrap());
    by_hand(&path).pragma_update(None, "user_version", 99).unwrap();
    let Err(StoreError::Damaged(text)) = open(&path) else { panic!("opened a file of a newer version") };
    assert!(text.contains("newer version") && text.contains("99"), "{text}");
    let version: i64 = by_hand(&path).query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 99);
}

#[test]
fn a_file_of_another_program_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    by_hand(&path).execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(open(&path), Err(StoreError::Damaged(text)) if text.contains("another program")));
    assert_eq!(fs::read(&path).unwrap(), before);

    let letter = directory.path().join("letter.txt");
    fs::write(&letter, "Dear Sir or Madam, ".repeat(400)).unwrap();
    assert!(matches!(open(&letter), Err(StoreError::Damaged(_))));
    assert_eq!(fs::read(&letter).unwrap(), "Dear Sir or Madam, ".repeat(400).as_bytes());
}

#[test]
fn a_missing_directory_is_told_plainly() {
    let directory = tempfile::tempdir().unwrap();
    let Err(error) = open(&directory.path().join("no/such/gateway.db")) else { panic!("opened nothing") };
    assert_eq!(error, StoreError::Away("its directory does not exist".to_owned()));
}
