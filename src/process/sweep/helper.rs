//! The hunt as a short-lived helper under the agent's user: how it is called, what it answers, when it is needed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use rustix::thread::CapabilitySet;
use uuid::Uuid;

use super::order::{Answer, Order};
use super::{LIMIT, Target, hunt};
use crate::process::launch::{INSTANCE_VARIABLE, Launch, Marker, SESSION_VARIABLE, StdinMode};
use crate::process::leaders::Trace;
use crate::process::{OutputItem, RunAs, Signal, Spawner, Stream};

/// The hidden first argument that makes the program a helper.
pub const HELPER_ARGUMENT: &str = "__sweep";
/// The helper ends by itself before this; if it hangs, it is killed.
const HELPER_LIMIT: Duration = Duration::from_secs(8);
/// An answer is one line.
pub(super) const LONGEST_ANSWER: usize = 64 << 10;

/// May this process read the environment of that user's processes? Root without the capability may not, and root is what a container mostly has.
pub(super) fn can_look_into(user: &RunAs) -> bool {
    let has_capability =
        || rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE));
    user.uid == rustix::process::geteuid().as_raw() || has_capability()
}

/// Has the helper carry out `order` as `user` and returns what it says; `None`: nothing that could be understood.
pub(super) async fn ask<T: Answer>(user: &RunAs, order: &Order, target: &Target, spawner: &Spawner) -> Option<T> {
    let program = std::env::current_exe()
        .inspect_err(|error| tracing::error!(kind = %error.kind(), "the sweep helper can't be found"))
        .ok()?;
    run(user, program, command_line(order, target), spawner).await
}

async fn run<T: Answer>(user: &RunAs, program: PathBuf, args: Vec<OsString>, spawner: &Spawner) -> Option<T> {
    // A marker of its own: it must not find itself, nor be found by another hunt.
    let marker = Marker::new(Uuid::new_v4(), "sweep-helper");
    let launch = Launch {
        program,
        args,
        env: BTreeMap::new(),
        cwd: PathBuf::from("/"),
        stdin: StdinMode::Null,
        marker: marker.clone(),
        user: Some(user.clone()),
        max_line_bytes: LONGEST_ANSWER,
        output_grace: Duration::from_millis(100),
    };
    let mut process = match spawner.spawn(launch).await {
        Ok(process) => process,
        Err(error) => {
            tracing::error!(%error, "the sweep helper can't be started");
            return None;
        }
    };
    let mut report = None;
    let listening = async {
        while let Some(item) = process.output.next().await {
            if let OutputItem::Lines { lines, .. } = item {
                let mut stdout = lines.iter().filter(|line| line.stream == Stream::Stdout);
                report =
                    report.take().or_else(|| stdout.find_map(|line| T::parse(std::str::from_utf8(&line.bytes).ok()?)));
            }
        }
    };
    if tokio::time::timeout(HELPER_LIMIT, listening).await.is_err() {
        tracing::error!("the sweep helper hangs and is killed");
        let _ended_meanwhile = process.control.signal(Signal::Kill);
    }
    drop(process);
    spawner.leaders().forget_reaped(marker.session());
    report
}

/// What the program does when its first argument is [`HELPER_ARGUMENT`]; `args` are those after it. Prints one line, returns the exit code: 0 all is done,
/// 1 something is left to do, 64 the arguments are wrong. It needs no settings, no runtime and no logging, and must be called before any of them.
pub fn helper_main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let mut args = args.into_iter();
    let order = args.next().and_then(|word| Order::parse(word.to_str()?));
    let (Some(order), Some(target)) = (order, understand(args)) else { return 64 };
    match order {
        Order::Kill => say(&hunt::hunt(&target, LIMIT)),
        Order::Freeze => say(&hunt::freeze(&target, LIMIT)),
        Order::Thaw(resting) => say(&hunt::thaw(&target, &resting, LIMIT)),
    }
}

fn say(answer: &impl Answer) -> u8 {
    let said = writeln!(std::io::stdout().lock(), "{}", answer.line());
    u8::from(said.is_err() || !answer.is_complete())
}

fn command_line(order: &Order, target: &Target) -> Vec<OsString> {
    [HELPER_ARGUMENT.into(), order.word().into()].into_iter().chain(arguments(target)).collect()
}

fn arguments(target: &Target) -> Vec<OsString> {
    let leader = |leader: &Trace| {
        format!("{}:{}:{}", leader.pid, leader.started, leader.reaped.map_or(String::new(), |at| at.to_string())).into()
    };
    std::iter::once(OsString::from_vec(target.entry.clone())).chain(target.leaders.iter().map(leader)).collect()
}

fn understand(args: impl IntoIterator<Item = OsString>) -> Option<Target> {
    let mut args = args.into_iter();
    let entry = args.next()?.into_vec();
    // Anything else would hunt what is not ours.
    let value = [SESSION_VARIABLE, INSTANCE_VARIABLE]
        .into_iter()
        .find_map(|name| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    if value.is_empty() {
        return None;
    }
    let leaders = args.map(|arg| parse_leader(arg.as_bytes())).collect::<Option<_>>()?;
    Some(Target::new(entry, leaders))
}

fn parse_leader(text: &[u8]) -> Option<Trace> {
    let mut parts = std::str::from_utf8(text).ok()?.splitn(3, ':');
    let (pid, started, reaped) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    let reaped = if reaped.is_empty() { None } else { Some(reaped.parse().ok()?) };
    Some(Trace { pid, started, reaped })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::sweep::SweepReport;

    #[test]
    fn what_the_helper_is_told_is_what_it_understands() {
        let entry = format!("{SESSION_VARIABLE}={}", Uuid::new_v4()).into_bytes();
        let leaders =
            vec![Trace { pid: 12, started: 345, reaped: Some(678) }, Trace { pid: 9, started: 8, reaped: None }];
        let target = Target::new(entry, leaders);
        let mut told = command_line(&Order::Freeze, &target).into_iter();
        assert_eq!(told.next().as_deref(), Some(std::ffi::OsStr::new(HELPER_ARGUMENT)));
        assert_eq!(told.next().as_deref(), Some(std::ffi::OsStr::new("freeze")));
        assert_eq!(understand(told), Some(target));
    }

    #[test]
    fn the_helper_hunts_nothing_but_markers() {
        for args in [
            &[][..],
            &["kill"],
            &["CC_GATEWAY_SESSION=x"],
            &["kill", "PATH=/bin"],
            &["freeze", "CC_GATEWAY_SESSION="],
            &["thaw=", "CC_GATEWAY_SESSION"],
            &["kill", "CC_GATEWAY_SESSION=x", "1:2"],
        ] {
            assert_eq!(helper_main(args.iter().map(OsString::from)), 64, "{args:?}");
        }
    }

    #[tokio::test]
    async fn the_helper_runs_as_the_other_user_and_its_answer_is_the_report() {
        let other = RunAs::lookup("daemon").unwrap();
        let script = "test \"$(id -un)\" = daemon && echo killed=3 left=0";
        let args = ["-c", script].map(OsString::from).to_vec();
        let report = run(&other, PathBuf::from("/bin/sh"), args, &Spawner::start().unwrap()).await;
        // Who may not become another user can't start the helper, and then nothing is claimed.
        let expected = crate::process::tests::may_become_others().then_some(SweepReport { killed: 3, left: 0 });
        assert_eq!(report, expected);
    }

    #[tokio::test]
    async fn a_helper_that_says_nothing_leaves_the_outcome_unknown() {
        let me = RunAs {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            ..RunAs::lookup("root").unwrap()
        };
        let args = ["-c", "echo nonsense; exit 0"].map(OsString::from).to_vec();
        let report: Option<SweepReport> = run(&me, PathBuf::from("/bin/sh"), args, &Spawner::start().unwrap()).await;
        assert_eq!(report, None);
    }
}
