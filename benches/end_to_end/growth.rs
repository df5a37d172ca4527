//! How the cost of an event grows with what surrounds it: sessions, watchers, the log's length, the store's size.
//!
//! Each series is a list of points; `scripts/plots.py` draws them.

use serde_json::{Value, json};

use crate::lines::InOrder;
use crate::options::Size;
use crate::rows::{filled_store, latency, watchers};
use crate::server::{Gateway, answer, call, start};

/// All series, printed as they come, and as JSON.
pub(crate) fn measure(size: Size) -> Vec<Value> {
    let all = [sessions(size), watched(size), log_length(size), store_size(size)];
    all.concat()
}

/// One line of a plot.
struct Series {
    plot: &'static str,
    name: &'static str,
    x: &'static str,
    y: &'static str,
    points: Vec<(f64, f64)>,
}

impl Series {
    fn new(plot: &'static str, name: &'static str, x: &'static str, y: &'static str) -> Self {
        Self { plot, name, x, y, points: Vec::new() }
    }

    fn push(&mut self, x: u64, y: f64) {
        println!("{}, {}: {x} {} → {y:.2} {}", self.plot, self.name, self.x, self.y);
        self.points.push((x as f64, y));
    }

    fn json(&self) -> Value {
        json!({"plot": self.plot, "name": self.name, "x": self.x, "y": self.y, "points": self.points})
    }
}

fn sessions(size: Size) -> Vec<Value> {
    let mut series = Series::new("sessions", "gateway", "sessions at 200 lines/s", "µs CPU per event");
    let counts: &[u64] = if size.quick { &[1, 5] } else { &[1, 5, 20, 50, 100, 200] };
    for &count in counts {
        let gateway = Gateway::start(&[]);
        series.push(count, latency::cpu_per_line(&gateway, at_most_usize(count), size.count(1, 5)));
    }
    vec![series.json()]
}

fn watched(size: Size) -> Vec<Value> {
    let mut series = Series::new("watchers", "gateway", "watchers of 1,000 events/s", "µs CPU per delivery");
    let counts: &[u64] = if size.quick { &[1, 5] } else { &[1, 5, 20, 50, 100, 200] };
    let gateway = Gateway::start(&[]);
    for &count in counts {
        series.push(count, watchers::cpu_per_delivery(&gateway, at_most_usize(count), size.count(1, 5)));
    }
    vec![series.json()]
}

/// One session whose log grows; each step appends, and is then replayed from where it began.
fn log_length(size: Size) -> Vec<Value> {
    let mut append = Series::new("log", "append", "events in the log", "µs per event");
    let mut replay = Series::new("log", "replay of the newest", "events in the log", "µs per event");
    let step = size.count(5_000, 100_000);
    let steps: &[u64] = if size.quick { &[2, 3] } else { &[2, 3, 5, 10, 20] };
    for &steps in steps {
        let lines = step * steps;
        let gateway = Gateway::start(&[]);
        let mut socket = gateway.connect();
        socket.send(&start(&json!({"prompt": format!("lines {lines} 300")})));
        let session = answer(&mut socket)["session_id"].clone();
        let mut order = InOrder::new();
        order.first_to_last(&mut socket, lines - step);
        append.push(lines, order.first_to_last(&mut socket, lines).as_secs_f64() * 1e6 / step as f64);
        socket.until(b"\"session.ended\"");
        let mut socket = gateway.connect();
        let begin = lines - step;
        socket.send(&call("session.attach", &json!({"session_id": session, "after_seq": begin})));
        answer(&mut socket);
        let took = InOrder::from_anywhere().first_to_last(&mut socket, lines);
        replay.push(lines, took.as_secs_f64() * 1e6 / step as f64);
    }
    vec![append.json(), replay.json()]
}

fn store_size(size: Size) -> Vec<Value> {
    let mut list = Series::new("store", "session.list", "ended sessions in the store, 100 events each", "µs");
    let mut attach = Series::new("store", "session.attach", "ended sessions in the store, 100 events each", "µs");
    let counts: &[u64] = if size.quick { &[20, 200] } else { &[filled_store::FEW, 1_000, 10_000, 100_000] };
    for (&count, (lists, attaches)) in counts.iter().zip(filled_store::times(counts, size)) {
        list.push(count, lists);
        attach.push(count, attaches);
    }
    vec![list.json(), attach.json()]
}

fn at_most_usize(count: u64) -> usize {
    usize::try_from(count).expect("a small number")
}
