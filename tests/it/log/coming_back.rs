//! Readers who are cut off, and readers who come late: each has the log without a gap from its cursor.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::session::{until_file, workspace};
use crate::support::dice::Dice;
use crate::support::event::Event;
use crate::support::rate::RateLine;
use crate::support::{Client, Gateway, soak, within};

/// How often the agent streams while readers join, for how long and how many lines.
const ROUNDS: usize = 10;
const ROUND: Duration = Duration::from_millis(200);
const LINES_A_ROUND: usize = 1_000;

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

/// An agent that prints 5,000 lines a second in rounds, and who joins in which: the next round begins when all readers
/// of this one have joined, so that none comes after the last line, however busy the machine is.
struct Rounds {
    begun: watch::Sender<usize>,
    joined: Semaphore,
    readers_in_each: usize,
}

impl Rounds {
    fn script() -> String {
        let rounds: String = (0..ROUNDS).map(|round| format!("await go-{round}; rate 5000 200ms 200; ")).collect();
        format!("touch there; {rounds}say end")
    }

    /// Begins one round after the other.
    async fn direct(&self, gateway: &Gateway, session: Uuid) {
        for round in 0..ROUNDS {
            let go = workspace(gateway, session).join(format!("go-{round}"));
            std::fs::write(go, "").expect("a file");
            self.begun.send_replace(round + 1);
            let all = u32::try_from(self.readers_in_each).expect("a few");
            within("the round's readers to join", self.joined.acquire_many(all)).await.expect("open").forget();
        }
    }

    /// Joins at some moment of a round, at some event that is there by then.
    async fn join(&self, round: usize, mut client: Client, session: Uuid, mut dice: Dice) -> Late {
        self.begun.subscribe().wait_for(|begun| *begun > round).await.expect("it is not dropped");
        tokio::time::sleep(dice.moment(ROUND)).await;
        let record = client.ok("session.get", json!({"session_id": session})).await;
        let head = record["last_seq"].as_u64().expect("a number");
        let cursor = dice.number(0..head + 1);
        client.ok("session.attach", json!({"session_id": session, "after_seq": cursor})).await;
        self.joined.add_permits(1);
        Late { round, head, cursor, seen: to_the_end(&mut client, session).await }
    }
}

/// What a reader who joins late has seen.
struct Late {
    round: usize,
    /// The log's newest event when it joined.
    head: u64,
    /// After which event it wanted to read.
    cursor: u64,
    /// All that came.
    seen: Vec<Content>,
}

/// How many lines a second the agent printed in a round, by its own clock: in the slowest one.
fn rate_reached(all: &[Content]) -> f64 {
    let lines: Vec<RateLine> = all.iter().filter_map(|(_, _, data)| RateLine::parse(data)).collect();
    let rates = lines.chunk_by(|one, next| one.number < next.number).map(|round| {
        let took = round[round.len() - 1].printed_at - round[0].printed_at;
        (round.len() - 1) as f64 / took.as_secs_f64()
    });
    rates.fold(f64::INFINITY, f64::min)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_readers_who_join_at_any_moment_and_cursor_each_get_all_from_there() {
    // Two hundred clients in one thread: none may be taken for a silent one while the others have their turn.
    let clocks = ["slow_reader_timeout_seconds", "ping_interval_seconds"];
    let builder = clocks.into_iter().fold(Gateway::builder(), |builder, clock| builder.setting(clock, 60));
    let mut gateway = builder.start().await;
    let token = gateway.login().await;
    let mut dice = Dice::roll();
    let mut first = gateway.client().await;
    let readers = soak::count(20, 200);
    let mut clients = Vec::new();
    for _ in 0..readers {
        clients.push(Client::connect(gateway.ws, "/ws", &token).await);
    }
    let session = first.start(json!({"prompt": Rounds::script()})).await;
    until_file(&gateway, session, "there").await;
    let rounds = Rounds { begun: watch::Sender::new(0), joined: Semaphore::new(0), readers_in_each: readers / ROUNDS };
    let late =
        clients.into_iter().enumerate().map(|(at, client)| rounds.join(at % ROUNDS, client, session, dice.split()));
    let (whole, late, ()) =
        tokio::join!(to_the_end(&mut first, session), join_all(late), rounds.direct(&gateway, session));
    let end: Value = serde_json::from_str(&whole[whole.len() - 1].2).expect("JSON");
    assert_eq!(end["result"], "end");
    assert!(whole.len() > ROUNDS * LINES_A_ROUND, "{} events", whole.len());
    let rate = rate_reached(&whole);
    let meanwhile = late.iter().filter(|late| late.head < (late.round as u64 + 1) * LINES_A_ROUND as u64).count();
    eprintln!("at least {rate:.0} of 5,000 lines a second; {meanwhile} of {readers} joined while their round ran");
    for Late { round, head, cursor, seen } in &late {
        let from = usize::try_from(*cursor).expect("a cursor");
        assert_eq!(seen.len(), whole.len() - from, "after {cursor}");
        assert_eq!(seen.iter().zip(&whole[from..]).find(|(one, other)| one != other), None, "after {cursor}");
        let to_come = whole.len() - usize::try_from(*head).expect("a number");
        assert!(to_come > LINES_A_ROUND || round + 1 == ROUNDS, "{to_come} events came after it had joined");
    }
    assert!(late.iter().any(|late| late.cursor > 0), "all have joined at the beginning");
    gateway.stop().await;
}
