//! What the journal promises to the store as a whole: what it keeps gets into the database, and nothing else does.

use std::path::Path;

use super::{by_hand, lock_out, open, with_new_sessions, with_one_session};
use crate::api::selector::TypeSet;
use crate::config::settings::SqliteSynchronous;
use crate::store::contract::sample;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::journal::{Journal, Taken};
use crate::store::{SessionPatch, Store, StoreError};

/// Bytes in the journal's files.
fn kept(path: &Path) -> u64 {
    let file = |which| path.with_extension(format!("db.journal-{which}")).metadata().unwrap().len();
    file("a") + file("b")
}

fn heads(path: &Path) -> Vec<i64> {
    let connection = by_hand(path);
    let mut statement = connection.prepare("SELECT last_seq FROM sessions ORDER BY key").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn an_orderly_end_puts_everything_into_the_database() {
    let (_directory, path, store) = with_one_session().await;
    for seq in 1..=20 {
        store.append(sample::id(1), 1, sample::batch(seq, seq)).await.unwrap();
    }
    assert!(kept(&path) > 0, "nothing went into the journal");
    store.close().await;
    assert_eq!((kept(&path), heads(&path)), (0, vec![20]));
}

#[tokio::test]
async fn without_a_word_from_anybody_it_gets_there_too() {
    let (_directory, path, store) = with_one_session().await;
    for seq in 1..=3 {
        store.append(sample::id(1), 1, sample::batch(seq, seq)).await.unwrap();
    }
    while heads(&path) != [3] {
        tokio::task::yield_now().await;
    }
    store.close().await;
}

#[tokio::test]
async fn the_first_events_of_a_new_session_wait_for_no_transaction() {
    let (_directory, path, store) = with_new_sessions(1).await;
    let other = lock_out(&path);
    for seq in 1..=3 {
        store.append(sample::id(1), 1, sample::batch(seq, seq)).await.unwrap();
    }
    drop(other);
    assert_eq!(store.bounds(sample::id(1)).await.unwrap().head, 3);
    store.close().await;
}

#[tokio::test]
async fn what_must_survive_a_loss_of_power_goes_into_the_database_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let store = SqliteStore::open(&path, SqliteSynchronous::Full).unwrap();
    store.create_session(sample::session(1)).await.unwrap();
    for seq in 1..=5 {
        store.append(sample::id(1), 1, sample::batch(seq, seq)).await.unwrap();
        assert_eq!(heads(&path), [i64::try_from(seq).unwrap()]);
    }
    assert_eq!(kept(&path), 0);
    store.close().await;
}

#[tokio::test]
async fn appends_go_on_while_another_program_holds_the_database() {
    let (_directory, path, store) = with_one_session().await;
    store.append(sample::id(1), 1, sample::batch(1, 1)).await.unwrap();
    let other = lock_out(&path);
    for seq in 2..=50 {
        store.append(sample::id(1), 1, sample::batch(seq, seq)).await.unwrap();
    }
    drop(other);
    let log = store.read(sample::id(1), 0, TypeSet::ALL, usize::MAX).await.unwrap();
    assert_eq!(log, (1..=50).map(|seq| sample::batch(seq, seq)).collect::<Vec<_>>());
    store.close().await;
}

#[tokio::test]
async fn an_owner_that_was_shut_out_gets_nothing_into_the_journal() {
    let (_directory, _path, store) = with_one_session().await;
    let id = sample::id(1);
    for seq in 1..=2 {
        store.append(id, 1, sample::batch(seq, seq)).await.unwrap();
    }
    let owner = Some(("other".to_owned(), 2));
    store.update_session(id, 1, SessionPatch { owner, ..SessionPatch::default() }).await.unwrap();
    assert_eq!(store.append(id, 1, sample::batch(3, 3)).await, Err(StoreError::NotOwner));
    for seq in 3..=4 {
        store.append(id, 2, sample::batch(seq, seq)).await.unwrap();
    }
    assert_eq!(store.bounds(id).await.unwrap().head, 4);
    store.end_session(id, 2, sample::last_batch(5), sample::end_patch()).await.unwrap();
    assert_eq!(store.append(id, 2, sample::batch(6, 6)).await, Err(StoreError::NotOwner));
    assert!(store.remove_session(id).await.unwrap());
    assert_eq!(store.append(id, 2, sample::batch(6, 6)).await, Err(StoreError::Missing));
    store.close().await;
}

#[tokio::test]
async fn of_what_an_earlier_gateway_left_only_what_fits_is_taken_over() {
    let (_directory, path, store) = with_one_session().await;
    for n in 2..=4 {
        store.create_session(sample::session(n)).await.unwrap();
    }
    store.close().await;
    {
        // Session 1 goes on, 2 has another owner by now, of 3 something is missing, 5 is not there.
        let (journal, _) = Journal::open(&path).unwrap();
        for (n, epoch, head) in [(1, 1, 0), (2, 7, 0), (3, 1, 4), (5, 1, 0)] {
            journal.learn(sample::id(n), epoch, head);
            for seq in [head + 1, head + 2] {
                let taken = journal.append(sample::id(n), epoch, &sample::batch(seq, seq));
                assert!(matches!(taken, Taken::Kept));
            }
        }
    }
    let store = open(&path).unwrap();
    assert_eq!((kept(&path), heads(&path)), (0, vec![2, 0, 0, 0]));
    let log = store.read(sample::id(1), 0, TypeSet::ALL, usize::MAX).await.unwrap();
    assert_eq!(log, [sample::batch(1, 1), sample::batch(2, 2)]);
    store.append(sample::id(1), 1, sample::batch(3, 3)).await.unwrap();
    store.close().await;
}
