//! A store that has been in use for long, in proportion to one that is new.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::fill;
use crate::lines::InOrder;
use crate::options::Size;
use crate::server::{Gateway, Server, answer, call};
use crate::socket::Socket;
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
    let mut both = [Subject::with(sessions, events), Subject::with(FEW, events)];
    for _ in 0..size.runs {
        take(&mut both, size);
    }
    let [full, new] = both;
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
    let mut subject = [Subject::with(sessions, 100)];
    take(&mut subject, size);
    let [subject] = subject;
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

    /// Opens a connection for what is measured next.
    fn ask(&self) -> Asker<'_> {
        Asker { subject: self, socket: self.gateway.connect() }
    }

    fn take_appends(&mut self, size: Size) {
        let lines = size.count(1_000, APPENDED);
        let mut socket = self.gateway.run(&format!("lines {lines} 300"));
        let took = InOrder::new().first_to_last(&mut socket, lines);
        self.append.push(took.as_secs_f64() * 1e6 / lines as f64);
    }
}

/// A connection to one of the stores.
struct Asker<'a> {
    subject: &'a Subject,
    socket: Socket,
}

impl Asker<'_> {
    fn list(&mut self) -> Duration {
        let begun = Instant::now();
        self.socket.send(&call("session.list", &json!({"limit": 10})));
        let page = answer(&mut self.socket);
        assert_eq!(page["sessions"].as_array().map(Vec::len), Some(10), "{page}");
        begun.elapsed()
    }

    /// Attaches a session that is so far in the store, from 0 for its beginning to 1 for its end.
    fn attach(&mut self, place: f64) -> Duration {
        let n = 1 + (place * (self.subject.sessions - 1) as f64) as u64;
        let mut order = InOrder::new();
        let begun = Instant::now();
        self.socket.send(&call("session.attach", &json!({"session_id": fill::session(n)})));
        answer(&mut self.socket);
        while order.see(self.socket.message().0) < self.subject.events {}
        let took = begun.elapsed();
        self.socket.until(b"\"session.ended\"");
        took
    }
}

/// One run of each, question by question in turns: what else the machine does meets all alike.
fn take<const N: usize>(subjects: &mut [Subject; N], size: Size) {
    let rounds = size.count(5, 200);
    let [mut lists, mut attaches] = [(); 2].map(|()| std::array::from_fn::<_, N, _>(|_| Vec::new()));
    let mut askers = subjects.each_ref().map(Subject::ask);
    for _ in 0..rounds {
        for (asker, took) in askers.iter_mut().zip(&mut lists) {
            took.push(asker.list());
        }
    }
    for round in 0..rounds {
        for (asker, took) in askers.iter_mut().zip(&mut attaches) {
            took.push(asker.attach(round as f64 / rounds as f64));
        }
    }
    drop(askers);
    for ((subject, mut lists), mut attaches) in subjects.iter_mut().zip(lists).zip(attaches) {
        subject.list.push(percentile(&mut lists, 50).as_secs_f64() * 1e6);
        subject.attach.push(percentile(&mut attaches, 50).as_secs_f64() * 1e6);
        subject.take_appends(size);
    }
}
