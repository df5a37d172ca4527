//! One very long line, whole.

use std::time::Instant;

use crate::options::Size;
use crate::server::{Gateway, Server, Websocketd};
use crate::statistics::Samples;
use crate::table::{Peer, Row, Target};

const LINE: usize = 10_000_000;

/// A line of ten megabytes.
pub(crate) fn measure(size: Size) -> Vec<Row> {
    let script = format!("bigline {LINE}");
    let gateway = Gateway::start(&[]);
    let websocketd = Websocketd::is_there().then(|| Websocketd::start(&script));
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..size.runs.max(size.count(1, 5) as usize) {
        ours.push(milliseconds(&gateway, &script));
        if let Some(websocketd) = &websocketd {
            theirs.push(milliseconds(websocketd, &script));
        }
    }
    vec![Row {
        work: format!("one line of {} MB", LINE / 1_000_000),
        measure: "from the start to the whole line, ms",
        ours,
        peer: Some(Peer::websocketd(theirs)),
        target: Target::AtMost(2.0),
    }]
}

fn milliseconds(server: &dyn Server, script: &str) -> f64 {
    let begun = Instant::now();
    let mut socket = server.run(script);
    loop {
        let (message, read_at) = socket.message();
        if message.len() >= LINE {
            let words = message.iter().filter(|byte| byte.is_ascii_lowercase() || **byte == b' ').count();
            assert!(words > LINE - 2_000, "the line is not whole: {words} of its bytes came");
            return (read_at - begun).as_secs_f64() * 1e3;
        }
    }
}
