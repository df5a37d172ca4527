//! Hashes of passwords as operating systems keep them in their shadow file: verified for accounts that were
//! imported, never made.
//!
//! Invariants:
//! - Digests are compared in constant time.
//! - A hash that would cost more than a login may cost is refused before any work: a file from elsewhere must not
//!   be able to stop the gateway.
//!
//! It must not know accounts or turns.

use sha_crypt::ShaCrypt;
use yescrypt::{PasswordVerifier, Yescrypt};

use super::md5_crypt;

/// Most rounds of SHA-crypt: a quarter of a second. Systems use 5,000.
const MAX_ROUNDS: u32 = 1_000_000;
/// Highest cost of bcrypt: two seconds. Systems use 10 to 12.
const MAX_BCRYPT_COST: u32 = 15;
/// Most memory of yescrypt, in bytes. Systems use 16 MiB.
const MAX_YESCRYPT_BYTES: u64 = 64 * 1024 * 1024;

/// The schemes that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `$1$`: weak, and worth replacing soon.
    Md5,
    /// `$5$`.
    Sha256,
    /// `$6$`.
    Sha512,
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt,
    /// `$y$`.
    Yescrypt,
}

impl Scheme {
    /// The scheme of a hash, if it is one that is understood.
    #[must_use]
    pub fn of(hash: &str) -> Option<Self> {
        let id = hash.strip_prefix('$')?.split('$').next()?;
        match id {
            "1" => Some(Self::Md5),
            "5" => Some(Self::Sha256),
            "6" => Some(Self::Sha512),
            "2a" | "2b" | "2y" => Some(Self::Bcrypt),
            "y" => Some(Self::Yescrypt),
            _ => None,
        }
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5-crypt",
            Self::Sha256 => "SHA-256-crypt",
            Self::Sha512 => "SHA-512-crypt",
            Self::Bcrypt => "bcrypt",
            Self::Yescrypt => "yescrypt",
        }
    }
}

/// Can this hash be verified at a bearable cost? Says nothing of whether anything fits it.
#[must_use]
pub fn is_usable(hash: &str) -> bool {
    let mut fields = hash.split('$').skip(2);
    let first = fields.next().unwrap_or_default();
    match Scheme::of(hash) {
        None => false,
        Some(Scheme::Md5) => fields.next().is_some_and(|digest| digest.len() == 22),
        Some(Scheme::Sha256 | Scheme::Sha512) => match first.strip_prefix("rounds=") {
            Some(rounds) => {
                rounds.parse().is_ok_and(|rounds| (sha_crypt::Params::ROUNDS_MIN..=MAX_ROUNDS).contains(&rounds))
            }
            None => fields.next().is_some_and(|digest| digest.len() >= 43),
        },
        Some(Scheme::Bcrypt) => {
            hash.len() == 60 && first.parse().is_ok_and(|cost: u32| (4..=MAX_BCRYPT_COST).contains(&cost))
        }
        Some(Scheme::Yescrypt) => first.parse().is_ok_and(|params: yescrypt::Params| {
            let bytes = params.n().saturating_mul(u64::from(params.r())).saturating_mul(128);
            // What systems write: the usual mode, one lane, no passes beyond the first.
            let usual = yescrypt::Params::new(yescrypt::Mode::default(), params.n(), params.r(), 1);
            bytes <= MAX_YESCRYPT_BYTES && usual.is_ok_and(|usual| usual == params)
        }),
    }
}

/// Is that the password of this hash? `false` also for a hash that is not [`is_usable`]. Blocks for as long as the
/// hash costs.
#[must_use]
pub fn verify(password: &str, hash: &str) -> bool {
    if !is_usable(hash) {
        return false;
    }
    let bytes = password.as_bytes();
    match Scheme::of(hash) {
        None => false,
        Some(Scheme::Md5) => md5_crypt::verify(bytes, hash),
        Some(Scheme::Sha256) => ShaCrypt::SHA256.verify_password(bytes, hash).is_ok(),
        Some(Scheme::Sha512) => ShaCrypt::SHA512.verify_password(bytes, hash).is_ok(),
        Some(Scheme::Bcrypt) => bcrypt::verify(bytes, hash).unwrap_or(false),
        Some(Scheme::Yescrypt) => Yescrypt::default().verify_password(bytes, hash).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passwords and their hashes as a system's own `crypt` made them.
    const MADE_BY_LIBCRYPT: &str = include_str!("../../tests/fixtures/passwords/system-hashes.jsonl");

    #[test]
    fn hashes_that_a_system_made_fit_their_passwords_and_no_others() {
        let mut schemes = std::collections::BTreeMap::<&str, usize>::new();
        for line in MADE_BY_LIBCRYPT.lines() {
            let (password, hash): (String, String) = serde_json::from_str(line).unwrap();
            assert!(verify(&password, &hash), "{password:?} {hash}");
            for wrong in [format!("{password} "), format!("x{password}"), hash.clone(), password.to_uppercase() + "!"] {
                assert!(!verify(&wrong, &hash), "{wrong:?} {hash}");
            }
            *schemes.entry(Scheme::of(&hash).unwrap().name()).or_default() += 1;
        }
        assert_eq!(schemes.len(), 5, "{schemes:?}");
        assert!(schemes.values().all(|count| *count >= 4), "{schemes:?}");
    }

    #[test]
    fn what_no_password_has_fits_nothing() {
        let hashes = [
            "",
            "!",
            "*",
            "!!",
            "x",
            "$",
            "$$",
            "$1$",
            "$1$a",
            "$1$a$",
            "$5$",
            "$5$salt",
            "$5$salt$",
            "$6$",
            "$6$$",
            "$y$",
            "$y$j9T$",
            "$y$j9T$salt",
            "$y$j9T$salt$",
            "$y$$$",
            "$2b$",
            "$2b$10$",
            "$2b$04$short",
            "$2x$04$a",
            "$7$x",
            "$gy$x",
            "$argon2id$v=19$m=8,t=1,p=1$bm9ib2R5$x",
            "rounds=5",
            "$6$rounds=$a$b",
            "$6$rounds=999$a$b",
        ];
        for hash in hashes {
            for password in ["", "x", hash] {
                assert!(!verify(password, hash), "{password:?} {hash:?}");
            }
        }
    }

    #[test]
    fn a_hash_that_costs_too_much_is_refused_before_any_work() {
        let digest = "x".repeat(86);
        for hash in [
            format!("$6$rounds=999999999$salt${digest}"),
            format!("$2b$31$abcdefghijklmnopqrstuu{}", "x".repeat(31)),
            // N = 2^30, which would be 128 GiB.
            "$y$jRT$F5Jx5fExrKuPp53xLKQ..1$zwtVrjrUCmXcyLTs6oxLTQlzifSUkF8RHJ./tK5KU79".to_owned(),
        ] {
            assert!(Scheme::of(&hash).is_some());
            assert!(!is_usable(&hash), "{hash}");
            assert!(!verify("x", &hash));
        }
    }
}
