//! The tests' own tools, tested: a check that can't fail proves nothing.

use std::net::SocketAddr;
use std::time::Duration;

use cc_gateway::telemetry::tasks;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use uuid::Uuid;

use crate::support::event::{Event, Ledger};
use crate::support::presentable::{check_close, check_http, check_message};
use crate::support::raw_socket::{Frame, RawSocket};
use crate::support::{Client, MessagesApi, http};

fn event(session: Uuid, prev_seq: u64, seq: u64, kind: &str) -> Event {
    let fields = json!({"session_id": session, "prev_seq": prev_seq, "seq": seq, "at": "", "type": kind, "data": {}});
    serde_json::from_str(&fields.to_string()).unwrap()
}

#[test]
fn the_client_takes_events_in_their_order() {
    let mut ledger = Ledger::default();
    let session = Uuid::new_v4();
    ledger.take(event(session, 0, 1, "claude"));
    ledger.take(event(session, 1, 2, "session.ended"));
    ledger.attached(session, 1, false);
    ledger.take(event(session, 1, 2, "session.ended"));
    assert_eq!(ledger.0[&session].events.len(), 3);
}

#[test]
#[should_panic(expected = "but this reader stands at 1")]
fn the_client_fails_when_an_event_is_left_out() {
    let mut ledger = Ledger::default();
    let session = Uuid::new_v4();
    ledger.take(event(session, 0, 1, "claude"));
    ledger.take(event(session, 2, 3, "claude"));
}

#[test]
#[should_panic(expected = "a gap or a repetition")]
fn the_client_fails_when_a_gap_is_hidden() {
    let mut ledger = Ledger::default();
    ledger.take(event(Uuid::new_v4(), 0, 2, "claude"));
}

#[test]
#[should_panic(expected = "after its terminal event")]
fn the_client_fails_when_something_follows_the_terminal_event() {
    let mut ledger = Ledger::default();
    let session = Uuid::new_v4();
    ledger.take(event(session, 0, 1, "session.ended"));
    ledger.take(event(session, 1, 2, "claude"));
}

#[test]
fn b8_an_error_that_tells_too_much_is_found_wherever_it_stands() {
    let fails = |check: fn()| std::panic::catch_unwind(check).is_err();
    assert!(fails(|| check_message(r#"{"jsonrpc":"2.0","id":1,"error":{"message":"no /home/me"}}"#)));
    assert!(fails(|| check_message(r#"{"error":{"message":"panicked"},"id":1e999}"#)), "in any order, with any id");
    assert!(
        fails(|| check_message(r#" [{"id":1,"result":1},{"id":2,"error":{"data":{"a":"127.0.0.1"}}}]"#)),
        "a batch"
    );
    assert!(fails(|| check_http(500, b"thread 'x' failed")));
    assert!(fails(|| check_close("src/x.rs")));
    // What is no error may name places: a workspace, a listener.
    check_message(r#"[{"id":1,"result":{"workspace":"/home/me"}},{"id":2,"error":{"message":"no"}}]"#);
    check_message(r#"{"method":"session.event","params":{"data":{"error":"/tmp/x"}}}"#);
    check_http(200, b"/home/me");
}

#[test]
fn raw_frames_have_the_bytes_of_the_standard() {
    // RFC 6455, 5.7: an unmasked text message, and the length forms.
    let hello = Frame { masked: false, ..Frame::text("Hello") };
    assert_eq!(hello.encode(), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    let long = Frame { masked: false, ..Frame::of(2, vec![0; 256]) };
    assert_eq!(long.encode()[..4], [0x82, 0x7e, 0x01, 0x00]);
    let longer = Frame { masked: false, ..Frame::of(2, vec![0; 65_536]) };
    assert_eq!(longer.encode()[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    let masked = Frame::text("a").encode();
    assert_eq!((masked[1], masked[6]), (0x81, b'a' ^ masked[2]));
}

#[tokio::test]
async fn the_messages_api_answers_and_records_a_prompt_byte_for_byte() {
    let api = MessagesApi::start();
    let server = api.base_url().strip_prefix("http://").unwrap().parse().unwrap();
    let prompt = "line\none\u{0}\u{1F600} \u{e9} [[text:h\u{e9}llo]]";
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": prompt}]});
    let whole = http::post(server, "/v1/messages", &body).await;
    assert_eq!(whole.json()["content"], json!([{"type": "text", "text": "h\u{e9}llo"}]));
    body["stream"] = json!(true);
    let streamed = http::post(server, "/v1/messages", &body).await.text();
    let names: Vec<&str> = streamed.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!((names.first(), names.last()), (Some(&"message_start"), Some(&"message_stop")));
    assert_eq!(api.prompts(), [prompt, prompt]);
}

#[tokio::test]
async fn the_messages_api_fails_as_often_as_it_is_told() {
    let api = MessagesApi::start();
    let server = api.base_url().strip_prefix("http://").unwrap().parse().unwrap();
    let body = json!({"messages": [{"role": "user", "content": "[[err:429:2:7]]"}]});
    for _ in 0..2 {
        let refused = http::post(server, "/v1/messages", &body).await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "7"));
        assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
    }
    assert_eq!(http::post(server, "/v1/messages", &body).await.status.as_u16(), 200);
}

/// A server that greets, answers every call with its parameters after sending `before`, then closes.
async fn server(before: Vec<Value>, close: Option<CloseFrame>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks::spawn("test-server", async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let greeting = json!({"jsonrpc": "2.0", "method": "connected", "params": {"version": "1"}});
        socket.send(Message::text(greeting.to_string())).await.unwrap();
        while let Some(Ok(Message::Text(text))) = socket.next().await {
            let call: Value = serde_json::from_str(&text).unwrap();
            for message in &before {
                socket.send(Message::text(message.to_string())).await.unwrap();
            }
            let answer = json!({"jsonrpc": "2.0", "id": call["id"], "result": call["params"]});
            socket.send(Message::text(answer.to_string())).await.unwrap();
            if close.is_some() {
                socket.close(close.clone()).await.unwrap();
            }
        }
    });
    address
}

fn notification(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

fn event_notification(session: Uuid, seq: u64, kind: &str) -> Value {
    let params = json!({"session_id": session, "prev_seq": seq - 1, "seq": seq, "at": "", "type": kind, "data": {}});
    notification("session.event", &params)
}

#[tokio::test]
async fn the_client_sorts_answers_events_and_notifications() {
    let session = Uuid::new_v4();
    let draining = notification("server.draining", &json!({"deadline": "soon"}));
    let messages = vec![
        event_notification(session, 1, "session.started"),
        draining,
        event_notification(session, 2, "session.ended"),
    ];
    let mut client = Client::connect(server(messages, None).await, "/ws", "token").await;
    assert_eq!(client.connected["version"], "1");
    assert_eq!(client.ok("echo", json!({"a": 1})).await, json!({"a": 1}));
    assert_eq!(client.notification("server.draining").await["deadline"], "soon");
    assert_eq!(client.until_ended(session).await.len(), 2);
    client.expect_silence(Duration::from_millis(50)).await;
}

#[tokio::test]
#[should_panic(expected = "but these came")]
async fn silence_is_broken_by_any_message() {
    let noise = notification("server.draining", &json!({}));
    let mut client = Client::connect(server(vec![noise], None).await, "/ws", "token").await;
    client.notify("anything", json!({})).await;
    client.expect_silence(Duration::from_secs(20)).await;
}

#[tokio::test]
async fn the_client_keeps_the_close_code_and_its_reason() {
    let close = CloseFrame { code: 4008.into(), reason: "no progress".into() };
    let mut client = Client::connect(server(Vec::new(), Some(close)).await, "/ws", "token").await;
    client.ok("echo", json!({})).await;
    let closed = client.until_closed().await;
    assert_eq!((closed.code, closed.reason.as_str()), (Some(4008), "no progress"));
}

#[tokio::test]
async fn a_raw_socket_upgrades_and_reads_frames() {
    let address = server(Vec::new(), Some(CloseFrame { code: 1001.into(), reason: "".into() })).await;
    let mut socket = RawSocket::upgraded(address, "/ws", "token").await;
    let (opcode, greeting) = socket.read_frame().await.unwrap();
    assert_eq!(opcode, 1);
    assert!(greeting.starts_with(b"{"));
    socket.frame(&Frame::text("{\"id\":1}")).await;
    assert_eq!(socket.close_code().await, Some(1001));
}
