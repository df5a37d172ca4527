//! From a client's wish to the agent's first line, less what starting the agent costs anyway.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::options::Size;
use crate::server::{Gateway, Server, Websocketd, agent, start};
use crate::socket::Socket;
use crate::statistics::{Samples, percentile};
use crate::table::{Peer, Row, Target};

/// What the agent is asked for.
const SCRIPT: &str = "say here";

/// With nothing else running.
pub(crate) fn measure(size: Size) -> Vec<Row> {
    compare(size, "start", 0)
}

/// With a hundred other sessions open.
pub(crate) fn among_many(size: Size) -> Vec<Row> {
    compare(size, "start among 100 sessions", if size.quick { 5 } else { 100 })
}

fn compare(size: Size, work: &str, others: usize) -> Vec<Row> {
    let gateway = Gateway::start(&[]);
    let websocketd = Websocketd::is_there().then(|| Websocketd::start(SCRIPT));
    let _open: Vec<Socket> = (0..others).map(|_| waiting(&gateway)).collect();
    let mut client = gateway.connect();
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..size.runs {
        let (mut bare, mut gateways, mut websocketds) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..size.count(3, 40) {
            bare.push(spawned());
            gateways.push(started(&mut client));
            if let Some(websocketd) = &websocketd {
                let begun = Instant::now();
                let (_, read_at) = websocketd.run(SCRIPT).message();
                websocketds.push(read_at - begun);
            }
        }
        let bare = percentile(&mut bare, 50);
        let above = |mut all: Vec<Duration>| percentile(&mut all, 50).saturating_sub(bare).as_secs_f64() * 1e3;
        ours.push(above(gateways));
        theirs.push(above(websocketds));
    }
    vec![Row {
        work: work.to_owned(),
        measure: "first line above a raw spawn, ms",
        ours,
        peer: Some(Peer::websocketd(theirs)),
        target: Target::AtMost(1.0),
    }]
}

/// A session that waits for what never comes.
fn waiting(gateway: &Gateway) -> Socket {
    let mut socket = gateway.run("silent");
    socket.until(b"\"session.started\"");
    socket
}

/// From `session.start` to the first event that the agent caused.
fn started(client: &mut Socket) -> Duration {
    let begun = Instant::now();
    client.send(&start(&json!({"prompt": SCRIPT})));
    let read_at = client.until(b"\"session.started\"");
    client.until(b"\"session.ended\"");
    read_at - begun
}

/// From the spawn to the agent's first bytes.
fn spawned() -> Duration {
    let directory = tempfile::tempdir().expect("a directory");
    let begun = Instant::now();
    let mut process = agent(SCRIPT, directory.path());
    let mut output = process.stdout.take().expect("its output");
    let _count = output.read(&mut [0; 4096]).expect("its output");
    let took = begun.elapsed();
    let _ended = process.wait();
    took
}
