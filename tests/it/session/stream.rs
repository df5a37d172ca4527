//! What the agent prints is what the client gets: every line, in order, byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ended, run};
use crate::support::Gateway;
use crate::support::client::session_id;
use crate::support::event::Event;
use crate::support::settings::list;
use crate::support::soak;

/// The lines of Claude that are counted and hashed by the scripted agent.
fn hashed<'a>(events: &'a [Event]) -> impl Iterator<Item = &'a str> + 'a {
    let counted = |event: &&Event| {
        let kind = event.claude_type().unwrap_or_default();
        !kind.starts_with("control_") && !kind.contains("command_lifecycle") && !kind.starts_with("result/")
    };
    events.iter().filter(|event| event.kind == "claude").filter(counted).map(|event| event.data.get())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn f1_ten_thousand_lines_at_full_speed_arrive_in_order_and_byte_for_byte() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let count = soak::count(10_000, 200_000);
    let events = run(&mut client, &format!("crc; lines {count} 300; say done")).await;
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    assert_eq!(events.iter().filter(|event| event.kind == "session.ended").count(), 1);

    let result = events.iter().find(|event| event.claude_type().as_deref() == Some("result/success")).unwrap();
    let printed = result.data()["scripted"].clone();
    let (mut digest, mut lines) = (Sha256::new(), 0);
    for line in hashed(&events) {
        digest.update(line.as_bytes());
        digest.update(b"\n");
        lines += 1;
    }
    assert!(lines > count, "the init line and the last word come on top");
    assert_eq!(printed["lines"], lines);
    assert_eq!(printed["sha256"], hex(&digest.finalize()));
    gateway.stop().await;
}

#[tokio::test]
async fn a_line_of_ten_megabytes_arrives_whole() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let events = run(&mut client, "crc; bigline 10000000; say after").await;
    let long: Vec<&Event> = events.iter().filter(|event| event.data.get().len() >= 1_000_000).collect();
    assert_eq!(long.len(), 1);
    assert_eq!((long[0].kind.as_str(), long[0].data.get().len()), ("claude", 10_000_000));
    let mut digest = Sha256::new();
    hashed(&events).for_each(|line| {
        digest.update(line.as_bytes());
        digest.update(b"\n");
    });
    let result = events.iter().find(|event| event.claude_type().as_deref() == Some("result/success")).unwrap();
    assert_eq!(result.data()["scripted"]["sha256"], hex(&digest.finalize()));
}

#[tokio::test]
async fn f8_a_line_over_the_limit_is_cut_and_flagged_and_the_next_one_is_whole() {
    let gateway = Gateway::builder().setting("max_line_bytes", 100_000).start().await;
    let mut client = gateway.client().await;
    let events = run(&mut client, "bigline 250000; bigline 100000; say after").await;
    let cut: Vec<Value> = events.iter().filter(|event| event.kind == "output").map(Event::data).collect();
    assert_eq!(cut.len(), 1, "one line is over the limit, one exactly at it");
    assert_eq!(cut[0]["truncated_from"], 250_000);
    assert_eq!((cut[0]["stream"].as_str(), cut[0]["text"].as_str().map(str::len)), (Some("stdout"), Some(100_000)));
    let whole = events.iter().filter(|event| event.kind == "claude" && event.data.get().len() == 100_000).count();
    assert_eq!(whole, 1);
    let ended = ended(&events);
    assert_eq!((&ended["reason"], &ended["result"]), (&json!("completed"), &json!("after")));
}

#[tokio::test]
async fn f8_a_line_that_grows_sixfold_as_json_can_be_attached_to_and_paged_past() {
    let mut gateway = Gateway::builder().setting("allowed_commands", list(["head"])).start().await;
    let mut runner = gateway.client().await;
    let started = runner.ok("execute", json!({"command": "head -c 4194304 /dev/zero"})).await;
    let session = session_id(&started).expect("a session");
    runner.notification("process.completed").await;

    let mut reader = gateway.client().await;
    reader.ok("session.attach", json!({"session_id": session})).await;
    let events = reader.until_ended(session).await;
    let long = events.iter().find(|event| event.kind == "output").expect("the line");
    assert!(long.data.get().len() > 6 * 4_194_304, "each NUL is written as six characters");
    assert_eq!(long.data()["text"].as_str().map(str::len), Some(4_194_304));

    let (mut after, mut paged) = (0, Vec::new());
    loop {
        let page = reader.ok("session.events", json!({"session_id": session, "after_seq": after})).await;
        let numbers: Vec<u64> =
            page["events"].as_array().expect("events").iter().filter_map(|event| event["seq"].as_u64()).collect();
        assert!(!numbers.is_empty(), "a page holds at least one event");
        paged.extend(numbers);
        after = page["next_seq"].as_u64().expect("a number") - 1;
        if page["end"] == true {
            break;
        }
    }
    assert_eq!(paged, events.iter().map(|event| event.seq).collect::<Vec<_>>());
    gateway.stop().await;
}

fn raw(bytes: &[u8]) -> String {
    format!("raw {}", STANDARD.encode(bytes))
}

/// The events between the init line and the result, without the agent's own control lines.
fn told(events: &[Event]) -> Vec<(String, Value)> {
    let interesting = |event: &&Event| match event.claude_type().as_deref() {
        None => event.kind == "output",
        Some("system/init") => false,
        Some(kind) => !kind.starts_with("control_") && !kind.contains("lifecycle") && !kind.starts_with("result/"),
    };
    events.iter().filter(interesting).map(|event| (event.kind.clone(), event.data())).collect()
}

fn stdout(text: &str) -> (String, Value) {
    ("output".to_owned(), json!({"stream": "stdout", "text": text}))
}

fn claude(line: Value) -> (String, Value) {
    ("claude".to_owned(), line)
}

#[tokio::test]
async fn f9_noise_among_the_lines_becomes_exactly_these_events() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let bytes: &[u8] = b"plain noise\n\
        windows\r\n\
        {\"type\":\"system\",\"subtype\":\"crlf\"}\r\n\
        \x1b[31mred\x1b[0m\n\
        nul\0here\n\
        \n\
        [1,2]\n\
        42\n\
        {\"type\": broken\n\
        {\"no\":\"type\"}\n\
        caf\xc3\xa9 \xf0\x9f\x98\x80 \xe2\x80\xa8 end\n\
        {\"type\":\"system\",\"subtype\":\"unicode\",\"x\":\"\xc3\xa9\xe2\x80\xa8\"}\n\
        latin caf\xe9\n\
        {\"type\":\"system\",\"x\":\"\xff\"}\n";
    let events = run(&mut client, &raw(bytes)).await;
    let inexact = |text: &str, exact: &[u8]| {
        ("output".to_owned(), json!({"stream": "stdout", "text": text, "base64": STANDARD.encode(exact)}))
    };
    let expected = [
        stdout("plain noise"),
        stdout("windows"),
        claude(json!({"type": "system", "subtype": "crlf"})),
        stdout("\u{1b}[31mred\u{1b}[0m"),
        stdout("nul\0here"),
        stdout(""),
        stdout("[1,2]"),
        stdout("42"),
        stdout("{\"type\": broken"),
        claude(json!({"no": "type"})),
        stdout("caf\u{e9} \u{1F600} \u{2028} end"),
        claude(json!({"type": "system", "subtype": "unicode", "x": "\u{e9}\u{2028}"})),
        inexact("latin caf\u{fffd}", b"latin caf\xe9"),
        inexact("{\"type\":\"system\",\"x\":\"\u{fffd}\"}", b"{\"type\":\"system\",\"x\":\"\xff\"}"),
    ];
    let told = told(&events);
    for (told, expected) in told.iter().zip(&expected) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), expected.len());
    assert_eq!(ended(&events)["reason"], "completed");
}

#[tokio::test]
async fn f9_lines_and_characters_cut_between_two_reads_are_put_together() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let pieces: [&[u8]; 6] =
        [b"half \xf0\x9f", b"\x98\x80 whole\n{\"type\":\"sys", b"tem\",\"x\":\"\xc3", b"\xa9\"}", b"\r", b"\nlast\n"];
    let script: Vec<String> = pieces.iter().map(|piece| raw(piece)).collect();
    let events = run(&mut client, &script.join("; sleep 30ms; ")).await;
    let expected = [stdout("half \u{1F600} whole"), claude(json!({"type": "system", "x": "\u{e9}"})), stdout("last")];
    assert_eq!(told(&events), expected);
}

#[tokio::test]
async fn f9_a_last_line_without_its_end_is_kept_and_marked() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let events = run(&mut client, &format!("{}; exit 0", raw(b"first\nno end"))).await;
    let last = ("output".to_owned(), json!({"stream": "stdout", "text": "no end", "unterminated": true}));
    assert_eq!(told(&events), [stdout("first"), last]);
    assert_eq!(ended(&events)["reason"], "no_result", "plain text that stops is no cut stream");
}

#[tokio::test]
async fn f9_standard_error_is_kept_apart_and_in_its_own_order() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let script =
        format!("stderr one; {}; stderr-lines 500 200; stderr {{\"type\":\"result\"}}; say end", raw(b"out\n"));
    let events = run(&mut client, &script).await;
    let of = |stream: &str| -> Vec<String> {
        let outputs = events.iter().filter(|event| event.kind == "output").map(Event::data);
        let mine = outputs.filter(|data| data["stream"] == stream);
        mine.map(|data| data["text"].as_str().unwrap().to_owned()).collect()
    };
    let (out, error) = (of("stdout"), of("stderr"));
    assert_eq!(out, ["out"]);
    assert_eq!(error.len(), 502);
    assert_eq!((error[0].as_str(), error[501].as_str()), ("one", "{\"type\":\"result\"}"));
    for (number, line) in error[1..501].iter().enumerate() {
        assert!(line.starts_with(&format!("{:012} ", number + 1)), "line {number}: {line}");
    }
    assert_eq!(ended(&events)["result"], "end", "a result on standard error is none");
}
