//! An agent who writes and exits at once.

use serde_json::Value;

use crate::session::{ended, run};
use crate::support::{Gateway, soak};

const MEBIBYTE: usize = 1024 * 1024;

#[tokio::test]
async fn f7_a_mebibyte_in_one_line_and_an_exit_at_once_arrive_to_the_last_byte_each_time() {
    let mut gateway = Gateway::builder().start().await;
    // The agent says the same each time.
    let mut first = None;
    for round in 0..soak::count(10, 1_000) {
        // A connection each: it would keep what it has seen.
        let mut client = gateway.client().await;
        let events = run(&mut client, &format!("bigline {MEBIBYTE}; exit 0")).await;
        let long: Vec<&str> = events.iter().map(|event| event.data.get()).filter(|data| data.len() > 10_000).collect();
        assert_eq!(long.len(), 1, "round {round}");
        assert_eq!(long[0].len(), MEBIBYTE, "round {round}");
        let line: Value = serde_json::from_str(long[0]).expect("the line is whole");
        let text = line["message"]["content"][0]["text"].as_str().expect("the line's text");
        let words = text.strip_prefix("000000000001 ").expect("the number of the line");
        assert!(words.bytes().all(|byte| byte == b' ' || byte.is_ascii_lowercase()), "round {round}: a byte is none");
        assert!(*first.get_or_insert_with(|| words.to_owned()) == words, "round {round}: a byte has changed");
        let end = ended(&events);
        assert_eq!((&end["reason"], &end["exit_code"]), (&"no_result".into(), &0.into()), "round {round}: {end}");
    }
    gateway.stop().await;
}
