//! Nodes that call each other through one Redis, and what is told of logs that grow.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Server, open};
use crate::store::contract::sample;
use crate::store::redis::RedisStore;
use crate::store::{Asker, CallError, Incoming, SharedBus, Store, Topic};
use crate::telemetry::tasks;

const LONG: Duration = Duration::from_secs(30);
/// For a call that nobody answers. Whether it arrives in that time nobody knows.
const SHORT: Duration = Duration::from_millis(20);

/// A node that listens, its store kept open.
struct Node {
    store: RedisStore,
    bus: SharedBus,
    requests: mpsc::Receiver<Incoming>,
}

async fn node(server: &Server, name: &str) -> Node {
    let store = open(server).await;
    let bus = store.bus().unwrap();
    let requests = bus.listen(name, 8);
    Node { store, bus, requests }
}

/// Asks until somebody listens: a subscription takes a moment.
async fn ask(bus: &SharedBus, node: &str, request: &'static str) -> Result<Bytes, CallError> {
    loop {
        match bus.call(node, Bytes::from(request), LONG).await {
            Err(CallError::NobodyThere) => tokio::time::sleep(Duration::from_millis(5)).await,
            answer => return answer,
        }
    }
}

/// Answers once the asker listens: its subscription takes a moment too.
async fn reply(bus: &SharedBus, asker: &Asker, text: &Bytes) {
    while let Err(error) = bus.answer(asker, text.clone()).await {
        assert_eq!(error, CallError::NobodyThere);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Asks `b` and answers: both listen from then on.
async fn meet(a: &Node, b: &mut Node) {
    let answers = async {
        let Incoming { request, asker } = b.requests.recv().await.unwrap();
        reply(&b.bus, &asker, &request).await;
    };
    let (answer, ()) = tokio::join!(ask(&a.bus, "b", "there?"), answers);
    assert_eq!(answer.unwrap(), "there?");
}

/// Asks `b`, with time enough for the request to arrive, and gives the call up once it has: everything that has arrived
/// by then.
async fn ask_and_drop(a: &Node, b: &mut Node, request: &'static str) -> Vec<Incoming> {
    let mut arrived = Vec::<Incoming>::new();
    let arrives = async {
        while arrived.last().is_none_or(|last| last.request != request) {
            arrived.push(b.requests.recv().await.unwrap());
        }
    };
    tokio::select! {
        answer = a.bus.call("b", Bytes::from(request), LONG) => panic!("nobody has answered: {answer:?}"),
        () = arrives => {}
    }
    arrived
}

/// Answers every request with itself in brackets.
async fn echo(bus: SharedBus, mut requests: mpsc::Receiver<Incoming>) {
    while let Some(Incoming { request, asker }) = requests.recv().await {
        let answer = [b"(", &*request, b")"].concat();
        reply(&bus, &asker, &Bytes::from(answer)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_ask_each_other_and_each_answer_goes_to_its_call() {
    let server = Server::start();
    let (a, b) = (node(&server, "a").await, node(&server, "b").await);
    let echo_a = tasks::spawn("echo", echo(Arc::clone(&a.bus), a.requests));
    let echo_b = tasks::spawn("echo", echo(Arc::clone(&b.bus), b.requests));
    ask(&a.bus, "b", "there?").await.unwrap();
    let asked = ["one", "two", "three\nlines\n", ""].map(|text| ask(&a.bus, "b", text));
    let answers = futures_util::future::join_all(asked).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, ["(one)", "(two)", "(three\nlines\n)", "()"]);
    assert_eq!(ask(&b.bus, "a", "back").await.unwrap(), "(back)");
    assert_eq!(ask(&b.bus, "b", "myself").await.unwrap(), "(myself)");
    echo_a.abort();
    echo_b.abort();
}

#[tokio::test]
async fn a_node_that_is_not_there_is_told_at_once_and_one_that_does_not_answer_in_time() {
    let server = Server::start();
    let (a, mut b) = (node(&server, "a").await, node(&server, "b").await);
    assert_eq!(a.bus.call("nobody", Bytes::new(), LONG).await, Err(CallError::NobodyThere));
    meet(&a, &mut b).await;
    assert_eq!(a.bus.call("b", Bytes::from("x"), SHORT).await, Err(CallError::NoAnswer));
    // Answers to calls that were given up come too late and harm nobody.
    for late in ask_and_drop(&a, &mut b, "y").await {
        b.bus.answer(&late.asker, Bytes::from("late")).await.unwrap();
    }
    meet(&a, &mut b).await;
    server.pause();
    let away = a.bus.call("b", Bytes::new(), LONG).await;
    assert!(matches!(away, Err(CallError::Store(_))), "{away:?}");
    server.unpause();
    drop((a.store, b.store));
}

#[tokio::test]
async fn what_a_node_asks_is_not_done_after_its_time() {
    let server = Server::start();
    let (a, mut b) = (node(&server, "a").await, node(&server, "b").await);
    meet(&a, &mut b).await;
    // As if it had lain in the pipe of a node that did not run: it is sent by hand, and its moment is past.
    let late = format!("? {} a 1\nlate", Uuid::new_v4());
    let told = server.ask(&["SPUBLISH", &a.store.keys.calls("b"), &late]).unwrap();
    assert!(told.starts_with(":1"), "{told}");
    // Nobody knows whether this one arrives in its time. Who asked does not wait for longer in any case.
    assert_eq!(a.bus.call("b", Bytes::from("early"), SHORT).await, Err(CallError::NoAnswer));
    let arrived = ask_and_drop(&a, &mut b, "in time").await;
    assert!(arrived.iter().all(|incoming| incoming.request != "late"), "{arrived:?}");
    drop((a.store, b.store));
}

#[tokio::test]
async fn who_watches_a_log_is_told_when_another_store_appends_and_after_an_outage() {
    let mut server = Server::start();
    let (writer, reader) = (open(&server).await, open(&server).await);
    let id = sample::id(1);
    writer.create_session(sample::session(1)).await.unwrap();
    let bus = reader.bus().unwrap();
    let watch = bus.watch(Topic::Log(id));
    // Told once the subscription is there: what was before is to be looked at.
    watch.moved.notified().await;
    for number in 1..=3 {
        writer.append(id, 1, sample::batch(number, number)).await.unwrap();
        watch.moved.notified().await;
    }
    server.kill();
    server.run();
    // The subscription is there again, or was made again: one of the appends is heard.
    let mut next = 4;
    loop {
        if writer.append(id, 1, sample::batch(next, next)).await.is_ok() {
            next += 1;
        }
        if tokio::time::timeout(Duration::from_millis(100), watch.moved.notified()).await.is_ok() && next > 5 {
            break;
        }
    }
    drop(watch);
    while server.ask(&["PUBSUB", "SHARDCHANNELS"]).is_none_or(|told| told.contains("grown")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
