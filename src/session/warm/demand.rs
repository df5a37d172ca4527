//! What is asked for, and how that is shared out among so many processes. No clock, no process, no task.
//!
//! How often a profile was asked for counts half as much after half of the time that it is remembered. Processes are
//! shared out as seats are to votes (D'Hondt): the next one goes to who has the most votes for each it would have.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::profile::{Profile, Settable};

/// Profiles that are remembered at once.
const REMEMBERED: usize = 32;
/// The wait after a first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A process goes for one of another profile only if that has so many times its votes: two that are asked for in turn
/// must not push each other out with every start.
const MARGIN: f64 = 2.0;

/// Everything that was asked for lately.
#[derive(Debug)]
pub(super) struct Demand {
    remembered_for: Duration,
    wishes: Vec<Wish>,
}

/// One profile that is asked for.
#[derive(Debug)]
pub(super) struct Wish {
    /// Which one. The same `Arc` as long as it is remembered.
    pub(super) profile: Arc<Profile>,
    /// What was set last.
    pub(super) settable: Settable,
    votes: f64,
    asked_at: Instant,
    failures: u32,
    /// Not started before.
    retry_at: Option<Instant>,
}

/// A profile as far as the sharing out goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Claim {
    /// How much it was asked for; above 0.
    pub(super) votes: f64,
    /// How many processes it has.
    pub(super) has: u32,
    /// May one more be started now?
    pub(super) may_start: bool,
}

/// What to do next: indices of claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Start one more of this profile.
    Start(usize),
    /// Put one of this profile away.
    PutAway(usize),
}

/// The next step on the way to `wanted` processes, shared out as the claims say; `None`: there is nothing to do.
pub(super) fn next_step(claims: &[Claim], wanted: u32) -> Option<Step> {
    let by_quotient = |a: &(usize, f64), b: &(usize, f64)| a.1.total_cmp(&b.1);
    let next = |(at, claim): (usize, &Claim)| claim.may_start.then(|| (at, claim.votes / f64::from(claim.has + 1)));
    let last = |(at, claim): (usize, &Claim)| (claim.has > 0).then(|| (at, claim.votes / f64::from(claim.has)));
    let best = claims.iter().enumerate().filter_map(next).max_by(by_quotient);
    let worst = claims.iter().enumerate().filter_map(last).min_by(by_quotient);
    let all: u32 = claims.iter().map(|claim| claim.has).sum();
    match (best, worst) {
        (_, Some((worst, _))) if all > wanted => Some(Step::PutAway(worst)),
        (Some((best, _)), _) if all < wanted => Some(Step::Start(best)),
        (Some((best, votes)), Some((worst, least))) if best != worst && votes > MARGIN * least => {
            Some(Step::PutAway(worst))
        }
        _ => None,
    }
}

impl Demand {
    /// Nothing was asked for yet. What is not asked for again is remembered for so long.
    pub(super) fn new(remembered_for: Duration) -> Self {
        Self { remembered_for, wishes: Vec::new() }
    }

    /// A session of that profile is started.
    pub(super) fn asked(&mut self, profile: Profile, settable: Settable, now: Instant) -> Arc<Profile> {
        self.forget(now);
        let remembered_for = self.remembered_for;
        if let Some(wish) = self.wishes.iter_mut().find(|wish| *wish.profile == profile) {
            wish.votes = wish.votes_at(now, remembered_for) + 1.0;
            wish.asked_at = now;
            wish.settable = settable;
            return Arc::clone(&wish.profile);
        }
        if self.wishes.len() >= REMEMBERED {
            let votes = |wish: &Wish| wish.votes_at(now, remembered_for);
            let fewest = (0..self.wishes.len()).zip(&self.wishes).min_by(|a, b| votes(a.1).total_cmp(&votes(b.1)));
            if let Some((at, _)) = fewest {
                self.wishes.swap_remove(at);
            }
        }
        let profile = Arc::new(profile);
        let wish =
            Wish { profile: Arc::clone(&profile), settable, votes: 1.0, asked_at: now, failures: 0, retry_at: None };
        self.wishes.push(wish);
        profile
    }

    /// Forgets what was not asked for in time.
    pub(super) fn forget(&mut self, now: Instant) {
        let remembered_for = self.remembered_for;
        self.wishes.retain(|wish| now.saturating_duration_since(wish.asked_at) < remembered_for);
    }

    /// Everything that is remembered.
    pub(super) fn wishes(&self) -> &[Wish] {
        &self.wishes
    }

    /// Is that profile still remembered?
    pub(super) fn knows(&self, profile: &Arc<Profile>) -> bool {
        self.wishes.iter().any(|wish| Arc::ptr_eq(&wish.profile, profile))
    }

    /// A process of that profile could not be started, or has ended by itself: the next one waits.
    pub(super) fn failed(&mut self, profile: &Arc<Profile>, now: Instant) {
        for wish in self.wishes.iter_mut().filter(|wish| Arc::ptr_eq(&wish.profile, profile)) {
            let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(wish.failures)).min(LONGEST_PAUSE);
            wish.failures = wish.failures.saturating_add(1);
            wish.retry_at = Some(now + pause);
        }
    }

    /// A process of that profile has served: the next failure is a first one again.
    pub(super) fn served(&mut self, profile: &Arc<Profile>) {
        for wish in self.wishes.iter_mut().filter(|wish| Arc::ptr_eq(&wish.profile, profile)) {
            wish.failures = 0;
            wish.retry_at = None;
        }
    }

    /// The claims of [`Demand::wishes`], in their order; `has` counts the processes of a profile.
    pub(super) fn claims(&self, now: Instant, has: impl Fn(&Arc<Profile>) -> u32) -> Vec<Claim> {
        let claim = |wish: &Wish| Claim {
            votes: wish.votes_at(now, self.remembered_for),
            has: has(&wish.profile),
            may_start: wish.retry_at.is_none_or(|at| at <= now),
        };
        self.wishes.iter().map(claim).collect()
    }
}

impl Wish {
    fn votes_at(&self, now: Instant, remembered_for: Duration) -> f64 {
        let half_life = (remembered_for.as_secs_f64() / 2.0).max(f64::MIN_POSITIVE);
        let halves = now.saturating_duration_since(self.asked_at).as_secs_f64() / half_life;
        self.votes * (-halves).exp2()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::profile::tests::numbered;
    use super::*;

    fn claims() -> impl Strategy<Value = Vec<Claim>> {
        let claim = (0.01_f64..100.0, 0_u32..6, any::<bool>());
        prop::collection::vec(claim.prop_map(|(votes, has, may_start)| Claim { votes, has, may_start }), 0..8)
    }

    /// Carries steps out until there is none.
    fn settle(mut claims: Vec<Claim>, wanted: u32) -> Vec<Claim> {
        for _ in 0..200 {
            match next_step(&claims, wanted) {
                Some(Step::Start(at)) => claims[at].has += 1,
                Some(Step::PutAway(at)) => claims[at].has -= 1,
                None => return claims,
            }
        }
        panic!("the steps go on and on: {claims:?}");
    }

    proptest! {
        #[test]
        fn the_steps_come_to_an_end_at_no_more_than_are_wanted(claims in claims(), wanted in 0_u32..8) {
            let settled = settle(claims.clone(), wanted);
            let all: u32 = settled.iter().map(|claim| claim.has).sum();
            prop_assert!(all <= wanted);
            if claims.iter().any(|claim| claim.may_start) {
                prop_assert_eq!(all, wanted);
            }
        }

        #[test]
        fn each_step_keeps_within_what_is_wanted_and_starts_only_what_may(claims in claims(), wanted in 0_u32..8) {
            let all: u32 = claims.iter().map(|claim| claim.has).sum();
            match next_step(&claims, wanted) {
                Some(Step::Start(at)) => prop_assert!(all < wanted && claims[at].may_start),
                Some(Step::PutAway(at)) => prop_assert!(all >= wanted && claims[at].has > 0),
                None => {}
            }
        }

        #[test]
        fn who_is_asked_for_more_gets_no_less(votes in prop::collection::vec(0.01_f64..100.0, 1..8), wanted in 1_u32..8) {
            let begin = votes.iter().map(|votes| Claim { votes: *votes, has: 0, may_start: true }).collect();
            let settled = settle(begin, wanted);
            for a in &settled {
                for b in &settled {
                    prop_assert!(a.votes <= b.votes || a.has >= b.has, "{a:?} {b:?}");
                }
            }
        }

        #[test]
        fn two_that_are_asked_for_in_turn_do_not_push_each_other_out(votes in 0.5_f64..50.0, more in 0.0_f64..1.0) {
            let claims = [(votes, 1), (votes * (1.0 + more), 0)];
            let claims = claims.map(|(votes, has)| Claim { votes, has, may_start: true });
            prop_assert_eq!(next_step(&claims, 1), None);
        }
    }

    #[test]
    fn what_is_not_asked_for_loses_its_votes_and_is_forgotten() {
        let begin = Instant::now();
        let mut demand = Demand::new(Duration::from_secs(100));
        let at = |seconds| begin + Duration::from_secs(seconds);
        let (profile, settable) = numbered(1);
        let known = demand.asked(profile.clone(), settable.clone(), begin);
        assert!(Arc::ptr_eq(&known, &demand.asked(profile, settable, begin)));
        let votes = |demand: &Demand, seconds| demand.claims(at(seconds), |_| 0)[0].votes;
        assert!((votes(&demand, 0) - 2.0).abs() < 1e-9 && (votes(&demand, 50) - 1.0).abs() < 1e-9);
        demand.forget(at(99));
        assert!(demand.knows(&known));
        demand.forget(at(100));
        assert!(!demand.knows(&known) && demand.wishes().is_empty());
    }

    #[test]
    fn failures_put_the_next_start_off_longer_and_longer_until_one_serves() {
        let begin = Instant::now();
        let mut demand = Demand::new(Duration::from_secs(10_000));
        let (profile, settable) = numbered(1);
        let profile = demand.asked(profile, settable, begin);
        let may_start = |demand: &Demand, after| demand.claims(begin + after, |_| 0)[0].may_start;
        for pause in [1, 2, 4, 8] {
            demand.failed(&profile, begin);
            let pause = Duration::from_secs(pause);
            assert!(!may_start(&demand, pause - Duration::from_millis(1)) && may_start(&demand, pause));
        }
        for _ in 0..40 {
            demand.failed(&profile, begin);
        }
        assert!(may_start(&demand, LONGEST_PAUSE), "it is tried again in the end");
        demand.served(&profile);
        assert!(may_start(&demand, Duration::ZERO));
    }

    #[test]
    fn only_so_many_profiles_are_remembered_and_those_most_asked_for_stay() {
        let now = Instant::now();
        let mut demand = Demand::new(Duration::from_secs(100));
        let (often, settable) = numbered(0);
        for _ in 0..3 {
            demand.asked(often.clone(), settable.clone(), now);
        }
        for number in 1..100 {
            let (profile, settable) = numbered(number);
            demand.asked(profile, settable, now);
        }
        assert_eq!(demand.wishes().len(), REMEMBERED);
        assert!(demand.wishes().iter().any(|wish| *wish.profile == often));
    }
}
