//! Nodes that call each other through one Redis, and what is told of logs that grow.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Server, open};
use crate::store::contract::sample;
use crate::store::redis::RedisStore;
use crate::store::{CallError, Incoming, SharedBus, Store, Topic};
use crate::telemetry::tasks;

const LONG: Duration = Duration::from_secs(30);

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

/// Answers every request with itself in brackets.
async fn echo(bus: SharedBus, mut requests: mpsc::Receiver<Incoming>) {
    while let Some(Incoming { request, asker }) = requests.recv().await {
        let answer = [b"(", &*request, b")"].concat();
        bus.answer(&asker, Bytes::from(answer)).await.unwrap();
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
    let (silent, incoming) = tokio::join!(
        async {
            while a.bus.call("b", Bytes::from("x"), Duration::from_millis(50)).await == Err(CallError::NobodyThere) {}
        },
        b.requests.recv()
    );
    let () = silent;
    // Its answer comes too late and harms nobody.
    b.bus.answer(&incoming.unwrap().asker, Bytes::from("late")).await.unwrap();
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
    ask_and_drop(&a.bus, &mut b.requests).await;
    // It lies in the pipe of a node that does not run; then its time is over.
    let asked = a.bus.call("b", Bytes::from("early"), Duration::from_millis(1));
    assert_eq!(asked.await, Err(CallError::NoAnswer));
    let again = a.bus.call("b", Bytes::from("in time"), Duration::from_millis(500));
    let (_, first) = tokio::join!(again, b.requests.recv());
    assert!(["early", "in time"].contains(&std::str::from_utf8(&first.unwrap().request).unwrap()));
    drop((a.store, b.store));
}

async fn ask_and_drop(bus: &SharedBus, requests: &mut mpsc::Receiver<Incoming>) {
    let asked =
        async { while bus.call("b", Bytes::new(), Duration::from_millis(20)).await == Err(CallError::NobodyThere) {} };
    tokio::join!(asked, requests.recv());
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
