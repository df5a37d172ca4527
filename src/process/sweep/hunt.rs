//! The hunt itself: blocking, bounded, for processes that may be forking while they are hunted.
//!
//! One look at `/proc` misses what is forked meanwhile. So: stop what is found at once (a stopped process forks no more), look again until nothing
//! new turns up, then kill, and again, until some looks in a row find nothing. Something that forks and exits all the time is always gone when a look
//! comes to its entry. Two things help against that: after a look that found nothing, a short chase watches only the numbers given out last; and
//! signals also go to whole process groups, which the kernel does at one stroke, against forks too.
//!
//! A process belongs to the target if it carries its mark, in its environment or in its limits (see `tag`); or a process that belongs is its parent; or
//! it is in a system session that one that belongs is or was in (nobody can join another's session, so that is as good as the mark). Out of reach is only
//! what cleared its environment, changed its limits, made a session of its own and lost its parent before the hunt began: all of it, and on purpose.

mod freeze;
mod survey;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal};

use super::{Identity, SweepReport, Target};
use crate::process::proc_fs::{self, Stat};
use crate::process::tag;

pub(super) use freeze::{FreezeReport, ThawReport, freeze, thaw};
pub(super) use survey::Survey;

/// How often to look for more before killing what is stopped.
const LOOKS_BEFORE_KILLING: u32 = 8;
/// How many looks in a row must find nothing. More than one, because a process between two programs has no environment for a moment; but one that missed
/// nothing is enough where the tag tells whom such a process belongs to.
const CLEAN_LOOKS: u32 = 2;
/// The same, while orphans nobody knows end around us: one of them may be the last trace of something that forks and exits all the time.
const CLEAN_LOOKS_AMONG_DYING: u32 = 8;
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// Numbers given out during a look that are worth asking about; among more of them a chase it is.
const FEW: u32 = 64;
/// A chase takes this long, and this many rounds at least: some ten lives of the shortest-lived process that still forks.
const CHASE: Duration = Duration::from_millis(4);
const CHASE_ROUNDS: u32 = 50;

/// Hunts of many sessions that end together take turns with their looks: whoever shares the processors with them is to
/// meet one of them, and not all.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Stops and kills everything that belongs to `target`, for at most `limit` (and one more look).
pub(super) fn hunt(target: &Target, limit: Duration) -> SweepReport {
    let deadline = Instant::now() + limit;
    let mut hunt = Hunt::new(target);
    let (mut clean_looks, mut looks, mut pause) = (0, 0, SHORTEST_PAUSE);
    loop {
        let (newest, (found, fresh)) = {
            let _turn = ONE_AT_A_TIME.lock();
            (proc_fs::newest_pid(), hunt.look())
        };
        let out_of_time = Instant::now() >= deadline;
        if hunt.is_blind() {
            if out_of_time {
                return hunt.report(found.len().max(1) as u64);
            }
            clean_looks = 0;
            std::thread::sleep(LONGEST_PAUSE);
            continue;
        }
        let is_quiet = found.is_empty() && nothing_began_since(newest);
        if found.is_empty() && (is_quiet || !hunt.chase()) {
            hunt.kill_groups();
            clean_looks += 1;
            if clean_looks >= hunt.clean_looks_needed(is_quiet) {
                return hunt.report(0);
            }
        } else {
            // With nothing found, the chase has stopped something: look whether it has relatives, then kill.
            clean_looks = 0;
            looks += 1;
            if (fresh || found.is_empty()) && looks < LOOKS_BEFORE_KILLING && !out_of_time {
                continue;
            }
            looks = 0;
            hunt.kill(&found);
        }
        if out_of_time {
            let left = hunt.look().0.len();
            return hunt.report(left as u64);
        }
        std::thread::sleep(pause);
        pause = if fresh { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
    }
}

struct Hunt<'a> {
    target: &'a Target,
    /// Never touched: this process and its parent (for a helper, the gateway).
    spared: [u32; 2],
    own_session: u32,
    /// System sessions that belong to the target.
    sessions: HashSet<u32>,
    /// Found before: pid to start time.
    known: HashMap<u32, u64>,
    /// Process groups in those, as of the last look; also groups of which only unreaped dead were seen (they keep the number in use).
    groups: HashSet<u32>,
    killed: HashSet<Identity>,
    leaders_looked_at: bool,
    /// Known not to carry the mark, or seen not to and begun before anything that the gateway knows to: they are not
    /// asked (again).
    strangers: HashSet<Identity>,
    /// Touches nothing: only looks.
    only_looks: bool,
    began: u64,
    /// Have orphans of unknown origin been born and died since the hunt began?
    orphans_die: bool,
}

impl<'a> Hunt<'a> {
    fn new(target: &'a Target) -> Self {
        let me = std::process::id();
        Self {
            target,
            spared: [me, std::os::unix::process::parent_id()],
            own_session: proc_fs::stat(me).map_or(0, |stat| stat.session),
            sessions: HashSet::new(),
            known: HashMap::new(),
            groups: HashSet::new(),
            killed: HashSet::new(),
            leaders_looked_at: false,
            strangers: target.others.iter().copied().collect(),
            only_looks: false,
            began: proc_fs::now(),
            orphans_die: false,
        }
    }

    /// A hunt that touches nothing.
    fn looking_only(target: &'a Target) -> Self {
        Self { only_looks: true, ..Self::new(target) }
    }

    /// Looks at every process and stops those that belong. Returns all that live, and whether there were new ones.
    fn look(&mut self) -> (Vec<Stat>, bool) {
        let target = self.target;
        // The newest first: of something that forks and exits all the time, only the newest is still there.
        self.look_at(proc_fs::all_pids().into_iter().filter_map(proc_fs::stat), |pid| target.is_on(pid))
    }

    /// The same at these processes. `is_on`: does that one carry the mark?
    fn look_at(
        &mut self,
        processes: impl Iterator<Item = Stat>,
        mut is_on: impl FnMut(u32) -> bool,
    ) -> (Vec<Stat>, bool) {
        let mut fresh = false;
        let mut belonging = HashSet::new();
        let mut all = Vec::new();
        for stat in processes {
            all.push(stat);
            if self.spared.contains(&stat.pid) || stat.dead || stat.of_kernel {
                continue;
            }
            if self.is_known(&stat) {
                belonging.insert(stat.pid);
            } else if self.carries_the_mark(&stat, &mut is_on) {
                fresh |= self.stop(&stat);
                belonging.insert(stat.pid);
            }
        }
        self.look_at_leaders(&all);
        let dead: Vec<Stat> = all.extract_if(.., |stat| stat.dead).collect();
        all.retain(|stat| !self.spared.contains(&stat.pid));
        self.forget_sessions_begun_anew(&all, &belonging);
        self.add_relatives(&all, &mut belonging);
        self.orphans_die |= dead.iter().any(|stat| self.is_strange(stat));
        self.groups = all
            .iter()
            .chain(&dead)
            .filter(|stat| self.sessions.contains(&stat.session))
            .map(|stat| stat.group)
            .collect();
        all.retain(|stat| belonging.contains(&stat.pid));
        for stat in &all {
            if !self.is_known(stat) {
                fresh |= self.stop(stat);
            }
        }
        (all, fresh)
    }

    /// Asked once of what began before the target's first leader, and at each look of the rest: who is between two programs has no environment.
    fn carries_the_mark(&mut self, stat: &Stat, is_on: impl FnOnce(u32) -> bool) -> bool {
        let process = (stat.pid, stat.started);
        if self.strangers.contains(&process) {
            return false;
        }
        let belongs = is_on(stat.pid);
        if !belongs && self.target.leaders.iter().map(|leader| leader.started).min() > Some(stat.started) {
            self.strangers.insert(process);
        }
        belongs
    }

    /// `is_quiet`: nothing has begun during the last look, so it has missed nothing.
    fn clean_looks_needed(&self, is_quiet: bool) -> u32 {
        match (self.orphans_die, is_quiet && self.target.tag.is_some() && tag::can_be_put_on()) {
            (true, _) => CLEAN_LOOKS_AMONG_DYING,
            (false, true) => 1,
            (false, false) => CLEAN_LOOKS,
        }
    }

    /// Could the last look not see, for want of a descriptor or of memory? What was not seen is not gone.
    fn is_blind(&self) -> bool {
        proc_fs::stat(std::process::id()).is_none()
    }

    /// Watches the newest processes for a moment and stops the first that belongs. Was there one?
    fn chase(&mut self) -> bool {
        let (until, mut rounds, mut last) = (Instant::now() + CHASE, 0, 0);
        while rounds < CHASE_ROUNDS || Instant::now() < until {
            rounds += 1;
            let Some(newest) = proc_fs::newest_pid() else { return false };
            if newest != last && (newest.saturating_sub(2)..=newest).rev().any(|pid| self.catch(pid)) {
                return true;
            }
            last = newest;
        }
        false
    }

    /// Stops `pid` if it belongs and was not stopped before. As fast as can be: its life may be a quarter of a millisecond.
    fn catch(&mut self, pid: u32) -> bool {
        if self.spared.contains(&pid) {
            return false;
        }
        let Ok(handle) = proc_fs::handle(pid) else { return false };
        let of_known_session =
            |stat: Stat| !stat.dead && stat.pid != stat.session && self.sessions.contains(&stat.session);
        let belongs = self.target.is_on(pid) || proc_fs::stat(pid).is_some_and(of_known_session);
        if !belongs || rustix::process::pidfd_send_signal(handle, Signal::STOP).is_err() {
            return false;
        }
        // It may have forked just before. A member of a session of its own making is in a group that is all the target's.
        let Some(stat) = proc_fs::stat(pid) else { return true };
        if stat.session != self.own_session && stat.session != 0 {
            self.sessions.insert(stat.session);
            signal_group(stat.group, Signal::STOP);
        }
        // If it has ended meanwhile, then where it was there will be more.
        stat.dead || self.known.insert(pid, stat.started) != Some(stat.started)
    }

    fn add_relatives(&mut self, all: &[Stat], belonging: &mut HashSet<u32>) {
        loop {
            let before = (belonging.len(), self.sessions.len());
            for stat in all {
                if belonging.contains(&stat.parent) || self.sessions.contains(&stat.session) {
                    belonging.insert(stat.pid);
                }
                // Session 0 is one outside of this container.
                if belonging.contains(&stat.pid) && stat.session != self.own_session && stat.session != 0 {
                    self.sessions.insert(stat.session);
                }
            }
            if (belonging.len(), self.sessions.len()) == before {
                return;
            }
        }
    }

    /// A session's number is free once its last process is reaped. Who leads it now, began during the hunt and neither was found before nor carries the
    /// marker, is somebody else.
    fn forget_sessions_begun_anew(&mut self, all: &[Stat], belonging: &HashSet<u32>) {
        for stat in all {
            if stat.pid == stat.session && stat.started >= self.began && !belonging.contains(&stat.pid) {
                self.sessions.remove(&stat.session);
            }
        }
    }

    /// The system sessions of the target's leaders, if their numbers have not been used again since.
    fn look_at_leaders(&mut self, all: &[Stat]) {
        if std::mem::replace(&mut self.leaders_looked_at, true) {
            return;
        }
        for leader in &self.target.leaders {
            let still_it = |stat: &Stat| stat.pid == leader.pid && stat.started == leader.started;
            // Somebody who was in that session when the leader was reaped has kept its number in use ever since.
            let member_since =
                |stat: &Stat| stat.session == leader.pid && leader.reaped.is_some_and(|reaped| stat.started <= reaped);
            if all.iter().any(|stat| still_it(stat) || (stat.pid != leader.pid && member_since(stat))) {
                self.sessions.insert(leader.pid);
            }
        }
    }

    /// An orphan that fell to the gateway and began and ended during the hunt.
    fn is_strange(&self, dead: &Stat) -> bool {
        self.spared.contains(&dead.parent) && dead.session != self.own_session && dead.started >= self.began
    }

    fn is_known(&self, stat: &Stat) -> bool {
        self.known.get(&stat.pid) == Some(&stat.started)
    }

    fn stop(&mut self, stat: &Stat) -> bool {
        if self.only_looks {
            return false;
        }
        self.known.insert(stat.pid, stat.started);
        proc_fs::signal(stat, Signal::STOP)
    }

    /// Kills the groups seen in the last look. Their sessions are the target's, so all in them is.
    fn kill_groups(&self) {
        for group in &self.groups {
            signal_group(*group, Signal::KILL);
        }
    }

    fn kill(&mut self, found: &[Stat]) {
        for stat in found {
            if proc_fs::signal(stat, Signal::KILL) {
                self.killed.insert((stat.pid, stat.started));
            }
        }
        self.kill_groups();
    }

    fn report(&self, left: u64) -> SweepReport {
        SweepReport { killed: self.killed.len() as u64, left }
    }
}

/// Has no process begun since `newest` was the number given out last? Then a look has missed nothing. Threads have numbers too: ours, at least, are known
/// as such. `false` also where the kernel does not tell.
fn nothing_began_since(newest: Option<u32>) -> bool {
    let (Some(before), Some(now)) = (newest, proc_fs::newest_pid()) else { return false };
    before == now || (before < now && now - before <= FEW && (before + 1..=now).all(proc_fs::is_thread_of_ours))
}

/// Sends to all processes of a group at one stroke: what one of them is just forking gets it too.
fn signal_group(group: u32, signal: Signal) {
    // Group 1 is init's, and 0 would be our own.
    if let Some(group) = i32::try_from(group).ok().filter(|group| *group > 1).and_then(Pid::from_raw) {
        let _empty_meanwhile = rustix::process::kill_process_group(group, signal);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::process::Spawner;
    use crate::process::launch::SESSION_VARIABLE;
    use crate::process::leaders::Trace;
    use crate::process::sweep::testing::Sleeper;

    #[test]
    fn only_who_began_before_the_leaders_is_asked_but_once() {
        let child = Sleeper::start();
        let older = proc_fs::stat(child.pid()).unwrap();
        let after_a_look = |leader_started| {
            let leaders = vec![Trace { pid: 1, started: leader_started, reaped: Some(leader_started) }];
            let target = Target::of_session(Uuid::new_v4(), leaders);
            let mut hunt = Hunt::new(&target);
            assert!(hunt.look().0.is_empty());
            hunt.strangers.contains(&(older.pid, older.started))
        };
        assert!(after_a_look(older.started + 1));
        assert!(!after_a_look(older.started));
    }

    #[test]
    fn a_process_that_began_is_noticed_and_a_thread_of_ours_is_known() {
        let newest = proc_fs::newest_pid();
        let child = Sleeper::start();
        assert!(!nothing_began_since(newest));
        assert!(!proc_fs::is_thread_of_ours(child.pid()));
        let thread = || u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        assert!(std::thread::spawn(move || proc_fs::is_thread_of_ours(thread())).join().unwrap());
        assert!(!nothing_began_since(None));
    }

    #[test]
    fn h2_a_chase_catches_what_a_look_comes_too_late_for() {
        // Its orphans fall to us and have to be reaped.
        let _reaps = Spawner::start().unwrap();
        let session = Uuid::new_v4();
        let script = "use POSIX; POSIX::setsid(); my $n; while ($n++ < 100_000) { exit if fork }";
        let forker =
            std::process::Command::new("perl").args(["-e", script]).env(SESSION_VARIABLE, session.to_string()).spawn();
        forker.unwrap().wait().unwrap();
        let target = Target::of_session(session, Vec::new());

        let mut chaser = Hunt::new(&target);
        let until = Instant::now() + Duration::from_secs(10);
        while !chaser.chase() {
            assert!(Instant::now() < until, "never caught");
        }
        let report = hunt(&target, Duration::from_secs(10));
        assert!(report.killed >= 1 && report.left == 0, "{report:?}");
    }
}
