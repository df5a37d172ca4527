//! What a connection costs that does nothing.

use crate::options::Size;
use crate::server::{Gateway, Server};
use crate::socket::Socket;
use crate::statistics::Samples;
use crate::table::{Row, Target};
use crate::usage;

/// Authenticated connections without a session.
pub(crate) fn measure(size: Size) -> Vec<Row> {
    let count = size.count(50, 1_000);
    let mut cost = Samples::default();
    for _ in 0..size.runs {
        let gateway = Gateway::start(&[]);
        // What is made once is not a connection's.
        drop((0..20).map(|_| gateway.connect()).collect::<Vec<Socket>>());
        let before = usage::memory(gateway.pid());
        let _open: Vec<Socket> = (0..count).map(|_| gateway.connect()).collect();
        let grown = usage::memory(gateway.pid()).saturating_sub(before);
        cost.push(grown as f64 / count as f64 / 1024.0);
    }
    vec![Row {
        work: format!("{count} idle connections"),
        measure: "memory each, KiB",
        ours: cost,
        peer: None,
        target: Target::AtMost(12.0),
    }]
}
