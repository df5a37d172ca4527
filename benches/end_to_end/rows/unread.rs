//! A client that does not read: nothing is kept for it in memory, nothing is lost, and the agent does not wait.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::lines::InOrder;
use crate::options::Size;
use crate::server::{Gateway, Server, start};
use crate::statistics::Samples;
use crate::table::{Peer, Row, Target};
use crate::usage;

const LINE: u64 = 300;

/// Fifty megabytes, unread, and in proportion to the same with a client that reads.
pub(crate) fn measure(size: Size) -> Vec<Row> {
    let lines = size.count(10_000, 50_000_000 / LINE);
    let gateway = Gateway::start(&[("slow_reader_timeout_seconds", "120".to_owned())]);
    let (mut growth, mut unread, mut read) = (Samples::default(), Samples::default(), Samples::default());
    // What is made once is not this client's.
    printed(&gateway, lines, true);
    for _ in 0..size.runs {
        read.push(printed(&gateway, lines, true).0);
        let (speed, grown) = printed(&gateway, lines, false);
        unread.push(speed);
        growth.push(grown);
    }
    let work = format!("{} MB that the client does not read", lines * LINE / 1_000_000);
    vec![
        Row {
            work: work.clone(),
            measure: "memory growth, MiB",
            ours: growth,
            peer: None,
            target: Target::AtMost(3.0),
        },
        Row {
            work,
            measure: "agent's lines/s",
            ours: unread,
            peer: Some(Peer { name: "a client that reads", samples: read }),
            target: Target::AtLeast(0.95),
        },
    ]
}

/// The agent's lines a second, and by how many MiB the gateway's memory grew until all were stored.
fn printed(gateway: &Gateway, lines: u64, reads: bool) -> (f64, f64) {
    let file = |name: &str| gateway.directory().join(format!("{name}-{}", uuid::Uuid::new_v4()));
    let (begins, ends) = (file("begins"), file("ends"));
    // What the turn before has left to the store is not this one's.
    usage::rest();
    let before = usage::memory(gateway.pid());
    let script = format!("touch {}; lines {lines} {LINE}; touch {}", begins.display(), ends.display());
    let mut socket = gateway.connect();
    socket.send(&start(&json!({"prompt": script})));
    let mut order = InOrder::new();
    if reads {
        while order.see(socket.message().0) < lines {}
    }
    there(&ends);
    let grown = usage::memory(gateway.pid()).saturating_sub(before);
    // Nothing is lost for whoever reads later.
    while !reads && order.see(socket.message().0) < lines {}
    let made = |file: &Path| std::fs::metadata(file).and_then(|data| data.modified()).expect("a file's time");
    let took = made(&ends).duration_since(made(&begins)).expect("an order");
    (lines as f64 / took.as_secs_f64(), grown as f64 / 1024.0 / 1024.0)
}

fn there(file: &Path) {
    let deadline = Instant::now() + Duration::from_secs(100);
    while !file.exists() {
        assert!(Instant::now() < deadline, "the agent waits for a client that does not read");
        std::thread::sleep(Duration::from_millis(1));
    }
}
