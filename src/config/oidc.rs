//! Logins at a company's own provider (OpenID Connect), as the settings describe it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::issuer::check_url;
use super::settings::Settings;

/// Where a provider sends people back to, below `oidc_redirect_base`.
pub const CALLBACK: &str = "/auth/oidc/callback";

/// Logins of people at a provider outside, by OpenID Connect. Each gets an account here at the first one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OidcSettings {
    /// The provider's issuer, exactly as it names itself; https, or http on this machine. Empty: no such logins.
    pub oidc_issuer: String,
    /// The name by which the provider knows this gateway.
    pub oidc_client_id: String,
    /// A file with the secret that the provider has given this gateway; never shown. Empty: it has none (PKCE is used
    /// in any case).
    pub oidc_client_secret_file: PathBuf,
    /// The address by which browsers reach this gateway, such as `https://gateway.example.com`. Tell the provider this
    /// address with `/auth/oidc/callback` after it.
    pub oidc_redirect_base: String,
    /// What is asked for beside `openid`: whatever makes the provider tell the claims below.
    pub oidc_scopes: Vec<String>,
    /// The claim that an account is named after at its first login; without it `email`, then `sub`.
    pub oidc_username_claim: String,
    /// The claim that decides the role, a text or a list of texts; dots lead into objects. Empty: everybody is a user.
    pub oidc_role_claim: String,
    /// Values of that claim that make an admin.
    pub oidc_admin_values: Vec<String>,
    /// Values of that claim that make a user. Whoever has none of either is refused.
    pub oidc_user_values: Vec<String>,
    /// Claims that a person must have to come in at all, each with this value, alone or in a list: `hd` =
    /// `example.com`.
    pub oidc_required: BTreeMap<String, String>,
}

impl Default for OidcSettings {
    fn default() -> Self {
        Self {
            oidc_issuer: String::new(),
            oidc_client_id: String::new(),
            oidc_client_secret_file: PathBuf::new(),
            oidc_redirect_base: String::new(),
            oidc_scopes: ["profile", "email"].map(str::to_owned).to_vec(),
            oidc_username_claim: "preferred_username".to_owned(),
            oidc_role_claim: String::new(),
            oidc_admin_values: Vec::new(),
            oidc_user_values: Vec::new(),
            oidc_required: BTreeMap::new(),
        }
    }
}

impl OidcSettings {
    /// Are there such logins?
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.oidc_issuer.is_empty()
    }

    /// Where the provider sends people back to.
    #[must_use]
    pub fn callback(&self) -> String {
        format!("{}{CALLBACK}", self.oidc_redirect_base.trim_end_matches('/'))
    }

    /// What is wrong with it, each thing with the setting that it is about.
    #[must_use]
    pub fn complaints(&self) -> Vec<(&'static str, String)> {
        let mut found: Vec<(&'static str, String)> = Vec::new();
        let mut wrong = |leaf: &'static str, what: &str| found.push((leaf, what.to_owned()));
        if !self.is_on() {
            // Half a description is a mistake.
            for (leaf, is_given) in [
                ("oidc_client_id", !self.oidc_client_id.is_empty()),
                ("oidc_client_secret_file", !self.oidc_client_secret_file.as_os_str().is_empty()),
                ("oidc_redirect_base", !self.oidc_redirect_base.is_empty()),
            ] {
                if is_given {
                    wrong(leaf, "serves nothing without `oidc_issuer`");
                }
            }
            return found;
        }
        if let Err(expected) = check_url(&self.oidc_issuer) {
            wrong("oidc_issuer", expected);
        } else if self.oidc_issuer.contains(['#', '?']) {
            wrong("oidc_issuer", "expected an address without `?` and `#`");
        }
        if self.oidc_client_id.trim().is_empty() {
            wrong("oidc_client_id", "is missing: by which name does the provider know this gateway?");
        }
        if let Err(expected) = check_base(&self.oidc_redirect_base) {
            wrong("oidc_redirect_base", expected);
        }
        let secret = &self.oidc_client_secret_file;
        if !secret.as_os_str().is_empty() {
            match std::fs::read_to_string(secret) {
                Ok(text) if !text.trim().is_empty() => {}
                Ok(_) => wrong("oidc_client_secret_file", &format!("{}: is empty", secret.display())),
                Err(error) => {
                    wrong("oidc_client_secret_file", &format!("{}: can't be read: {error}", secret.display()));
                }
            }
        }
        let is_scope = |scope: &String| !scope.is_empty() && scope.chars().all(|letter| letter.is_ascii_graphic());
        if !self.oidc_scopes.iter().all(is_scope) {
            wrong("oidc_scopes", "expected names of scopes; none is empty or has blanks");
        }
        let has_values = !self.oidc_admin_values.is_empty() || !self.oidc_user_values.is_empty();
        match (self.oidc_role_claim.is_empty(), has_values) {
            (true, true) => wrong("oidc_role_claim", "is missing: the values are of which claim?"),
            (false, false) => {
                wrong("oidc_role_claim", "without `oidc_admin_values` or `oidc_user_values` it lets nobody in");
            }
            _ => {}
        }
        if let Some(both) = self.oidc_admin_values.iter().find(|value| self.oidc_user_values.contains(value)) {
            wrong("oidc_admin_values", &format!("{both:?} is among `oidc_user_values` too"));
        }
        if self.oidc_required.keys().any(String::is_empty) {
            wrong("oidc_required", "expected names of claims; one is empty");
        }
        found
    }
}

/// Can people be sent there? `http` too: whoever runs the gateway without TLS sends passwords so as well, and the code
/// that comes this way serves nobody without what the gateway keeps.
fn check_base(base: &str) -> Result<(), &'static str> {
    const FORM: &str = "expected an address such as https://gateway.example.com";
    let uri: http::Uri = base.parse().map_err(|_| FORM)?;
    let has_scheme = matches!(uri.scheme_str(), Some("https" | "http"));
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    let is_plain = !base.contains(['@', '?', '#', ';']);
    if has_scheme && has_host && is_plain { Ok(()) } else { Err(FORM) }
}

/// May a provider or an issuer outside say of somebody that they are an admin?
#[must_use]
pub fn admins_come_from_outside(settings: &Settings) -> bool {
    let by_provider = settings.oidc.is_on() && !settings.oidc.oidc_admin_values.is_empty();
    by_provider || settings.auth.trusted_issuers.iter().any(|issuer| !issuer.admin_values.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(change: impl FnOnce(&mut OidcSettings)) -> Vec<&'static str> {
        let mut settings = OidcSettings {
            oidc_issuer: "https://id.example.com/realms/all".to_owned(),
            oidc_client_id: "gateway".to_owned(),
            oidc_redirect_base: "https://gateway.example.com/".to_owned(),
            ..OidcSettings::default()
        };
        change(&mut settings);
        settings.complaints().into_iter().map(|(leaf, _)| leaf).collect()
    }

    #[test]
    fn what_is_said_by_default_and_what_is_enough_are_good() {
        assert!(OidcSettings::default().complaints().is_empty());
        assert!(complaints(|_| {}).is_empty());
        assert!(complaints(|all| all.oidc_issuer = "http://127.0.0.1:9/x".to_owned()).is_empty());
    }

    #[test]
    fn the_callback_lies_below_the_base() {
        for base in ["https://g.example.com", "https://g.example.com/"] {
            let settings = OidcSettings { oidc_redirect_base: base.to_owned(), ..OidcSettings::default() };
            assert_eq!(settings.callback(), "https://g.example.com/auth/oidc/callback");
        }
    }

    #[test]
    fn c3_everything_wrong_is_told_at_once() {
        let found = complaints(|all| {
            all.oidc_issuer = "http://id.example.com".to_owned();
            all.oidc_client_id = " ".to_owned();
            all.oidc_redirect_base = "gateway".to_owned();
            all.oidc_client_secret_file = "/nonexistent/secret".into();
            all.oidc_scopes = vec!["a b".to_owned()];
            all.oidc_role_claim = "groups".to_owned();
            all.oidc_required = BTreeMap::from([(String::new(), "x".to_owned())]);
        });
        let expected = [
            "oidc_issuer",
            "oidc_client_id",
            "oidc_redirect_base",
            "oidc_client_secret_file",
            "oidc_scopes",
            "oidc_role_claim",
            "oidc_required",
        ];
        assert_eq!(found, expected);
        let twice = complaints(|all| {
            all.oidc_role_claim = "groups".to_owned();
            (all.oidc_admin_values, all.oidc_user_values) = (vec!["x".to_owned()], vec!["x".to_owned()]);
        });
        assert_eq!(twice, ["oidc_admin_values"]);
        assert_eq!(complaints(|all| all.oidc_user_values = vec!["x".to_owned()]), ["oidc_role_claim"]);
        let half = OidcSettings { oidc_client_id: "x".to_owned(), ..OidcSettings::default() }.complaints();
        assert_eq!(half.len(), 1, "{half:?}");
    }
}
