//! Is a signing secret good enough? Never repeats any of it.

use std::collections::BTreeSet;

/// Least length of a signing secret, in bytes: HS256 needs a key as long as its hash (RFC 7518 §3.2).
pub const MIN_SECRET_BYTES: usize = 32;

/// Parts of secrets that stand in examples, after lower-casing and without anything but letters and digits.
const EXAMPLES: &[&str] = &[
    "changeme",
    "changethis",
    "donotuse",
    "example",
    "insecure",
    "jwtsecret",
    "mysecret",
    "notasecret",
    "password",
    "placeholder",
    "replaceme",
    "replacethis",
    "secretkey",
    "supersecret",
    "thisisasecret",
    "topsecret",
    "yoursecret",
];

/// A secret that repeats a part no longer than this is no secret: `aaaa…`, `0123456789abcdef` twice.
const LONGEST_PERIOD: usize = 16;

/// Least number of different bytes in a secret: `xxxxyyyy…` is none.
const LEAST_DIFFERENT_BYTES: usize = 8;

/// Judges a signing secret: its length, and that it is not one everybody knows.
///
/// # Errors
/// Why it does not serve and how to get one that does.
pub fn judge(secret: &str) -> Result<(), &'static str> {
    if secret.is_empty() {
        Err("is empty: expected 32 bytes or more; leave it out and one is made at first start")
    } else if is_example(secret) {
        Err(
            "is an example that anybody can guess: expected 32 random bytes or more, such as from `openssl rand -hex 32`",
        )
    } else if secret.len() < MIN_SECRET_BYTES {
        Err("is too short: expected 32 random bytes or more, such as from `openssl rand -hex 32`")
    } else {
        Ok(())
    }
}

/// Is it a secret that everybody knows: of an example, or one that repeats a few characters?
#[must_use]
pub fn is_example(secret: &str) -> bool {
    let letters: String = secret.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    letters.starts_with("secret") || EXAMPLES.iter().any(|example| letters.contains(example)) || repeats(secret)
}

fn repeats(secret: &str) -> bool {
    if secret.bytes().collect::<BTreeSet<u8>>().len() < LEAST_DIFFERENT_BYTES {
        return true;
    }
    let bytes = secret.as_bytes();
    (1..=LONGEST_PERIOD.min(bytes.len() / 2)).any(|period| bytes[period..] == bytes[..bytes.len() - period])
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: &str = "9f1c6b0d5e7a48329f0b7c6d1e2a3f4b";

    #[test]
    fn c3_thirty_two_random_bytes_serve_and_thirty_one_do_not() {
        assert_eq!(RANDOM.len(), 32);
        assert_eq!(judge(RANDOM), Ok(()));
        assert!(judge(&RANDOM[..31]).unwrap_err().contains("too short"));
        assert!(judge("").unwrap_err().contains("empty"));
    }

    #[test]
    fn c3_examples_are_refused_however_long() {
        for example in [
            "changeme",
            "change-me-in-production-please-please",
            "your-secret-key-here-your-secret-key-here",
            "secret-secret-secret-secret-secret-00",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "0123456789abcdef0123456789abcdef",
            "example-secret-do-not-use-0000000000000000",
        ] {
            assert!(judge(example).unwrap_err().contains("example"), "{example}");
        }
    }
}
