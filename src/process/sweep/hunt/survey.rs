//! One look at all processes that tells of many targets whether anything is left of them.
//!
//! Invariants: a survey touches nothing. What it has seen may be gone, and what has begun since is not in it: a target is
//! gone only if nothing has begun. It must not know who asks.

use std::collections::HashMap;

use super::{Hunt, nothing_began_since};
use crate::process::proc_fs::{self, Stat};
use crate::process::sweep::Target;
use crate::process::tag::{self, Limits};

/// See the module.
#[derive(Debug)]
pub(in crate::process::sweep) struct Survey {
    newest: Option<u32>,
    seen: Vec<Stat>,
    /// Of those that were asked for theirs.
    marks: HashMap<u32, Marks>,
}

/// Where the mark of a session or an instance may be.
#[derive(Debug)]
struct Marks {
    environment: Option<Vec<u8>>,
    limits: Option<Limits>,
}

impl Marks {
    fn of(pid: u32) -> Self {
        Self { environment: proc_fs::environment(pid), limits: tag::limits(pid) }
    }

    fn are_of(&self, target: &Target) -> bool {
        self.environment.as_ref().is_some_and(|environment| proc_fs::holds(environment, &target.entry))
            || target.tag.zip(self.limits).is_some_and(|(tag, limits)| tag.is_in(limits))
    }
}

impl Survey {
    /// Looks at all processes.
    pub(in crate::process::sweep) fn new() -> Self {
        let newest = proc_fs::newest_pid();
        let seen = proc_fs::all_pids().into_iter().filter_map(proc_fs::stat).collect();
        Self { newest, seen, marks: HashMap::new() }
    }

    /// Is nothing left of the target, for certain? Else it is to be hunted.
    pub(in crate::process::sweep) fn shows_nothing_of(&mut self, target: &Target) -> bool {
        let mut hunt = Hunt::looking_only(target);
        let is_on = |pid| self.marks.entry(pid).or_insert_with(|| Marks::of(pid)).are_of(target);
        let (found, _) = hunt.look_at(self.seen.iter().copied(), is_on);
        let me = std::process::id();
        let is_blind = hunt.is_blind() || !self.seen.iter().any(|stat| stat.pid == me);
        let is_clean = found.is_empty() && hunt.groups.is_empty() && !is_blind;
        is_clean && nothing_began_since(self.newest) && hunt.clean_looks_needed(true) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::sweep::testing::{Sleeper, target};

    #[test]
    fn who_carries_the_mark_is_not_gone_and_others_are() {
        let (sleeper, target_of_ours) = Sleeper::marked();
        let pid = sleeper.pid();
        let mut survey = Survey::new();
        assert!(!survey.shows_nothing_of(&target_of_ours));
        drop(sleeper);
        assert!(!survey.shows_nothing_of(&target_of_ours), "a survey tells what it has seen");
        assert!(!survey.marks[&pid].are_of(&target()));
    }

    #[test]
    fn what_has_begun_since_makes_a_survey_say_nothing() {
        let mut survey = Survey::new();
        let _since = Sleeper::start();
        assert!(!survey.shows_nothing_of(&target()));
    }
}
