//! Access tokens of outside issuers: checked with the issuer's public keys.
//!
//! Invariants:
//! - The key that `kid` names comes from the issuer's own key set, never from the token: `jku`, `jwk`, `x5u` and `x5c`
//!   are refused.
//! - The algorithm is one that the settings allow for that issuer, and fits the key; none has a shared secret.
//! - No claim is read before the signature is checked.
//! - The subject begins with the issuer's name, so that no outside caller can be taken for an account of ours or for
//!   another issuer's.
//!
//! It must not know how key sets are fetched.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde_json::Value;

use super::{MAX_TOKEN_BYTES, Refusal, TokenError};
use crate::api::{Login, Principal};
use crate::auth::claims;
use crate::auth::random::kept_form;
use crate::config::settings::TrustedIssuer;

/// Longest `sub` that is taken, in bytes (`OpenID` Connect Core §2).
const MAX_SUBJECT_BYTES: usize = 255;
/// Longest name, in characters.
const MAX_NAME_CHARACTERS: usize = 64;
/// A token that serves longer is a mistake.
const MAX_LIFETIME_SECONDS: u64 = 400 * 86_400;
/// Most keys of a set.
const MAX_KEYS: usize = 100;

/// Values of `typ` that access and id tokens have; other kinds of tokens are for other purposes.
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];
/// Members of a header that would let a token bring its own key or its own rules.
const REFUSED_MEMBERS: [&str; 6] = ["jku", "jwk", "x5u", "x5c", "crit", "b64"];

/// The keys that an issuer has published, by name.
#[derive(Default)]
pub(in crate::auth) struct KeySet {
    keys: HashMap<String, (Option<Algorithm>, DecodingKey)>,
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.keys.keys()).finish()
    }
}

impl KeySet {
    /// Reads a JWK set (RFC 7517). Keys that can't serve here are left out.
    pub(in crate::auth) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(text).map_err(|_| "no JWK set")?;
        let jwks = set.keys.into_iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let usable = jwks.filter_map(|jwk| {
            if matches!(jwk.common.public_key_use, Some(ref purpose) if *purpose != PublicKeyUse::Signature) {
                return None;
            }
            let named = match jwk.common.key_algorithm {
                Some(algorithm) => Some(algorithm.to_string().parse::<Algorithm>().ok()?),
                None => None,
            };
            let key = DecodingKey::from_jwk(&jwk).ok()?;
            // A secret that is published is none.
            let is_public = key.family() != Algorithm::HS256.family();
            is_public.then(|| Some((jwk.common.key_id.clone()?, (named, key))))?
        });
        let keys: HashMap<_, _> = usable.collect();
        if keys.is_empty() { Err("a JWK set without a key that serves") } else { Ok(Self { keys }) }
    }

    /// The names of the keys, for the log.
    pub(in crate::auth) fn names(&self) -> String {
        let mut names: Vec<&str> = self.keys.keys().map(String::as_str).collect();
        names.sort_unstable();
        names.join(" ")
    }

    pub(in crate::auth) fn contains(&self, key_id: &str) -> bool {
        self.keys.contains_key(key_id)
    }
}

/// A token whose header has been read, and nothing else.
#[derive(Debug)]
pub(in crate::auth) struct Shown<'a> {
    message: &'a str,
    signature: &'a str,
    payload: Vec<u8>,
    algorithm: String,
    /// Which key it says it is signed with.
    pub(in crate::auth) key_id: String,
}

/// Reads a token's header.
pub(in crate::auth) fn read(token: &str) -> Result<Shown<'_>, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::Length.into());
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Shape)?;
    let (header, payload) = message.split_once('.').ok_or(Refusal::Shape)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Shape);
    let (header, payload) = (decode(header)?, decode(payload)?);
    decode(signature)?;
    let header: BTreeMap<String, Value> = serde_json::from_slice(&header).map_err(|_| Refusal::Header)?;
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    if REFUSED_MEMBERS.iter().any(|name| header.contains_key(*name)) {
        return Err(Refusal::Header.into());
    }
    let has_type = match header.get("typ") {
        None => true,
        Some(found) => found.as_str().is_some_and(|found| TYPES.iter().any(|good| good.eq_ignore_ascii_case(found))),
    };
    let (Some(algorithm), Some(key_id), true) = (text("alg"), text("kid"), has_type) else {
        return Err(Refusal::Header.into());
    };
    Ok(Shown { message, signature, payload, algorithm: algorithm.to_owned(), key_id: key_id.to_owned() })
}

/// Who that token is for, by that issuer's keys, at the moment `now` (in seconds since the Unix epoch).
pub(in crate::auth) fn verify(
    shown: &Shown<'_>,
    issuer: &TrustedIssuer,
    keys: &KeySet,
    now: u64,
    leeway: u64,
) -> Result<Principal, TokenError> {
    let (named, key) = keys.keys.get(&shown.key_id).ok_or(Refusal::Key)?;
    if !issuer.algorithms.contains(&shown.algorithm) {
        return Err(Refusal::Header.into());
    }
    let algorithm: Algorithm = shown.algorithm.parse().map_err(|_| Refusal::Header)?;
    if named.is_some_and(|named| named != algorithm) || key.family() != algorithm.family() {
        return Err(Refusal::Header.into());
    }
    if !matches!(crypto::verify(shown.signature, shown.message.as_bytes(), key, algorithm), Ok(true)) {
        return Err(Refusal::Signature.into());
    }
    let claims: Value = serde_json::from_slice(&shown.payload).map_err(|_| Refusal::Claims)?;
    if claims["iss"] != issuer.issuer.as_str() {
        return Err(Refusal::Issuer.into());
    }
    let is_ours = |audience: &Value| *audience == issuer.audience.as_str();
    if !(is_ours(&claims["aud"]) || claims["aud"].as_array().is_some_and(|all| all.iter().any(is_ours))) {
        return Err(Refusal::Audience.into());
    }
    let (issued_at, expires_at) = times(&claims, now, leeway)?;
    let fits = |text: &&str| !text.is_empty() && text.len() <= MAX_SUBJECT_BYTES && !text.contains(char::is_control);
    let subject = claims["sub"].as_str().filter(fits).ok_or(Refusal::Claims)?;
    let is_name = |name: &&str| fits(name) && name.chars().count() <= MAX_NAME_CHARACTERS;
    let username = claims::find(&claims, &issuer.name_claim).and_then(Value::as_str).filter(is_name);
    let role = claims::role(&claims, &issuer.role_claim, &issuer.admin_values, &issuer.user_values);
    let role = role.ok_or(Refusal::Role)?;
    let mut key = kept_form(shown.message);
    key.truncate(32);
    Ok(Principal {
        subject: format!("{}#{subject}", issuer.issuer),
        username: username.unwrap_or(subject).to_owned(),
        role,
        scopes: role.scopes(),
        expires_at,
        token_id: claims["jti"].as_str().unwrap_or_default().to_owned(),
        // What renews it is not ours: such a token is a login of its own.
        login: Login { began_ms: issued_at.saturating_mul(1_000), key },
        issuer: Some(issuer.issuer.clone()),
    })
}

/// When it was issued (0: it does not say) and when it ends, if it is good now.
fn times(claims: &Value, now: u64, leeway: u64) -> Result<(u64, u64), Refusal> {
    let optional = |name: &str| match claims.get(name) {
        None => Ok(0),
        Some(moment) => moment.as_u64().ok_or(Refusal::Claims),
    };
    let expires_at = claims["exp"].as_u64().ok_or(Refusal::Claims)?;
    let (issued_at, not_before) = (optional("iat")?, optional("nbf")?);
    if issued_at.max(not_before) > now.saturating_add(leeway) {
        Err(Refusal::NotYet)
    } else if now >= expires_at.saturating_add(leeway) {
        Err(Refusal::Expired)
    } else if expires_at > now.saturating_add(MAX_LIFETIME_SECONDS) {
        Err(Refusal::Lifetime)
    } else {
        Ok((issued_at, expires_at))
    }
}

#[cfg(test)]
mod tests;
