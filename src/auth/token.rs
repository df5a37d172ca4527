//! Access tokens: made and checked. The only file that names the JWT crate.
//!
//! Invariants (RFC 8725):
//! - The algorithm is HS256 because this file says so; a token has no say in it.
//! - A header holds `alg`, `typ` and `kid` and nothing else, each exactly as we write it; so `jku`, `jwk`,
//!   `x5u`, `x5c`, `crit` and whatever comes later are refused without a list of them.
//! - No claim is read before the signature is checked, and nothing is parsed that is over the length limit.
//! - Every claim is required; `aud` is one text: an array, even one with our name in it, is refused, since
//!   we never write one.
//! - A token's scopes are never more than its role's.
//!
//! It must not know accounts' passwords, the store or headers of HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto, encode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::secret::SigningSecret;
use crate::api::{Principal, Role, Scope};
use crate::config::settings::AuthSettings;
use crate::store::Account;
use crate::telemetry::time::now_seconds;

#[cfg(test)]
mod tests;

/// Longest token that is looked at, in bytes. Ours have about 500.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Clocks may differ by so many seconds at most, whatever the settings say.
const MAX_LEEWAY_SECONDS: u64 = 30;
/// `typ` of an access token (RFC 9068), so that no other token of ours can pass for one.
const TOKEN_TYPE: &str = "at+jwt";
/// The one algorithm.
const ALGORITHM: &str = "HS256";

/// A fresh access token for its owner. `Debug` does not show it.
#[derive(Debug)]
pub struct AccessToken {
    /// The token's text.
    pub token: SecretString,
    /// Seconds until it ends.
    pub expires_in: u64,
}

/// Why a token was refused. A caller learns nothing but this one sentence; the log gets [`Self::reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the access token is not valid")]
pub struct TokenError(Refusal);

impl TokenError {
    /// Why, in a few words for the log. Holds nothing of the token.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self.0 {
            Refusal::Length => "too long",
            Refusal::Shape => "not three parts of base64url with objects in them",
            Refusal::Header => "a header that is not ours",
            Refusal::Key => "an unknown key",
            Refusal::Signature => "a wrong signature",
            Refusal::Claims => "a claim is missing or malformed",
            Refusal::Issuer => "another issuer",
            Refusal::Audience => "another audience",
            Refusal::Lifetime => "times that this gateway never writes",
            Refusal::NotYet => "not valid yet",
            Refusal::Expired => "expired",
        }
    }

    /// Was it a good token whose time is over? For metrics and the log only.
    #[must_use]
    pub fn is_expired(self) -> bool {
        self.0 == Refusal::Expired
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Length,
    Shape,
    Header,
    Key,
    Signature,
    Claims,
    Issuer,
    Audience,
    Lifetime,
    NotYet,
    Expired,
}

impl From<Refusal> for TokenError {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

/// A header as we write it. Unknown and doubled members are errors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader<'a> {
    #[serde(borrow)]
    alg: &'a str,
    #[serde(borrow)]
    typ: &'a str,
    #[serde(borrow)]
    kid: &'a str,
}

/// The claims. Times are whole seconds since the Unix epoch: a text or a fraction is an error.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    jti: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    username: String,
    role: Role,
    /// Scopes, divided by blanks (RFC 8693 §4.2).
    scope: String,
}

/// Tells the time in seconds since the Unix epoch. Replaceable, so that tests can stand on the boundary.
type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Makes and checks access tokens. Immutable; share it by `Arc`.
pub struct Tokens {
    issuer: String,
    audience: String,
    lifetime_seconds: u64,
    leeway_seconds: u64,
    /// The key that signs, and its name.
    signing: (String, EncodingKey),
    /// The keys that are accepted, by name. A map and not one key, so that keys can be rotated.
    accepted: BTreeMap<String, DecodingKey>,
    now: Clock,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Tokens signed with `secret`, with issuer, audience, lifetime and leeway (at most 30 s) of the settings.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the secret has one owner, who wipes it")]
    pub fn new(settings: &AuthSettings, secret: SigningSecret) -> Self {
        Self::with_clock(settings, &secret, Arc::new(now_seconds))
    }

    fn with_clock(settings: &AuthSettings, secret: &SigningSecret, now: Clock) -> Self {
        let key_id = secret.key_id();
        Self {
            issuer: settings.token_issuer.clone(),
            audience: settings.token_audience.clone(),
            lifetime_seconds: settings.access_token_seconds,
            leeway_seconds: settings.token_leeway_seconds.min(MAX_LEEWAY_SECONDS),
            accepted: [(key_id.clone(), DecodingKey::from_secret(secret.bytes()))].into(),
            signing: (key_id, EncodingKey::from_secret(secret.bytes())),
            now,
        }
    }

    /// A token for that account with all that it may do.
    #[must_use]
    pub fn issue(&self, account: &Account) -> AccessToken {
        let now = (self.now)();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: account.subject.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            iat: now,
            nbf: now,
            exp: now.saturating_add(self.lifetime_seconds),
            username: account.username.clone(),
            role: account.role,
            scope: write_scopes(&account.allowed()),
        };
        let (key_id, key) = &self.signing;
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(key_id.clone());
        #[expect(clippy::expect_used, reason = "HMAC takes every key, and these claims always become JSON")]
        let token = encode(&header, &claims, key).expect("an HS256 token can always be made");
        AccessToken { token: token.into(), expires_in: self.lifetime_seconds }
    }

    /// Checks a token and says who it is for. A token ends at `exp` plus the leeway exactly; the
    /// principal's `expires_at` is `exp`.
    ///
    /// # Errors
    /// [`TokenError`]; the same to callers whatever is wrong.
    pub fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        let payload = self.verify_signature(token)?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| Refusal::Claims)?;
        if claims.sub.is_empty() || claims.jti.is_empty() {
            return Err(Refusal::Claims.into());
        }
        if claims.iss != self.issuer {
            return Err(Refusal::Issuer.into());
        }
        if claims.aud != self.audience {
            return Err(Refusal::Audience.into());
        }
        self.verify_times(&claims)?;
        let mut scopes = read_scopes(&claims.scope);
        scopes.retain(|scope| claims.role.scopes().contains(scope));
        Ok(Principal {
            subject: claims.sub,
            username: claims.username,
            role: claims.role,
            scopes,
            expires_at: claims.exp,
            token_id: claims.jti,
        })
    }

    /// Checks everything that needs no claim, in the order of cost; gives the payload's bytes.
    fn verify_signature(&self, token: &str) -> Result<Vec<u8>, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::Length);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Shape)?;
        let (header, payload) = message.split_once('.').ok_or(Refusal::Shape)?;
        // This alphabet has no dot, no padding and no spare bits: one token, one text.
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Shape);
        let (header, payload) = (decode(header)?, decode(payload)?);
        decode(signature)?;
        // serde would also take an array for a struct.
        if !header.starts_with(b"{") || !payload.starts_with(b"{") {
            return Err(Refusal::Shape);
        }
        let header: StrictHeader<'_> = serde_json::from_slice(&header).map_err(|_| Refusal::Header)?;
        if header.alg != ALGORITHM || header.typ != TOKEN_TYPE {
            return Err(Refusal::Header);
        }
        let key = self.accepted.get(header.kid).ok_or(Refusal::Key)?;
        match crypto::verify(signature, message.as_bytes(), key, Algorithm::HS256) {
            Ok(true) => Ok(payload),
            Ok(false) | Err(_) => Err(Refusal::Signature),
        }
    }

    fn verify_times(&self, claims: &Claims) -> Result<(), Refusal> {
        // What we issue begins when it is made and lives no longer than the setting. A longer life is
        // another's work, or was issued under a longer setting that no longer holds.
        let lifetime = claims.exp.checked_sub(claims.iat).ok_or(Refusal::Lifetime)?;
        if lifetime > self.lifetime_seconds {
            return Err(Refusal::Lifetime);
        }
        let now = (self.now)();
        if claims.nbf.max(claims.iat) > now.saturating_add(self.leeway_seconds) {
            return Err(Refusal::NotYet);
        }
        if now >= claims.exp.saturating_add(self.leeway_seconds) {
            return Err(Refusal::Expired);
        }
        Ok(())
    }
}

fn write_scopes(scopes: &BTreeSet<Scope>) -> String {
    let words: Vec<&str> = scopes.iter().copied().map(scope_word).collect();
    words.join(" ")
}

/// Unknown words grant nothing: a newer gateway may know scopes that this one does not.
fn read_scopes(text: &str) -> BTreeSet<Scope> {
    let all = Role::Admin.scopes();
    text.split(' ').filter_map(|word| all.iter().copied().find(|scope| scope_word(*scope) == word)).collect()
}

const fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Run => "run",
        Scope::Watch => "watch",
        Scope::Control => "control",
        Scope::Raw => "raw",
        Scope::Admin => "admin",
    }
}
