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

/// Every store has at least so many sessions: a page of the list is as long in all, and no round attaches a session
/// that its connection has attached before. Such an attach is cheaper: it is not told to the audit log, so that nothing
/// is written beside it and the readers keep their pages.
pub(crate) const FEW: u64 = 200;
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

/// Microseconds of a list and of an attach beside so many ended sessions of a hundred events, for each number of them.
pub(crate) fn times(sessions: &[u64], size: Size) -> Vec<(f64, f64)> {
    let mut subjects: Vec<_> = sessions.iter().map(|&sessions| Subject::with(sessions, 100)).collect();
    take(&mut subjects, size);
    subjects.iter().map(|subject| (subject.list.median(), subject.attach.median())).collect()
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

    /// Opens a connection for one run.
    fn ask(&mut self) -> Asker<'_> {
        let socket = self.gateway.connect();
        Asker { subject: self, socket, lists: Vec::new(), attaches: Vec::new() }
    }
}

/// One run of one of the stores, over a connection of its own, and how long each question took.
struct Asker<'a> {
    subject: &'a mut Subject,
    socket: Socket,
    lists: Vec<Duration>,
    attaches: Vec<Duration>,
}

impl Asker<'_> {
    fn list(&mut self) {
        let begun = Instant::now();
        self.socket.send(&call("session.list", &json!({"limit": 10})));
        let page = answer(&mut self.socket);
        assert_eq!(page["sessions"].as_array().map(Vec::len), Some(10), "{page}");
        self.lists.push(begun.elapsed());
    }

    /// Attaches one session a round, all over the store, from its beginning to its end.
    fn attach(&mut self, round: u64, rounds: u64) {
        let n = 1 + round * (self.subject.sessions - 1) / rounds;
        let mut order = InOrder::new();
        let begun = Instant::now();
        self.socket.send(&call("session.attach", &json!({"session_id": fill::session(n)})));
        answer(&mut self.socket);
        while order.see(self.socket.message().0) < self.subject.events {}
        self.attaches.push(begun.elapsed());
        self.socket.until(b"\"session.ended\"");
    }

    /// Appends, and notes what the run gave.
    fn finish(mut self, size: Size) {
        let lines = size.count(1_000, APPENDED);
        let mut socket = self.subject.gateway.run(&format!("lines {lines} 300"));
        let took = InOrder::new().first_to_last(&mut socket, lines);
        self.subject.append.push(took.as_secs_f64() * 1e6 / lines as f64);
        self.subject.list.push(percentile(&mut self.lists, 50).as_secs_f64() * 1e6);
        self.subject.attach.push(percentile(&mut self.attaches, 50).as_secs_f64() * 1e6);
    }
}

/// One run of each, question by question in turns: what else the machine does meets all alike.
fn take(subjects: &mut [Subject], size: Size) {
    let rounds = size.count(5, 200);
    let mut askers: Vec<Asker<'_>> = subjects.iter_mut().map(Subject::ask).collect();
    for _ in 0..rounds {
        askers.iter_mut().for_each(Asker::list);
    }
    for round in 0..rounds {
        askers.iter_mut().for_each(|asker| asker.attach(round, rounds));
    }
    askers.into_iter().for_each(|asker| asker.finish(size));
}
