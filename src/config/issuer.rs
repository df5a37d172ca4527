//! An outside issuer of access tokens, as the settings name it, and whether it can be trusted so.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The algorithms that an outside issuer may sign with. None of them has a secret that both sides know.
pub const ALGORITHMS: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// An outside issuer whose access tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// `iss` of its tokens, exact.
    pub issuer: String,
    /// Where its public keys are; https, or http on this machine.
    pub jwks_url: String,
    /// `aud` that its tokens must have, alone or among others.
    pub audience: String,
    /// The algorithms that it may sign with.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<String>,
    /// The claim that holds the caller's name; without it the name is `sub`.
    #[serde(default = "default_name_claim")]
    pub name_claim: String,
    /// The claim that decides the role, a text or a list of texts; dots lead into objects. Empty: everybody is a user.
    #[serde(default)]
    pub role_claim: String,
    /// Values of that claim that make an admin.
    #[serde(default)]
    pub admin_values: Vec<String>,
    /// Values of that claim that make a user. Whoever has none of either is refused.
    #[serde(default)]
    pub user_values: Vec<String>,
}

fn default_algorithms() -> Vec<String> {
    ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec()
}

fn default_name_claim() -> String {
    "preferred_username".to_owned()
}

impl TrustedIssuer {
    /// What is wrong with it, each thing in a sentence.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.issuer.trim().is_empty() || self.issuer.contains('#') {
            found.push("`issuer` must be a name without `#`".to_owned());
        }
        if self.audience.trim().is_empty() {
            found.push("`audience` is empty: tokens for anybody would do".to_owned());
        }
        if let Err(expected) = check_url(&self.jwks_url) {
            found.push(format!("`jwks_url`: {expected}"));
        }
        if self.algorithms.is_empty() {
            found.push("`algorithms` is empty: no token would do".to_owned());
        }
        for name in &self.algorithms {
            if !ALGORITHMS.contains(&name.as_str()) {
                found.push(format!("`algorithms`: {name:?} is none of {}", ALGORITHMS.join(", ")));
            }
        }
        let has_values = !self.admin_values.is_empty() || !self.user_values.is_empty();
        match (self.role_claim.is_empty(), has_values) {
            (true, true) => found.push("`role_claim` is missing: the values are of which claim?".to_owned()),
            (false, false) => {
                found.push("`role_claim` without `admin_values` or `user_values` lets nobody in".to_owned());
            }
            _ => {}
        }
        if let Some(both) = self.admin_values.iter().find(|value| self.user_values.contains(value)) {
            found.push(format!("{both:?} is among `admin_values` and `user_values`"));
        }
        found
    }
}

/// May keys be fetched from there? Whoever can change them on their way can make tokens.
///
/// # Errors
/// What was expected.
pub fn check_url(url: &str) -> Result<(), &'static str> {
    const FORM: &str = "expected an address such as https://issuer.example.com/jwks.json";
    let uri: http::Uri = url.parse().map_err(|_| FORM)?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(FORM)?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("expected an address without a user");
    }
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if is_loopback(host) => Ok(()),
        Some("http") => Err("expected https: over http, anybody on the way could put in keys of their own"),
        _ => Err(FORM),
    }
}

/// Is that host this machine, whatever a name server says?
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(change: impl FnOnce(&mut TrustedIssuer)) -> Vec<String> {
        let mut issuer = TrustedIssuer {
            issuer: "https://id.example.com".to_owned(),
            jwks_url: "https://id.example.com/jwks".to_owned(),
            audience: "cc-gateway".to_owned(),
            algorithms: default_algorithms(),
            name_claim: default_name_claim(),
            role_claim: "roles".to_owned(),
            admin_values: vec!["boss".to_owned()],
            user_values: vec!["dev".to_owned()],
        };
        change(&mut issuer);
        issuer.complaints()
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        assert_eq!(issuer(|_| {}), Vec::<String>::new());
        for good in ["http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]:8/x", "https://10.0.0.1/x"] {
            assert_eq!(issuer(|issuer| good.clone_into(&mut issuer.jwks_url)), Vec::<String>::new(), "{good}");
        }
        for bad in ["http://id.example.com/x", "http://localhost.evil.com/x", "ftp://x/y", "", "x", "https://u@h/x"] {
            assert_eq!(issuer(|issuer| bad.clone_into(&mut issuer.jwks_url)).len(), 1, "{bad}");
        }
    }

    #[test]
    fn an_issuer_that_would_let_in_anybody_or_nobody_is_complained_of() {
        for (count, found) in [
            (1, issuer(|issuer| issuer.issuer.clear())),
            (1, issuer(|issuer| issuer.audience.clear())),
            (1, issuer(|issuer| issuer.algorithms.clear())),
            (2, issuer(|issuer| issuer.algorithms = ["HS256", "none", "RS256"].map(str::to_owned).to_vec())),
            (1, issuer(|issuer| issuer.role_claim.clear())),
            (1, issuer(|issuer| issuer.user_values.push("boss".to_owned()))),
            (1, issuer(|issuer| (issuer.admin_values, issuer.user_values) = Default::default())),
        ] {
            assert_eq!(found.len(), count, "{found:?}");
        }
    }
}
