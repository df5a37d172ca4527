//! Processes that the agent leaves behind. Each is this program again, under another role.
//!
//! A role writes one line to its standard error once it is what it should be; only then does the script go
//! on, so that a test never meets a half-made child. Every role ends by itself after some minutes: a failed
//! test leaves no machine full of them.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, kill_process, setsid};

use crate::script::Child;

/// The argument that makes this program a child; a word of [`Child`] follows.
pub(crate) const ROLE: &str = "--scripted-child";

/// The longest that any child lives.
const LIFETIME: Duration = Duration::from_secs(300);

/// Starts such a process and gives its id once it is ready.
pub(crate) fn leave_behind(kind: Child) -> io::Result<u32> {
    let role = if kind == Child::Daemon { "daemon-maker" } else { kind.word() };
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ROLE).arg(role).stdin(Stdio::null()).stderr(Stdio::piped());
    command.stdout(if kind == Child::HoldStdout { Stdio::inherit() } else { Stdio::null() });
    if kind == Child::CleanEnv {
        command.env_clear();
    }
    let mut child = command.spawn()?;
    let ready = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut line = String::new();
    BufReader::new(ready).read_line(&mut line)?;
    if kind == Child::Daemon {
        child.wait()?;
    }
    line.trim().parse().map_err(|_| io::Error::other("the child did not say that it is ready"))
}

/// Plays the role of a child; returns the exit code.
pub(crate) fn play(role: &str) -> i32 {
    let outcome = match (role, Child::from_word(role)) {
        ("daemon-maker", _) => make_daemon(),
        (_, Some(Child::Setsid | Child::CleanEnv | Child::Daemon)) => new_session().map(|()| sleep()),
        (_, Some(Child::Sleep | Child::HoldStdout)) => ready().map(|()| sleep()),
        (_, Some(Child::IgnoreTerm)) => ignore_signals(),
        (_, Some(Child::Forker)) => fork_on(),
        (_, Some(Child::Stopped)) => ready().and_then(|()| {
            kill_process(getpid(), Signal::STOP)?;
            sleep();
            Ok(())
        }),
        (_, None) => Err(io::Error::other("no such role")),
    };
    i32::from(outcome.is_err())
}

fn ready() -> io::Result<()> {
    writeln!(io::stderr(), "{}", std::process::id())
}

fn sleep() {
    std::thread::sleep(LIFETIME);
}

fn new_session() -> io::Result<()> {
    // A child is never a group leader, so this can't fail for that reason.
    setsid()?;
    std::env::set_current_dir("/")?;
    ready()
}

/// Starts the daemon and exits, so that the daemon loses its parent.
fn make_daemon() -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ROLE).arg(Child::Daemon.word()).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    Ok(())
}

fn ignore_signals() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut caught = Vec::new();
        for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
            caught.push(signal(kind)?);
        }
        ready()?;
        tokio::time::sleep(LIFETIME).await;
        drop(caught);
        Ok(())
    })
}

/// The variable that tells a forker until when the chain goes on, in milliseconds since the epoch.
const UNTIL: &str = "SCRIPTED_FORKER_UNTIL";

/// Lives for a few milliseconds, then lets a new process go on in its place.
fn fork_on() -> io::Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
    let until: Option<u128> = std::env::var(UNTIL).ok().and_then(|text| text.parse().ok());
    if until.is_none() {
        ready()?;
    }
    let until = until.unwrap_or(now + LIFETIME.as_millis());
    if now > until {
        return Ok(());
    }
    let born = Instant::now();
    std::thread::sleep(Duration::from_millis(3).saturating_sub(born.elapsed()));
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ROLE).arg(Child::Forker.word()).env(UNTIL, until.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok(())
}
