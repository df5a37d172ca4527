//! A long log to a client that comes late.

use serde_json::json;

use crate::lines::InOrder;
use crate::options::Size;
use crate::server::{Gateway, Server, answer, call, start};
use crate::statistics::Samples;
use crate::table::{Row, Target};
use crate::usage;

/// A million stored events to one client.
pub(crate) fn measure(size: Size) -> Vec<Row> {
    let lines = size.count(20_000, 1_000_000);
    let gateway = Gateway::start(&[]);
    let mut socket = gateway.connect();
    socket.send(&start(&json!({"prompt": format!("lines {lines} 300")})));
    let session = answer(&mut socket)["session_id"].clone();
    InOrder::new().first_to_last(&mut socket, lines);
    socket.until(b"\"session.ended\"");
    drop(socket);
    let (mut speed, mut growth) = (Samples::default(), Samples::default());
    for _ in 0..size.runs {
        let before = usage::memory(gateway.pid());
        usage::forget_peak(gateway.pid());
        let resident = usage::resident(gateway.pid());
        let mut socket = gateway.connect();
        socket.send(&call("session.attach", &json!({"session_id": session, "after_seq": 0})));
        answer(&mut socket);
        let took = InOrder::new().first_to_last(&mut socket, lines);
        speed.push(lines as f64 / took.as_secs_f64());
        let peak = usage::peak(gateway.pid()).saturating_sub(resident);
        let kept = usage::memory(gateway.pid()).saturating_sub(before);
        growth.push(peak.max(kept) as f64 / 1024.0 / 1024.0);
    }
    let row =
        |measure, ours, target| Row { work: format!("replay of {lines} events"), measure, ours, peer: None, target };
    vec![row("events/s", speed, Target::AtLeast(1e6)), row("memory growth, MiB", growth, Target::AtMost(4.0))]
}
