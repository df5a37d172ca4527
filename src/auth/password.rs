//! Passwords: hashed with argon2id, verified with that or as a system keeps them; at most as many at once as there are
//! cores.
//!
//! Invariants:
//! - A hash runs on a thread of its own kind and only with a [`Turn`]; there are as many turns as cores, and each
//!   costs 19 MiB, which the next one uses again: memory and processor stay bounded however many log in at once.
//! - Verifying without a stored hash (no such account) does the same work and always fails.
//! - A turn lasts until its work is done, also when nobody waits for the result any more.
//!
//! It must not know accounts or who is calling.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::hash_threads::HashThreads;
use super::own_hash::OwnHash;
use super::system_hash::{self, Scheme};
use argon2::Params;
use argon2::password_hash::phc::PasswordHash;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Why a password could not be hashed or verified; says nothing about the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// The hash function failed (no memory, no random numbers).
    #[error("the password can't be hashed: {0}")]
    Hash(String),
    /// The program is ending.
    #[error("the password can't be hashed: the program is ending")]
    Ending,
}

/// Hashes and verifies passwords. One for the whole process, else the bound means nothing.
#[derive(Debug)]
pub struct Passwords {
    /// One permit a core: what bounds the work.
    permits: Arc<Semaphore>,
    threads: Arc<HashThreads>,
    hasher: Arc<Hasher>,
}

/// What the turns share.
#[derive(Debug)]
struct Hasher {
    own: OwnHash,
    /// Stands in for the hash of an account that does not exist. Its parameters are ours, so it costs the same.
    nobody: String,
    /// Hash operations since the start; proves that unknown users cost the same.
    operations: AtomicU64,
    /// Operations that run now.
    running: AtomicU64,
    /// Most operations that ran at once; proves the bound.
    peak: AtomicU64,
}

impl Passwords {
    /// With as many turns as there are cores.
    #[must_use]
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // 19 MiB, two passes, one lane: the OWASP recommendation, and the crate's default.
        Self::with(cores, Params::DEFAULT)
    }

    pub(super) fn with(turns: usize, params: Params) -> Self {
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        let (salt, output) = ("bm9ib2R5J3Mgc2FsdC4uLg", "A".repeat(43));
        let nobody = format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${output}");
        let counts = [(); 3].map(|()| AtomicU64::new(0));
        let [operations, running, peak] = counts;
        let hasher = Arc::new(Hasher { own: OwnHash::new(params), nobody, operations, running, peak });
        Self { permits: Arc::new(Semaphore::new(turns)), threads: Arc::new(HashThreads::start(turns)), hasher }
    }

    /// Waits for a turn; first come, first served.
    ///
    /// # Errors
    /// [`PasswordError::Ending`].
    pub async fn turn(&self) -> Result<Turn, PasswordError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| PasswordError::Ending)?;
        Ok(Turn { _permit: permit, threads: Arc::clone(&self.threads), hasher: Arc::clone(&self.hasher) })
    }

    /// Hash operations since the start.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.hasher.operations.load(Ordering::SeqCst)
    }

    /// The most hash operations that ever ran at once.
    #[must_use]
    pub fn most_at_once(&self) -> u64 {
        self.hasher.peak.load(Ordering::SeqCst)
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

/// The right to do one hash at a time. Others wait until it is dropped.
#[derive(Debug)]
pub struct Turn {
    /// Held, never read: dropping it lets the next one in.
    _permit: OwnedSemaphorePermit,
    threads: Arc<HashThreads>,
    hasher: Arc<Hasher>,
}

impl Turn {
    /// The password's hash in PHC form, with a salt of its own.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn hash(self, password: SecretString) -> Result<String, PasswordError> {
        let (hash, _turn) = self.work(move |hasher| hasher.hash(&password)).await?;
        hash
    }

    /// Is that the password of this hash? Without a hash, or with one that can't be read, the answer is no,
    /// after the same work. Gives the turn back, so that the caller can note the result before the next one
    /// has its turn.
    ///
    /// # Errors
    /// [`PasswordError::Ending`].
    pub async fn verify(self, password: SecretString, hash: Option<String>) -> Result<(bool, Self), PasswordError> {
        self.work(move |hasher| hasher.verify(&password, hash.as_deref())).await
    }

    /// Runs `work` on one of the threads for it. The turn goes there too: if the caller is gone by then, the work
    /// is still counted.
    async fn work<T, F>(self, work: F) -> Result<(T, Self), PasswordError>
    where
        T: Send + 'static,
        F: FnOnce(&Hasher) -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let threads = Arc::clone(&self.threads);
        let runs = threads.run(move || {
            let running = self.hasher.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.hasher.peak.fetch_max(running, Ordering::SeqCst);
            self.hasher.operations.fetch_add(1, Ordering::SeqCst);
            let result = work(&self.hasher);
            self.hasher.running.fetch_sub(1, Ordering::SeqCst);
            // If nobody waits any more, the turn ends here.
            drop(reply.send((result, self)));
        });
        if !runs {
            return Err(PasswordError::Ending);
        }
        answer.await.map_err(|_| PasswordError::Ending)
    }
}

impl Hasher {
    fn hash(&self, password: &SecretString) -> Result<String, PasswordError> {
        self.own.make(password.expose_secret()).map_err(|problem| PasswordError::Hash(problem.to_string()))
    }

    fn verify(&self, password: &SecretString, hash: Option<&str>) -> bool {
        if let Some(hash) = hash.filter(|hash| Scheme::of(hash).is_some()) {
            // Not less work than any other login.
            self.verify_own(password, None);
            return system_hash::verify(password.expose_secret(), hash);
        }
        self.verify_own(password, hash)
    }

    fn verify_own(&self, password: &SecretString, hash: Option<&str>) -> bool {
        let stored = hash.map(PasswordHash::new);
        if let Some(Err(problem)) = &stored {
            tracing::error!(%problem, "a stored password hash can't be read; set the account's password anew");
        }
        let (stored, real) = match stored {
            Some(Ok(stored)) => (Ok(stored), true),
            Some(Err(_)) | None => (PasswordHash::new(&self.nobody), false),
        };
        stored.is_ok_and(|stored| self.own.fits(password.expose_secret(), &stored)) && real
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least that argon2 takes: these tests are about counting, not about cost.
    fn cheap(turns: usize) -> Passwords {
        Passwords::with(turns, Params::new(8, 1, 1, None).unwrap())
    }

    async fn verify(passwords: &Passwords, password: &str, hash: Option<&str>) -> bool {
        passwords.turn().await.unwrap().verify(password.into(), hash.map(str::to_owned)).await.unwrap().0
    }

    async fn hash(passwords: &Passwords, password: &str) -> String {
        passwords.turn().await.unwrap().hash(password.into()).await.unwrap()
    }

    #[tokio::test]
    async fn a_password_fits_its_hash_and_no_other() {
        let passwords = cheap(1);
        for password in ["correct horse", "", "päss wörd \u{1f40e}", &"x".repeat(10_000)] {
            let stored = hash(&passwords, password).await;
            assert!(verify(&passwords, password, Some(&stored)).await);
            assert!(!verify(&passwords, &format!("{password} "), Some(&stored)).await);
        }
    }

    #[tokio::test]
    async fn one_password_has_a_new_hash_each_time_and_is_not_in_it() {
        let passwords = cheap(1);
        let [one, two] = [hash(&passwords, "hunter42hunter").await, hash(&passwords, "hunter42hunter").await];
        assert_ne!(one, two);
        assert!(!one.contains("hunter42"));
    }

    #[tokio::test]
    async fn hashes_are_argon2id_with_nineteen_mebibytes_and_two_passes() {
        let passwords = Passwords::new();
        let stored = hash(&passwords, "correct horse").await;
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let parameters = |hash: &str| hash.rsplitn(3, '$').last().unwrap().to_owned();
        assert_eq!(parameters(&passwords.hasher.nobody), parameters(&stored), "nobody's hash costs the same");
    }

    #[tokio::test]
    async fn without_a_hash_the_same_number_of_operations_runs_and_nothing_fits() {
        let passwords = cheap(1);
        let stored = hash(&passwords, "correct horse").await;
        for hash in [Some(stored.as_str()), None, Some("not a hash"), Some("")] {
            let before = passwords.operations();
            assert!(!verify(&passwords, "wrong", hash).await);
            assert_eq!(passwords.operations() - before, 1, "{hash:?}");
        }
        assert!(PasswordHash::new(&passwords.hasher.nobody).is_ok(), "the stand-in is a real hash");
    }

    #[tokio::test]
    async fn a_stored_hash_without_salt_or_output_fits_nothing() {
        let passwords = cheap(1);
        for stored in ["$argon2id$v=19$m=8,t=1,p=1", "$argon2id$v=19$m=8,t=1,p=1$bm9ib2R5J3Mgc2FsdA", "$1$abc$def"] {
            assert!(!verify(&passwords, "", Some(stored)).await, "{stored}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn c9_two_hundred_at_once_never_run_more_than_the_turns_there_are() {
        let passwords = Arc::new(cheap(3));
        let stored = hash(&passwords, "correct horse").await;
        let logins = (0..200).map(|_| verify(&passwords, "correct horse", Some(&stored)));
        let fits = futures_util::future::join_all(logins).await;
        assert!(fits.into_iter().all(|fits| fits));
        assert_eq!(passwords.operations(), 201);
        let most = passwords.most_at_once();
        assert!((1..=3).contains(&most), "{most}");
    }

    #[tokio::test]
    async fn c9_while_all_turns_are_taken_nobody_hashes() {
        let passwords = cheap(2);
        let held = [passwords.turn().await.unwrap(), passwords.turn().await.unwrap()];
        let mut waiting = Box::pin(verify(&passwords, "x", None));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert_eq!(passwords.operations(), 0);
        drop(held);
        assert!(!waiting.await);
        assert_eq!(passwords.operations(), 1);
    }

    #[test]
    fn there_are_as_many_turns_as_cores() {
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(Passwords::new().permits.available_permits(), cores);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_turn_until_it_is_done() {
        let passwords = cheap(1);
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let turn = passwords.turn().await.unwrap();
        let mut abandoned = Box::pin(turn.work(move |_| gate.recv().is_ok()));
        assert!(futures_util::poll!(abandoned.as_mut()).is_pending());
        drop(abandoned);
        assert_eq!(passwords.permits.available_permits(), 0, "the work still runs");
        go.send(()).unwrap();
        assert!(!verify(&passwords, "x", None).await, "the next one has its turn");
    }
}
