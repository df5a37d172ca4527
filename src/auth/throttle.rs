//! Holds back those who guess passwords: so many failed logins a minute for one name from one address, more for one
//! name from everywhere, and more again for one address with all names.
//!
//! Invariants:
//! - At most `MAX_KEYS` of each kind are remembered, each with at most as many moments as its limit: memory is bounded
//!   whatever is thrown at it.
//! - Whoever has logged in from an address is not held back there by what others do elsewhere: guessing from many
//!   addresses can't lock an owner out of where the account is used.
//! - The wait that a caller is told is exact: at its end the next attempt is let through.
//! - Attempts that were held back do not count; else a guesser could lock an account for ever.
//!
//! It must not know passwords or whether an account exists.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

mod shared;

pub use shared::SharedThrottle;

/// The time over which failures count.
const WINDOW: Duration = Duration::from_secs(60);
/// One name may fail so many times as often from everywhere as from one address.
const NAME_FACTOR: usize = 5;
/// One address may fail so many times as often as one name: many people can share an address (a proxy, an
/// office), and one who guesses at one account must not hold back its neighbours.
const ADDRESS_FACTOR: usize = 10;
/// Most names, and most addresses, that are remembered. Beyond it the one that failed longest ago is
/// forgotten.
const MAX_KEYS: usize = 10_000;
/// Characters of a name that count. Longer names can't exist, so it does no harm that they share a key.
const NAME_CHARACTERS: usize = 65;

/// Counts failed logins of this process. See [`SharedThrottle`] for those of all gateways.
#[derive(Debug)]
pub struct Throttle {
    /// Held for a look-up or an insert, never across an await.
    failures: Mutex<Failures>,
}

#[derive(Debug)]
struct Failures {
    by_both: Windows<(String, IpAddr)>,
    by_name: Windows<String>,
    by_address: Windows<IpAddr>,
    /// Where names have logged in, and when last.
    known: HashMap<(String, IpAddr), Instant>,
}

impl Throttle {
    /// Lets `limit` failed logins a minute through for one name from one address (for IPv6 its /64 network), five
    /// times as many for one name, ten times as many for one address. A limit of 0 counts as 1.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        let failures = Failures {
            by_both: Windows::new(limit),
            by_name: Windows::new(limit.saturating_mul(NAME_FACTOR)),
            by_address: Windows::new(limit.saturating_mul(ADDRESS_FACTOR)),
            known: HashMap::new(),
        };
        Self { failures: Mutex::new(failures) }
    }

    /// May this name be tried from this address?
    ///
    /// # Errors
    /// How long to wait before the next attempt.
    pub fn check(&self, username: &str, peer: IpAddr, now: Instant) -> Result<(), Duration> {
        let failures = self.failures.lock();
        let (name, address) = (name_key(username), network(peer));
        let of_address = failures.by_address.wait(&address, now);
        let of_name = failures.by_name.wait(&name, now);
        let both = (name, address);
        let of_name = of_name.filter(|_| !failures.known.contains_key(&both));
        let waits = [failures.by_both.wait(&both, now), of_name, of_address];
        waits.into_iter().flatten().max().map_or(Ok(()), Err)
    }

    /// Begins an attempt that counts as failed unless [`Attempt::succeeded`] is called, also when the
    /// caller hangs up before its answer.
    pub fn attempt<'a>(&'a self, username: &'a str, peer: IpAddr) -> Attempt<'a> {
        Attempt { throttle: self, username, peer, failed: true }
    }

    /// How often one name may fail from one address, one name from everywhere, one address with all names.
    fn limits(&self) -> [usize; 3] {
        let failures = self.failures.lock();
        [failures.by_both.limit, failures.by_name.limit, failures.by_address.limit]
    }

    /// Has the name logged in from that address?
    fn knows(&self, username: &str, peer: IpAddr) -> bool {
        self.failures.lock().known.contains_key(&(name_key(username), network(peer)))
    }

    /// Are so many remembered that some were forgotten?
    fn is_crowded(&self) -> bool {
        let failures = self.failures.lock();
        let longest = failures.by_both.by_key.len().max(failures.by_name.by_key.len());
        longest.max(failures.by_address.by_key.len()) >= MAX_KEYS
    }

    fn failed(&self, username: &str, peer: IpAddr, now: Instant) {
        let mut failures = self.failures.lock();
        failures.by_both.add((name_key(username), network(peer)), now);
        failures.by_name.add(name_key(username), now);
        failures.by_address.add(network(peer), now);
    }

    fn succeeded(&self, username: &str, peer: IpAddr, now: Instant) {
        let known = &mut self.failures.lock().known;
        let both = (name_key(username), network(peer));
        if !known.contains_key(&both) && known.len() >= MAX_KEYS {
            let longest_ago = known.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            if let Some(key) = longest_ago {
                known.remove(&key);
            }
        }
        known.insert(both, now);
    }

    /// May a secret that needs no name (a key, an invitation) be tried from this address?
    ///
    /// # Errors
    /// How long to wait before the next attempt.
    pub fn check_address(&self, peer: IpAddr, now: Instant) -> Result<(), Duration> {
        self.failures.lock().by_address.wait(&network(peer), now).map_or(Ok(()), Err)
    }

    /// Such a secret was wrong.
    pub fn address_failed(&self, peer: IpAddr, now: Instant) {
        self.failures.lock().by_address.add(network(peer), now);
    }
}

/// A login under way. Dropped, it counts as failed.
#[derive(Debug)]
pub struct Attempt<'a> {
    throttle: &'a Throttle,
    username: &'a str,
    peer: IpAddr,
    failed: bool,
}

impl Attempt<'_> {
    /// It was the right password: nothing is counted, and the name is known at this address.
    pub fn succeeded(mut self) {
        self.failed = false;
        self.throttle.succeeded(self.username, self.peer, Instant::now());
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.failed {
            self.throttle.failed(self.username, self.peer, Instant::now());
        }
    }
}

/// The moments of the newest failures of each key, oldest first.
#[derive(Debug)]
struct Windows<K> {
    limit: usize,
    by_key: HashMap<K, VecDeque<Instant>>,
}

impl<K: Hash + Eq + Clone> Windows<K> {
    fn new(limit: usize) -> Self {
        Self { limit, by_key: HashMap::new() }
    }

    /// How long until `key` may fail again; `None` if it may now. At most `limit` moments are kept, so the
    /// oldest of them is the one whose passing lets the next attempt through.
    fn wait(&self, key: &K, now: Instant) -> Option<Duration> {
        let moments = self.by_key.get(key)?;
        let oldest = moments.front()?;
        if moments.len() < self.limit {
            return None;
        }
        WINDOW.checked_sub(now.saturating_duration_since(*oldest)).filter(|wait| !wait.is_zero())
    }

    fn add(&mut self, key: K, now: Instant) {
        if !self.by_key.contains_key(&key) && self.by_key.len() >= MAX_KEYS {
            self.make_room(now);
        }
        let moments = self.by_key.entry(key).or_default();
        while moments.len() >= self.limit || moments.front().is_some_and(|oldest| is_over(*oldest, now)) {
            moments.pop_front();
        }
        moments.push_back(now);
    }

    fn make_room(&mut self, now: Instant) {
        self.by_key.retain(|_, moments| moments.back().is_some_and(|newest| !is_over(*newest, now)));
        if self.by_key.len() >= MAX_KEYS {
            let longest_ago = self.by_key.iter().min_by_key(|(_, moments)| moments.back().copied());
            if let Some(key) = longest_ago.map(|(key, _)| key.clone()) {
                self.by_key.remove(&key);
            }
        }
    }
}

fn is_over(moment: Instant, now: Instant) -> bool {
    now.saturating_duration_since(moment) >= WINDOW
}

fn name_key(username: &str) -> String {
    username.chars().take(NAME_CHARACTERS).collect()
}

/// Whoever has an IPv6 address has 2^64 of them, so the network counts; an IPv4 address in IPv6 form is
/// the IPv4 address.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn c7_failures_up_to_the_limit_pass_and_the_wait_is_exact() {
        let (throttle, start) = (Throttle::new(3), Instant::now());
        for at in [0, 10, 20] {
            assert_eq!(throttle.check("ada", HERE, start + seconds(at)), Ok(()));
            throttle.failed("ada", HERE, start + seconds(at));
        }
        assert_eq!(throttle.check("ada", HERE, start + seconds(20)), Err(seconds(40)));
        let almost = start + seconds(60) - Duration::from_nanos(1);
        assert_eq!(throttle.check("ada", HERE, almost), Err(Duration::from_nanos(1)));
        assert_eq!(throttle.check("ada", HERE, start + seconds(60)), Ok(()));
        throttle.failed("ada", HERE, start + seconds(60));
        assert_eq!(throttle.check("ada", HERE, start + seconds(60)), Err(seconds(10)), "the window slides");
    }

    #[test]
    fn c7_other_names_from_the_same_address_are_unaffected() {
        let (throttle, now) = (Throttle::new(10), Instant::now());
        for _ in 0..10 {
            throttle.failed("ada", HERE, now);
        }
        assert!(throttle.check("ada", HERE, now).is_err());
        assert_eq!(throttle.check("bob", HERE, now), Ok(()));
        assert_eq!(throttle.check("ada", address("198.51.100.7"), now), Ok(()), "one address locks nobody out");
    }

    #[test]
    fn c7_guessing_from_many_addresses_is_held_back_but_not_where_the_owner_has_logged_in() {
        let (throttle, now) = (Throttle::new(2), Instant::now());
        let home = address("203.0.113.9");
        throttle.attempt("ada", home).succeeded();
        for host in 0..2 * NAME_FACTOR {
            assert_eq!(throttle.check("ada", address(&format!("198.51.100.{host}")), now), Ok(()));
            throttle.failed("ada", address(&format!("198.51.100.{host}")), now);
        }
        assert_eq!(throttle.check("ada", address("198.51.100.77"), now), Err(WINDOW), "from a new address");
        assert_eq!(throttle.check("ada", home, now), Ok(()), "the owner gets in");
        assert_eq!(throttle.check("bob", address("198.51.100.1"), now), Ok(()));
        for _ in 0..2 {
            throttle.failed("ada", home, now);
        }
        assert_eq!(throttle.check("ada", home, now), Err(WINDOW), "who guesses there is held back all the same");
        assert_eq!(throttle.check("ada", home, now + WINDOW), Ok(()), "and not for ever");
    }

    #[test]
    fn known_addresses_are_bounded_and_those_used_last_stay() {
        let (throttle, start) = (Throttle::new(1), Instant::now());
        for n in 0..MAX_KEYS + 50 {
            throttle.succeeded(&format!("name {n}"), HERE, start + Duration::from_millis(n as u64));
        }
        let failures = throttle.failures.lock();
        assert_eq!(failures.known.len(), MAX_KEYS);
        let knows = |n: usize| failures.known.contains_key(&(format!("name {n}"), HERE));
        assert!(!knows(49) && knows(50) && knows(MAX_KEYS + 49));
    }

    #[test]
    fn secrets_without_a_name_count_for_their_address_only() {
        let (throttle, now) = (Throttle::new(1), Instant::now());
        for _ in 0..ADDRESS_FACTOR {
            assert_eq!(throttle.check_address(HERE, now), Ok(()));
            throttle.address_failed(HERE, now);
        }
        assert_eq!(throttle.check_address(HERE, now), Err(WINDOW));
        assert_eq!(throttle.check_address(address("192.0.2.2"), now), Ok(()));
    }

    #[test]
    fn c7_one_address_that_tries_many_names_is_held_back() {
        let (throttle, now) = (Throttle::new(2), Instant::now());
        for name in 0..20 {
            assert_eq!(throttle.check("ada", HERE, now), Ok(()), "{name}");
            throttle.failed(&format!("name {name}"), HERE, now);
        }
        assert_eq!(throttle.check("ada", HERE, now), Err(WINDOW));
        assert_eq!(throttle.check("ada", address("192.0.2.2"), now), Ok(()));
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address_and_a_mapped_address_as_itself() {
        let (throttle, now) = (Throttle::new(1), Instant::now());
        for host in 0..10 {
            throttle.failed(&format!("name {host}"), address(&format!("2001:db8::{host}")), now);
        }
        assert!(throttle.check("ada", address("2001:db8::ffff:1"), now).is_err());
        assert_eq!(throttle.check("ada", address("2001:db8:0:1::1"), now), Ok(()));
        assert_eq!(network(address("::ffff:192.0.2.1")), HERE);
    }

    #[test]
    fn an_attempt_counts_unless_it_succeeded() {
        let throttle = Throttle::new(1);
        throttle.attempt("ada", HERE).succeeded();
        assert_eq!(throttle.check("ada", HERE, Instant::now()), Ok(()));
        drop(throttle.attempt("ada", HERE));
        assert!(throttle.check("ada", HERE, Instant::now()).is_err());
    }

    #[test]
    fn memory_is_bounded_and_those_that_failed_last_are_remembered() {
        let (mut windows, start) = (Windows::new(3), Instant::now());
        for key in 0..MAX_KEYS + 100 {
            windows.add(key, start + Duration::from_millis(key as u64));
        }
        assert_eq!(windows.by_key.len(), MAX_KEYS);
        assert!(!windows.by_key.contains_key(&99) && windows.by_key.contains_key(&100));
        for _ in 0..1_000 {
            windows.add(0, start + seconds(12));
        }
        assert_eq!(windows.by_key[&0].len(), 3);
        windows.add(MAX_KEYS * 2, start + seconds(100));
        assert_eq!(windows.by_key.len(), 1, "what is over is swept first");
    }

    #[test]
    fn a_limit_of_none_still_lets_the_first_attempt_through() {
        let (throttle, now) = (Throttle::new(0), Instant::now());
        assert_eq!(throttle.check("ada", HERE, now), Ok(()));
        throttle.failed("ada", HERE, now);
        assert_eq!(throttle.check("ada", HERE, now), Err(WINDOW));
    }

    #[test]
    fn endless_names_share_one_key() {
        assert_eq!(name_key(&"x".repeat(1_000_000)).len(), NAME_CHARACTERS);
    }
}
