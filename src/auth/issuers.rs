//! Outside issuers: whose tokens are accepted, and their keys, fetched when they are needed.
//!
//! Invariants:
//! - One fetch an issuer at once, and at most one in `PAUSE`, whatever tokens come: a stranger's `kid` can't make the
//!   gateway hammer an issuer.
//! - Keys are asked for again after `FRESH`, so that one that an issuer has withdrawn goes. While the issuer does not
//!   answer, its last keys serve for `KEPT`.
//!
//! Callers of outside issuers have no account here; what an issuer says of them is all there is.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use parking_lot::RwLock;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::fetch::Fetcher;
use super::token::TokenError;
use super::token::outside::{self, KeySet, Shown};
use crate::api::Principal;
use crate::config::settings::{AuthSettings, TrustedIssuer};
use crate::telemetry::metrics;
use crate::telemetry::time::now_seconds;

/// At least so long between two fetches of an issuer's keys.
const PAUSE: Duration = Duration::from_secs(30);
/// Keys older than this are fetched again when a token comes.
const FRESH: Duration = Duration::from_secs(600);
/// Keys older than this serve no more.
const KEPT: Duration = Duration::from_secs(3_600);

/// The outside issuers that the settings name. Share it by `Arc`.
#[derive(Debug)]
pub struct OutsideIssuers {
    issuers: Vec<Issuer>,
    fetcher: Fetcher,
    leeway_seconds: u64,
}

#[derive(Debug)]
struct Issuer {
    settings: TrustedIssuer,
    jwks_url: Uri,
    /// Held only to copy or to set it.
    known: RwLock<Known>,
    /// The right to fetch.
    turn: Semaphore,
}

/// What is known of an issuer's keys.
#[derive(Debug, Clone, Default)]
struct Known {
    keys: Arc<KeySet>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

impl Known {
    fn younger_than(moment: Option<Instant>, age: Duration) -> bool {
        moment.is_some_and(|moment| moment.elapsed() < age)
    }

    /// Has this key, and need not be asked for again?
    fn is_enough(&self, key_id: &str) -> bool {
        Self::younger_than(self.fetched, FRESH) && self.keys.contains(key_id)
    }
}

impl OutsideIssuers {
    /// The issuers of the settings; `None` if they name none. Nothing is fetched yet.
    #[must_use]
    pub fn new(settings: &AuthSettings) -> Option<Self> {
        let issuers: Vec<_> = settings
            .trusted_issuers
            .iter()
            // Settings that were checked have good addresses only.
            .filter_map(|issuer| Some((issuer.clone(), issuer.jwks_url.parse().ok()?)))
            .map(|(settings, jwks_url)| Issuer {
                settings,
                jwks_url,
                known: RwLock::default(),
                turn: Semaphore::new(1),
            })
            .collect();
        (!issuers.is_empty()).then(|| Self {
            issuers,
            fetcher: Fetcher::new(),
            leeway_seconds: settings.token_leeway_seconds.min(30),
        })
    }

    /// Who that token is for, if one of the issuers has signed it.
    ///
    /// # Errors
    /// [`TokenError`]; the same to callers whatever is wrong.
    pub async fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        let shown = outside::read(token)?;
        let mut refused = TokenError::unknown_key();
        for issuer in &self.issuers {
            let Some(keys) = self.keys(issuer, &shown).await else {
                refused = TokenError::keys_away();
                continue;
            };
            // Two issuers may use the same name for a key; the signature and `iss` tell whose it is.
            match outside::verify(&shown, &issuer.settings, &keys, now_seconds(), self.leeway_seconds) {
                Ok(principal) => return Ok(principal),
                Err(error) if error == TokenError::unknown_key() => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// The issuer's keys: those that are known if they will do, else as they are now. `None`: they can't be had.
    async fn keys(&self, issuer: &Issuer, shown: &Shown<'_>) -> Option<Arc<KeySet>> {
        let known = issuer.known.read().clone();
        if known.is_enough(&shown.key_id) {
            return Some(known.keys);
        }
        let turn = if known.keys.contains(&shown.key_id) && Known::younger_than(known.fetched, KEPT) {
            // They serve meanwhile, so nobody waits for who fetches.
            match issuer.turn.try_acquire() {
                Ok(turn) => turn,
                Err(_) => return Some(known.keys),
            }
        } else {
            issuer.turn.acquire().await.ok()?
        };
        // Somebody else may have fetched meanwhile.
        let known = issuer.known.read().clone();
        if !known.is_enough(&shown.key_id) && !Known::younger_than(known.tried, PAUSE) {
            self.fetch(issuer).await;
        }
        drop(turn);
        let known = issuer.known.read().clone();
        Known::younger_than(known.fetched, KEPT).then_some(known.keys)
    }

    async fn fetch(&self, issuer: &Issuer) {
        issuer.known.write().tried = Some(Instant::now());
        let fetched = self.fetcher.get(&issuer.jwks_url).await.map_err(|error| error.to_string());
        match fetched.and_then(|text| KeySet::parse(&text).map_err(str::to_owned)) {
            Ok(keys) => {
                metrics::issuer_keys_fetched("ok");
                tracing::info!(
                    issuer = issuer.settings.issuer,
                    keys = keys.names(),
                    "an outside issuer's keys were fetched"
                );
                let mut known = issuer.known.write();
                known.keys = Arc::new(keys);
                known.fetched = Some(Instant::now());
            }
            Err(problem) => {
                metrics::issuer_keys_fetched("failed");
                tracing::warn!(
                    issuer = issuer.settings.issuer,
                    problem,
                    "an outside issuer's keys could not be fetched; those that are known serve for an hour"
                );
            }
        }
    }
}
