//! What a child gets, what it doesn't, and how a start fails.

use super::*;

#[tokio::test]
async fn h12_the_environment_is_exactly_what_was_asked_for_and_the_marker() {
    let mut launch = launch("/usr/bin/env", &[]);
    launch.env.insert("GREETING".into(), "a=b c".into());
    let session = launch.marker.session();
    let mut said = run(launch).await.text();
    said.sort();
    let expected = [
        "CC_GATEWAY_INSTANCE=test-instance".to_owned(),
        format!("CC_GATEWAY_SESSION={session}"),
        "GREETING=a=b c".to_owned(),
        "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
    ];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn h12_only_descriptors_0_to_2_are_open_even_if_one_of_ours_was_left_inheritable() {
    let careless = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&careless, rustix::io::FdFlags::empty()).unwrap();
    let script = "import os
for fd in range(1024):
    try: os.fstat(fd); print(fd)
    except OSError: pass";
    let said = run(launch("/usr/bin/python3", &["-c", script])).await;
    assert_eq!(said.text(), ["0", "1", "2"]);
    drop(careless);
}

#[tokio::test]
async fn h12_signals_mask_and_umask_are_the_defaults() {
    let said = run(launch("/bin/cat", &["/proc/self/status"])).await.text();
    let none = "0000000000000000";
    for expected in
        ["Umask:\t0022", &format!("SigBlk:\t{none}"), &format!("SigIgn:\t{none}"), &format!("CapAmb:\t{none}")]
    {
        assert!(said.iter().any(|line| line == expected), "{expected}: {said:?}");
    }
}

#[tokio::test]
async fn h12_the_process_leads_its_own_session_and_group_without_a_terminal() {
    let mut process = start(sh("exec cat /proc/self/stat")).await;
    let said = listen(&mut process).await;
    let text = said.text().remove(0);
    let fields: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
    let pid = process.pid.to_string();
    assert_eq!((fields[2], fields[3], fields[4]), (pid.as_str(), pid.as_str(), "0"));
}

#[tokio::test]
async fn h7_the_process_asks_for_sigterm_when_the_gateway_dies() {
    let script = "import ctypes
signal = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(signal))
print(signal.value)";
    assert_eq!(run(launch("/usr/bin/python3", &["-c", script])).await.text(), ["15"]);
}

#[test]
fn h8_the_end_of_the_thread_and_runtime_that_asked_does_not_end_the_process() {
    let (marker, pid) = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let launch = sh("exec perl -e 'sleep 600'");
            let marker = launch.marker.clone();
            let process = start(launch).await;
            let pid = process.pid;
            // Dropped, it would be killed, and rightly.
            std::mem::forget(process);
            (marker, pid)
        })
    })
    .join()
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Another start by the same thread, so that a signal had time to come.
        assert_eq!(ended(run(sh("exit 0")).await.exit), (Some(0), None, false));
        assert!(alive(pid));
        assert_eq!(sweep(&marker, None).await, SweepReport { killed: 1, left: 0 });
    });
}

#[tokio::test]
async fn h12_another_user_is_taken_wholly_or_the_start_fails() {
    let other = RunAs::lookup("daemon").unwrap();
    let script = "grep -E '^(Uid|Gid|Groups|NoNewPrivs|CapPrm|CapEff|CapInh|CapAmb):' /proc/self/status";
    let launch = Launch { user: Some(other.clone()), ..sh(script) };
    let started = Spawner::start().unwrap().spawn(launch).await;
    if !may_become_others() {
        assert!(matches!(started, Err(SpawnError::CannotBecomeUser(_))), "{:?}", started.err());
        return;
    }
    let said = listen(&mut started.unwrap()).await;
    let (uid, gid, no) = (other.uid, other.gid, "0000000000000000");
    let groups = other.groups.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let text: Vec<String> = said.text().iter().map(|line| line.trim_end().to_owned()).collect();
    let expected = [
        format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}"),
        format!("Gid:\t{gid}\t{gid}\t{gid}\t{gid}"),
        format!("Groups:\t{groups}"),
        format!("CapInh:\t{no}"),
        format!("CapPrm:\t{no}"),
        format!("CapEff:\t{no}"),
        format!("CapAmb:\t{no}"),
        "NoNewPrivs:\t1".to_owned(),
    ];
    assert_eq!(text, expected);
}

#[tokio::test]
async fn another_users_program_is_sent_a_signal_when_the_gateway_dies_too() {
    if !may_become_others() {
        let other = Launch { user: Some(RunAs::lookup("daemon").unwrap()), ..sh("exit 0") };
        assert!(Spawner::start().unwrap().spawn(other).await.is_err());
        return;
    }
    let script = "import ctypes
signal = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(signal))
print(signal.value)";
    let launch = Launch { user: Some(RunAs::lookup("daemon").unwrap()), ..launch("/usr/bin/python3", &["-c", script]) };
    assert_eq!(run(launch).await.text(), ["15"]);
}

#[tokio::test]
async fn h13_a_pipe_reaches_the_program_and_dev_null_is_empty() {
    use tokio::io::AsyncWriteExt;
    let mut process = start(Launch { stdin: StdinMode::Pipe, ..launch("/bin/cat", &[]) }).await;
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(b"hello\n").await.unwrap();
    drop(stdin);
    assert_eq!(listen(&mut process).await.text(), ["hello"]);

    let mut process = start(launch("/bin/cat", &[])).await;
    assert!(process.stdin.is_none());
    assert_eq!(listen(&mut process).await.bytes, 0);
}

#[tokio::test]
async fn h13_writing_to_a_program_that_closed_its_input_is_an_error_and_no_signal() {
    use tokio::io::AsyncWriteExt;
    let mut process =
        start(Launch { stdin: StdinMode::Pipe, ..sh("exec <&-; echo closed; exec perl -e 'sleep 600'") }).await;
    lines(&mut process, 1).await;
    let error = process.stdin.as_mut().unwrap().write_all(b"anybody?\n").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    assert!(process.control.signal(Signal::Kill));
    assert_eq!(ended(listen(&mut process).await.exit), (None, Some(9), false));
}

/// Starts that must fail, and how.
fn failing(directory: &std::path::Path) -> Vec<(Launch, SpawnError)> {
    use std::os::unix::fs::PermissionsExt;
    let file = |name: &str, text: &str, mode: u32| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = file("plain", "#!/bin/sh\n", 0o644);
    let no_interpreter = file("script", "#!/no/such/interpreter\n", 0o755);
    let within = |cwd: &str| Launch { cwd: PathBuf::from(cwd), ..sh("exit 0") };
    let mut bad_name = sh("exit 0");
    bad_name.env.insert("A=B".into(), "c".into());
    vec![
        (launch("/no/such/program", &[]), SpawnError::NotFound),
        (launch(&no_interpreter, &[]), SpawnError::NotFound),
        (launch(&plain, &[]), SpawnError::NotExecutable),
        (launch(directory.to_str().unwrap(), &[]), SpawnError::NotExecutable),
        (within("/no/such/directory"), SpawnError::BadWorkspace),
        (within(&plain), SpawnError::BadWorkspace),
        (within("/tmp/a\0b"), SpawnError::BadWorkspace),
        (sh("exit\0 0"), SpawnError::BadArgument("it holds a NUL byte")),
        (sh(&"x".repeat(200_000)), SpawnError::BadArgument("they are too long")),
        (bad_name, SpawnError::BadArgument("a variable's name is empty or holds '='")),
    ]
}

#[tokio::test]
async fn h9_each_failure_is_told_apart_without_naming_a_path() {
    let directory = tempfile::tempdir().unwrap();
    for (launch, expected) in failing(directory.path()) {
        let error = Spawner::start().unwrap().spawn(launch).await.unwrap_err();
        assert_eq!(error, expected);
        assert!(!error.to_string().contains("/no") && !error.to_string().contains(directory.path().to_str().unwrap()));
    }
}

#[tokio::test]
async fn h9_a_thousand_failed_starts_leak_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let spawner = Spawner::start().unwrap();
    let before = open();
    let mut failed = 0;
    while failed < 1000 {
        for (launch, _) in failing(directory.path()) {
            let marker = launch.marker.clone();
            assert!(spawner.spawn(launch).await.is_err());
            assert_eq!(spawner.leaders().of(marker.session()), []);
            failed += 1;
        }
    }
    // Other tests run beside this one; a leak would be a thousand and more.
    assert!(open() < before + 200, "{before} descriptors became {}", open());
    let me = std::process::id();
    let zombies = || {
        proc_fs::all_pids()
            .into_iter()
            .filter_map(proc_fs::stat)
            .filter(|stat| stat.zombie && stat.parent == me)
            .count()
    };
    until("an end of the failed children", || zombies() < 50).await;
}
