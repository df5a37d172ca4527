//! A burst: as many lines as the agent can print, to one client, every event stored before it is delivered.

use std::io::Read;
use std::time::Instant;

use crate::lines::InOrder;
use crate::options::Size;
use crate::redis::Redis;
use crate::relay::Relay;
use crate::server::{Gateway, Server, Settings, Websocketd, agent};
use crate::statistics::Samples;
use crate::table::{Peer, Row, Target};
use crate::usage;

/// The bytes of a line.
const LINE: usize = 300;

/// What the runs of one server gave.
#[derive(Default)]
struct Speed {
    /// Lines a second, from the first's arrival to the last's.
    lines: Samples,
    /// Seconds of the server's processor time for a million lines.
    cpu: Samples,
}

/// With the embedded store.
pub(crate) fn embedded(size: Size) -> Vec<Row> {
    let Turns { ours, theirs, bare, pipe } = turns(size, &[]);
    let lines = size.count(20_000, 200_000);
    let work = format!("burst of {lines} lines");
    let row =
        |measure, ours: &Samples, peer, target| Row { work: work.clone(), measure, ours: ours.clone(), peer, target };
    let websocketd = |samples: &Samples| Some(Peer::websocketd(samples.clone()));
    let relay = |samples: &Samples| Some(Peer::relay(samples.clone()));
    vec![
        row("lines/s", &ours.lines, websocketd(&theirs.lines), Target::AtLeast(5.0)),
        row("lines/s", &ours.lines, relay(&bare.lines), Target::None),
        row("lines/s", &ours.lines, Some(Peer { name: "pipe", samples: pipe }), Target::None),
        row("CPU s per million lines", &ours.cpu, None, Target::AtMost(0.75)),
        row("CPU s per million lines", &ours.cpu, websocketd(&theirs.cpu), Target::AtMost(0.17)),
        row("CPU s per million lines", &ours.cpu, relay(&bare.cpu), Target::None),
    ]
}

/// With Redis.
pub(crate) fn redis(size: Size) -> Vec<Row> {
    let Some(redis) = Redis::start() else {
        println!("redis-server is not installed: the row of Redis is left out.");
        return Vec::new();
    };
    let Turns { ours, theirs, .. } = turns(size, &[("store_url", redis.url())]);
    let lines = size.count(20_000, 200_000);
    vec![Row {
        work: format!("burst of {lines} lines, Redis"),
        measure: "lines/s",
        ours: ours.lines,
        peer: Some(Peer::websocketd(theirs.lines)),
        target: Target::AtLeast(2.5),
    }]
}

/// What the gateway, websocketd, the bare relay and the pipe gave, in turns.
#[derive(Default)]
struct Turns {
    ours: Speed,
    theirs: Speed,
    bare: Speed,
    pipe: Samples,
}

fn turns(size: Size, settings: Settings<'_>) -> Turns {
    let lines = size.count(20_000, 200_000);
    let script = format!("lines {lines} {LINE}");
    let mut turns = Turns::default();
    let gateway = Gateway::start(settings);
    let websocketd = Websocketd::is_there().then(|| Websocketd::start(&script));
    let relay = Relay::start(&script);
    for _ in 0..size.runs {
        turns.ours.take(&gateway, &script, lines);
        if let Some(websocketd) = &websocketd {
            turns.theirs.take(websocketd, &script, lines);
        }
        turns.bare.take(&relay, &script, lines);
        turns.pipe.push(through_a_pipe(&script, lines));
    }
    turns
}

/// What websocketd takes of this machine's processor for a million lines, if it is there: by how much it is slower than
/// another one.
pub(crate) fn cpu_of_websocketd(size: Size) -> Option<Samples> {
    let lines = size.count(20_000, 200_000);
    let script = format!("lines {lines} {LINE}");
    let websocketd = Websocketd::is_there().then(|| Websocketd::start(&script))?;
    let mut theirs = Speed::default();
    (0..size.runs).for_each(|_| theirs.take(&websocketd, &script, lines));
    Some(theirs.cpu)
}

impl Speed {
    fn take(&mut self, server: &dyn Server, script: &str, lines: u64) {
        let used = usage::cpu(server.pid());
        let took = InOrder::new().first_to_last(&mut server.run(script), lines);
        self.lines.push(lines as f64 / took.as_secs_f64());
        let used = usage::cpu_at_rest(server.pid()).saturating_sub(used);
        self.cpu.push(used.as_secs_f64() * 1e6 / lines as f64);
    }
}

/// Lines a second that a reader gets who only counts line endings.
fn through_a_pipe(script: &str, lines: u64) -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let mut process = agent(script, directory.path());
    let mut output = process.stdout.take().expect("its output");
    let mut buffer = vec![0; 64 * 1024];
    let (mut seen, mut first) = (0, None);
    loop {
        let count = output.read(&mut buffer).expect("its output");
        if count == 0 {
            break;
        }
        first.get_or_insert_with(Instant::now);
        seen += memchr::memchr_iter(b'\n', &buffer[..count]).count() as u64;
    }
    let took = first.expect("its output").elapsed();
    assert!(seen >= lines, "the agent printed {seen} lines of {lines}");
    let _ended = process.wait();
    lines as f64 / took.as_secs_f64()
}
