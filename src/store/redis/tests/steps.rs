//! What becomes of a change that spans tags when whoever makes it dies between two of its steps.

use super::{ask, with_one_session};
use crate::api::selector::TypeSet;
use crate::store::contract::sample;
use crate::store::redis::{keys, record};
use crate::store::{Created, EndedQuery, ListQuery, NewSession, Store};

fn with_key(n: u64) -> NewSession {
    NewSession { idempotency: Some(("key".to_owned(), "print".to_owned())), ..sample::session(n) }
}

#[tokio::test]
async fn a_start_that_stopped_before_it_had_its_key_is_not_seen_and_goes_by_itself() {
    let (store, _) = with_one_session().await;
    let begun = with_key(2).row;
    let digest = keys::digest(&begun.owner, "key");
    store.index(&begun).await.unwrap();
    let fields = record::encode(&begun, &digest, "key", true).unwrap();
    let mut arguments = vec!["60000".into()];
    arguments.extend(fields);
    let name = vec![store.keys.record(begun.id)];
    let written: i64 = store.link.run("create_session", &super::super::scripts::BEGIN, name, arguments).await.unwrap();
    assert_eq!(written, 1);
    assert_eq!(store.session(begun.id).await.unwrap(), None);
    assert_eq!(store.unfinished_sessions(None).await.unwrap().len(), 1);
    assert_eq!(store.list_sessions(ListQuery { limit: 9, ..ListQuery::default() }).await.unwrap().rows.len(), 1);
    let life = ask(&store, &["PTTL", &store.keys.record(begun.id)]);
    assert!(life.starts_with(':') && !life.starts_with(":-"), "{life}");

    // It had got its key: then it is the session of that key, whoever comes with it.
    ask(&store, &["SET", &store.keys.idempotency(&digest), &format!("{}:print", begun.id)]);
    let answer = store.create_session(with_key(3)).await.unwrap();
    assert_eq!(answer, Created::Existing(Box::new(begun.clone())));
    assert_eq!(store.session(begun.id).await.unwrap(), Some(begun.clone()));
    assert!(ask(&store, &["PTTL", &store.keys.record(begun.id)]).starts_with(":-1"));
}

#[tokio::test]
async fn a_key_that_leads_to_nothing_is_free() {
    let (store, _) = with_one_session().await;
    let digest = keys::digest("owner-1", "key");
    ask(&store, &["SET", &store.keys.idempotency(&digest), &format!("{}:other", sample::id(99))]);
    assert_eq!(store.session_by_key("owner-1", "key").await.unwrap(), None);
    assert_eq!(store.create_session(with_key(2)).await.unwrap(), Created::New);
    assert_eq!(store.session_by_key("owner-1", "key").await.unwrap().unwrap().0.id, sample::id(2));
}

#[tokio::test]
async fn an_end_that_was_not_noted_is_made_up_for() {
    let (store, id) = with_one_session().await;
    store.end_session(id, 1, sample::last_batch(1), sample::end_patch()).await.unwrap();
    // As if the last step had not been reached.
    let member = keys::member(sample::session(1).row.created_at_ms, id);
    ask(&store, &["ZADD", &store.keys.alive(), "0", &member]);
    ask(&store, &["DEL", &store.keys.index("kept"), &store.keys.index("kept_total")]);
    assert_eq!(store.unfinished_sessions(None).await.unwrap(), []);
    assert!(ask(&store, &["ZCARD", &store.keys.alive()]).starts_with(":0"));
    assert_eq!(store.kept_bytes().await.unwrap(), 64);
}

#[tokio::test]
async fn a_removal_that_did_not_clear_up_leaves_nothing_to_see_and_leftovers_go() {
    let (store, id) = with_one_session().await;
    store.end_session(id, 1, sample::last_batch(1), sample::end_patch()).await.unwrap();
    ask(&store, &["DEL", &store.keys.record(id)]);
    assert_eq!(store.read(id, 0, TypeSet::ALL, 9).await, Err(crate::store::StoreError::Missing));
    let ended = EndedQuery { limit: 9, ..EndedQuery::default() };
    assert_eq!(store.ended_sessions(ended).await.unwrap(), []);
    assert_eq!(store.list_sessions(ListQuery { limit: 9, ..ListQuery::default() }).await.unwrap().rows, []);
    for index in [store.keys.ended(), store.keys.newest()] {
        assert!(ask(&store, &["ZCARD", &index]).starts_with(":0"), "{index}");
    }
}

#[tokio::test]
async fn all_keys_of_a_busy_store_begin_with_the_prefix_and_go_with_their_session() {
    let (store, id) = with_one_session().await;
    store.create_session(with_key(2)).await.unwrap();
    for id in [id, sample::id(2)] {
        store.update_session(id, 1, sample::put_away_patch(9)).await.unwrap();
        store.end_session(id, 1, sample::last_batch(1), sample::end_patch()).await.unwrap();
        assert!(store.remove_session(id).await.unwrap());
    }
    while store.purge(10).await.unwrap() {}
    let left = ask(&store, &["KEYS", "*"]);
    let mut names: Vec<_> = left.lines().filter(|line| line.contains(':')).collect();
    names.sort_unstable();
    assert_eq!(names, ["ccgw:{sessions}:form", "ccgw:{sessions}:kept_total"]);
    assert_eq!(store.kept_bytes().await.unwrap(), 0);
}
