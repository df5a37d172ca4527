//! Tests with real children: `sh`, `perl` and `python3`.

mod freeze;
mod output;
mod spawn;
mod sweep;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use super::*;

/// Nothing here takes long. Who waits longer waits for something that will not come.
const PATIENCE: Duration = Duration::from_secs(20);

async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("never came: {what}"))
}

/// Looks again and again until `fact` is true.
async fn until(what: &str, fact: impl Fn() -> bool) {
    let looking = async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    patiently(what, looking).await;
}

fn launch(program: &str, args: &[&str]) -> Launch {
    Launch {
        program: PathBuf::from(program),
        args: args.iter().map(OsString::from).collect(),
        env: BTreeMap::from([("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())]),
        cwd: PathBuf::from("/"),
        stdin: StdinMode::Null,
        marker: Marker::new(Uuid::new_v4(), "test-instance"),
        user: None,
        max_line_bytes: 16 << 20,
        output_grace: Duration::from_secs(5),
    }
}

fn sh(script: &str) -> Launch {
    launch("/bin/sh", &["-c", script])
}

fn perl(script: &str) -> Launch {
    launch("/usr/bin/perl", &["-e", script])
}

async fn start(launch: Launch) -> Process {
    Spawner::start().unwrap().spawn(launch).await.unwrap()
}

/// Everything a process said.
#[derive(Debug, Default)]
struct Said {
    stdout: Vec<Line>,
    stderr: Vec<Line>,
    bytes: usize,
    exit: Option<Exit>,
}

impl Said {
    fn take(&mut self, item: OutputItem) {
        assert_eq!(self.exit, None, "nothing may follow the exit");
        match item {
            OutputItem::Lines { lines, bytes } => {
                self.bytes += bytes;
                for line in lines {
                    match line.stream {
                        Stream::Stdout => self.stdout.push(line),
                        Stream::Stderr => self.stderr.push(line),
                    }
                }
            }
            OutputItem::Exited(exit) => self.exit = Some(exit),
        }
    }

    fn text(&self) -> Vec<String> {
        self.stdout.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
    }
}

async fn listen(process: &mut Process) -> Said {
    let mut said = Said::default();
    patiently("the exit", async {
        while let Some(item) = process.output.next().await {
            said.take(item);
        }
    })
    .await;
    assert!(said.exit.is_some(), "the last item is the exit");
    assert_eq!(process.output.next().await, None, "and nothing follows");
    said
}

async fn run(launch: Launch) -> Said {
    listen(&mut start(launch).await).await
}

/// The next `count` lines of stdout.
async fn lines(process: &mut Process, count: usize) -> Vec<String> {
    let mut said = Said::default();
    patiently("lines", async {
        while said.stdout.len() < count {
            said.take(process.output.next().await.unwrap());
            assert_eq!(said.exit, None, "ended too early");
        }
    })
    .await;
    said.text()
}

async fn pids(process: &mut Process, count: usize) -> Vec<u32> {
    lines(process, count).await.iter().map(|line| line.trim().parse().unwrap()).collect()
}

/// Begins a script of perl that starts processes.
const PREAMBLE: &str = "use POSIX; $| = 1; ";

/// Starts `script`, which prints `count` process ids; gives it with its marker and those ids.
async fn family(script: &str, count: usize) -> (Process, Marker, Vec<u32>) {
    let launch = Launch { output_grace: Duration::from_millis(50), ..perl(script) };
    let marker = launch.marker.clone();
    let mut process = start(launch).await;
    let pids = pids(&mut process, count).await;
    (process, marker, pids)
}

fn ended(exit: Option<Exit>) -> (Option<i32>, Option<i32>, bool) {
    let exit = exit.unwrap();
    (exit.code, exit.signal, exit.output_held)
}

/// There, and not a zombie.
fn alive(pid: u32) -> bool {
    proc_fs::stat(pid).is_some_and(|stat| !stat.dead)
}

/// Not there, not even as a zombie.
fn gone(pid: u32) -> bool {
    proc_fs::stat(pid).is_none()
}

/// Some tests run a program as the user `daemon`. A test run without that right checks that the start is refused.
pub(super) fn may_become_others() -> bool {
    let needed = rustix::thread::CapabilitySet::SETUID | rustix::thread::CapabilitySet::SETGID;
    rustix::thread::capabilities(None).unwrap().effective.contains(needed)
}
