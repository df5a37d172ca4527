//! What the journal promises to the store as a whole: what it keeps gets into the database, and nothing else does.

use std::path::Path;

use super::{by_hand, lock_out, open, with_new_sessions, with_one_session};
use crate::api::event::SessionState;
use crate::api::selector::TypeSet;
use crate::config::settings::SqliteSynchronous;
use crate::store::contract::sample;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::journal::{Journal, Taken};
use crate::store::{Created, NewSession, SessionPatch, SessionRow, Store, StoreError};

/// A session whose id was made for it.
fn fresh(n: u64) -> NewSession {
    NewSession { fresh: true, ..sample::session(n) }
}

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
async fn a_new_session_waits_for_no_transaction_and_is_there_for_whoever_asks() {
    let (_directory, path, store) = with_one_session().await;
    store.check().await.unwrap();
    let other = lock_out(&path);
    for n in 2..=4 {
        assert_eq!(store.create_session(fresh(n)).await, Ok(Created::New));
        store.append(sample::id(n), 1, sample::batch(1, 1)).await.unwrap();
    }
    assert_eq!(heads(&path), [0], "nothing of them is in the database");
    drop(other);
    let row = store.session(sample::id(2)).await.unwrap().unwrap();
    assert_eq!(row, SessionRow { last_seq: 1, ..fresh(2).row });
    store.update_session(sample::id(3), 1, sample::state_patch(SessionState::Idle)).await.unwrap();
    assert_eq!(heads(&path), [0, 1, 1], "only what was asked for");
    assert_eq!(store.unfinished_sessions(None).await.unwrap().len(), 4);
    store.close().await;
}

#[tokio::test]
async fn what_is_in_the_journal_is_read_beside_a_locked_database_in_pages_and_with_filters() {
    let (_directory, path, store) = with_one_session().await;
    let id = sample::id(1);
    for seq in 1..=2 {
        store.append(id, 1, sample::batch(seq, seq)).await.unwrap();
    }
    assert_eq!(store.bounds(id).await.unwrap().head, 2);
    let other = lock_out(&path);
    for seq in 3..=9 {
        store.append(id, 1, sample::batch(seq, seq)).await.unwrap();
    }
    let all = |from: u64, to: u64| (from..=to).map(|seq| sample::batch(seq, seq)).collect::<Vec<_>>();
    let read = |after, wanted, bytes| store.read(id, after, wanted, bytes);
    for after in 0..9 {
        assert_eq!(read(after, TypeSet::ALL, usize::MAX).await.unwrap(), all(after + 1, 9));
        assert_eq!(read(after, TypeSet::ALL, 1).await.unwrap(), all(after + 1, after + 1));
    }
    let bare = read(7, TypeSet(0), usize::MAX).await.unwrap();
    assert!(bare.len() == 2 && bare.iter().all(|batch| batch.payload.is_empty()), "{bare:?}");
    drop(other);
    assert_eq!(store.bounds(id).await.unwrap().head, 9);
    assert_eq!(read(0, TypeSet::ALL, usize::MAX).await.unwrap(), all(1, 9));
    store.close().await;
}

#[tokio::test]
async fn a_store_that_is_known_to_be_in_trouble_takes_no_new_session() {
    let (_directory, path, store) = with_one_session().await;
    store.append(sample::id(1), 1, sample::batch(1, 1)).await.unwrap();
    let other = lock_out(&path);
    let away = StoreError::Away("its file is locked by another program".to_owned());
    assert_eq!(store.check().await, Err(away.clone()));
    assert_eq!(store.create_session(fresh(2)).await, Err(away));
    store.append(sample::id(1), 1, sample::batch(2, 2)).await.unwrap();
    drop(other);
    assert_eq!(store.create_session(fresh(2)).await, Ok(Created::New));
    store.close().await;
}

#[tokio::test]
async fn a_new_session_outlives_the_gateway_that_took_it() {
    let (_directory, path, store) = with_one_session().await;
    store.close().await;
    {
        let (journal, _) = Journal::open(&path).unwrap();
        assert_eq!(journal.begin(sample::id(2), 1, Vec::new()), Taken::No, "nothing is known of the database");
        journal.heed(true);
        let about = |n| serde_json::to_vec(&fresh(n).row).unwrap();
        assert_eq!(journal.begin(sample::id(2), 1, about(2)), Taken::Kept);
        assert_eq!(journal.begin(sample::id(2), 1, about(2)), Taken::No, "it is known");
        assert_eq!(journal.append(sample::id(2), 1, &sample::batch(1, 4)), Taken::Kept);
        // One that the database has already, and one that nobody can read.
        assert_eq!(journal.begin(sample::id(1), 1, about(1)), Taken::Kept);
        assert_eq!(journal.begin(sample::id(3), 1, b"{".to_vec()), Taken::Kept);
    }
    let store = open(&path).unwrap();
    assert_eq!((kept(&path), heads(&path)), (0, vec![0, 4]));
    assert_eq!(store.session(sample::id(2)).await.unwrap().unwrap().labels, fresh(2).row.labels);
    store.close().await;
}

#[tokio::test]
async fn an_id_that_may_be_known_is_looked_up() {
    let (_directory, _path, store) = with_one_session().await;
    let mut other = NewSession { fresh: false, ..sample::session(1) };
    assert_eq!(store.create_session(other.clone()).await, Ok(Created::New), "the very same");
    other.row.workspace = "/elsewhere".to_owned();
    assert_eq!(store.create_session(other).await, Err(StoreError::Exists));
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
