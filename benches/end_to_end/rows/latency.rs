//! What a server adds between the agent's write and the client's read, at a pace that leaves it time.

use std::sync::Barrier;
use std::time::Duration;

use crate::lines::{InOrder, Lines};
use crate::options::Size;
use crate::relay::Relay;
use crate::server::{Gateway, Server, Websocketd};
use crate::socket::Socket;
use crate::statistics::{Samples, percentile};
use crate::table::{Peer, Row, Target};
use crate::usage;

/// Lines a second.
const PACE: u64 = 200;

/// What the runs of one server gave: microseconds, and seconds of its processor time.
#[derive(Default)]
struct Lag {
    half: Samples,
    most: Samples,
    cpu: Samples,
}

/// One session, one client.
pub(crate) fn one_session(size: Size) -> Vec<Row> {
    let [ours, theirs, bare] = turns(size, 1, size.count(1, 10));
    let row = rows_of(format!("one session at {PACE} lines/s"));
    vec![
        row("added latency p50, µs", &ours.half, Peer::websocketd(theirs.half), Target::AtMost(0.7)),
        row("added latency p50, µs", &ours.half, Peer::relay(bare.half), Target::None),
        row("added latency p99, µs", &ours.most, Peer::websocketd(theirs.most), Target::AtMost(1.0)),
        row("added latency p99, µs", &ours.most, Peer::relay(bare.most), Target::None),
    ]
}

/// Fifty sessions, each with a client of its own.
pub(crate) fn many_sessions(size: Size) -> Vec<Row> {
    let [ours, theirs, bare] = turns(size, 50, size.count(1, 10));
    let row = rows_of(format!("50 sessions at {PACE} lines/s"));
    vec![
        row("added latency p50, µs", &ours.half, Peer::websocketd(theirs.half), Target::None),
        row("added latency p50, µs", &ours.half, Peer::relay(bare.half), Target::None),
        row("added latency p99, µs", &ours.most, Peer::websocketd(theirs.most), Target::AtMost(1.0)),
        row("added latency p99, µs", &ours.most, Peer::relay(bare.most), Target::None),
        row("CPU s", &ours.cpu, Peer::websocketd(theirs.cpu), Target::AtMost(0.5)),
        row("CPU s", &ours.cpu, Peer::relay(bare.cpu), Target::None),
    ]
}

/// What makes rows of that work out of ours, another's, and what is asked of them.
fn rows_of(work: String) -> impl Fn(&'static str, &Samples, Peer, Target) -> Row {
    move |measure, ours, peer, target| Row { work: work.clone(), measure, ours: ours.clone(), peer: Some(peer), target }
}

/// Microseconds of the gateway's processor time for each line of so many sessions at once.
pub(crate) fn cpu_per_line(gateway: &Gateway, sessions: usize, seconds: u64) -> f64 {
    let mut lag = Lag::default();
    lag.take(gateway, &format!("rate {PACE} {seconds}s 300"), sessions, seconds * PACE);
    lag.cpu.median() * 1e6 / (sessions as u64 * seconds * PACE) as f64
}

/// What the gateway, websocketd and the bare relay gave, in turns.
fn turns(size: Size, sessions: usize, seconds: u64) -> [Lag; 3] {
    let script = format!("rate {PACE} {seconds}s 300");
    let gateway = Gateway::start(&[]);
    let websocketd = Websocketd::is_there().then(|| Websocketd::start(&script));
    let relay = Relay::start(&script);
    let [mut ours, mut theirs, mut bare] = [Lag::default(), Lag::default(), Lag::default()];
    for _ in 0..size.runs {
        ours.take(&gateway, &script, sessions, seconds * PACE);
        if let Some(websocketd) = &websocketd {
            theirs.take(websocketd, &script, sessions, seconds * PACE);
        }
        bare.take(&relay, &script, sessions, seconds * PACE);
    }
    [ours, theirs, bare]
}

impl Lag {
    fn take(&mut self, server: &(dyn Server + Sync), script: &str, sessions: usize, lines: u64) {
        let used = usage::cpu(server.pid());
        let together = Barrier::new(sessions);
        let mut ages: Vec<Duration> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..sessions)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        ages(&mut server.run(script), lines)
                    })
                })
                .collect();
            clients.into_iter().flat_map(|client| client.join().expect("a client that gets every line")).collect()
        });
        self.cpu.push(usage::cpu_at_rest(server.pid()).saturating_sub(used).as_secs_f64());
        self.half.push(microseconds(percentile(&mut ages, 50)));
        self.most.push(microseconds(percentile(&mut ages, 99)));
    }
}

/// How old each line was when it came.
fn ages(socket: &mut Socket, lines: u64) -> Vec<Duration> {
    let (mut order, stamps) = (InOrder::new(), Lines::new());
    let mut ages = Vec::new();
    let mut seen = 0;
    while seen < lines {
        let (message, _) = socket.message();
        ages.extend(stamps.age(message));
        seen = order.see(message);
    }
    assert_eq!(ages.len() as u64, lines, "each line is stamped");
    ages
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
