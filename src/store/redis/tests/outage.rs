//! What becomes of calls and of data while Redis is away, and after it.

use super::{Server, ask, open, server, with_one_session};
use crate::api::selector::TypeSet;
use crate::store::contract::sample;
use crate::store::redis::RedisStore;
use crate::store::{SlotOutcome, Store, StoreError};

/// Calls until the store answers: waits for the fact, not for a time.
async fn until_it_answers(store: &RedisStore) {
    while store.check().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn i1_redis_may_come_later_than_the_store() {
    let mut server = Server::absent(server::DURABLE);
    let store = RedisStore::open(&server.url(), "ccgw").unwrap();
    assert!(matches!(store.prepare().await, Err(StoreError::Away(_))));
    assert!(matches!(store.session(sample::id(1)).await, Err(StoreError::Away(_))));
    server.run();
    until_it_answers(&store).await;
    store.prepare().await.unwrap();
    assert_eq!(store.concerns(), Vec::<&str>::new());
    store.close().await;
}

#[tokio::test]
async fn i2_what_was_acknowledged_survives_kill_and_what_was_not_can_be_sent_again() {
    let (mut store, id) = with_one_session().await;
    let mut server = store.server.take().unwrap();
    let mut sent = Vec::new();
    for seq in 1..=200 {
        sent.push(sample::batch(seq, seq));
        store.append(id, 1, sample::batch(seq, seq)).await.unwrap();
        if seq % 50 == 0 {
            server.kill();
            let unsure = sample::batch(seq + 1, seq + 1);
            assert!(matches!(store.append(id, 1, unsure.clone()).await, Err(StoreError::Away(_))), "{seq}");
            server.run();
            until_it_answers(&store).await;
        }
    }
    assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await.unwrap()[..200], sent);
    // The last one that was not acknowledged has landed or not; sent again it is there once.
    store.append(id, 1, sample::batch(201, 201)).await.unwrap();
    assert_eq!(store.bounds(id).await.unwrap().head, 201);
}

#[tokio::test]
async fn i3_a_write_that_was_given_up_lands_before_what_follows_it() {
    let (store, _) = with_one_session().await;
    let server = store.server.as_ref().unwrap();
    server.pause();
    let limits = sample::slots(1);
    assert!(matches!(store.take_slot(sample::asked(7, "ann", "node-1"), limits).await, Err(StoreError::Away(_))));
    assert!(matches!(store.release_slot(sample::id(7), limits).await, Err(StoreError::Away(_))));
    server.unpause();
    until_it_answers(&store).await;
    // Had the release overtaken the take, the slot would be taken for ever.
    assert_eq!(store.slots().await.unwrap().taken, 0);
    let taken = store.take_slot(sample::asked(8, "ann", "node-2"), limits).await.unwrap();
    assert_eq!(taken, SlotOutcome::Taken { taken: 1 });
}

#[tokio::test]
async fn i5_a_server_that_takes_no_writes_is_away_and_loses_nothing() {
    let (store, id) = with_one_session().await;
    let batch = sample::batch(1, 1);
    store.append(id, 1, batch.clone()).await.unwrap();
    let refusing = [
        (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
        (["CONFIG", "SET", "min-replicas-to-write", "1"], ["CONFIG", "SET", "min-replicas-to-write", "0"]),
    ];
    for (refuse, accept) in refusing {
        assert!(ask(&store, &refuse).starts_with("+OK"));
        assert!(matches!(store.check().await, Err(StoreError::Away(_))), "{refuse:?}");
        let next = sample::batch(2, 2);
        assert!(matches!(store.append(id, 1, next).await, Err(StoreError::Away(_))), "{refuse:?}");
        let start = store.create_session(sample::session(2)).await;
        assert!(matches!(start, Err(StoreError::Away(_))), "{refuse:?}");
        assert!(ask(&store, &accept).starts_with("+OK"));
        store.append(id, 1, batch.clone()).await.unwrap();
        assert_eq!(store.read(id, 0, TypeSet::ALL, usize::MAX).await.unwrap(), std::slice::from_ref(&batch));
        assert_eq!(store.session(sample::id(2)).await.unwrap(), None);
    }
    assert!(ask(&store, &["REPLICAOF", "127.0.0.1", "1"]).starts_with("+OK"));
    assert!(matches!(store.append(id, 1, sample::batch(2, 2)).await, Err(StoreError::Away(_))));
    assert!(ask(&store, &["REPLICAOF", "NO", "ONE"]).starts_with("+OK"));
    store.append(id, 1, sample::batch(2, 2)).await.unwrap();
}

#[tokio::test]
async fn i6_a_server_that_may_forget_is_a_concern() {
    let server = Server::start_with(&["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]);
    let store = open(&server).await;
    assert_eq!(store.concerns().len(), 2, "{:?}", store.concerns());
    store.check().await.unwrap();
}

#[tokio::test]
async fn i7_what_was_wiped_or_is_of_another_kind_is_told_and_harms_no_other() {
    let (store, id) = with_one_session().await;
    let neighbour = sample::session(2);
    store.create_session(neighbour.clone()).await.unwrap();
    for key in ["session", "log"] {
        let name = format!("ccgw:{{{id}}}:{key}");
        store.append(id, 1, sample::batch(1, 1)).await.unwrap();
        assert!(ask(&store, &["DUMP", &name]).starts_with('$'), "{name} is not there");
        ask(&store, &["SET", &name, "something else"]);
        let append = store.append(id, 1, sample::batch(2, 2)).await;
        assert!(matches!(append, Err(StoreError::Damaged(_))), "{key}: {append:?}");
        assert!(matches!(store.read(id, 0, TypeSet::ALL, 100).await, Err(StoreError::Damaged(_))), "{key}");
        let listed = store.unfinished_sessions(None).await.unwrap();
        assert!(listed.contains(&neighbour.row), "{key}");
        ask(&store, &["DEL", &format!("ccgw:{{{id}}}:session"), &format!("ccgw:{{{id}}}:log")]);
        store.create_session(sample::session(1)).await.unwrap();
    }
    store.append(id, 1, sample::batch(1, 1)).await.unwrap();
    ask(&store, &["DEL", &format!("ccgw:{{{id}}}:log")]);
    assert!(matches!(store.read(id, 0, TypeSet::ALL, 100).await, Err(StoreError::Damaged(_))));
    ask(&store, &["FLUSHALL"]);
    assert_eq!(store.append(id, 1, sample::batch(2, 2)).await, Err(StoreError::Missing));
    assert_eq!(store.read(id, 0, TypeSet::ALL, 100).await, Err(StoreError::Missing));
    store.create_session(sample::session(3)).await.unwrap();
}
