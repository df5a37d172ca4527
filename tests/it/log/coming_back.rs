//! Readers who are cut off, and readers who come late: each has the log without a gap from its cursor.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::session::{ended, until_file};
use crate::support::dice::Dice;
use crate::support::event::Event;
use crate::support::{Client, Gateway, soak};

/// What must be the same for every reader: number, type and the bytes of the data.
type Content = (u64, String, String);

fn content(event: Event) -> Content {
    (event.seq, event.kind, event.data.get().to_owned())
}

/// All that a connection sees to the end.
async fn to_the_end(client: &mut Client, session: Uuid) -> Vec<Content> {
    let mut all = Vec::new();
    client.each_until_ended(session, |event| all.push(content(event))).await;
    all
}

/// Is cut off that often, comes back each time after the last event that it saw, and has the session stopped
/// in the end.
async fn cut_off(gateway: &Gateway, token: &str, session: Uuid, times: usize, dice: &mut Dice) -> Vec<Content> {
    let (mut seen, mut last_seq) = (Vec::new(), 0);
    for cut in 0..times {
        let mut client = Client::connect(gateway.ws, "/ws", token).await;
        client.ok("session.attach", json!({"session_id": session, "after_seq": last_seq})).await;
        let moment = dice.moment(Duration::from_millis(30));
        // The future is dropped in the middle of whatever it does.
        let _cut = tokio::time::timeout(moment, client.until_event(session, |_| false)).await;
        let events = client.take_events(session);
        assert!(events.iter().all(|event| event.kind != "session.ended"), "the session runs through all cuts");
        seen.extend(events.into_iter().map(content));
        last_seq = seen.last().map_or(0, |(seq, ..)| *seq);
        // By turns a reset and an end of the stream: neither is a close frame.
        if cut % 2 == 0 {
            client.reset();
        } else {
            drop(client);
        }
    }
    let mut client = Client::connect(gateway.ws, "/ws", token).await;
    client.ok("session.attach", json!({"session_id": session, "after_seq": last_seq})).await;
    client.ok("session.stop", json!({"session_id": session})).await;
    seen.extend(to_the_end(&mut client, session).await);
    seen
}

#[tokio::test]
async fn f3_a_client_cut_off_100_times_holds_the_same_bytes_as_one_that_never_was() {
    let mut gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let mut dice = Dice::roll();
    let mut steady = gateway.client().await;
    let session = steady.start(json!({"prompt": "rate 1000 600s 300"})).await;
    let (whole, pieces) =
        tokio::join!(to_the_end(&mut steady, session), cut_off(&gateway, &token, session, 100, &mut dice));
    assert!(whole.len() > 100, "{} events are too few to be cut between", whole.len());
    let numbers: Vec<u64> = pieces.iter().map(|(seq, ..)| *seq).collect();
    assert_eq!(numbers, (1..=whole.len() as u64).collect::<Vec<_>>());
    let different = whole.iter().zip(&pieces).find(|(one, other)| one != other);
    assert_eq!(different, None);
    gateway.stop().await;
}

/// Joins at some moment, at some event that is there by then; the cursor, and all that it sees.
async fn joins_late(gateway: &Gateway, token: &str, session: Uuid, mut dice: Dice) -> (u64, Vec<Content>) {
    tokio::time::sleep(dice.moment(Duration::from_millis(1_500))).await;
    let mut client = Client::connect(gateway.ws, "/ws", token).await;
    let record = client.ok("session.get", json!({"session_id": session})).await;
    let head = record["last_seq"].as_u64().expect("a number");
    let cursor = dice.number(0..head + 1);
    client.ok("session.attach", json!({"session_id": session, "after_seq": cursor})).await;
    (cursor, to_the_end(&mut client, session).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_readers_who_join_at_any_moment_and_cursor_each_get_all_from_there() {
    // Two hundred clients in one thread: none may be taken for a silent one while the others have their turn.
    let clocks = ["slow_reader_timeout_seconds", "first_byte_timeout_seconds", "header_timeout_seconds"];
    let builder = clocks.into_iter().fold(Gateway::builder(), |builder, clock| builder.setting(clock, 60));
    let mut gateway = builder.start().await;
    let token = gateway.login().await;
    let mut dice = Dice::roll();
    let mut first = gateway.client().await;
    let script = "touch there; rate 5000 2s 200; await go; say end";
    let session = first.start(json!({"prompt": script})).await;
    until_file(&gateway, session, "there").await;
    let late = (0..soak::count(40, 200)).map(|_| joins_late(&gateway, &token, session, dice.split()));
    let go = async {
        // All lines are out before the last word, however many readers hold the gateway up.
        first.until_event(session, |event| event.seq > 5_000).await;
        std::fs::write(crate::session::workspace(&gateway, session).join("go"), "").expect("a file");
        first.until_ended(session).await
    };
    let (whole, late) = tokio::join!(go, join_all(late));
    assert_eq!(ended(&whole)["result"], "end");
    let whole: Vec<Content> = whole.into_iter().map(content).collect();
    assert!(whole.len() > 10_000, "{} events", whole.len());
    for (cursor, seen) in &late {
        let from = usize::try_from(*cursor).expect("a cursor");
        assert_eq!(seen.len(), whole.len() - from, "after {cursor}");
        assert_eq!(seen.iter().zip(&whole[from..]).find(|(one, other)| one != other), None, "after {cursor}");
    }
    assert!(late.iter().any(|(cursor, _)| *cursor > 0), "nobody joined in the middle");
    gateway.stop().await;
}
