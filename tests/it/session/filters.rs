//! Readers that want only a part of the log: they pay for that part, and always know where they stand.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::until_file;
use crate::support::event::Event;
use crate::support::{Gateway, eventually};

fn data(events: &[Event], wanted: impl Fn(&Event) -> bool) -> Vec<(u64, String)> {
    events.iter().filter(|event| wanted(event)).map(|event| (event.seq, event.data.get().to_owned())).collect()
}

fn is_delta(event: &Event) -> bool {
    event.claude_type().is_some_and(|line| line.starts_with("stream_event"))
}

/// Attaches after `after` with a filter and reads to the end.
async fn read(gateway: &Gateway, session: Uuid, after: u64, filter: (&str, Value)) -> Vec<Event> {
    let mut client = gateway.client().await;
    let mut params = json!({"session_id": session, "after_seq": after});
    params[filter.0] = filter.1;
    client.ok("session.attach", params).await;
    client.until_ended(session).await
}

#[tokio::test]
async fn a_reader_without_deltas_gets_everything_else_live_and_from_the_store() {
    let gateway = Gateway::builder().start().await;
    let (mut all, mut live) = (gateway.client().await, gateway.client().await);
    let script = "touch there; await go; lines 3000; lines 20 300 assistant; stderr a; lines 3000; say end";
    let session = all.start(json!({"prompt": script})).await;
    until_file(&gateway, session, "there").await;
    live.ok("session.attach", json!({"session_id": session, "without": ["claude:stream_event"]})).await;
    std::fs::write(super::workspace(&gateway, session).join("go"), "").unwrap();
    let everything = all.until_ended(session).await;
    assert_eq!(everything.iter().filter(|event| is_delta(event)).count(), 6_000);
    let expected = data(&everything, |event| !is_delta(event));
    assert_eq!(data(&live.until_ended(session).await, |_| true), expected);
    let later = read(&gateway, session, 0, ("without", json!(["claude:stream_event"]))).await;
    assert_eq!(data(&later, |_| true), expected);
    let assistants = read(&gateway, session, 0, ("types", json!(["claude:assistant"]))).await;
    let expected = data(&everything, |event| {
        event.kind == "session.ended" || event.claude_type().is_some_and(|line| line.starts_with("assistant"))
    });
    assert_eq!(expected.len(), 22);
    assert_eq!(data(&assistants, |_| true), expected);
}

#[tokio::test]
async fn unknown_words_in_a_filter_are_refused_by_name() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "say x", "attach": false})).await;
    for (field, word) in [("types", "claude:no_such_line"), ("without", "stream_event"), ("without", "")] {
        let mut params = json!({"session_id": session});
        params[field] = json!([word]);
        let error = client.error("session.attach", params).await;
        assert_eq!(error["code"], -32602, "{error}");
        assert!(error.to_string().contains(field), "{error}");
    }
}

#[tokio::test]
async fn a_reader_whose_filter_leaves_much_out_is_told_how_far_it_has_come_and_reads_on_from_there() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let script = "lines 25000; touch there; await go; say end";
    let session = client.start(json!({"prompt": script, "attach": false})).await;
    until_file(&gateway, session, "there").await;
    client.ok("session.attach", json!({"session_id": session, "types": ["session.ended"]})).await;
    // Two times ten thousand events left out, and the rest within five seconds.
    client.until_position(session, 20_000).await;
    client.until_position(session, 25_000).await;
    let position = client.position(session);
    assert_eq!(client.events(session).len(), 0, "the filter let something through");
    client.expect_silence(Duration::from_millis(50)).await;
    let detached = client.ok("session.detach", json!({"session_id": session})).await;
    assert_eq!(detached["last_seq"], position, "a cursor counts as seen");
    let mut other = gateway.client().await;
    let params = json!({"session_id": session, "types": ["session.ended"], "after_seq": position});
    other.ok("session.attach", params).await;
    std::fs::write(super::workspace(&gateway, session).join("go"), "").unwrap();
    let rest = other.until_ended(session).await;
    assert_eq!((rest.len(), rest[0].prev_seq), (1, position));
    eventually("the slot to be given back", || (gateway.running_agents() == 0).then_some(())).await;
}
