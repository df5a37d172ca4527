//! A stream against a gateway that plays scripts: order, cuts, slow consumers, refusals.

use std::pin::pin;

use serde_json::json;

use super::*;
use crate::api::session::StartParams;
use crate::client::test_server::{Peer, TestServer, event, event_of_log};
use crate::client::{Client, ClientOptions, SessionStream};
use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

const ID: Uuid = Uuid::from_u128(7);

fn options() -> ClientOptions {
    let reconnect_wait = Duration::from_millis(1);
    ClientOptions { reconnect_wait, reconnect_wait_limit: reconnect_wait, ..ClientOptions::default() }
}

/// A client, and the peer of its calls, which must live as long as the test.
async fn connected(server: &TestServer, options: ClientOptions) -> (Client, Peer) {
    let url = server.url();
    let (client, peer) = tokio::join!(Client::connect_with(&url, "t".to_owned(), options), server.accept());
    (client.unwrap(), peer)
}

/// A stream that is attached after `after_seq`, and its peer.
async fn attached(server: &TestServer, client: &Client, after_seq: u64) -> (SessionStream, Peer) {
    let script = async {
        let mut peer = server.accept().await;
        assert_eq!(peer.attached("running", 0).await, after_seq);
        peer
    };
    let (stream, peer) = tokio::join!(client.attach(ID, after_seq, EventFilter::default()), script);
    (stream.unwrap(), peer)
}

async fn numbers(stream: &mut SessionStream) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(event) = stream.next().await {
        numbers.push(event.unwrap().seq);
    }
    numbers
}

#[tokio::test]
async fn the_events_come_in_order_and_end_with_the_session() {
    let server = TestServer::bind().await;
    let (client, _calls) = connected(&server, options()).await;
    let (mut stream, mut peer) = attached(&server, &client, 0).await;
    for seq in 1..=5 {
        peer.send(event_of_log(ID, seq, 5)).await;
    }
    assert_eq!(numbers(&mut stream).await, [1, 2, 3, 4, 5]);
    assert_eq!(stream.last_seq(), 5);
    assert!(stream.next().await.is_none());
    assert!(peer.next_call().await.is_none(), "the stream's socket is closed after the end");
}

#[tokio::test]
async fn a_repeated_event_is_dropped() {
    let server = TestServer::bind().await;
    let (client, _calls) = connected(&server, options()).await;
    let (mut stream, mut peer) = attached(&server, &client, 1).await;
    for seq in [1, 2, 2, 3, 1, 3, 4] {
        peer.send(event_of_log(ID, seq, 4)).await;
    }
    assert_eq!(numbers(&mut stream).await, [2, 3, 4]);
}

#[tokio::test]
async fn a_missing_event_is_an_error_and_the_end_of_the_stream() {
    let server = TestServer::bind().await;
    let (client, _calls) = connected(&server, options()).await;
    let (mut stream, mut peer) = attached(&server, &client, 0).await;
    peer.send(event_of_log(ID, 1, 9)).await;
    peer.send(event_of_log(ID, 3, 9)).await;
    assert_eq!(stream.next().await.unwrap().unwrap().seq, 1);
    let error = stream.next().await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Gap { expected_after: 1, got: 3, .. }), "{error:?}");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn events_of_other_sessions_and_of_unknown_types_do_not_reach_the_consumer() {
    let server = TestServer::bind().await;
    let (client, _calls) = connected(&server, options()).await;
    let (mut stream, mut peer) = attached(&server, &client, 0).await;
    peer.send(event_of_log(Uuid::nil(), 9, 9)).await;
    peer.send(event(ID, 0, 1, "session.dreamt", &json!({}))).await;
    peer.send(event_of_log(ID, 2, 2)).await;
    assert_eq!(numbers(&mut stream).await, [2]);
}

#[tokio::test]
async fn a_filtered_stream_passes_over_what_was_left_out() {
    let server = TestServer::bind().await;
    let (client, _calls) = connected(&server, options()).await;
    let script = async {
        let mut peer = server.accept().await;
        let call = peer.call().await;
        assert_eq!(call.params["types"], json!(["session.state"]));
        // The first event may come before the answer.
        peer.send(event(ID, 0, 4, "session.state", &json!({"state": "running"}))).await;
        peer.send(event(
            ID,
            4,
            9,
            "session.ended",
            &json!({"reason": "completed", "is_error": false, "duration_ms": 1, "resumable": true}),
        ))
        .await;
        peer
    };
    let (stream, _peer) = tokio::join!(
        client.attach(ID, 0, EventFilter { types: Some(vec![EventType::State.into()]), without: None }),
        script
    );
    assert_eq!(numbers(&mut stream.unwrap()).await, [4, 9]);
}

#[tokio::test]
async fn attaching_after_the_last_event_of_an_ended_session_ends_at_once() {
    let server = TestServer::bind().await;
    let (client, _calls) = connected(&server, options()).await;
    let script = async {
        let mut peer = server.accept().await;
        assert_eq!(peer.attached("ended", 5).await, 5);
        peer
    };
    let (stream, _peer) = tokio::join!(client.attach(ID, 5, EventFilter::default()), script);
    assert!(stream.unwrap().next().await.is_none());
}

#[tokio::test]
async fn an_unknown_session_is_refused_by_attach_itself() {
    let server = TestServer::bind().await;
    let (client, _calls) = connected(&server, options()).await;
    let script = async {
        let mut peer = server.accept().await;
        let call = peer.call().await;
        peer.answer_error(&call, json!({"code": -32002, "message": "No such session"})).await;
        peer
    };
    let (stream, _peer) = tokio::join!(client.attach(ID, 0, EventFilter::default()), script);
    assert!(matches!(stream.unwrap_err(), ClientError::Rpc(error) if error.code == -32002));
}

#[tokio::test]
async fn twenty_random_cuts_lose_nothing_and_repeat_nothing() {
    const LAST: u64 = 400;
    let seed = u64::from_le_bytes(Uuid::new_v4().as_bytes()[..8].try_into().unwrap());
    println!("seed {seed}");
    let server = TestServer::bind().await;
    let (client, _calls) = connected(&server, options()).await;
    let script = async {
        let mut random = seed | 1;
        for cut in 0..=20 {
            let mut peer = server.accept().await;
            let after_seq = peer.attached("running", 0).await;
            // xorshift: good enough to cut at odd places, and the same again for the same seed.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // From one event before the position on: a gateway may repeat, the client must not.
            let until = if cut == 20 { LAST } else { (after_seq + random % 20).min(LAST - 1) };
            for seq in after_seq.max(1)..=until {
                peer.send(event_of_log(ID, seq, LAST)).await;
            }
            if cut == 20 {
                return peer;
            }
            match random % 3 {
                // Half a frame, then nothing.
                0 => tokio::io::AsyncWriteExt::write_all(peer.ws.get_mut(), &[0x81, 0x7e, 0x01]).await.unwrap(),
                1 => peer.ws.close(None).await.unwrap(),
                _ => peer.ws.get_ref().set_zero_linger().unwrap(),
            }
        }
        unreachable!("the last round returns");
    };
    let reading = async { numbers(&mut client.attach(ID, 0, EventFilter::default()).await.unwrap()).await };
    let (read, _peer) = tokio::join!(reading, script);
    assert_eq!(read, (1..=LAST).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_gateway_that_stays_away_is_given_up_on() {
    let server = TestServer::bind().await;
    let (client, calls) = connected(&server, ClientOptions { reconnect_tries: 3, ..options() }).await;
    let (mut stream, peer) = attached(&server, &client, 0).await;
    drop((server, calls, peer));
    let error = stream.next().await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::GaveUp { tries: 3, .. }), "{error:?}");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_slow_consumer_stops_the_gateway_and_then_gets_everything() {
    const LAST: u64 = 1_000;
    let server = TestServer::bind().await;
    let (client, _calls) = connected(&server, options()).await;
    let (mut stream, mut peer) = attached(&server, &client, 0).await;
    let filling = json!({"text": "x".repeat(64 * 1024)});
    let (blocked, at) = oneshot::channel();
    let writing = async move {
        let mut blocked = Some(blocked);
        for seq in 1..LAST {
            let text = event(ID, seq - 1, seq, "claude", &filling);
            let mut sending = pin!(peer.ws.send(Message::text(text)));
            // A write that makes no progress for so long is a blocked one.
            if tokio::time::timeout(Duration::from_millis(700), &mut sending).await.is_err() {
                if let Some(blocked) = blocked.take() {
                    blocked.send(seq).unwrap();
                }
                sending.await.unwrap();
            }
        }
        assert!(blocked.is_none(), "62 MiB were taken from the socket for a consumer that reads nothing");
        peer.send(event_of_log(ID, LAST, LAST)).await;
        peer
    };
    let reading = async {
        let written = at.await.unwrap();
        // What the client holds (1 MiB) and what the two socket buffers take.
        assert!(written < 500, "{written} events of 64 KiB were taken from the socket");
        numbers(&mut stream).await
    };
    let (_peer, read) = tokio::join!(writing, reading);
    assert_eq!(read, (1..=LAST).collect::<Vec<_>>());
}

#[tokio::test]
async fn calls_are_answered_while_a_stream_is_not_read() {
    let server = TestServer::bind().await;
    let (client, mut calls) = connected(&server, ClientOptions { waiting_events: 1, ..options() }).await;
    let (_stream, mut peer) = attached(&server, &client, 0).await;
    for seq in 1..=50 {
        peer.send(event_of_log(ID, seq, 99)).await;
    }
    let script = async {
        let call = calls.call().await;
        calls.answer(&call, json!({"state": "stopping"})).await;
    };
    let params = crate::api::session::SessionParams { session_id: ID };
    let (answer, ()) = tokio::join!(client.call::<crate::api::method::SessionStop>(params), script);
    assert_eq!(answer.unwrap().state.as_str(), "stopping");
}

#[tokio::test]
async fn a_dropped_stream_closes_its_socket() {
    let server = TestServer::bind().await;
    let (client, _calls) = connected(&server, options()).await;
    let (stream, mut peer) = attached(&server, &client, 0).await;
    drop(stream);
    assert!(peer.next_call().await.is_none());
}

#[tokio::test]
async fn a_start_that_breaks_off_is_repeated_with_the_same_key_and_streamed_from_the_first_event() {
    let server = TestServer::bind().await;
    let (client, _calls) = connected(&server, options()).await;
    let script = async {
        let mut peer = server.accept().await;
        let first = peer.call().await;
        assert_eq!(first.method, "session.start");
        drop(peer);
        let mut peer = server.accept().await;
        let again = peer.call().await;
        assert_eq!(again.params, first.params);
        assert!(again.params["idempotency_key"].as_str().unwrap().len() > 10);
        peer.answer(&again, json!({"session_id": ID, "state": "starting"})).await;
        assert_eq!(peer.attached("starting", 0).await, 0);
        peer.send(event_of_log(ID, 1, 1)).await;
        peer
    };
    let (stream, _peer) = tokio::join!(client.start(StartParams::default()), script);
    let mut stream = stream.unwrap();
    assert_eq!((stream.session_id(), stream.first_state()), (ID, Some(SessionState::Starting)));
    assert_eq!(numbers(&mut stream).await, [1]);
}

#[tokio::test]
async fn a_start_that_is_refused_is_not_repeated() {
    let server = TestServer::bind().await;
    let (client, _calls) = connected(&server, options()).await;
    let script = async {
        let mut peer = server.accept().await;
        let call = peer.call().await;
        let data = json!({"kind": "session_limit", "retryable": true});
        peer.answer_error(&call, json!({"code": -32003, "message": "All slots are taken", "data": data})).await;
        peer
    };
    let (stream, _peer) = tokio::join!(client.start(StartParams::default()), script);
    assert!(matches!(stream.unwrap_err(), ClientError::Rpc(error) if error.code == -32003));
}
