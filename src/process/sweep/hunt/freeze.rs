//! Stopping all that belongs to a target, and letting it go on: blocking and bounded, with the looks of the hunt.
//!
//! Who waits for its children and sees one stopped may act on it: a shell with job control takes its job for suspended, `sudo` suspends itself. So
//! parents have stopped before it is their children's turn, and go on after them; the leader comes first and last. Only what was forked during the
//! freeze may be out of order.
//!
//! A freeze ends with a look that knows nothing but what a thaw will know, and what that doesn't find goes on: nothing stays stopped that
//! nobody could wake.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{CLEAN_LOOKS, CLEAN_LOOKS_AMONG_DYING, Hunt, LONGEST_PAUSE, SHORTEST_PAUSE, signal_group};
use crate::process::proc_fs::{self, Stat};
use crate::process::sweep::{Identity, Target};

/// How long to wait until what was sent SIGSTOP has stopped. Some can't: who waits for a `vfork`ed child that is stopped itself, or for a disk.
const SETTLING: Duration = Duration::from_secs(1);
/// The same, for parents before their children's turn.
const PARENTS_SETTLING: Duration = Duration::from_millis(200);

/// What a freeze did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::process::sweep) struct FreezeReport {
    /// Processes it stopped.
    pub(in crate::process::sweep) stopped: u64,
    /// Processes that were sent the signal and had not stopped when the time was over.
    pub(in crate::process::sweep) moving: u64,
    /// Processes that were stopped before.
    pub(in crate::process::sweep) resting: Vec<Identity>,
}

/// What a thaw did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::process::sweep) struct ThawReport {
    /// Processes that were stopped and go on.
    pub(in crate::process::sweep) woken: u64,
}

/// Stops everything that belongs to `target`, for at most `limit` (and two more looks).
pub(in crate::process::sweep) fn freeze(target: &Target, limit: Duration) -> FreezeReport {
    let deadline = Instant::now() + limit;
    let found = Hunt::looking_only(target).look().0;
    let mut resting: HashSet<Identity> = found.iter().filter(|stat| stat.stopped).map(identity).collect();
    let mut hunt = Hunt::new(target);
    for generation in generations(found, target) {
        let stopping = generation.into_iter().filter(|stat| hunt.stop(stat) && !stat.stopped).collect();
        wait_for(stopping, deadline);
    }
    hold(&mut hunt, &mut resting, deadline);
    let found = Hunt::looking_only(target).look().0;
    let findable: HashSet<Identity> = found.iter().map(identity).collect();
    for (pid, started) in &hunt.known {
        if !findable.contains(&(*pid, *started))
            && let Some(stat) = proc_fs::stat(*pid).filter(|stat| stat.started == *started)
        {
            proc_fs::signal(&stat, Signal::CONT);
        }
    }
    resting.retain(|process| findable.contains(process));
    let stopped = found.iter().filter(|stat| stat.stopped && !resting.contains(&identity(stat))).count();
    let moving = found.iter().filter(|stat| !stat.stopped).count();
    FreezeReport { stopped: stopped as u64, moving: moving as u64, resting: resting.into_iter().collect() }
}

/// Waits until they have stopped, but not for long.
fn wait_for(mut stopping: Vec<Stat>, deadline: Instant) {
    let until = deadline.min(Instant::now() + PARENTS_SETTLING);
    loop {
        let moves = |now: Stat| !now.stopped && !now.dead;
        stopping.retain(|seen| proc_fs::stat(seen.pid).filter(|now| now.started == seen.started).is_some_and(moves));
        if stopping.is_empty() || Instant::now() >= until {
            return;
        }
        std::thread::sleep(SHORTEST_PAUSE / 4);
    }
}

/// Looks and stops until nothing new turns up and all has stopped.
fn hold(hunt: &mut Hunt<'_>, resting: &mut HashSet<Identity>, deadline: Instant) {
    let (mut clean_looks, mut pause, mut last_news) = (0, SHORTEST_PAUSE, Instant::now());
    loop {
        let (found, fresh) = hunt.look();
        let mut settled = true;
        for stat in found.iter().filter(|stat| !stat.stopped) {
            // Not yet stopped; or another that was still running has woken it, and then it is to be woken by the thaw too.
            settled = false;
            resting.remove(&identity(stat));
            proc_fs::signal(stat, Signal::STOP);
        }
        let news = fresh || hunt.chase();
        if news {
            last_news = Instant::now();
        }
        if news || !(settled || last_news.elapsed() >= SETTLING) {
            clean_looks = 0;
        } else {
            for group in &hunt.groups {
                signal_group(*group, Signal::STOP);
            }
            clean_looks += 1;
        }
        let enough = if hunt.orphans_die { CLEAN_LOOKS_AMONG_DYING } else { CLEAN_LOOKS };
        if clean_looks >= enough || Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(pause);
        pause = if news { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
    }
}

/// Lets everything that belongs to `target` go on, but for `resting`. Each is woken once: it may stop itself again. `limit` bounds the looking.
pub(in crate::process::sweep) fn thaw(target: &Target, resting: &[Identity], limit: Duration) -> ThawReport {
    let deadline = Instant::now() + limit;
    let mut hunt = Hunt::looking_only(target);
    let mut done: HashSet<Identity> = resting.iter().copied().collect();
    let mut report = ThawReport::default();
    loop {
        let mut found = hunt.look().0;
        // What began since was started by the woken, and no freeze has stopped it.
        found.retain(|stat| stat.started <= hunt.began && done.insert(identity(stat)));
        if found.is_empty() {
            return report;
        }
        for stat in generations(found, target).iter().rev().flatten() {
            // To those too that are not stopped: it may be on its way to them.
            report.woken += u64::from(proc_fs::signal(stat, Signal::CONT) && stat.stopped);
        }
        if Instant::now() >= deadline {
            return report;
        }
    }
}

fn identity(stat: &Stat) -> Identity {
    (stat.pid, stat.started)
}

/// The leaders, then those without a parent here, then their children, and so on.
fn generations(found: Vec<Stat>, target: &Target) -> Vec<Vec<Stat>> {
    let parents: HashMap<u32, u32> = found.iter().map(|stat| (stat.pid, stat.parent)).collect();
    // Numbers may have been used again while looking; nothing guarantees that there is no ring.
    let depth = |pid: u32| {
        std::iter::successors(Some(pid), |pid| parents.get(pid).copied()).take(parents.len().saturating_add(1)).count()
    };
    let leads = |stat: &Stat| target.leaders.iter().any(|leader| identity(stat) == (leader.pid, leader.started));
    let mut generations: BTreeMap<usize, Vec<Stat>> = BTreeMap::new();
    for stat in found {
        let generation = if leads(&stat) { 0 } else { depth(stat.pid) };
        generations.entry(generation).or_default().push(stat);
    }
    generations.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::leaders::Trace;

    fn stat(pid: u32, parent: u32) -> Stat {
        Stat {
            pid,
            parent,
            group: 1,
            session: 1,
            dead: false,
            zombie: false,
            stopped: false,
            of_kernel: false,
            started: 5,
        }
    }

    fn order(found: &[(u32, u32)], leader: u32) -> Vec<Vec<u32>> {
        let target = Target::new(Vec::new(), vec![Trace { pid: leader, started: 5, reaped: None }]);
        let found = found.iter().map(|(pid, parent)| stat(*pid, *parent)).collect();
        generations(found, &target).iter().map(|those| those.iter().map(|stat| stat.pid).collect()).collect()
    }

    #[test]
    fn the_leader_comes_first_and_each_after_its_parent() {
        // 30 leads; 20 is its grandchild by 25, with a lower number than both; 10 is an orphan, 11 its child.
        let found = [(11, 10), (10, 1), (20, 25), (25, 30), (30, 1)];
        assert_eq!(order(&found, 30), [vec![30], vec![10], vec![11, 25], vec![20]]);
    }

    #[test]
    fn a_ring_of_parents_ends() {
        assert_eq!(order(&[(1, 2), (2, 1), (3, 9)], 3), [vec![3], vec![1, 2]]);
    }
}
