//! Access tokens: made and checked. Only this module names the JWT crate: [`keys`] holds our keys, [`outside`] checks
//! tokens of outside issuers.
//!
//! Invariants (RFC 8725):
//! - The algorithm is the one of the key that `kid` names; a token has no say in it.
//! - A header holds `alg`, `typ` and `kid` and nothing else, each exactly as we write it; so `jku`, `jwk`,
//!   `x5u`, `x5c`, `crit` and whatever comes later are refused without a list of them.
//! - No claim is read before the signature is checked, and nothing is parsed that is over the length limit.
//! - Every claim is required; `aud` is one text: an array, even one with our name in it, is refused, since
//!   we never write one.
//! - A token's scopes are never more than its role's.
//!
//! It must not know accounts' passwords, the store or headers of HTTP.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Header, crypto, encode};
use parking_lot::RwLock;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use self::keys::Keys;
use super::secret::{SecretError, SigningSecret};
use crate::api::{Login, Principal, Role, Scope};
use crate::config::settings::AuthSettings;
use crate::store::Account;
use crate::telemetry::time::{now_ms, now_seconds};

pub mod keys;
pub mod outside;

#[cfg(test)]
mod tests;

/// Longest token that is looked at, in bytes. Ours have about 500.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Clocks may differ by so many seconds at most, whatever the settings say.
const MAX_LEEWAY_SECONDS: u64 = 30;
/// `typ` of an access token (RFC 9068), so that no other token of ours can pass for one.
const TOKEN_TYPE: &str = "at+jwt";

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
            Refusal::Role => "no role for this caller",
            Refusal::KeysAway => "the issuer's keys can't be had",
        }
    }

    /// A token that names a key that nobody knows.
    pub(super) fn unknown_key() -> Self {
        Self(Refusal::Key)
    }

    /// A token whose issuer's keys can't be had.
    pub(super) fn keys_away() -> Self {
        Self(Refusal::KeysAway)
    }

    /// Does it name no key of ours? Then it may be an outside issuer's.
    #[must_use]
    pub(super) fn is_of_others(self) -> bool {
        matches!(self.0, Refusal::Key | Refusal::Header)
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
    Role,
    KeysAway,
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
    /// The login that it came from, see [`Login`].
    sid: String,
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

/// What an access token is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The account's id.
    pub subject: String,
    /// Its name.
    pub username: String,
    /// Its role.
    pub role: Role,
    /// What the token may do; what is more than the role's counts nothing.
    pub scopes: BTreeSet<Scope>,
    /// The login that it comes from.
    pub login: Login,
}

impl Grant {
    /// Everything that the account may do, by that login.
    #[must_use]
    pub fn new(account: &Account, login: Login) -> Self {
        Self {
            subject: account.subject.clone(),
            username: account.username.clone(),
            role: account.role,
            scopes: account.allowed(),
            login,
        }
    }
}

/// Makes and checks access tokens. Share it by `Arc`.
pub struct Tokens {
    issuer: String,
    audience: String,
    lifetime_seconds: u64,
    leeway_seconds: u64,
    /// Replaced whole when the files have changed. Held only to clone or to set it.
    keys: RwLock<Arc<Keys>>,
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
        Self::with_keys(settings, Keys::of_secret(&secret))
    }

    /// Tokens with those keys, and the rest of the settings.
    #[must_use]
    pub fn with_keys(settings: &AuthSettings, keys: Keys) -> Self {
        Self::with_clock(settings, keys, Arc::new(now_seconds))
    }

    fn with_clock(settings: &AuthSettings, keys: Keys, now: Clock) -> Self {
        Self {
            issuer: settings.token_issuer.clone(),
            audience: settings.token_audience.clone(),
            lifetime_seconds: settings.access_token_seconds,
            leeway_seconds: settings.token_leeway_seconds.min(MAX_LEEWAY_SECONDS),
            keys: RwLock::new(Arc::new(keys)),
            now,
        }
    }

    /// The keys of now.
    #[must_use]
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read())
    }

    /// Reads the keys' files again; `true` if there are other keys now. What a key that is gone has signed is refused
    /// from here on; sockets that are open stay.
    ///
    /// # Errors
    /// [`SecretError`]: then the keys stay as they were.
    pub fn reload(&self, settings: &AuthSettings, default_secret: &Path) -> Result<bool, SecretError> {
        let fresh = Keys::load_again(settings, default_secret)?;
        let is_other = fresh.ids() != self.keys().ids();
        *self.keys.write() = Arc::new(fresh);
        Ok(is_other)
    }

    /// A token for that account with all that it may do, as by a login of its own.
    #[must_use]
    pub fn issue(&self, account: &Account) -> AccessToken {
        let key = uuid::Uuid::new_v4().simple().to_string();
        self.issue_to(&Grant::new(account, Login { began_ms: now_ms(), key }))
    }

    /// A token for that grant.
    #[must_use]
    pub fn issue_to(&self, grant: &Grant) -> AccessToken {
        let now = (self.now)();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: grant.subject.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            sid: grant.login.to_string(),
            iat: now,
            nbf: now,
            exp: now.saturating_add(self.longest_seconds()),
            username: grant.username.clone(),
            role: grant.role,
            scope: write_scopes(&grant.scopes),
        };
        let signer = &self.keys().signer;
        let mut header = Header::new(signer.algorithm);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(signer.id.clone());
        #[expect(clippy::expect_used, reason = "the key has signed when it was loaded, and these claims become JSON")]
        let token = encode(&header, &claims, &signer.key).expect("a token can always be made");
        AccessToken { token: token.into(), expires_in: self.lifetime_seconds }
    }

    /// From `iat` to `exp`: `iat` is the second that has begun, and what is left of it is not the caller's, who is
    /// promised the whole lifetime. Without it, a token of one second may end in the millisecond it is made.
    fn longest_seconds(&self) -> u64 {
        self.lifetime_seconds.saturating_add(1)
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
        let login = claims.sid.parse().map_err(|_| Refusal::Claims)?;
        let mut scopes = read_scopes(&claims.scope);
        scopes.retain(|scope| claims.role.scopes().contains(scope));
        Ok(Principal {
            subject: claims.sub,
            username: claims.username,
            role: claims.role,
            scopes,
            expires_at: claims.exp,
            token_id: claims.jti,
            login,
            issuer: None,
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
        if header.typ != TOKEN_TYPE {
            return Err(Refusal::Header);
        }
        let keys = self.keys();
        let key = keys.accepted.get(header.kid).ok_or(Refusal::Key)?;
        if header.alg != name(key.algorithm) {
            return Err(Refusal::Header);
        }
        match crypto::verify(signature, message.as_bytes(), &key.key, key.algorithm) {
            Ok(true) => Ok(payload),
            Ok(false) | Err(_) => Err(Refusal::Signature),
        }
    }

    fn verify_times(&self, claims: &Claims) -> Result<(), Refusal> {
        // What we issue begins when it is made and lives no longer than this. A longer life is another's work, or was
        // issued under a longer setting that no longer holds.
        let lifetime = claims.exp.checked_sub(claims.iat).ok_or(Refusal::Lifetime)?;
        if lifetime > self.longest_seconds() {
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

/// An algorithm as headers have it.
fn name(algorithm: jsonwebtoken::Algorithm) -> &'static str {
    use jsonwebtoken::Algorithm;
    match algorithm {
        Algorithm::HS256 => "HS256",
        Algorithm::EdDSA => "EdDSA",
        Algorithm::RS256 => "RS256",
        // None of our keys has another.
        _ => "",
    }
}

/// Scopes as a token and a ticket hold them.
pub(super) fn write_scopes(scopes: &BTreeSet<Scope>) -> String {
    let words: Vec<&str> = scopes.iter().copied().map(scope_word).collect();
    words.join(" ")
}

/// Unknown words grant nothing: a newer gateway may know scopes that this one does not.
pub(super) fn read_scopes(text: &str) -> BTreeSet<Scope> {
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
