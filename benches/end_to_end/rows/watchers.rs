//! One session that many watch: each event is encoded once, whoever reads it.

use std::sync::Barrier;

use serde_json::json;

use crate::lines::InOrder;
use crate::options::Size;
use crate::server::{Gateway, Server, answer, call, start};
use crate::statistics::Samples;
use crate::table::{Peer, Row, Target};
use crate::usage;

const WATCHERS: usize = 100;
/// Events a second.
const PACE: u64 = 1_000;

/// The target, a second for a million deliveries, in proportion to what websocketd took for a million lines of a burst on
/// the machine that the target comes from.
const OF_A_LINE_OF_WEBSOCKETD: f64 = 1.0 / 4.65;

/// A hundred watchers of a thousand events a second.
pub(crate) fn measure(size: Size) -> Vec<Row> {
    let gateway = Gateway::start(&[]);
    let seconds = size.count(1, 10);
    let cpu: Samples = (0..size.runs).map(|_| cpu_per_delivery(&gateway, WATCHERS, seconds)).collect();
    let row = |peer, target| Row {
        work: format!("{WATCHERS} watchers of {PACE} events/s"),
        measure: "CPU s per million deliveries",
        ours: cpu.clone(),
        peer,
        target,
    };
    let mut rows = vec![row(None, Target::AtMost(1.0))];
    if let Some(samples) = super::burst::cpu_of_websocketd(size) {
        let peer = Peer { name: "websocketd, per million lines of a burst", samples };
        rows.push(row(Some(peer), Target::AtMost(OF_A_LINE_OF_WEBSOCKETD)));
    }
    rows
}

/// Microseconds of the gateway's processor time for each delivery, which are also seconds for a million.
pub(crate) fn cpu_per_delivery(gateway: &Gateway, watchers: usize, seconds: u64) -> f64 {
    let lines = PACE * seconds;
    let go = gateway.directory().join(format!("go-{}", uuid::Uuid::new_v4()));
    let mut starter = gateway.connect();
    let script = format!("await {}; rate {PACE} {seconds}s 300", go.display());
    starter.send(&start(&json!({"prompt": script, "attach": false})));
    let session = answer(&mut starter)["session_id"].clone();
    let together = Barrier::new(watchers + 1);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..watchers)
            .map(|_| {
                scope.spawn(|| {
                    let mut socket = gateway.connect();
                    socket.send(&call("session.attach", &json!({"session_id": session})));
                    answer(&mut socket);
                    together.wait();
                    let mut order = InOrder::new();
                    while order.see(socket.message().0) < lines {}
                })
            })
            .collect();
        together.wait();
        let used = usage::cpu(gateway.pid());
        std::fs::write(&go, "").expect("a file for the agent");
        clients.into_iter().for_each(|client| client.join().expect("a watcher that gets every line"));
        let used = usage::cpu_at_rest(gateway.pid()).saturating_sub(used);
        used.as_secs_f64() * 1e6 / (lines as f64 * watchers as f64)
    })
}
