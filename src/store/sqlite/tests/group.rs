//! Writes that are committed together: one that fails does so alone, and the writer goes on.

use std::thread::JoinHandle;

use futures_util::future::join_all;
use rusqlite::{Connection, OpenFlags};

use super::{by_hand, lock_out, open, with_one_session, with_sessions};
use crate::api::selector::TypeSet;
use crate::config::settings::SqliteSynchronous;
use crate::store::contract::sample;
use crate::store::sqlite::journal::Journal;
use crate::store::sqlite::writer::{Concern, Done, Writer};
use crate::store::sqlite::{fault::Fault, file, log, schema, sessions};
use crate::store::{Batch, Store, StoreError};

/// Waits until the writer has done what it took.
fn end(writer: Writer, thread: JoinHandle<()>) {
    drop(writer);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_job_that_sqlite_refuses_does_not_fail_its_neighbours() {
    let (_directory, path, store) = with_sessions(40).await;
    by_hand(&path)
        .execute_batch(&format!(
            "CREATE TRIGGER refuses AFTER UPDATE OF last_seq ON sessions WHEN new.id = x'{}' BEGIN \
             SELECT raise(FAIL, 'on purpose'); END",
            sample::id(17).simple()
        ))
        .unwrap();
    // One task polls them all before the first is done, so they wait together.
    let appends = (1..=40).map(|n| store.append(sample::id(n), 1, sample::batch(1, 1)));
    for (n, answer) in (1..=40).zip(join_all(appends).await) {
        if n == 17 {
            assert!(matches!(answer, Err(StoreError::Damaged(_))), "{answer:?}");
        } else {
            assert_eq!(answer, Ok(()), "session {n}");
        }
    }
    for n in 1..=40 {
        // The refused one wrote its batch before its record was refused: that must be undone.
        let kept = usize::from(n != 17);
        assert_eq!(store.read(sample::id(n), 0, TypeSet::ALL, usize::MAX).await.unwrap().len(), kept, "session {n}");
        assert_eq!(store.bounds(sample::id(n)).await.unwrap().head, kept as u64);
    }
}

#[tokio::test]
async fn a_full_disk_fails_what_does_not_fit_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let lock = file::lock(&path).unwrap();
    file::prepare(&path, &lock).unwrap();
    let connection = schema::connect_writer(&path, SqliteSynchronous::Normal).unwrap();
    let session = sample::session(1);
    sessions::create(&connection, &session).unwrap();
    connection.pragma_update_and_check(None, "max_page_count", 64, |_| Ok(())).unwrap();
    let (writer, thread) =
        Writer::start(path, SqliteSynchronous::Normal, connection, lock, Journal::none().into()).unwrap();

    let big = Batch { payload: vec![1; 1_000_000].into(), ..sample::batch(2, 2) };
    let append = |batch: Batch| {
        writer.write("append", Concern::Nothing, move |connection: &Connection| {
            log::append(connection, sample::id(1), 1, &batch).map(Done::from)
        })
    };
    let (first, second, third) = tokio::join!(append(sample::batch(1, 1)), append(big), append(sample::batch(2, 3)));
    assert_eq!(first, Ok(true));
    assert_eq!(second, Err(StoreError::Away("the disk is full".to_owned())));
    assert_eq!(third, Ok(true));
    let head = writer
        .write("head", Concern::Nothing, |connection: &Connection| {
            Ok(sessions::head(connection, sample::id(1))?.last_seq.into())
        })
        .await;
    assert_eq!(head, Ok(3));
    end(writer, thread);
}

#[tokio::test]
async fn after_an_error_of_the_disk_the_writer_opens_the_file_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    drop(open(&path).unwrap());
    let lock = file::lock(&path).unwrap();
    // A connection that can't write stands for a disk that has gone away and comes back.
    let broken = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let (writer, thread) =
        Writer::start(path, SqliteSynchronous::Normal, broken, lock, Journal::none().into()).unwrap();
    let probe = || {
        writer
            .write("check", Concern::Nothing, |connection: &Connection| sessions::probe(connection, 1).map(Done::from))
    };
    assert_eq!(probe().await, Err(StoreError::Away("its file can't be written".to_owned())));
    assert_eq!(probe().await, Ok(()));
    end(writer, thread);
}

#[tokio::test]
async fn a_lock_that_somebody_else_holds_is_away_and_passes() {
    let (_directory, path, store) = with_one_session().await;
    let other = lock_out(&path);
    let away = store.append(sample::id(1), 1, sample::batch(1, 1)).await;
    assert_eq!(away, Err(StoreError::Away("its file is locked by another program".to_owned())));
    // Readers are not held up meanwhile.
    assert_eq!(store.bounds(sample::id(1)).await.unwrap().head, 0);
    drop(other);
    store.append(sample::id(1), 1, sample::batch(1, 1)).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_its_write_and_its_neighbours_alone() {
    let (_directory, path, store) = with_one_session().await;
    // Until every caller has gone.
    let other = lock_out(&path);
    for seq in 1..=20 {
        let mut gone = Box::pin(store.append(sample::id(1), 1, sample::batch(seq, seq)));
        assert!(futures_util::poll!(gone.as_mut()).is_pending());
    }
    drop(other);
    // Behind all of them in the queue.
    store.check().await.unwrap();
    assert_eq!(store.bounds(sample::id(1)).await.unwrap().head, 20);
}

#[test]
fn a_refusal_is_no_failure_of_sqlite() {
    assert!(!Fault::from(StoreError::Missing).spoils_connection());
    assert_eq!(Fault::from(StoreError::Missing).into_store_error("test"), StoreError::Missing);
}
