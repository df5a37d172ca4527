//! Lines, the exit, and what happens when they do not come together.

use tokio::io::AsyncWriteExt;

use super::*;

#[tokio::test]
async fn exit_code_and_signal_are_told_apart() {
    assert_eq!(ended(run(sh("exit 7")).await.exit), (Some(7), None, false));
    assert_eq!(ended(run(sh("kill -TERM $$; sleep 9")).await.exit), (None, Some(15), false));
}

#[tokio::test]
async fn f9_both_streams_come_whole_and_in_order() {
    let said = run(sh("echo one; echo bad >&2; printf 'two\\r\\n'; printf three; printf worse >&2")).await;
    assert_eq!(said.text(), ["one", "two\r", "three"]);
    assert_eq!(said.stdout.iter().map(|line| line.terminated).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(said.stderr.iter().map(|line| &line.bytes[..]).collect::<Vec<_>>(), [&b"bad"[..], b"worse"]);
    assert_eq!(said.bytes, "one\nbad\ntwo\r\nthreeworse".len());
}

#[tokio::test]
async fn f7_a_mebibyte_in_one_line_and_an_exit_at_once_loses_no_byte() {
    for round in 0..40 {
        let said = run(perl("use POSIX; $| = 1; print 'x' x 1048575, \"\\n\"; POSIX::_exit(3)")).await;
        assert_eq!(said.stdout.len(), 1, "round {round}");
        assert_eq!(said.stdout[0].bytes.len(), 1_048_575, "round {round}");
        assert_eq!((said.stdout[0].cut_from, said.bytes), (None, 1_048_576));
        assert_eq!(ended(said.exit), (Some(3), None, false));
    }
}

#[tokio::test]
async fn f8_a_line_over_the_limit_is_one_cut_line_and_the_next_is_whole() {
    let script = "print 'y' x 3_000_000, \"\\nnext\\n\"";
    let said = run(Launch { max_line_bytes: 1_000_000, ..perl(script) }).await;
    assert_eq!(
        said.stdout.iter().map(|line| (line.bytes.len(), line.cut_from)).collect::<Vec<_>>(),
        [(1_000_000, Some(3_000_000)), (4, None)]
    );
}

#[tokio::test]
async fn h3_a_grandchild_that_holds_stdout_delays_the_exit_by_the_grace_only() {
    let grace = Duration::from_millis(200);
    let launch = Launch { output_grace: grace, ..sh("perl -e 'sleep 600' & echo $!; exit 5") };
    let marker = launch.marker.clone();
    let started = std::time::Instant::now();
    let said = run(launch).await;
    assert_eq!(ended(said.exit), (Some(5), None, true));
    assert!(started.elapsed() >= grace);
    let grandchild = said.text()[0].parse().unwrap();
    assert!(alive(grandchild));
    assert_eq!(sweep(&marker, None).await, SweepReport { killed: 1, left: 0 });
    assert!(gone(grandchild));
}

#[tokio::test]
async fn h3_a_grandchild_that_lets_go_within_the_grace_is_heard_to_the_end() {
    let said = run(sh("sh -c 'sleep 0.2; echo late' & exit 5")).await;
    assert_eq!(said.text(), ["late"]);
    assert_eq!(ended(said.exit), (Some(5), None, false));
}

#[tokio::test]
async fn h3_a_grandchild_that_never_stops_writing_cannot_put_off_the_exit() {
    for redirection in ["", ">&2"] {
        let script = format!("yes noise {redirection} & echo mine; exit 4");
        let launch = Launch { output_grace: Duration::from_millis(50), ..sh(&script) };
        let marker = launch.marker.clone();
        let said = run(launch).await;
        assert!(said.text().contains(&"mine".to_owned()));
        assert_eq!(ended(said.exit), (Some(4), None, true));
        assert_eq!(sweep(&marker, None).await.left, 0);
    }
}

#[tokio::test]
async fn f7_what_was_written_before_the_exit_is_all_there_for_a_caller_who_asks_long_after() {
    // The grace is nothing and the pipes stay held: only what is known to be owed brings these lines out.
    let script = "use POSIX; $| = 1; if (!fork) { sleep 600 } print 'x' x 59_999, \"\\n\"; print STDERR 'y' x 49_999, \"\\n\"; POSIX::_exit(0)";
    let launch = Launch { output_grace: Duration::ZERO, ..perl(script) };
    let marker = launch.marker.clone();
    let mut process = start(launch).await;
    let pid = process.pid;
    until("the leader's end", || proc_fs::stat(pid).is_some_and(|stat| stat.zombie)).await;
    let said = listen(&mut process).await;
    assert_eq!((said.stdout[0].bytes.len(), said.stderr[0].bytes.len()), (59_999, 49_999));
    assert_eq!(ended(said.exit), (Some(0), None, true));
    assert_eq!(sweep(&marker, None).await, SweepReport { killed: 1, left: 0 });
}

#[tokio::test]
async fn a_program_that_closes_its_output_is_still_waited_for() {
    let mut process = start(Launch { stdin: StdinMode::Pipe, ..sh("echo bye; exec >&- 2>&-; read x; exit 6") }).await;
    assert_eq!(lines(&mut process, 1).await, ["bye"]);
    process.stdin.as_mut().unwrap().write_all(b"\n").await.unwrap();
    assert_eq!(ended(listen(&mut process).await.exit), (Some(6), None, false));
}

/// Says something on one stream whenever asked, while the other is flooded.
async fn answers_beside_a_flood(flood: &str, answer: &str) {
    let script = format!("yes noise {flood} & while read x; do echo \"got $x\" {answer}; done; kill $!");
    let mut process = start(Launch { stdin: StdinMode::Pipe, ..sh(&script) }).await;
    let stream = if answer.is_empty() { Stream::Stdout } else { Stream::Stderr };
    let mut stdin = process.stdin.take().unwrap();
    let asking = async {
        for number in 0..20 {
            stdin.write_all(format!("{number}\n").as_bytes()).await.unwrap();
            let wanted = format!("got {number}");
            let mut got = false;
            while !got {
                let Some(OutputItem::Lines { lines, .. }) = process.output.next().await else { panic!("ended") };
                got = lines.iter().any(|line| line.stream == stream && line.bytes == wanted.as_bytes());
            }
        }
        drop(stdin);
    };
    patiently("an answer beside the flood", asking).await;
    assert!(!listen(&mut process).await.exit.unwrap().output_held);
}

#[tokio::test]
async fn a_busy_stderr_does_not_starve_stdout() {
    answers_beside_a_flood(">&2", "").await;
}

#[tokio::test]
async fn a_busy_stdout_does_not_starve_stderr() {
    answers_beside_a_flood("", ">&2").await;
}

#[tokio::test]
async fn a_reader_that_is_dropped_again_and_again_loses_nothing() {
    let mut process =
        start(perl("$| = 1; for (1..5000) { print \"$_\\n\"; print STDERR \"$_\\n\" if $_ % 10 == 0 }")).await;
    let mut said = Said::default();
    let listening = async {
        while said.exit.is_none() {
            if let Ok(item) = tokio::time::timeout(Duration::from_micros(20), process.output.next()).await {
                said.take(item.unwrap());
            }
        }
    };
    patiently("the exit", listening).await;
    assert_eq!(said.text(), (1..=5000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(said.stderr.len(), 500);
}

#[tokio::test]
async fn nothing_is_read_for_a_caller_who_does_not_ask() {
    let written = |pid: u32| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
    };
    let mut process =
        start(perl("$| = 1; print STDERR \"x\\n\"; while (1) { syswrite STDOUT, 'x' x 4095 . \"\\n\" }")).await;
    let pid = process.pid;
    until("a full pipe", || written(pid) > 60_000).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let held = written(pid);
    assert!(held <= 66_000, "{held}");
    // And it goes on when asked.
    lines(&mut process, 100).await;
    assert!(written(pid) > held);
    assert!(process.control.signal(Signal::Kill));
    assert_eq!(ended(listen(&mut process).await.exit), (None, Some(9), false));
}

#[tokio::test]
async fn a_signal_reaches_the_whole_group_and_nobody_after_the_exit() {
    let mut process = start(sh("perl -e 'sleep 600' & echo $!; wait")).await;
    let grandchild = pids(&mut process, 1).await[0];
    assert!(process.control.signal(Signal::Stop));
    assert!(process.control.signal(Signal::Continue));
    assert!(process.control.signal(Signal::Terminate));
    assert_eq!(ended(listen(&mut process).await.exit), (None, Some(15), false));
    until("the grandchild's end", || !alive(grandchild)).await;
    assert!(!process.control.signal(Signal::Kill));
    assert_eq!(process.control.pid(), process.pid);
}

#[tokio::test]
async fn h4_what_is_written_after_a_signal_is_delivered_and_the_exit_code_kept() {
    let mut process =
        start(sh("trap 'sleep 0.2; echo cleaned; exit 9' TERM; echo ready; while :; do sleep 0.01; done")).await;
    lines(&mut process, 1).await;
    assert!(process.control.signal(Signal::Terminate));
    let said = listen(&mut process).await;
    assert_eq!(said.text(), ["cleaned"]);
    assert_eq!(ended(said.exit), (Some(9), None, false));
}

#[tokio::test]
async fn a_process_whose_output_is_dropped_is_killed_with_its_group() {
    let launch = sh("perl -e 'sleep 600' & echo $!; wait");
    let marker = launch.marker.clone();
    let mut process = start(launch).await;
    let grandchild = pids(&mut process, 1).await[0];
    let (pid, control) = (process.pid, process.control.clone());
    drop(process);
    until("the end of both", || !alive(pid) && !alive(grandchild)).await;
    assert!(!control.signal(Signal::Kill));
    assert_eq!(sweep(&marker, None).await, SweepReport { killed: 0, left: 0 });
    until("their reaping", || gone(pid) && gone(grandchild)).await;
}

#[tokio::test]
async fn h1_many_runs_leave_no_process_and_no_trace() {
    let leaders = Spawner::start().unwrap();
    for _ in 0..100 {
        let launch = launch("/bin/true", &[]);
        let marker = launch.marker.clone();
        let mut process = start(launch).await;
        assert_eq!(ended(listen(&mut process).await.exit), (Some(0), None, false));
        assert!(gone(process.pid));
        leaders.leaders().forget_reaped(marker.session());
        assert_eq!(leaders.leaders().of(marker.session()), []);
    }
}
