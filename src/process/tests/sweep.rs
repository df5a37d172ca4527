//! What a sweep finds, and what it leaves alone.

use super::*;
use crate::process::sweep::helper_main;

/// Sweeps and checks that nothing is left of the family, zombies included.
async fn sweep_all(mut process: Process, marker: &Marker, pids: &[u32]) -> SweepReport {
    let report = patiently("the sweep's end", super::super::sweep(marker, None)).await;
    assert_eq!(report.left, 0);
    assert_eq!(ended(listen(&mut process).await.exit).1, Some(9), "the leader is swept too");
    for pid in pids {
        assert!(!alive(*pid), "{pid} lives");
    }
    let spawner = Spawner::start().unwrap();
    spawner.reap().await;
    for pid in pids {
        assert!(gone(*pid), "{pid} is a zombie");
    }
    assert_eq!(spawner.leaders().of(marker.session()).iter().filter(|trace| trace.reaped.is_none()).count(), 0);
    assert_eq!(
        super::super::sweep(marker, None).await,
        SweepReport { killed: 0, left: 0 },
        "a second sweep finds nothing"
    );
    report
}

#[tokio::test]
async fn h2_a_process_in_a_session_of_its_own_is_found() {
    let script = format!("{PREAMBLE} if (!fork) {{ POSIX::setsid(); print \"$$\\n\"; sleep 600 }} sleep 600");
    let (process, marker, pids) = family(&script, 1).await;
    assert_eq!(sweep_all(process, &marker, &pids).await.killed, 2);
}

#[tokio::test]
async fn h2_a_double_forked_daemon_is_found_and_its_zombie_reaped() {
    let script = format!(
        "{PREAMBLE} if (!fork) {{ POSIX::setsid(); exit if fork; print \"$$\\n\"; close STDOUT; close STDERR; sleep 600 }} wait; print \"$$\\n\"; sleep 600"
    );
    let (process, marker, pids) = family(&script, 2).await;
    assert_eq!(sweep_all(process, &marker, &pids).await.killed, 2);
}

#[tokio::test]
async fn h2_who_ignores_sigterm_and_who_is_stopped_are_killed() {
    let script = format!(
        "{PREAMBLE} if (!fork) {{ POSIX::setsid(); $SIG{{TERM}} = $SIG{{INT}} = $SIG{{HUP}} = 'IGNORE'; print \"$$\\n\"; sleep 600 while 1 }}
         if (!fork) {{ POSIX::setsid(); print \"$$\\n\"; kill 'STOP', $$; sleep 600 }} sleep 600"
    );
    let (process, marker, pids) = family(&script, 2).await;
    assert_eq!(sweep_all(process, &marker, &pids).await.killed, 3);
}

#[tokio::test]
async fn h2_a_process_that_forks_and_exits_all_the_time_is_caught() {
    let script = format!(
        "{PREAMBLE} if (!fork) {{ POSIX::setsid(); print \"$$\\n\"; close STDOUT; close STDERR; while (1) {{ exit if fork }} }} sleep 600"
    );
    for _ in 0..3 {
        let (process, marker, pids) = family(&script, 1).await;
        // The forker may be killed only with its whole group, and then it is not counted.
        assert!(sweep_all(process, &marker, &pids).await.killed >= 1);
        assert_nobody_has_the_tag_of(&format!("{SESSION_VARIABLE}={}", marker.session()));
    }
}

#[tokio::test]
async fn h2_a_parent_that_starts_its_killed_child_again_is_caught() {
    let script = format!(
        "{PREAMBLE} if (!fork) {{ POSIX::setsid(); print \"$$\\n\"; while (1) {{ if (!fork) {{ print \"$$\\n\"; sleep 600 }} wait }} }} sleep 600"
    );
    let (process, marker, pids) = family(&script, 2).await;
    assert!(sweep_all(process, &marker, &pids).await.killed >= 3);
}

#[tokio::test]
async fn h2_who_cleared_its_environment_is_found_through_its_parent_or_its_session() {
    // The first keeps its parent and leaves the session, the second keeps the session and loses its parent.
    let script = format!(
        "{PREAMBLE} if (!fork) {{ POSIX::setsid(); exec qw(env -i perl -e), '$| = 1; print \"$$\\n\"; sleep 600' }}
         if (!fork) {{ my $parent = $$; exit if fork; exec qw(env -i perl -e), 'select undef, undef, undef, 0.01 while getppid == $ARGV[0]; $| = 1; print \"$$\\n\"; sleep 600', $parent }}
         sleep 600"
    );
    let (process, marker, pids) = family(&script, 2).await;
    assert_eq!(sweep_all(process, &marker, &pids).await.killed, 3);
}

/// Two that have lost everything but their limits: environment, system session and parent. The second forks and exits all the time.
const STRIPPED: &str = "if (!fork) { POSIX::setsid(); exit if fork; exec qw(env -i perl -e), '$| = 1; print \"$$\\n\"; sleep 600' } wait;
    if (!fork) { POSIX::setsid(); exit if fork; exec qw(env -i perl -e), '$| = 1; print \"$$\\n\"; close STDOUT; close STDERR; while ($n++ < 100_000) { exit if fork }' } wait;";

/// Watches the newest processes for much longer than a hunt does: who forks and exits all the time is always among them.
fn assert_nobody_has_the_tag_of(entry: &str) {
    let tag = tag::Tag::of(entry.as_bytes()).unwrap();
    let until = std::time::Instant::now() + Duration::from_millis(300);
    while std::time::Instant::now() < until {
        let newest = proc_fs::newest_pid().unwrap();
        let survivor = (newest.saturating_sub(3)..=newest).find(|pid| tag.is_on(*pid));
        assert_eq!(survivor, None, "it forks on");
    }
}

#[tokio::test]
async fn h2_who_cleared_its_environment_left_the_session_and_lost_its_parent_is_found_by_its_limits() {
    let (process, marker, pids) = family(&format!("{PREAMBLE} {STRIPPED} sleep 600"), 2).await;
    // Who is killed with its whole group is not counted.
    assert!(sweep_all(process, &marker, &pids).await.killed >= 2);
    assert_nobody_has_the_tag_of(&format!("{SESSION_VARIABLE}={}", marker.session()));
}

#[tokio::test]
async fn h7_what_a_dead_instance_left_is_found_by_its_limits_too() {
    let instance = format!("dead-{}", Uuid::new_v4());
    let launch = Launch {
        marker: Marker::new(Uuid::new_v4(), &instance),
        stdin: StdinMode::Pipe,
        output_grace: Duration::from_millis(50),
        ..perl(&format!("{PREAMBLE} {STRIPPED} <STDIN>"))
    };
    let mut process = start(launch).await;
    let orphans = pids(&mut process, 2).await;
    drop(process.stdin.take());
    assert!(ended(listen(&mut process).await.exit).1.is_none(), "the leader has ended by itself");
    assert!(orphans.iter().any(|pid| alive(*pid)), "there is something to sweep");
    // Another instance's name is another tag.
    assert_eq!(sweep_instance(&format!("{instance}0"), None).await, SweepReport { killed: 0, left: 0 });
    let report = sweep_instance(&instance, None).await;
    assert!(report.killed >= 1 && report.left == 0, "{report:?}");
    assert_nobody_has_the_tag_of(&format!("{INSTANCE_VARIABLE}={instance}"));
    assert!(!orphans.iter().any(|pid| alive(*pid)));
}

#[tokio::test]
async fn h3_an_unmarked_process_of_the_leaders_session_is_found_after_the_leaders_end() {
    let script = format!(
        "{PREAMBLE} if (!fork) {{ exec qw(env -i perl -e), '$| = 1; print \"$$\\n\"; sleep 600' }} <STDIN>; exit 2"
    );
    let launch = Launch { stdin: StdinMode::Pipe, output_grace: Duration::from_millis(50), ..perl(&script) };
    let marker = launch.marker.clone();
    let mut process = start(launch).await;
    let orphan = pids(&mut process, 1).await[0];
    drop(process.stdin.take());
    assert_eq!(ended(listen(&mut process).await.exit), (Some(2), None, true));
    assert!(gone(process.pid) && alive(orphan));
    assert_eq!(sweep(&marker, None).await, SweepReport { killed: 1, left: 0 });
    assert!(gone(orphan));
}

#[tokio::test]
async fn h2_the_whole_menagerie_is_gone_every_time() {
    let script = format!(
        "{PREAMBLE}
         if (!fork) {{ print \"$$\\n\"; sleep 600 }}
         if (!fork) {{ POSIX::setsid(); print \"$$\\n\"; sleep 600 }}
         if (!fork) {{ POSIX::setsid(); exit if fork; print \"$$\\n\"; sleep 600 }}
         if (!fork) {{ $SIG{{TERM}} = 'IGNORE'; POSIX::setsid(); print \"$$\\n\"; sleep 600 while 1 }}
         if (!fork) {{ POSIX::setsid(); print \"$$\\n\"; kill 'STOP', $$; sleep 600 }}
         if (!fork) {{ POSIX::setsid(); print \"$$\\n\"; while (1) {{ exit if fork }} }}
         sleep 600"
    );
    for _ in 0..4 {
        let (process, marker, pids) = family(&script, 6).await;
        assert!(sweep_all(process, &marker, &pids).await.killed >= 7);
    }
}

#[tokio::test]
async fn h2_other_sessions_are_left_alone() {
    let script =
        format!("{PREAMBLE} if (!fork) {{ POSIX::setsid(); print \"$$\\n\"; sleep 600 }} print \"$$\\n\"; sleep 600");
    let (ours, our_marker, our_pids) = family(&script, 2).await;
    let (theirs, their_marker, their_pids) = family(&script, 2).await;
    sweep_all(ours, &our_marker, &our_pids).await;
    assert!(their_pids.iter().all(|pid| alive(*pid)));
    let stopped = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ");
    assert!(!their_pids.iter().any(stopped));
    sweep_all(theirs, &their_marker, &their_pids).await;
}

#[tokio::test]
async fn h7_what_a_dead_instance_left_is_swept_by_its_name_and_no_other() {
    let instance = format!("dead-{}", Uuid::new_v4());
    let mut of_instance = Vec::new();
    for _ in 0..2 {
        let marker = Marker::new(Uuid::new_v4(), &instance);
        of_instance.push(start(Launch { marker, ..perl("sleep 600") }).await);
    }
    // Its name begins with the dead one's.
    let other = Marker::new(Uuid::new_v4(), &format!("{instance}0"));
    let mut other_process = start(Launch { marker: other.clone(), ..perl("sleep 600") }).await;
    assert_eq!(sweep_instance(&instance, None).await, SweepReport { killed: 2, left: 0 });
    for mut process in of_instance {
        assert_eq!(ended(listen(&mut process).await.exit), (None, Some(9), false));
    }
    assert!(alive(other_process.pid));
    assert_eq!(sweep(&other, None).await.killed, 1);
    listen(&mut other_process).await;
}

#[tokio::test]
async fn the_helper_sweeps_what_it_is_told() {
    let script = format!("{PREAMBLE} if (!fork) {{ POSIX::setsid(); print \"$$\\n\"; sleep 600 }} sleep 600");
    let (mut process, marker, pids) = family(&script, 1).await;
    let args = ["kill".into(), format!("{SESSION_VARIABLE}={}", marker.session()).into()];
    assert_eq!(tokio::task::spawn_blocking(move || helper_main(args)).await.unwrap(), 0);
    assert_eq!(ended(listen(&mut process).await.exit).1, Some(9));
    assert!(!alive(pids[0]));
}

#[tokio::test]
async fn n2_orphans_that_end_by_themselves_do_not_stay_zombies() {
    // Each is alone in the world before it ends: its parent has gone, and it has left the session.
    let script = format!(
        "{PREAMBLE} for (1..40) {{ if (!fork) {{ POSIX::setsid(); exit if fork; print \"$$\\n\"; select(undef, undef, undef, 0.05); exit }} wait }} sleep 600"
    );
    let (process, marker, pids) = family(&script, 40).await;
    until("the reaping of all", || pids.iter().all(|pid| gone(*pid))).await;
    assert!(alive(process.pid));
    sweep_all(process, &marker, &[]).await;
}

#[tokio::test]
async fn a_child_that_somebody_else_waits_for_is_not_taken_away() {
    let mut child = std::process::Command::new("/bin/sh").args(["-c", "exit 3"]).spawn().unwrap();
    until("its end", || proc_fs::stat(child.id()).is_some_and(|stat| stat.zombie)).await;
    Spawner::start().unwrap().reap().await;
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[tokio::test]
async fn a_sweep_of_nothing_finds_nothing() {
    assert_eq!(sweep(&Marker::new(Uuid::new_v4(), "nobody"), None).await, SweepReport { killed: 0, left: 0 });
}
