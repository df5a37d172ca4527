//! What is found by who looks over all keys.

use super::{ask, with_one_session};
use crate::store::contract::sample;
use crate::store::redis::RedisStore;
use crate::store::{Finding, Severity, Store};

/// Session number 1, ended, and what is found after somebody has said that to Redis. `<id>` stands for its id, `<at>`
/// for its moment.
async fn found_after(words: &[&str]) -> Vec<Finding> {
    let (store, id) = with_one_session().await;
    store.append(id, 1, sample::batch(1, 1)).await.unwrap();
    store.end_session(id, 1, sample::last_batch(2), sample::end_patch()).await.unwrap();
    assert_eq!(store.examine().await.unwrap(), []);
    let at = format!("{:016x}", sample::session(1).row.created_at_ms);
    let words: Vec<_> = words.iter().map(|word| word.replace("<id>", &id.to_string()).replace("<at>", &at)).collect();
    by_hand(&store, &words.iter().map(String::as_str).collect::<Vec<_>>());
    store.examine().await.unwrap()
}

fn by_hand(store: &RedisStore, words: &[&str]) {
    let answer = ask(store, words);
    assert!(!answer.starts_with('-') && answer != ":0\r\n", "{words:?} did nothing: {answer}");
}

#[tokio::test]
async fn a_session_that_an_index_does_not_know_is_a_fault() {
    for words in [
        ["ZREM", "ccgw:{sessions}:newest", "<at>:<id>"],
        ["ZREM", "ccgw:{sessions}:by:[\"owner-1\",null,null]", "<at>:<id>"],
        ["ZREM", "ccgw:{sessions}:by:[null,\"team\",\"t1\"]", "<at>:<id>"],
        ["DEL", "ccgw:{sessions}:ended", "ccgw:{sessions}:nothing"],
        ["HDEL", "ccgw:{sessions}:kept", "<id>"],
    ] {
        let found = found_after(&words).await;
        let of_session = |finding: &Finding| finding.session == Some(sample::id(1));
        assert!(found.iter().any(|finding| finding.severity == Severity::Fault && of_session(finding)), "{words:?}");
    }
}

#[tokio::test]
async fn what_leads_to_nothing_is_a_leftover() {
    let other = sample::id(2).to_string();
    let member = format!("0000000000000001:{other}");
    for (words, what) in [
        (vec!["ZADD", "ccgw:{sessions}:newest", "0", &member], "not there"),
        (vec!["ZADD", "ccgw:{sessions}:by:[null,\"x\",null]", "0", "<at>:<id>"], "does not"),
        (vec!["ZADD", "ccgw:{sessions}:alive", "0", "<at>:<id>"], "does not"),
        (vec!["SET", "ccgw:{abc}:key", &format!("{other}:f")], "idempotency key"),
        (vec!["XADD", &format!("ccgw:{{{other}}}:log"), "1-0", "a", "b"], "a log"),
    ] {
        let found = found_after(&words).await;
        assert_eq!(found.len(), 1, "{words:?}: {found:?}");
        assert!(found[0].severity == Severity::Leftover && found[0].what.contains(what), "{words:?}: {found:?}");
    }
}

#[tokio::test]
async fn keys_of_other_prefixes_are_nobodys_business_and_nothing_is_changed() {
    let (store, id) = with_one_session().await;
    for words in [["SET", "ccgw2:{x}:key", "y"], ["SET", "other", "y"]] {
        by_hand(&store, &words);
    }
    let before = ask(&store, &["DBSIZE"]);
    assert_eq!(store.examine().await.unwrap(), []);
    by_hand(&store, &["DEL", &format!("ccgw:{{{id}}}:session")]);
    let found = store.examine().await.unwrap();
    assert!(found.len() == 1 && found[0].severity == Severity::Leftover, "{found:?}");
    assert_eq!(store.examine().await.unwrap(), found, "it is still there");
    assert_ne!(ask(&store, &["DBSIZE"]), before);
}
