//! Secrets that we make: random, shown once to whoever they are for, kept only as a hash.
//!
//! Invariant: a secret has 256 random bits. That is why a plain SHA-256 is enough to keep it by: nobody can try them
//! all, so there is nothing for a salt or a slow hash to protect.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Random bytes of a secret.
pub const SECRET_BYTES: usize = 32;
/// Characters of its text.
pub const SECRET_CHARACTERS: usize = 43;

/// A fresh secret in base64url, [`SECRET_CHARACTERS`] long.
///
/// # Errors
/// When the system gives no random bytes.
pub fn make_secret() -> Result<String, getrandom::Error> {
    let mut random = [0_u8; SECRET_BYTES];
    getrandom::fill(&mut random)?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

/// Can that text be a secret of ours, in its one spelling?
#[must_use]
pub fn is_secret(text: &str) -> bool {
    text.len() == SECRET_CHARACTERS && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == SECRET_BYTES)
}

/// What is kept of a secret: its SHA-256 as 64 hexadecimal digits.
#[must_use]
pub fn kept_form(secret: &str) -> String {
    use std::fmt::Write;
    Sha256::digest(secret).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_have_one_spelling() {
        let [one, two] = [(), ()].map(|()| make_secret().unwrap());
        assert_ne!(one, two);
        assert!(is_secret(&one) && is_secret(&two));
        for bad in [one.replace(&one[..1], "="), one[1..].to_owned(), format!("{one}A"), String::new(), "ä".repeat(22)]
        {
            assert!(!is_secret(&bad), "{bad}");
        }
        assert_ne!(kept_form(&one), kept_form(&two));
        assert_eq!(kept_form("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
