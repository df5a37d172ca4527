//! `kill -9` of a gateway in mid-append.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::open;
use crate::api::selector::TypeSet;
use crate::store::Store;
use crate::store::contract::sample;

/// Set in the process that is to be killed: the file that it appends to.
const VICTIM: &str = "CC_GATEWAY_TEST_APPENDS_TO";

/// How many sessions the victim appends to at once, so that it dies within a group.
const SESSIONS: u64 = 8;

#[test]
fn a_kill_in_mid_append_loses_nothing_that_was_acknowledged() {
    if let Some(path) = std::env::var_os(VICTIM) {
        append_until_killed(Path::new(&path));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let mut expected = [0; SESSIONS as usize];
    // Each round begins on what the last one left.
    for round in 1..=3 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::sqlite::tests::crash::a_kill_in_mid_append_loses_nothing_that_was_acknowledged"])
            .args(["--nocapture", "--test-threads=1"])
            .env(VICTIM, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stderr.take().unwrap()).lines();
        let mut acknowledged = 0;
        for line in lines {
            // Killed while it runs; what it had written to the pipe by then counts too.
            let Some((n, seq)) = parse(&line.unwrap()) else { continue };
            expected[n] = seq;
            acknowledged += 1;
            if acknowledged == 400 {
                victim.kill().unwrap();
            }
        }
        victim.wait().unwrap();
        assert!(acknowledged >= 400, "the victim died by itself after {acknowledged}");
        check(&path, &expected, round);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn check(path: &Path, expected: &[u64], round: u32) {
    let store = open(path).unwrap();
    for (n, acknowledged) in (0..).zip(expected) {
        let id = sample::id(n);
        let head = store.bounds(id).await.unwrap().head;
        assert!(head >= *acknowledged, "round {round}, session {n}: {acknowledged} acknowledged, {head} kept");
        assert_eq!(store.session(id).await.unwrap().unwrap().last_seq, head);
        let mut read = 0;
        while read < head {
            let log = store.read(id, read, TypeSet::ALL, usize::MAX).await.unwrap();
            let next = read + log.len() as u64;
            assert_eq!(log, (read + 1..=next).map(|seq| sample::batch(seq, seq)).collect::<Vec<_>>());
            read = next;
        }
    }
    store.close().await;
}

/// `acknowledged <session> <seq>`; whatever else the test harness says is no such line.
fn parse(line: &str) -> Option<(usize, u64)> {
    let (n, seq) = line.strip_prefix("acknowledged ")?.split_once(' ')?;
    Some((n.parse().ok()?, seq.parse().ok()?))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn append_until_killed(path: &Path) -> ! {
    let store = open(path).unwrap();
    let appending = (0..SESSIONS).map(async |n| {
        let id = sample::id(n);
        store.create_session(sample::session(n)).await.unwrap();
        let mut seq = store.bounds(id).await.unwrap().head;
        loop {
            seq += 1;
            store.append(id, 1, sample::batch(seq, seq)).await.unwrap();
            // One write call, so that a kill does not cut a line in two.
            eprintln!("acknowledged {n} {seq}");
        }
    });
    let endless: Vec<()> = futures_util::future::join_all(appending).await;
    panic!("{} appenders stopped", endless.len())
}
