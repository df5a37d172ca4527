//! What a freeze stops, what a thaw wakes, and what both leave alone.

use tokio::io::AsyncWriteExt;

use super::*;
use crate::process::proc_fs::Stat;
use crate::process::sweep::helper_main;

/// A leader that answers every line, a child, one in a session of its own, a daemon, and one whose children come and go.
const TREE: &str = "
    if (!fork) { print \"$$\\n\"; sleep 600 while 1 }
    if (!fork) { POSIX::setsid(); print \"$$\\n\"; sleep 600 while 1 }
    if (!fork) { POSIX::setsid(); exit if fork; print \"$$\\n\"; sleep 600 while 1 } wait;
    if (!fork) { POSIX::setsid(); print \"$$\\n\"; while (1) { exit if !fork; wait } }
    $SIG{CHLD} = 'IGNORE'; print \"$$\\n\"; print \"heard $_\" while <STDIN>;";
const TREE_SIZE: usize = 5;
/// Forks and exits all the time, so that no number of it is worth noting.
const FORKER: &str = "if (!fork) { POSIX::setsid(); close STDOUT; close STDERR; while (1) { exit if fork } }";

async fn tree(script: &str, count: usize, user: Option<RunAs>) -> (Process, Marker, Vec<u32>) {
    let script = format!("{PREAMBLE} {script}");
    let launch =
        Launch { stdin: StdinMode::Pipe, user, output_grace: Duration::from_millis(50), ..perl(script.as_str()) };
    let marker = launch.marker.clone();
    let mut process = start(launch).await;
    let pids = pids(&mut process, count).await;
    (process, marker, pids)
}

/// All that carries the marker and has not ended.
fn all_of(marker: &Marker) -> Vec<Stat> {
    let entry = format!("{SESSION_VARIABLE}={}", marker.session()).into_bytes();
    let pids = proc_fs::all_pids().into_iter().filter(|pid| proc_fs::carries(*pid, &entry));
    pids.filter_map(proc_fs::stat).filter(|stat| !stat.dead).collect()
}

fn stopped(pid: u32) -> bool {
    proc_fs::stat(pid).is_some_and(|stat| stat.stopped)
}

async fn freeze_all(marker: &Marker, user: Option<&RunAs>) -> u64 {
    let count = patiently("the freeze's end", freeze(marker, user)).await;
    let all = all_of(marker);
    assert!(all.iter().all(|stat| stat.stopped), "{all:?}");
    assert_eq!(all_of(marker), all, "nothing comes, goes or moves");
    count
}

/// Says something to the leader and waits for its answer.
async fn is_answered(process: &mut Process, word: &str) {
    process.stdin.as_mut().unwrap().write_all(format!("{word}\n").as_bytes()).await.unwrap();
    assert_eq!(lines(process, 1).await, [format!("heard {word}")]);
}

async fn end(mut process: Process, marker: &Marker, user: Option<&RunAs>) {
    assert_eq!(patiently("the sweep's end", sweep(marker, user)).await.left, 0);
    assert_eq!(ended(listen(&mut process).await.exit).1, Some(9));
    assert_eq!(all_of(marker), []);
}

#[tokio::test]
async fn a_freeze_stops_the_whole_tree_and_a_thaw_lets_all_go_on() {
    let (mut process, marker, pids) = tree(&format!("{FORKER} {TREE}"), TREE_SIZE, None).await;
    for round in 0..4 {
        assert!(freeze_all(&marker, None).await > TREE_SIZE as u64);
        let frozen = all_of(&marker);
        assert!(
            pids.iter().all(|pid| frozen.iter().any(|stat| stat.pid == *pid)),
            "{frozen:?} without one of {pids:?}"
        );
        assert_eq!(thaw(&marker, None).await, frozen.len() as u64);
        until("all go on", || !all_of(&marker).iter().any(|stat| stat.stopped)).await;
        until("the forker forks", || !all_of(&marker).iter().all(|stat| frozen.iter().any(|was| was.pid == stat.pid)))
            .await;
        is_answered(&mut process, &format!("round {round}")).await;
    }
    end(process, &marker, None).await;
}

#[tokio::test]
async fn another_session_is_neither_frozen_nor_thawed() {
    let (ours, our_marker, _) = tree(TREE, TREE_SIZE, None).await;
    let (mut theirs, their_marker, their_pids) = tree(TREE, TREE_SIZE, None).await;
    freeze_all(&our_marker, None).await;
    assert!(!their_pids.iter().any(|pid| stopped(*pid)));
    is_answered(&mut theirs, "unmoved").await;
    freeze_all(&their_marker, None).await;
    thaw(&our_marker, None).await;
    assert!(their_pids.iter().all(|pid| stopped(*pid)));
    end(ours, &our_marker, None).await;
    end(theirs, &their_marker, None).await;
}

#[tokio::test]
async fn what_the_agent_had_stopped_before_stays_stopped() {
    let script =
        format!("if (!fork) {{ POSIX::setsid(); print \"$$\\n\"; kill 'STOP', $$; sleep 600 while 1 }} {TREE}");
    let (mut process, marker, pids) = tree(&script, TREE_SIZE + 1, None).await;
    until("one is stopped", || pids.iter().any(|pid| stopped(*pid))).await;
    let resting = pids.iter().copied().find(|pid| stopped(*pid)).unwrap();
    for _ in 0..2 {
        let first = freeze_all(&marker, None).await;
        assert_eq!(first, all_of(&marker).len() as u64 - 1, "all but the resting one");
        assert_eq!(freeze_all(&marker, None).await, 0, "a second freeze has nothing to stop");
        assert_eq!(thaw(&marker, None).await, first);
        assert!(stopped(resting));
        is_answered(&mut process, "awake").await;
    }
    // No freeze has told them apart: all is woken.
    assert_eq!(thaw(&marker, None).await, 1);
    until("it goes on", || !stopped(resting)).await;
    end(process, &marker, None).await;
}

#[tokio::test]
async fn a_parent_that_waits_for_stopped_children_sees_none() {
    // As a shell with job control does. Each has a higher number than its parent, and would be found before it.
    let script = "if (!fork) {
            for (1..3) { if (!fork) { POSIX::setpgid(0, 0); print \"$$\\n\"; sleep 600 while 1 } }
            while ((my $pid = waitpid(-1, WUNTRACED)) > 0) { print \"heard of $pid\\n\" }
        }
        print \"$$\\n\"; print \"heard $_\" while <STDIN>;";
    let (mut process, marker, _) = tree(script, 4, None).await;
    for round in 0..10 {
        assert_eq!(freeze_all(&marker, None).await, 5);
        assert_eq!(thaw(&marker, None).await, 5);
        is_answered(&mut process, &format!("round {round}")).await;
    }
    end(process, &marker, None).await;
}

#[tokio::test]
async fn what_has_lost_the_marker_is_frozen_and_thawed_through_its_parent_or_its_session() {
    let script = "if (!fork) { POSIX::setsid(); exec qw(env -i perl -e), '$| = 1; print \"$$\\n\"; sleep 600 while 1' }
        if (!fork) { my $parent = $$; exit if fork; exec qw(env -i perl -e), 'select undef, undef, undef, 0.01 while getppid == $ARGV[0]; $| = 1; print \"$$\\n\"; sleep 600 while 1', $parent }
        wait; print \"heard $_\" while <STDIN>;";
    let (mut process, marker, pids) = tree(script, 2, None).await;
    // The one that lost its parent is the leader's session's.
    assert_eq!(freeze_all(&marker, None).await, 3);
    assert!(pids.iter().all(|pid| stopped(*pid)));
    assert_eq!(thaw(&marker, None).await, 3);
    assert!(!pids.iter().any(|pid| stopped(*pid)));
    is_answered(&mut process, "both").await;
    end(process, &marker, None).await;
}

#[tokio::test]
async fn a_frozen_tree_is_swept() {
    let (process, marker, pids) = tree(&format!("{FORKER} {TREE}"), TREE_SIZE, None).await;
    freeze_all(&marker, None).await;
    end(process, &marker, None).await;
    Spawner::start().unwrap().reap().await;
    assert!(pids.iter().all(|pid| gone(*pid)));
    assert_eq!(thaw(&marker, None).await, 0);
}

#[tokio::test]
async fn a_freeze_and_a_thaw_of_nothing_are_0() {
    let marker = Marker::new(Uuid::new_v4(), "nobody");
    assert_eq!((freeze(&marker, None).await, thaw(&marker, None).await), (0, 0));
}

#[tokio::test]
async fn another_users_tree_is_frozen_and_thawed_too() {
    let other = RunAs::lookup("daemon").unwrap();
    if !may_become_others() {
        let launch = Launch { user: Some(other), ..perl(TREE) };
        assert!(Spawner::start().unwrap().spawn(launch).await.is_err());
        return;
    }
    let (mut process, marker, pids) = tree(&format!("{FORKER} {TREE}"), TREE_SIZE, Some(other.clone())).await;
    freeze_all(&marker, Some(&other)).await;
    assert!(pids.iter().all(|pid| stopped(*pid)));
    thaw(&marker, Some(&other)).await;
    assert!(!pids.iter().any(|pid| stopped(*pid)));
    is_answered(&mut process, "daemon").await;
    end(process, &marker, Some(&other)).await;
}

#[tokio::test]
async fn the_helper_freezes_and_thaws_what_it_is_told() {
    let (mut process, marker, pids) = tree(TREE, TREE_SIZE, None).await;
    let told = |word: &str| [word.into(), format!("{SESSION_VARIABLE}={}", marker.session()).into()];
    // Which of them speaks first is nobody's choice; the leader is to answer.
    let resting = pids.iter().find(|pid| **pid != process.pid).unwrap();
    let (freezing, thawing) = (told("freeze"), told(&format!("thaw={resting}:{}", started(*resting))));
    assert_eq!(tokio::task::spawn_blocking(move || helper_main(freezing)).await.unwrap(), 0);
    assert!(pids.iter().all(|pid| stopped(*pid)));
    assert_eq!(tokio::task::spawn_blocking(move || helper_main(thawing)).await.unwrap(), 0);
    assert_eq!(pids.iter().filter(|pid| stopped(**pid)).collect::<Vec<_>>(), [resting]);
    is_answered(&mut process, "helped").await;
    end(process, &marker, None).await;
}

fn started(pid: u32) -> u64 {
    proc_fs::stat(pid).unwrap().started
}
