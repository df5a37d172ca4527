//! Several stores on one Redis, as several gateways have them.

use futures_util::future::join_all;

use super::{Server, open};
use crate::store::contract::sample;
use crate::store::{Created, NewSession, SlotOutcome, Store, StoreError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_of_starts_with_one_key_through_two_stores_one_is_made() {
    let server = Server::start();
    let stores = [open(&server).await, open(&server).await];
    let starts = (1..=60_u64).map(|n| {
        let key = Some(("key".to_owned(), "print".to_owned()));
        let session = NewSession { idempotency: key, ..sample::session(n) };
        stores[usize::try_from(n % 2).unwrap()].create_session(session)
    });
    let answers: Vec<_> = join_all(starts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| **answer == Created::New).count(), 1);
    let there = stores[0].unfinished_sessions(None).await.unwrap();
    assert_eq!(there.len(), 1);
    for answer in answers {
        match answer {
            Created::Existing(row) => assert_eq!(*row, there[0]),
            other => assert_eq!(other, Created::New),
        }
    }
    assert_eq!(stores[1].session_by_key("owner-1", "key").await.unwrap().unwrap().0, there[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_of_two_hundred_takers_through_two_stores_twenty_get_a_slot() {
    let server = Server::start();
    let stores = [open(&server).await, open(&server).await];
    let takes = (1..=200_u64).map(|n| {
        let at = usize::try_from(n % 2).unwrap();
        stores[at].take_slot(sample::asked(n, "ann", ["node-1", "node-2"][at]), sample::slots(20))
    });
    let taken = join_all(takes).await.into_iter().filter(|answer| matches!(answer, Ok(SlotOutcome::Taken { .. })));
    assert_eq!(taken.count(), 20);
    let held = [stores[1].forget_node_slots("node-1").await, stores[0].forget_node_slots("node-2").await];
    assert_eq!(held.into_iter().map(Result::unwrap).sum::<u64>(), 20);
}

#[tokio::test]
async fn a_slot_that_comes_free_or_is_granted_is_told_to_whoever_listens_and_nothing_else_is() {
    let server = Server::start();
    let store = open(&server).await;
    let limits = sample::slots(1);
    let told = || {
        let stats = server.ask(&["INFO", "commandstats"]).unwrap();
        let of_it = stats.lines().find_map(|line| line.strip_prefix("cmdstat_spublish:calls=")).unwrap_or("0,");
        assert!(!of_it.contains("failed_calls") || of_it.contains("failed_calls=0"), "{of_it}");
        of_it.split(',').next().unwrap().parse::<u64>().unwrap()
    };
    for n in 1..=3 {
        store.join_line(sample::asked(n, "ann", "node-1"), limits, sample::LINE).await.unwrap();
        store.take_slot(sample::asked(9, "bob", "node-2"), limits).await.unwrap();
    }
    store.line_of("node-1", limits, 0, true).await.unwrap();
    store.release_slot(sample::id(3), limits).await.unwrap();
    assert_eq!(told(), 0, "nobody has got anything");
    store.release_slot(sample::id(1), limits).await.unwrap();
    assert_eq!(told(), 1);
    store.release_slot(sample::id(2), limits).await.unwrap();
    assert_eq!(told(), 2, "also when nobody waits");
    store.release_slot(sample::id(2), limits).await.unwrap();
    assert_eq!(told(), 2);
    store.join_line(sample::asked(4, "ann", "node-1"), limits, sample::LINE).await.unwrap();
    store.join_line(sample::asked(5, "ann", "node-1"), limits, sample::LINE).await.unwrap();
    store.line_of("node-2", sample::slots(2), 0, false).await.unwrap();
    assert_eq!(told(), 3, "there are more slots");
    store.forget_node_slots("node-1").await.unwrap();
    assert_eq!(told(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_of_one_session_do_not_both_write() {
    let server = Server::start();
    let [first, second] = [open(&server).await, open(&server).await];
    let id = sample::id(1);
    first.create_session(sample::session(1)).await.unwrap();
    first.append(id, 1, sample::batch(1, 1)).await.unwrap();
    second.update_session(id, 1, sample::takeover_patch("node-2", 2)).await.unwrap();
    let (late, new) = tokio::join!(first.append(id, 1, sample::batch(2, 2)), second.append(id, 2, sample::batch(2, 3)));
    assert_eq!((late, new), (Err(StoreError::NotOwner), Ok(())));
    let end = first.end_session(id, 1, sample::last_batch(4), sample::end_patch()).await;
    assert_eq!(end, Err(StoreError::NotOwner));
    assert_eq!(first.bounds(id).await.unwrap().head, 3);
}

#[tokio::test]
async fn two_prefixes_on_one_server_do_not_meet() {
    let server = Server::start();
    let store = open(&server).await;
    let other = crate::store::redis::RedisStore::open(&server.url(), "other").unwrap();
    other.prepare().await.unwrap();
    store.create_session(sample::session(1)).await.unwrap();
    assert_eq!(other.session(sample::id(1)).await.unwrap(), None);
    assert_eq!(other.unfinished_sessions(None).await.unwrap(), []);
}
