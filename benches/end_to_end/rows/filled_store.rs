//! A store that has been in use for long, in proportion to one that is new.

use std::time::Instant;

use serde_json::json;

use crate::fill;
use crate::lines::InOrder;
use crate::options::Size;
use crate::server::{Gateway, Server, answer, call};
use crate::statistics::{Samples, percentile};
use crate::table::{Peer, Row, Target};

/// Both stores have at least so many sessions: a page of the list is as long in both, and no round attaches a session
/// that its connection has attached before. Such an attach is cheaper: it is not told to the audit log, so that nothing
/// is written beside it and the readers keep their pages.
const FEW: u64 = 200;
/// Lines that are appended to see how long that takes.
const APPENDED: u64 = 50_000;

/// A gateway with sessions of the past, and what is measured of it.
struct Subject {
    gateway: Gateway,
    /// Sessions of the past, and the events of each.
    sessions: u64,
    events: u64,
    list: Samples,
    attach: Samples,
    append: Samples,
}

/// Lists, attaches and appends beside 100,000 ended sessions with ten million events.
pub(crate) fn measure(size: Size) -> Vec<Row> {
    let (sessions, events) = (size.count(200, 100_000), size.count(10, 100));
    let (mut full, mut new) = (Subject::with(sessions, events), Subject::with(FEW, events));
    for _ in 0..size.runs {
        full.take(size);
        new.take(size);
    }
    let row = |measure, ours, theirs| Row {
        work: format!("{sessions} ended sessions, {} events stored", sessions * events),
        measure,
        ours,
        peer: Some(Peer { name: "a new store", samples: theirs }),
        target: Target::AtMost(1.2),
    };
    vec![
        row("session.list, µs", full.list, new.list),
        row("session.attach, µs", full.attach, new.attach),
        row("µs per appended line", full.append, new.append),
    ]
}

/// Microseconds of a list and of an attach beside so many ended sessions of a hundred events.
pub(crate) fn times(sessions: u64, size: Size) -> (f64, f64) {
    let mut subject = Subject::with(sessions, 100);
    subject.take(size);
    (subject.list.median(), subject.attach.median())
}

impl Subject {
    fn with(sessions: u64, events: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        fill::fill(&data.join("gateway.db"), sessions, events);
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&data, private).expect("a directory's mode");
        // What is there stays, and is somebody else's.
        let keep = [
            ("keep_ended_seconds", "0".to_owned()),
            ("keep_bytes", "0".to_owned()),
            ("shared_uid_accepted", "true".to_owned()),
        ];
        let gateway = Gateway::start_in(directory, &keep);
        let (list, attach, append) = (Samples::default(), Samples::default(), Samples::default());
        Self { gateway, sessions, events, list, attach, append }
    }

    fn take(&mut self, size: Size) {
        let rounds = size.count(5, 200);
        let mut socket = self.gateway.connect();
        let lists = (0..rounds).map(|_| {
            let begun = Instant::now();
            socket.send(&call("session.list", &json!({"limit": 10})));
            let page = answer(&mut socket);
            assert_eq!(page["sessions"].as_array().map(Vec::len), Some(10), "{page}");
            begun.elapsed()
        });
        self.list.push(percentile(&mut lists.collect::<Vec<_>>(), 50).as_secs_f64() * 1e6);
        let attaches = (0..rounds).map(|round| {
            // All over the store, from its beginning to its end.
            let n = 1 + round * (self.sessions - 1) / rounds;
            let mut order = InOrder::new();
            let begun = Instant::now();
            socket.send(&call("session.attach", &json!({"session_id": fill::session(n)})));
            answer(&mut socket);
            while order.see(socket.message().0) < self.events {}
            let took = begun.elapsed();
            socket.until(b"\"session.ended\"");
            took
        });
        self.attach.push(percentile(&mut attaches.collect::<Vec<_>>(), 50).as_secs_f64() * 1e6);
        let lines = size.count(1_000, APPENDED);
        let mut socket = self.gateway.run(&format!("lines {lines} 300"));
        let took = InOrder::new().first_to_last(&mut socket, lines);
        self.append.push(took.as_secs_f64() * 1e6 / lines as f64);
    }
}
