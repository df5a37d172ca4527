//! Hashes of passwords as we keep them: argon2id in PHC form, made and verified in memory that is used again.
//!
//! Invariants:
//! - There is never more such memory than hashes that ran at once, each 19 MiB; what one hash has filled is the next
//!   one's. Left to the allocator, each thread would keep some of what it gave back, and none of it would go to the
//!   system.
//! - Digests are compared in constant time.
//!
//! It must not know accounts or turns.

use argon2::password_hash::Error;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use parking_lot::Mutex;

/// Makes hashes of one cost, and verifies those of any.
#[derive(Debug)]
pub(super) struct OwnHash {
    params: Params,
    /// Memory that no hash uses now. Held to take some or to put it back.
    spare: Mutex<Vec<Vec<Block>>>,
}

impl OwnHash {
    /// Hashes that cost so much.
    pub(super) fn new(params: Params) -> Self {
        Self { params, spare: Mutex::default() }
    }

    /// A hash of that password with a salt of its own, in PHC form.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub(super) fn make(&self, password: &str) -> Result<String, Error> {
        let mut random = [0; Salt::RECOMMENDED_LENGTH];
        getrandom::fill(&mut random).map_err(|_| Error::RngFailure)?;
        let salt = Salt::new(&random)?;
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        let hash = self.digest(password, &salt, algorithm, version, &self.params)?;
        let params = ParamsString::try_from(&self.params)?;
        let version = Some(version.into());
        Ok(PasswordHash { algorithm: algorithm.ident(), version, params, salt: Some(salt), hash: Some(hash) }
            .to_string())
    }

    /// Does that password fit this hash? `false` also if the hash is not argon2's.
    pub(super) fn fits(&self, password: &str, hash: &PasswordHash) -> bool {
        let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else { return false };
        let digest = || {
            let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
            let version = hash.version.map_or(Ok(Version::default()), Version::try_from)?;
            self.digest(password, salt, algorithm, version, &Params::try_from(hash)?)
        };
        // Equality of outputs takes the same time wherever they differ.
        digest().is_ok_and(|digest| digest == *expected)
    }

    fn digest(
        &self,
        password: &str,
        salt: &Salt,
        algorithm: Algorithm,
        version: Version,
        params: &Params,
    ) -> Result<Output, Error> {
        let mut whole = [0; Output::MAX_LENGTH];
        let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let output = whole.get_mut(..length).ok_or(Error::OutputSize)?;
        let hasher = Argon2::new(algorithm, version, params.clone());
        let blocks = params.block_count();
        let mut memory = self.spare.lock().pop().unwrap_or_default();
        let missing = blocks.saturating_sub(memory.len());
        memory.try_reserve_exact(missing).map_err(|_| Error::OutOfMemory)?;
        memory.resize(memory.len() + missing, Block::new());
        let used = memory.get_mut(..blocks).ok_or(Error::Internal)?;
        let done = hasher.hash_password_into_with_memory(password.as_bytes(), salt, output, used);
        // A stored hash may cost more than ours do: that much is not kept.
        if memory.len() <= self.params.block_count() {
            self.spare.lock().push(memory);
        }
        done?;
        Ok(Output::new(output)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_cost(blocks: u32) -> OwnHash {
        OwnHash::new(Params::new(blocks, 1, 1, None).unwrap())
    }

    fn parsed(hash: &str) -> PasswordHash {
        PasswordHash::new(hash).unwrap()
    }

    /// The library's own way, which takes new memory each time.
    fn fits_by_the_library(password: &str, hash: &str) -> bool {
        use argon2::PasswordVerifier as _;
        Argon2::default().verify_password(password.as_bytes(), hash).is_ok()
    }

    #[test]
    fn hashes_made_and_verified_in_used_memory_are_those_of_the_library() {
        let hashes = of_cost(16);
        for password in ["correct horse", "", "päss wörd", "x"] {
            let made = hashes.make(password).unwrap();
            assert!(fits_by_the_library(password, &made) && hashes.fits(password, &parsed(&made)), "{made}");
            assert!(!fits_by_the_library("wrong", &made) && !hashes.fits("wrong", &parsed(&made)), "{made}");
        }
    }

    #[test]
    fn a_known_hash_of_another_cost_kind_and_length_is_verified_and_its_memory_is_not_kept() {
        let hashes = of_cost(8);
        let made = [
            Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 2, 1, None).unwrap()),
            Argon2::new(Algorithm::Argon2i, Version::V0x10, Params::new(32, 3, 2, Some(24)).unwrap()),
            Argon2::new(Algorithm::Argon2d, Version::V0x13, Params::new(8, 1, 1, Some(64)).unwrap()),
        ]
        .map(|hasher| argon2::PasswordHasher::hash_password(&hasher, b"hunter42").unwrap().to_string());
        for hash in made {
            assert!(hashes.fits("hunter42", &parsed(&hash)), "{hash}");
            assert!(!hashes.fits("hunter43", &parsed(&hash)), "{hash}");
        }
        assert!(hashes.spare.lock().iter().all(|memory| memory.len() <= 8));
    }

    #[test]
    fn c9_one_after_the_other_all_hashes_are_made_in_the_same_memory() {
        let hashes = of_cost(64);
        let first = hashes.make("correct horse").unwrap();
        let place = || hashes.spare.lock().iter().map(|memory| (memory.as_ptr(), memory.len())).collect::<Vec<_>>();
        let before = place();
        assert_eq!(before.len(), 1);
        for _ in 0..20 {
            assert!(hashes.fits("correct horse", &parsed(&first)));
            hashes.make("another").unwrap();
        }
        assert_eq!(place(), before);
    }

    #[test]
    fn what_is_no_hash_of_this_kind_fits_nothing() {
        let hashes = of_cost(8);
        for hash in [
            "$argon2id$v=19$m=8,t=1,p=1$bm9ib2R5J3M",
            "$scrypt$bm9ib2R5J3M$bm9ib2R5J3Mgc2FsdC4",
            "$argon2id$v=7$m=8,t=1,p=1$bm9ib2R5J3M$bm9ib2R5J3Mgc2FsdC4",
        ] {
            assert!(!hashes.fits("", &parsed(hash)), "{hash}");
        }
    }
}
