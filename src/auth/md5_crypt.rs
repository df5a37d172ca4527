//! MD5-crypt (`$1$`), as old systems hash passwords: only to verify what an import brought.
//!
//! It is here because the crates that have it are years old and bring an older generation of every hash function
//! along. MD5 itself comes from a crate. Never used for a new hash.
//!
//! It must not know accounts.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// What the hash of this scheme begins with.
const MAGIC: &[u8] = b"$1$";
/// Longest salt that counts.
const SALT_BYTES: usize = 8;
/// How often the inner hash is repeated.
const ROUNDS: usize = 1_000;
/// The alphabet of `crypt`'s own base 64.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Is that the password of this hash? Compared in constant time; `false` for a hash of another form.
pub(super) fn verify(password: &[u8], hash: &str) -> bool {
    let Some((salt, digest)) = hash.strip_prefix("$1$").and_then(|rest| rest.split_once('$')) else { return false };
    let salt = salt.as_bytes();
    let salt = &salt[..salt.len().min(SALT_BYTES)];
    encode(digest_of(password, salt)).as_bytes().ct_eq(digest.as_bytes()).into()
}

fn digest_of(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let both = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut first = Md5::new().chain_update(password).chain_update(MAGIC).chain_update(salt);
    for piece in password.chunks(both.len()) {
        first.update(&both[..piece.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        // What looks like a slip is the scheme: a NUL for a one, the password's first byte for a zero.
        first.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    let mut digest: [u8; 16] = first.finalize().into();
    for round in 0..ROUNDS {
        let mut next = Md5::new();
        let odd = round % 2 == 1;
        next.update(if odd { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &digest[..] } else { password });
        digest = next.finalize().into();
    }
    digest
}

/// The digest in the scheme's order of bytes, six bits a character, the lowest first.
fn encode(digest: [u8; 16]) -> String {
    const TRIPLES: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut text = String::with_capacity(22);
    let mut put = |mut value: u32, characters: usize| {
        for _ in 0..characters {
            text.push(char::from(ALPHABET[(value & 63) as usize]));
            value >>= 6;
        }
    };
    for [high, middle, low] in TRIPLES {
        put(u32::from(digest[high]) << 16 | u32::from(digest[middle]) << 8 | u32::from(digest[low]), 4);
    }
    put(u32::from(digest[11]), 2);
    text
}
